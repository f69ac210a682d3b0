//! What people do to workflows: start runs, pause and resume.

use axum::{
    extract::{Path, RawQuery, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use super::{
    HttpState,
    actions::{actor, read_optional},
    body, dto,
    fields::Fields,
    idempotency,
    json::Json,
    problem::{Problem, ProblemCode},
    query,
    request::caller,
    responses::{CHANGE, Problems, QUERY, of},
    runs::{self, waited},
    workflow_problems::no_run,
    workflows::{TAG, WORKFLOW, not_found, parse},
};
use crate::{
    domain::submission::label_problems,
    engine::{TriggerRequest, Triggered, caller::Actor},
};

/// The pointer to the data of a run.
const DATA: &str = "/data";

/// Start a run
///
/// A 201 means that the run is on disk and will be brought to its end. With an `Idempotency-Key`, the same key and body within 24
/// hours return 200 with the run that the first request started, as it is now. The body may be left out.
#[utoipa::path(
    post, path = "/v1/workflows/{name}/trigger", tag = TAG, operation_id = "triggerWorkflow",
    params(
        ("name" = String, Path, description = "Its name", example = "asset.publish"),
        ("wait" = Option<u64>, Query, maximum = 60, description = "Answer when the run is over, but after so many seconds at the latest"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Your own name for the run: 1 to 255 visible ASCII characters"),
    ),
    request_body = Option<dto::NewRun>,
    responses(
        (status = 200, description = "It was started before, under this key", body = dto::Run, headers(("Location" = String, description = "The run's path"), ("Idempotency-Replayed" = String, description = "`true`"))),
        (status = 201, description = "The run is stored", body = dto::Run, headers(("Location" = String, description = "The run's path"))),
        Problems<{ WORKFLOW | CHANGE | QUERY | of(&[
            ProblemCode::InvalidIdempotencyKey, ProblemCode::IdempotencyKeyReused, ProblemCode::WorkflowPaused,
            ProblemCode::NoPlace, ProblemCode::InvalidData, ProblemCode::TooManyRuns, ProblemCode::TooManyChecks,
            ProblemCode::TooManyWatchers, ProblemCode::RunNotFound,
        ]) }>,
    )
)]
pub(super) async fn trigger(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse(&name)?;
    let wait = query::read_wait(raw.as_deref())?;
    let key = idempotency::read_key(request.headers())?;
    let caller = caller(&request);
    let text = body::read_optional_json(&state.bodies, request).await?;
    let is_left_out = matches!(text.trim_ascii(), b"" | b"null");
    let given: &[u8] = if is_left_out { b"{}" } else { &text };
    let mut fields = Fields::parse("the body", given, ProblemCode::InvalidRequest)?;
    fields.numbers_arrive(given, DATA);
    let data = fields.value("data").unwrap_or_else(|| Value::Object(Map::new()));
    let labels = fields.labels();
    for problem in label_problems(&labels) {
        fields.wrong(&problem.pointer[1..], problem.message);
    }
    let by = Actor { by: fields.text("by"), reason: None };
    let (caller, _) = fields.conclude(by.speaking_for(&caller))?;
    // A place to wait is taken before anything is started: what is refused did nothing.
    let place = (!wait.is_zero()).then(|| state.watchers.admit()).transpose()?;
    // The same data for another workflow is another request.
    let idempotency =
        key.map(|key| idempotency::bound(key, &[name.as_str().as_bytes(), b" ", &text].concat()));
    let request = TriggerRequest { data, labels, idempotency };
    let Triggered { run, replayed } = state.engine.trigger_workflow(&caller, &name, request).await?;
    let view = waited(&state, run, wait).await?.ok_or_else(|| no_run(run))?;
    drop(place);
    let at = [(header::LOCATION, format!("/v1/runs/{run}"))];
    let shown = runs::shown(&state.engine, &view).await?;
    Ok(if replayed {
        (at, [(idempotency::IDEMPOTENCY_REPLAYED, "true")], shown).into_response()
    } else {
        (StatusCode::CREATED, at, shown).into_response()
    })
}

/// Pause a workflow
///
/// No event starts a run, and none that waits for a place begins; events wait in the log. Runs that began go on, unless `runs` is
/// true: of those, nothing more begins either.
#[utoipa::path(
    post, path = "/v1/workflows/{name}/pause", tag = TAG, operation_id = "pauseWorkflow",
    params(("name" = String, Path, description = "Its name", example = "asset.publish")),
    request_body = Option<dto::WorkflowPause>,
    responses(
        (status = 200, description = "It is paused", body = dto::Workflow),
        Problems<{ WORKFLOW | CHANGE }>,
    )
)]
pub(super) async fn pause(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Workflow>, Problem> {
    let name = parse(&name)?;
    let mut fields = read_optional(&state.bodies, request).await?;
    let runs = fields.boolean("runs").unwrap_or_default();
    let (caller, reason) = actor(fields)?;
    state.engine.pause_workflow(&caller, &name, reason, runs).await?;
    let view = state.engine.workflow(&name).await?.ok_or_else(|| not_found(name.as_str()))?;
    Ok(Json(dto::Workflow::with_document(&view)))
}

/// Resume a workflow
///
/// It and all its runs go on. Its triggers go on where they stood; with `"from": "now"` they pass over what came meanwhile, and `moved`
/// says how much that was.
#[utoipa::path(
    post, path = "/v1/workflows/{name}/resume", tag = TAG, operation_id = "resumeWorkflow",
    params(("name" = String, Path, description = "Its name", example = "asset.publish")),
    request_body = Option<dto::ConsumerResume>,
    responses(
        (status = 200, description = "It is not paused", body = dto::Workflow),
        Problems<{ WORKFLOW | CHANGE }>,
    )
)]
pub(super) async fn resume(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Workflow>, Problem> {
    let name = parse(&name)?;
    let mut fields = read_optional(&state.bodies, request).await?;
    let from = fields.read("from", |word| match word {
        "now" => Ok(()),
        _ => Err("from is \"now\", or left out to go on where it stood".to_owned()),
    });
    let (caller, reason) = actor(fields)?;
    let moved = state.engine.resume_workflow(&caller, &name, from.is_some(), reason).await?;
    let view = state.engine.workflow(&name).await?.ok_or_else(|| not_found(name.as_str()))?;
    let moved = moved.filter(|_| from.is_some()).map(dto::Moved::from);
    Ok(Json(dto::Workflow { moved, ..dto::Workflow::with_document(&view) }))
}
