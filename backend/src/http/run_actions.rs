//! What people do to runs: cancel them, try them again, and decide about their steps.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use crewcall_proto::RunId;

use super::{
    HttpState,
    actions::{actor, read_optional},
    body, dto,
    fields::Fields,
    filter,
    json::Json,
    problem::{Problem, ProblemCode},
    responses::{CHANGE, Codes, Problems, SEARCH, of},
    runs::{RUN, RunPath, StepPath, TAG, shown},
    workflow_problems::{Asked, no_run, refused},
};
use crate::engine::{
    Caller, Engine,
    caller::Actor,
    commands::actions::BULK_JOBS_MAX,
    ports::{RunQuery, StoreError},
};

/// How many runs of a bulk request are told at once.
const BULK_STEP_RUNS: usize = 500;

/// Doing something to a run.
const ACTION: Codes = RUN | CHANGE | of(&[ProblemCode::RunRefused]);

/// Deciding about a step.
const DECISION: Codes = ACTION | of(&[ProblemCode::StepNotFound, ProblemCode::AlreadyDecided]);

/// Cancel a run
///
/// One that has not begun is cancelled at once (200). Otherwise what runs is told to stop (202), and steps that clean up still run,
/// but for `force`. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = TAG, operation_id = "cancelRun",
    params(("id" = uuid::Uuid, Path, description = "The run's id")),
    request_body = Option<dto::RunCancel>,
    responses(
        (status = 200, description = "The run is cancelled", body = dto::Run),
        (status = 202, description = "The run stops", body = dto::Run),
        Problems<{ ACTION }>,
    )
)]
pub(super) async fn cancel(
    State(state): State<HttpState>,
    RunPath(id): RunPath,
    request: Request,
) -> Result<Response, Problem> {
    let mut fields = read_optional(&state.bodies, request).await?;
    let force = fields.boolean("force").unwrap_or_default();
    let (caller, reason) = actor(fields)?;
    let cancelled = state.engine.cancel_run(&caller, id, force, reason).await;
    cancelled.map_err(|error| refused(id, Asked::Cancel, error))?;
    let view = state.engine.run_view(id).await?.ok_or_else(|| no_run(id))?;
    let is_over = view.stored.run.state.is_terminal();
    let status = if is_over { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, shown(&state.engine, &view).await?).into_response())
}

/// Cancel many runs
///
/// Every run that the filter selects and that is not over, at most 10 000 with one request. With `dry_run`, they are only counted.
/// When the store fails (500, 503), some may have been changed: ask again.
#[utoipa::path(
    post, path = "/v1/runs/cancel", tag = TAG, operation_id = "cancelRuns",
    request_body = dto::BulkRunCancel,
    responses(
        (status = 200, description = "What was done", body = dto::BulkResult),
        Problems<{ CHANGE | SEARCH }>,
    )
)]
pub(super) async fn cancel_many(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::BulkResult>, Problem> {
    let text = body::read_json(&state.bodies, request).await?;
    let bulk = Bulk::read(&text)?;
    Ok(Json(bulk.cancel(&state).await?))
}

/// Try a run again
///
/// One that is over begins again: what failed or was cancelled, and what follows from that; with `from` everything from that step on.
/// What completed keeps its results.
#[utoipa::path(
    post, path = "/v1/runs/{id}/retry", tag = TAG, operation_id = "retryRun",
    params(("id" = uuid::Uuid, Path, description = "The run's id")),
    request_body = Option<dto::RunRetry>,
    responses(
        (status = 200, description = "The run waits for its start again", body = dto::Run),
        Problems<{ ACTION | of(&[
            ProblemCode::StepNotFound, ProblemCode::RunCompensated, ProblemCode::NothingToRetry, ProblemCode::TooManyRuns,
        ]) }>,
    )
)]
pub(super) async fn retry(
    State(state): State<HttpState>,
    RunPath(id): RunPath,
    request: Request,
) -> Result<Json<dto::Run>, Problem> {
    let mut fields = read_optional(&state.bodies, request).await?;
    let from = fields.text("from");
    let (caller, reason) = actor(fields)?;
    let from = from.as_deref();
    let retried = state.engine.retry_run(&caller, id, from, reason).await;
    retried.map_err(|error| refused(id, Asked::Retry { from }, error))?;
    now(&state.engine, id).await
}

/// Approve a step
///
/// One with an `approval` that waits for it. The first decision stands.
#[utoipa::path(
    post, path = "/v1/runs/{id}/steps/{step}/approve", tag = TAG, operation_id = "approveStep",
    params(
        ("id" = uuid::Uuid, Path, description = "The run's id"),
        ("step" = String, Path, description = "The step's name", example = "check"),
    ),
    request_body = Option<dto::RunDecision>,
    responses(
        (status = 200, description = "It is approved", body = dto::Run),
        Problems<{ DECISION }>,
    )
)]
pub(super) async fn approve(
    State(state): State<HttpState>,
    path: StepPath,
    request: Request,
) -> Result<Json<dto::Run>, Problem> {
    decide(&state, path, request, true).await
}

/// Reject a step
///
/// One with an `approval` that waits for it: it fails. The first decision stands.
#[utoipa::path(
    post, path = "/v1/runs/{id}/steps/{step}/reject", tag = TAG, operation_id = "rejectStep",
    params(
        ("id" = uuid::Uuid, Path, description = "The run's id"),
        ("step" = String, Path, description = "The step's name", example = "check"),
    ),
    request_body = Option<dto::RunDecision>,
    responses(
        (status = 200, description = "It is rejected", body = dto::Run),
        Problems<{ DECISION }>,
    )
)]
pub(super) async fn reject(
    State(state): State<HttpState>,
    path: StepPath,
    request: Request,
) -> Result<Json<dto::Run>, Problem> {
    decide(&state, path, request, false).await
}

async fn decide(
    state: &HttpState,
    StepPath(id, step): StepPath,
    request: Request,
    approved: bool,
) -> Result<Json<dto::Run>, Problem> {
    let fields = read_optional(&state.bodies, request).await?;
    let (caller, comment) = decider(fields)?;
    let decided = state.engine.decide_step(&caller, id, &step, approved, comment).await;
    decided.map_err(|error| refused(id, Asked::Decide { step: &step }, error))?;
    now(&state.engine, id).await
}

/// Who decides, and what they say of it, which may be as long as a reason.
fn decider(mut fields: Fields) -> Result<(Caller, Option<String>), Problem> {
    let actor = Actor { by: fields.text("by"), reason: fields.text("comment") };
    let spoken = actor.speaking_for(&Caller::loopback()).map_err(|mut problems| {
        let of_reason = problems.iter_mut().filter(|problem| problem.pointer == "/reason");
        of_reason.for_each(|problem| "/comment".clone_into(&mut problem.pointer));
        problems
    });
    fields.conclude(spoken)
}

/// The run as it is now.
async fn now(engine: &Engine, id: RunId) -> Result<Json<dto::Run>, Problem> {
    let view = engine.run_view(id).await?.ok_or_else(|| no_run(id))?;
    Ok(shown(engine, &view).await?)
}

/// What is asked for many runs.
#[derive(Debug)]
struct Bulk {
    query: RunQuery,
    dry_run: bool,
    force: bool,
    caller: Caller,
    reason: Option<String>,
}

impl Bulk {
    fn read(text: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse("the body", text, ProblemCode::InvalidRequest)?;
        let mut query = RunQuery::default();
        if let Some(mut inner) = fields.inner("filter", "a filter") {
            query = filter::read_runs(&mut inner);
            fields.within(inner);
        }
        let all = fields.boolean("all").unwrap_or_default();
        let dry_run = fields.boolean("dry_run").unwrap_or_default();
        let force = fields.boolean("force").unwrap_or_default();
        let has_no_condition = query.workflow.is_none() && query.states.is_empty() && query.labels.is_empty();
        if has_no_condition && !all {
            fields.wrong("filter", "give at least one condition, or \"all\": true if every run is meant");
        }
        let (caller, reason) = actor(fields)?;
        Ok(Self { query, dry_run, force, caller, reason })
    }

    /// Cancels them in steps, so that nobody waits for long behind them.
    async fn cancel(self, state: &HttpState) -> Result<dto::BulkResult, StoreError> {
        let Self { mut query, dry_run, force, caller, reason } = self;
        let mut matched = 0;
        let more = loop {
            query.limit = BULK_STEP_RUNS.min(BULK_JOBS_MAX - matched);
            if query.limit == 0 {
                break true;
            }
            let step = state.engine.cancel_runs(&caller, query.clone(), force, dry_run, reason.clone());
            let (count, next) = step.await?;
            matched += count;
            match next {
                Some(before) => query.before = Some(before),
                None => break false,
            }
        };
        Ok(dto::BulkResult { matched, changed: if dry_run { 0 } else { matched }, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_without_a_condition_needs_all() {
        for text in ["{}", "{\"filter\":{}}", "{\"filter\":{\"state\":[],\"labels\":{}},\"all\":false}"] {
            let body = Bulk::read(text.as_bytes()).unwrap_err().body("r");
            assert_eq!(body.errors[0].pointer, "/filter", "{text}");
        }
        let all = Bulk::read(b"{\"filter\":{},\"all\":true,\"dry_run\":true,\"force\":true}").unwrap();
        assert!(all.dry_run && all.force && all.query.workflow.is_none());
        let of =
            Bulk::read(br#"{"filter":{"workflow":"a.b","state":["running"],"labels":{"k":"v"}}}"#).unwrap();
        assert_eq!(of.query.workflow.unwrap().as_str(), "a.b");
        assert_eq!((of.query.states.len(), of.query.labels.len(), of.dry_run), (1, 1, false));
    }

    #[test]
    fn every_wrong_field_is_told() {
        let text = br#"{"filter":{"workflow":"A","state":["running","ready"],"type":"a"},"forced":true}"#;
        let errors = Bulk::read(text).unwrap_err().body("r").errors;
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/filter/state/1", "/filter/type", "/filter/workflow", "/forced"]);
    }

    #[test]
    fn a_comment_has_a_limit() {
        let text = format!("{{\"by\":\"anna\",\"comment\":\"{}\"}}", "x".repeat(1_001));
        let fields = Fields::parse("the body", text.as_bytes(), ProblemCode::InvalidRequest).unwrap();
        assert_eq!(decider(fields).unwrap_err().body("r").errors[0].pointer, "/comment");
    }
}
