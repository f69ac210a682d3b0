//! The messages in quarantine: those that could not be read.

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
};

use super::{
    HttpState, cursor, dto,
    json::Json,
    problem::{Problem, ProblemCode},
    query::{PAGE_JOBS_DEFAULT, PageQuery},
    responses::{PAGE, Problems, STORE, of},
};
use crate::engine::Caller;

const TAG: &str = "operation";

/// List the quarantine
///
/// Messages that no part of Crewcall could read, newest first; the newest 10 000 are kept. Of each body, the
/// first 4 KiB are, with whatever may be an attempt token struck out.
#[utoipa::path(
    get, path = "/v1/quarantine", tag = TAG, operation_id = "listQuarantine",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 50 if not given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::QuarantineList),
        Problems<{ PAGE | STORE }>,
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::QuarantineList>, Problem> {
    let PageQuery { limit, after } = PageQuery::read(raw.as_deref(), PAGE_JOBS_DEFAULT)?;
    // One more than is wanted tells whether there are more.
    let found = state.engine.quarantined(after, limit + 1).await?;
    let page = found.get(..limit).unwrap_or(&found);
    let last = page.last().filter(|_| page.len() < found.len());
    let next_cursor = last.map(|last| cursor::encode(&last.number));
    Ok(Json(dto::QuarantineList {
        messages: page.iter().map(dto::QuarantinedMessage::from).collect(),
        next_cursor,
    }))
}

/// Delete a message in quarantine
#[utoipa::path(
    delete, path = "/v1/quarantine/{number}", tag = TAG, operation_id = "deleteQuarantined",
    params(("number" = u64, Path, description = "The message's number")),
    responses(
        (status = 204, description = "It is deleted"),
        Problems<{ STORE | of(&[ProblemCode::InvalidId, ProblemCode::MessageNotFound]) }>,
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(number): Path<String>,
) -> Result<StatusCode, Problem> {
    // What does not fit a signed number was never given by a store.
    let number = number.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
    let number = number.ok_or_else(|| {
        Problem::new(
            ProblemCode::InvalidId,
            "a message in quarantine is named by a whole number, which /v1/quarantine lists",
        )
    })?;
    match state.engine.delete_quarantined(&Caller::loopback(), Some(number)).await? {
        0 => Err(Problem::new(
            ProblemCode::MessageNotFound,
            format!("there is no message {number} in quarantine"),
        )),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Empty the quarantine
#[utoipa::path(
    delete, path = "/v1/quarantine", tag = TAG, operation_id = "emptyQuarantine",
    responses(
        (status = 200, description = "It is empty", body = dto::Deleted),
        Problems<{ STORE }>,
    )
)]
pub(super) async fn delete_all(State(state): State<HttpState>) -> Result<Json<dto::Deleted>, Problem> {
    let deleted = state.engine.delete_quarantined(&Caller::loopback(), None).await?;
    Ok(Json(dto::Deleted { deleted }))
}
