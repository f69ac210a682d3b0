//! Cancelling jobs, and trying them again: one, or all that a filter selects.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use crewcall_proto::{JobId, RunId};

use super::{
    HttpState, body, dto,
    fields::Fields,
    filter,
    jobs::{JobPath, not_found},
    json::Json,
    problem::{Problem, ProblemCode},
    responses::{CHANGE, JOB, Problems, SEARCH, of},
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

const TAG: &str = "jobs";

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
        Problems<{ JOB | CHANGE | of(&[ProblemCode::JobIsOver]) }>,
    )
)]
pub(super) async fn cancel(
    State(state): State<HttpState>,
    JobPath(id): JobPath,
    request: Request,
) -> Result<Response, Problem> {
    one(&state, id, request, |reason| JobAction::Cancel { reason }).await
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
        Problems<{ JOB | CHANGE | of(&[ProblemCode::JobNotRetryable, ProblemCode::JobOfRun]) }>,
    )
)]
pub(super) async fn retry(
    State(state): State<HttpState>,
    JobPath(id): JobPath,
    request: Request,
) -> Result<Response, Problem> {
    one(&state, id, request, |reason| JobAction::Retry { reason }).await
}

/// Cancel many jobs
///
/// Every job that the filter selects and that is not over, at most 10 000 with one request. With `dry_run`, they
/// are only counted. When the store fails (500, 503), some may have been changed: ask again.
#[utoipa::path(
    post, path = "/v1/jobs/cancel", tag = TAG, operation_id = "cancelJobs",
    request_body = dto::BulkRequest,
    responses(
        (status = 200, description = "What was done", body = dto::BulkResult),
        Problems<{ CHANGE | SEARCH }>,
    )
)]
pub(super) async fn cancel_many(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::BulkResult>, Problem> {
    many(&state, request, |reason| JobAction::Cancel { reason }).await
}

/// Try many jobs again
///
/// Every failed or cancelled job that the filter selects, at most 10 000 with one request. With `dry_run`, they
/// are only counted. When the store fails (500, 503), some may have been changed: ask again.
#[utoipa::path(
    post, path = "/v1/jobs/retry", tag = TAG, operation_id = "retryJobs",
    request_body = dto::BulkRequest,
    responses(
        (status = 200, description = "What was done", body = dto::BulkResult),
        Problems<{ CHANGE | SEARCH }>,
    )
)]
pub(super) async fn retry_many(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::BulkResult>, Problem> {
    many(&state, request, |reason| JobAction::Retry { reason }).await
}

async fn one(
    state: &HttpState,
    id: JobId,
    request: Request,
    action: impl FnOnce(Option<String>) -> JobAction,
) -> Result<Response, Problem> {
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    let action = action(reason);
    let is_cancel = matches!(action, JobAction::Cancel { .. });
    // What is returned is on disk. While the store cannot work this waits, and then says so.
    let done = state.engine.act(&caller, id, action).await?;
    let refused = |found: JobState| {
        let (code, detail) = if is_cancel {
            (ProblemCode::JobIsOver, format!("the job is {found}, so it cannot be cancelled"))
        } else {
            (
                ProblemCode::JobNotRetryable,
                format!("the job is {found}; only a failed or cancelled one can be tried again"),
            )
        };
        Problem::new(code, detail).with_state(found.as_str())
    };
    match done {
        ActionOutcome::UnknownJob => return Err(not_found(id)),
        ActionOutcome::OfRun(run) => return Err(of_run(run)),
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

/// The job is not tried again by itself.
fn of_run(run: RunId) -> Problem {
    let detail =
        format!("the job belongs to run {run}: try that again, once it is over (POST /v1/runs/{run}/retry)");
    Problem::new(ProblemCode::JobOfRun, detail)
}

async fn many(
    state: &HttpState,
    request: Request,
    action: impl FnOnce(Option<String>) -> JobAction,
) -> Result<Json<dto::BulkResult>, Problem> {
    let text = body::read_json(&state.bodies, request).await?;
    let Bulk { query, dry_run, caller, reason } = Bulk::read(&text)?;
    let outcome = state.engine.act_on_all(&caller, query, action(reason), dry_run).await?;
    Ok(Json(dto::BulkResult { matched: outcome.matched, changed: outcome.changed, more: outcome.more }))
}

/// The fields of a body that may be empty.
pub(super) async fn read_optional(room: &body::BodyBudget, request: Request) -> Result<Fields, Problem> {
    let text = body::read_optional_json(room, request).await?;
    // The body may be left out, and some clients write null for that.
    let is_left_out = matches!(text.trim_ascii(), b"" | b"null");
    Fields::parse("the body", if is_left_out { b"{}" } else { &text }, ProblemCode::InvalidRequest)
}

/// Who does something, and why. The body may be empty.
pub(super) async fn read_actor(
    room: &body::BodyBudget,
    request: Request,
) -> Result<(Caller, Option<String>), Problem> {
    actor(read_optional(room, request).await?)
}

/// Who does something, and why, once everything else is read.
pub(super) fn actor(mut fields: Fields) -> Result<(Caller, Option<String>), Problem> {
    let actor = Actor { by: fields.text("by"), reason: fields.text("reason") };
    fields.conclude(actor.speaking_for(&Caller::loopback()))
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
        let mut fields = Fields::parse("the body", text, ProblemCode::InvalidRequest)?;
        let mut query = JobQuery::default();
        if let Some(mut inner) = fields.inner("filter", "a filter") {
            query = filter::read(&mut inner);
            fields.within(inner);
        }
        let all = fields.boolean("all").unwrap_or_default();
        let dry_run = fields.boolean("dry_run").unwrap_or_default();
        if query == JobQuery::default() && !all {
            fields.wrong("filter", "give at least one condition, or \"all\": true if every job is meant");
        }
        let (caller, reason) = actor(fields)?;
        Ok(Self { query, dry_run, caller, reason })
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
