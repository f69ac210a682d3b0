//! What people do to schedules: pause, resume, have one fire, and make up for what did not.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crewcall_proto::Timestamp;

use super::{
    HttpState,
    actions::{actor, read_actor},
    body, dto,
    fields::Fields,
    json::Json,
    problem::{Problem, ProblemCode},
    responses::{CHANGE, Problems, of},
    schedule_problems::refused,
    schedules::{SCHEDULE, TAG, parse, shown},
};
use crate::{
    domain::ScheduleName,
    engine::{BackfillRequest, Caller, ScheduleError},
};

/// Pause a schedule
///
/// Its ticks are recorded as `paused`, and do not fire, neither now nor when it is resumed. What it made goes on. Pausing a paused one
/// changes nothing.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/pause", tag = TAG, operation_id = "pauseSchedule",
    params(("name" = String, Path, description = "Its name", example = "report.nightly")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "It is paused", body = dto::Schedule),
        Problems<{ SCHEDULE | CHANGE | of(&[ProblemCode::ScheduleOfWorkflow]) }>,
    )
)]
pub(super) async fn pause(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Schedule>, Problem> {
    let name = parse(&name)?;
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    let paused = state.engine.pause_schedule(&caller, &name, reason).await;
    paused.map_err(|error| not_done(&name, error))?;
    shown(&state, &name)
}

/// Resume a schedule
///
/// It goes on with its next tick, and its failures count from the beginning. For what came meanwhile there is the backfill.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/resume", tag = TAG, operation_id = "resumeSchedule",
    params(("name" = String, Path, description = "Its name", example = "report.nightly")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "It is not paused", body = dto::Schedule),
        Problems<{ SCHEDULE | CHANGE | of(&[ProblemCode::ScheduleOfWorkflow]) }>,
    )
)]
pub(super) async fn resume(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Schedule>, Problem> {
    let name = parse(&name)?;
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    let resumed = state.engine.resume_schedule(&caller, &name, reason).await;
    resumed.map_err(|error| not_done(&name, error))?;
    shown(&state, &name)
}

/// Have a schedule fire now
///
/// Paused or not, and beside its calendar. What it says of `overlap` holds: so the tick may also wait (`queued`), or nothing is made (409).
#[utoipa::path(
    post, path = "/v1/schedules/{name}/trigger", tag = TAG, operation_id = "triggerSchedule",
    params(("name" = String, Path, description = "Its name", example = "report.nightly")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 201, description = "It fired, or the tick waits: its `state` says which", body = dto::Tick),
        Problems<{ SCHEDULE | CHANGE | of(&[ProblemCode::NothingMade]) }>,
    )
)]
pub(super) async fn trigger(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse(&name)?;
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    let triggered = state.engine.trigger_schedule(&caller, &name).await;
    let record = triggered.map_err(|error| not_done(&name, error))?;
    note(&name, &caller, reason, "Somebody said why a schedule was triggered.");
    Ok((StatusCode::CREATED, Json(dto::Tick::from(&record))).into_response())
}

/// Make up for ticks
///
/// The ticks of the calendar in a time that is over fire now, unless they fired before: at most 1 000 with one request, one after the
/// other, or with `"overlap": "allow"` all at once. They see the moments that they stand for.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/backfill", tag = TAG, operation_id = "backfillSchedule",
    params(("name" = String, Path, description = "Its name", example = "report.nightly")),
    request_body = dto::NewBackfill,
    responses(
        (status = 200, description = "What is made up for, or would be", body = dto::BackfillResult),
        Problems<{ SCHEDULE | CHANGE }>,
    )
)]
pub(super) async fn backfill(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::BackfillResult>, Problem> {
    let name = parse(&name)?;
    let text = body::read_json(&state.bodies, request).await?;
    let (request, caller, reason) = read_backfill(&text)?;
    let backfill = state.engine.backfill_schedule(&caller, &name, request).await;
    let backfill = backfill.map_err(|error| not_done(&name, error))?;
    note(&name, &caller, reason, "Somebody said why a schedule makes up for ticks.");
    Ok(Json(dto::BackfillResult::new(&backfill, request.dry_run)))
}

fn read_backfill(text: &[u8]) -> Result<(BackfillRequest, Caller, Option<String>), Problem> {
    let mut fields = Fields::parse("the body", text, ProblemCode::InvalidRequest)?;
    let mut moment = |name: &'static str| {
        let is_there = fields.has(name);
        let moment = fields.some_time(name);
        if !is_there {
            let message =
                "a backfill goes from one time to another (both included), such as 2026-11-20T00:00:00Z";
            fields.wrong(name, message);
        }
        moment.unwrap_or(Timestamp::from_millis(0))
    };
    let (from, to) = (moment("from"), moment("to"));
    let at_once = fields.read("overlap", |word| match word {
        "one_by_one" => Ok(false),
        "allow" => Ok(true),
        _ => Err("overlap is one_by_one, or allow to have all of them at once".to_owned()),
    });
    let dry_run = fields.boolean("dry_run").unwrap_or_default();
    let (caller, reason) = actor(fields)?;
    Ok((BackfillRequest { from, to, at_once: at_once.unwrap_or_default(), dry_run }, caller, reason))
}

/// Why something is done that has no place for it in the store.
fn note(name: &ScheduleName, caller: &Caller, reason: Option<String>, what: &'static str) {
    if let Some(reason) = reason {
        tracing::info!(schedule = %name, by = caller.by(), reason, "{what}");
    }
}

fn not_done(name: &ScheduleName, error: ScheduleError) -> Problem {
    refused(name, error, ProblemCode::InvalidRequest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(text: &str) -> Vec<String> {
        let body = read_backfill(text.as_bytes()).unwrap_err().body("r");
        body.errors.into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_backfill_is_read_with_its_defaults() {
        let text = r#"{"from":"1970-01-01T00:00:01Z","to":"1970-01-01T02:00:02+02:00"}"#;
        let (request, caller, _) = read_backfill(text.as_bytes()).unwrap();
        assert_eq!((request.from.as_millis(), request.to.as_millis()), (1_000, 2_000));
        assert_eq!((request.at_once, request.dry_run, caller.by()), (false, false, "anonymous"));
        assert_eq!(pointers("{}"), ["/from", "/to"]);
        let wrong = r#"{"from":"yesterday","to":null,"overlap":"skip","dry-run":true}"#;
        assert_eq!(pointers(wrong), ["/dry-run", "/from", "/overlap", "/to"]);
    }
}
