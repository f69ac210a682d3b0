//! Schedules: what is made whenever a moment of a calendar comes.

use axum::{
    extract::{Path, RawQuery, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use crewcall_expressions::Json as AnyJson;

use super::{
    HttpState, body, cursor,
    document::{self, Document, Kind},
    dto,
    json::Json,
    problem::{Problem, ProblemCode, field},
    query,
    request::caller,
    responses::{BODY, Codes, PAGE, Problems, STORE, of},
    schedule_problems::{not_found, of_workflow, refused},
};
use crate::{
    domain::{InvalidScheduleName, Problem as FieldProblem, ScheduleName},
    engine::Put,
};

pub(super) const TAG: &str = "schedules";

/// Naming a schedule.
pub(super) const SCHEDULE: Codes = STORE | of(&[ProblemCode::ScheduleNotFound]);

/// What a document is called that is only looked at: no schedule can have this name.
const PREVIEW: &str = "preview";

/// Set a schedule
///
/// Makes it (201), or changes what it does (200). The same document again changes nothing. No tick of the past fires by this: it
/// goes on from now. What a document has, `docs/schedules.md` says by example.
#[utoipa::path(
    put, path = "/v1/schedules/{name}", tag = TAG, operation_id = "putSchedule",
    params(("name" = String, Path, description = "Its name: 1 to 128 characters of a-z 0-9 . _ - in dot-separated words; not `preview`", example = "report.nightly")),
    request_body = dto::NewSchedule,
    responses(
        (status = 200, description = "It was there, and does this now", body = dto::Schedule),
        (status = 201, description = "It is made", body = dto::Schedule, headers(("Location" = String, description = "Its path"))),
        Problems<{ SCHEDULE | BODY | of(&[
            ProblemCode::InvalidSchedule, ProblemCode::TooManySchedules, ProblemCode::ScheduleOfWorkflow, ProblemCode::TooManyChecks,
        ]) }>,
    )
)]
pub(super) async fn put(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse(&name)?;
    if let Some(workflow) = name.workflow() {
        return Err(of_workflow(&workflow));
    }
    let caller = caller(&request);
    let text = body::read_json(&state.bodies, request).await?;
    let document = read(&state, &text, Some(&name))?;
    let put = state.engine.put_schedule(&caller, &name, document).await;
    let put = put.map_err(|error| refused(&name, error, ProblemCode::InvalidSchedule))?;
    let schedule = shown(&state, &name)?;
    Ok(match put {
        Put::Created => {
            let at = [(header::LOCATION, format!("/v1/schedules/{name}"))];
            (StatusCode::CREATED, at, schedule).into_response()
        }
        Put::Changed | Put::Unchanged => schedule.into_response(),
    })
}

/// Preview a schedule
///
/// Says in words when the document ticks, and shows its next ticks. Changes nothing. Which of them its jitter delays depends on its name.
#[utoipa::path(
    post, path = "/v1/schedules/preview", tag = TAG, operation_id = "previewSchedule",
    request_body = dto::NewSchedule,
    responses(
        (status = 200, description = "What its times mean", body = dto::SchedulePreview),
        Problems<{ BODY | of(&[ProblemCode::InvalidSchedule]) }>,
    )
)]
pub(super) async fn preview(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::SchedulePreview>, Problem> {
    let text = body::read_json(&state.bodies, request).await?;
    let document = read(&state, &text, None)?;
    let preview = state.engine.preview_schedule(&name_of(&document)?, &document).map_err(invalid)?;
    Ok(Json(dto::SchedulePreview::from(&preview)))
}

/// The path of the route above is none of a schedule.
pub(super) async fn no_preview() -> Problem {
    not_found(PREVIEW)
}

/// As it would hide what the route above does, no schedule has its name.
pub(super) async fn refuse_preview() -> Problem {
    let message =
        format!("a schedule cannot be called {PREVIEW:?}: POST /v1/schedules/{PREVIEW} shows what one means");
    invalid(vec![field("/name", message)])
}

/// List schedules
#[utoipa::path(
    get, path = "/v1/schedules", tag = TAG, operation_id = "listSchedules",
    responses(
        (status = 200, description = "All of them, by name, those of workflows too: without their documents, and each with its next tick only", body = dto::ScheduleList),
        Problems<0>,
    )
)]
pub(super) async fn list(State(state): State<HttpState>) -> Json<dto::ScheduleList> {
    let views = state.engine.schedule_views();
    Json(dto::ScheduleList { schedules: views.iter().map(dto::Schedule::entry).collect() })
}

/// Get a schedule
///
/// With its document, its next ticks, and what it made that is not over.
#[utoipa::path(
    get, path = "/v1/schedules/{name}", tag = TAG, operation_id = "getSchedule",
    params(("name" = String, Path, description = "Its name", example = "report.nightly")),
    responses(
        (status = 200, description = "The schedule", body = dto::Schedule),
        Problems<{ SCHEDULE }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Json<dto::Schedule>, Problem> {
    shown(&state, &parse(&name)?)
}

/// Delete a schedule
///
/// What it made goes on; ticks that wait do not fire any more. One of the same name that is made later is another one.
#[utoipa::path(
    delete, path = "/v1/schedules/{name}", tag = TAG, operation_id = "deleteSchedule",
    params(("name" = String, Path, description = "Its name", example = "report.nightly")),
    responses(
        (status = 204, description = "It is deleted"),
        Problems<{ SCHEDULE | of(&[ProblemCode::ScheduleOfWorkflow]) }>,
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let name = parse(&name)?;
    let deleted = state.engine.delete_schedule(&caller(&request), &name).await;
    deleted.map_err(|error| refused(&name, error, ProblemCode::InvalidRequest))?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the ticks of a schedule
///
/// Newest first, what became of each. Several in a row that did not fire, for the same reason, are one entry with their number in
/// `count`. They are kept for 30 days.
#[utoipa::path(
    get, path = "/v1/schedules/{name}/ticks", tag = TAG, operation_id = "listTicks",
    params(
        ("name" = String, Path, description = "Its name", example = "report.nightly"),
        ("state" = Option<String>, Query, description = "In one of these states, with commas between them", example = "skipped,missed"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 50 if not given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::TickList, headers(("Link" = String, description = "`rel=\"next\"`: the page after this one, if there is one"))),
        Problems<{ SCHEDULE | PAGE }>,
    )
)]
pub(super) async fn ticks(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let name = parse(&name)?;
    let (states, page) = query::read_ticks(raw.as_deref())?;
    // One more than is wanted tells whether there are more.
    let found = state.engine.schedule_ticks(&name, page.after, states, page.limit + 1).await?;
    let mut found = found.ok_or_else(|| not_found(name.as_str()))?;
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next_cursor = found.last().filter(|_| more).map(|last| cursor::encode(&last.key));
    let link = next_cursor.as_deref().map(|cursor| query::next_page(raw.as_deref(), cursor));
    let body = Json(dto::TickList { ticks: found.iter().map(dto::Tick::from).collect(), next_cursor });
    Ok(match link {
        Some(next) => {
            let link = format!("</v1/schedules/{name}/ticks?{next}>; rel=\"next\"");
            ([(header::LINK, link)], body).into_response()
        }
        None => body.into_response(),
    })
}

/// The schedule as it is now.
pub(super) fn shown(state: &HttpState, name: &ScheduleName) -> Result<Json<dto::Schedule>, Problem> {
    let view = state.engine.schedule_view(name).ok_or_else(|| not_found(name.as_str()))?;
    Ok(Json(dto::Schedule::whole(&view)))
}

/// The name, which may be that of a trigger. What cannot be one is not found either.
pub(super) fn parse(name: &str) -> Result<ScheduleName, Problem> {
    ScheduleName::kept(name).map_err(|invalid: InvalidScheduleName| {
        Problem::new(ProblemCode::ScheduleNotFound, invalid.to_string())
    })
}

/// The document of the schedule of this name. What is wrong with its text is told together with what is wrong with what it says.
fn read(state: &HttpState, text: &[u8], name: Option<&ScheduleName>) -> Result<AnyJson, Problem> {
    let Document { json, mut problems } = document::read(Kind::Schedule, text)?;
    let Some(json) = json else { return Err(invalid(problems)) };
    let json = match name {
        Some(name) => nameless(json, name.as_str(), &mut problems),
        None => json,
    };
    if problems.is_empty() {
        return Ok(json);
    }
    let told = match name {
        Some(name) => state.engine.preview_schedule(name, &json),
        None => state.engine.preview_schedule(&name_of(&json)?, &json),
    };
    problems.extend(told.err().unwrap_or_default());
    Err(invalid(problems))
}

/// The document without its name, so that it is the same whether it says it or not.
fn nameless(document: AnyJson, name: &str, problems: &mut Vec<FieldProblem>) -> AnyJson {
    let AnyJson::Object(mut fields) = document else { return document };
    match fields.get("name") {
        // The domain says what is wrong with something else than a text.
        Some(AnyJson::String(given)) if given != name => {
            let message = format!("the document is that of {given:?}, and the path that of {name:?}");
            problems.push(field("/name", message));
        }
        None | Some(AnyJson::String(_) | AnyJson::Null) => drop(fields.shift_remove("name")),
        Some(_) => {}
    }
    AnyJson::Object(fields)
}

/// What a document is called that is only looked at.
fn name_of(document: &AnyJson) -> Result<ScheduleName, Problem> {
    let named = document.get("name").and_then(AnyJson::as_str).and_then(|name| name.parse().ok());
    named.map_or_else(|| parse(PREVIEW), Ok)
}

fn invalid(problems: Vec<FieldProblem>) -> Problem {
    Problem::with_errors(ProblemCode::InvalidSchedule, problems)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_kept_without_its_name() {
        for (document, expected) in [
            (json!({"name": "a.b", "cron": "x", "job": {}}), r#"{"cron":"x","job":{}}"#),
            (json!({"cron": "x", "name": null, "job": {}}), r#"{"cron":"x","job":{}}"#),
            (json!([]), "[]"),
            (json!({"name": 7}), r#"{"name":7}"#),
        ] {
            let mut problems = Vec::new();
            assert_eq!(nameless(document, "a.b", &mut problems).to_string(), expected);
            assert_eq!(problems, []);
        }
        let mut problems = Vec::new();
        nameless(json!({"name": "other"}), "a.b", &mut problems);
        let expected = field("/name", "the document is that of \"other\", and the path that of \"a.b\"");
        assert_eq!(problems, [expected]);
    }
}
