//! Cancelling jobs, and trying them again: one, or all that a filter selects.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use crewcall_proto::JobId;

use super::{
    HttpState, body, dto,
    fields::{Fields, Shape},
    jobs::{JobPath, not_found},
    problem::{Code, Problem, ProblemBody},
    query::type_pattern,
};
use crate::{
    domain::State as JobState,
    engine::{
        Caller,
        caller::Actor,
        commands::actions::{ActionOutcome, JobAction},
        ports::JobQuery,
    },
};

/// The tag of these routes in the document.
const TAG: &str = "jobs";

/// The fields that say who does something.
static ACTOR: Shape = Shape { what: "the body", at: "", names: &["by", "reason"] };

/// The fields of a bulk request.
static BULK: Shape = Shape { what: "the body", at: "", names: &["filter", "all", "dry_run", "by", "reason"] };

/// The fields of its filter.
static FILTER: Shape = Shape {
    what: "a filter",
    at: "/filter",
    names: &["state", "type", "labels", "created_after", "created_before"],
};

/// Cancel a job
///
/// A job that waits is cancelled at once (200). A running one is told to stop (202): it shows
/// `cancel_requested` until its worker answers or falls silent. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = TAG, operation_id = "cancelJob",
    params(("id" = uuid::Uuid, Path, description = "The job's id")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "The job is cancelled", body = dto::Job),
        (status = 202, description = "The worker is being told", body = dto::Job),
        (status = 400, description = "`invalid-id`, `invalid-json`, `unreadable-body`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`job-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "`body-timeout`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`job-is-over`: it completed or failed; `state` says which", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`body-too-large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-request`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store-unavailable`, `too-many-bodies`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(state): State<HttpState>,
    JobPath(id): JobPath,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    one(&state, &caller, id, JobAction::Cancel { reason }).await
}

/// Try a job again
///
/// A job that failed or was cancelled becomes ready again; its attempts go on counting, and it has at least one
/// more.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = TAG, operation_id = "retryJob",
    params(("id" = uuid::Uuid, Path, description = "The job's id")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "The job waits again", body = dto::Job),
        (status = 400, description = "`invalid-id`, `invalid-json`, `unreadable-body`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`job-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "`body-timeout`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`job-not-retryable`: it did not fail and was not cancelled; `state` says where it stands", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`body-too-large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-request`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store-unavailable`, `too-many-bodies`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry(
    State(state): State<HttpState>,
    JobPath(id): JobPath,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    one(&state, &caller, id, JobAction::Retry { reason }).await
}

/// Cancel many jobs
///
/// Every job that the filter selects and that is not over, at most 10 000 with one request. With `dry_run`,
/// they are only counted.
#[utoipa::path(
    post, path = "/v1/jobs/cancel", tag = TAG, operation_id = "cancelJobs",
    request_body = dto::BulkRequest,
    responses(
        (status = 200, description = "What was done", body = dto::BulkResult),
        (status = 400, description = "`invalid-json`, `unreadable-body`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "`body-timeout`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`body-too-large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-request`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`: some jobs may have been changed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store-unavailable`, `read-too-slow`: some jobs may have been changed; ask again. `too-many-bodies`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel_many(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::BulkResult>, Problem> {
    let bulk = Bulk::read(&body::read_json(&state.bodies, request).await?)?;
    many(&state, bulk, |reason| JobAction::Cancel { reason }).await
}

/// Try many jobs again
///
/// Every failed or cancelled job that the filter selects, at most 10 000 with one request. With `dry_run`, they
/// are only counted.
#[utoipa::path(
    post, path = "/v1/jobs/retry", tag = TAG, operation_id = "retryJobs",
    request_body = dto::BulkRequest,
    responses(
        (status = 200, description = "What was done", body = dto::BulkResult),
        (status = 400, description = "`invalid-json`, `unreadable-body`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "`body-timeout`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`body-too-large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-request`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`: some jobs may have been changed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store-unavailable`, `read-too-slow`: some jobs may have been changed; ask again. `too-many-bodies`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry_many(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::BulkResult>, Problem> {
    let bulk = Bulk::read(&body::read_json(&state.bodies, request).await?)?;
    many(&state, bulk, |reason| JobAction::Retry { reason }).await
}

async fn one(state: &HttpState, caller: &Caller, id: JobId, action: JobAction) -> Result<Response, Problem> {
    let is_cancel = matches!(action, JobAction::Cancel { .. });
    // What is answered is on disk. While the store cannot work this waits, and then says so.
    let done = state.engine.act(caller, id, action).await?;
    let refused = |found: JobState| {
        let (code, detail) = if is_cancel {
            (Code::JobIsOver, format!("the job is {found}, so it cannot be cancelled"))
        } else {
            (
                Code::JobNotRetryable,
                format!("the job is {found}; only a failed or cancelled one can be tried again"),
            )
        };
        Problem::new(code, detail).with_state(found)
    };
    match done {
        ActionOutcome::UnknownJob => return Err(not_found(id)),
        ActionOutcome::Impossible(found) => return Err(refused(found)),
        ActionOutcome::Changed | ActionOutcome::Already => {}
    }
    let view = state.engine.job(id).await?.ok_or_else(|| not_found(id))?;
    let status = &view.job.status;
    let status = match status.state {
        _ if !is_cancel => StatusCode::OK,
        JobState::Cancelled => StatusCode::OK,
        // It ended before its worker heard of the cancellation.
        ended @ (JobState::Completed | JobState::Failed) => return Err(refused(ended)),
        _ if status.cancellation.is_some() => StatusCode::ACCEPTED,
        // Somebody tried it again at the same time.
        _ => StatusCode::OK,
    };
    Ok((status, Json(dto::Job::with_attempts(&view))).into_response())
}

async fn many(
    state: &HttpState,
    bulk: Bulk,
    action: impl FnOnce(Option<String>) -> JobAction,
) -> Result<Json<dto::BulkResult>, Problem> {
    let Bulk { query, dry_run, caller, reason } = bulk;
    let outcome = state.engine.act_on_all(&caller, query, action(reason), dry_run).await?;
    Ok(Json(dto::BulkResult { matched: outcome.matched, changed: outcome.changed, more: outcome.more }))
}

/// Who does something, and why. The body may be empty.
///
/// # Errors
///
/// The [`Problem`] to answer.
pub(super) async fn read_actor(
    room: &body::Room,
    request: Request,
) -> Result<(Caller, Option<String>), Problem> {
    let text = body::read_optional_json(room, request).await?;
    let mut fields = match &*text {
        // The body may be left out, and some clients write null for that.
        text if matches!(text.trim_ascii(), b"" | b"null") => Fields::new(&ACTOR, serde_json::Map::new()),
        text => Fields::parse(&ACTOR, text, Code::InvalidRequest)?,
    };
    let actor = Actor { by: fields.text("by"), reason: fields.text("reason") };
    actor_or_problems(actor, fields)
}

fn actor_or_problems(actor: Actor, fields: Fields) -> Result<(Caller, Option<String>), Problem> {
    let mut problems = fields.finish();
    match actor.speaking_for(&Caller::loopback()) {
        Ok(actor) if problems.is_empty() => Ok(actor),
        answer => {
            problems.extend(answer.err().unwrap_or_default());
            Err(Problem::with_errors(Code::InvalidRequest, problems))
        }
    }
}

/// What is asked for many jobs.
#[derive(Debug)]
struct Bulk {
    query: JobQuery,
    dry_run: bool,
    caller: Caller,
    reason: Option<String>,
}

impl Bulk {
    fn read(text: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(&BULK, text, Code::InvalidRequest)?;
        let mut filter = Fields::new(&FILTER, fields.object("filter").unwrap_or_default());
        let query = read_filter(&mut filter);
        fields.within(filter);
        let all = fields.boolean("all").unwrap_or_default();
        let dry_run = fields.boolean("dry_run").unwrap_or_default();
        if query == JobQuery::default() && !all {
            fields.wrong("filter", "give at least one condition, or \"all\": true if every job is meant");
        }
        let actor = Actor { by: fields.text("by"), reason: fields.text("reason") };
        let (caller, reason) = actor_or_problems(actor, fields)?;
        Ok(Self { query, dry_run, caller, reason })
    }
}

fn read_filter(filter: &mut Fields) -> JobQuery {
    let mut query = JobQuery::default();
    for (index, word) in filter.array("state").unwrap_or_default().iter().enumerate() {
        match word.as_str().unwrap_or_default().parse::<JobState>() {
            Ok(state) => query.states.push(state),
            Err(error) => filter.wrong(&format!("state/{index}"), error.to_string()),
        }
    }
    query.job_type = filter
        .text("type")
        .and_then(|pattern| type_pattern(&pattern).map_err(|message| filter.wrong("type", message)).ok());
    query.labels = filter.labels("labels");
    query.created_after = filter.time("created_after");
    query.created_before = filter.time("created_before");
    query
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
        let all = Bulk::read(b"{\"filter\":{},\"all\":true,\"dry_run\":true}").unwrap();
        assert!(all.dry_run && all.query == JobQuery::default());
    }

    #[test]
    fn every_wrong_field_is_told() {
        let text = serde_json::json!({
            "filter": {"state": ["failed", "odd", 1], "type": "A", "labels": {"a": 1}, "created_after": "now", "colour": 1},
            "dry-run": true, "by": "x".repeat(201),
        });
        let errors = Bulk::read(text.to_string().as_bytes()).unwrap_err().body("r").errors;
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/by",
                "/dry-run",
                "/filter/colour",
                "/filter/created_after",
                "/filter/labels/a",
                "/filter/state/1",
                "/filter/state/2",
                "/filter/type"
            ]
        );
    }
}
