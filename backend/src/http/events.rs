//! Publishing events, and reading the log of those that were.

use axum::{
    extract::{Path, RawQuery, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    HttpState,
    batch::{self, Items},
    body, dto, event_submission, idempotency,
    json::Json,
    problem::{Problem, ProblemCode},
    query,
    request::caller,
    responses::{ANY_BODY, BODY, Problems, QUERY, STORE, of},
};
use crate::{
    domain::EventSubmission,
    engine::{
        Caller, Engine, LogPage, Published,
        ports::{LogBounds, StoreError},
    },
};

const TAG: &str = "events";

/// Publish an event
///
/// A 201 means that the event is on disk, in its place of the log. With an `id`, publishing the same again returns 200 with
/// the event that was recorded first, for as long as it is kept.
#[utoipa::path(
    post, path = "/v1/events", tag = TAG, operation_id = "publishEvent",
    request_body = dto::NewEvent,
    responses(
        (status = 200, description = "The event is recorded already, under this id", body = dto::PublishedEvent, headers(("Location" = String, description = "The event's path"), ("Idempotency-Replayed" = String, description = "`true`"))),
        (status = 201, description = "The event is recorded", body = dto::PublishedEvent, headers(("Location" = String, description = "The event's path"))),
        Problems<{ BODY | STORE | of(&[ProblemCode::InvalidEvent, ProblemCode::EventIdReused]) }>,
    )
)]
pub(super) async fn publish(State(state): State<HttpState>, request: Request) -> Result<Response, Problem> {
    let caller = caller(&request);
    let text = body::read_json(&state.bodies, request).await?;
    let published = state.engine.publish(&caller, event_submission::read(&text)?).await?;
    let event = published.event();
    let at = [(header::LOCATION, format!("/v1/events/{}", event.sequence))];
    let body = Json(dto::PublishedEvent::from(event.as_ref()));
    Ok(match published {
        Published::Recorded(_) => (StatusCode::CREATED, at, body).into_response(),
        Published::Replayed(_) => (at, [(idempotency::IDEMPOTENCY_REPLAYED, "true")], body).into_response(),
    })
}

/// Publish many events
///
/// A JSON array, or one event on each line; at most 10 000, and 16 MiB. They are recorded in their order, each for itself:
/// one that is not an event does not spoil the rest. If the store fails in between, what was recorded keeps its place, and the
/// rest says so.
#[utoipa::path(
    post, path = "/v1/events/batch", tag = TAG, operation_id = "publishEvents",
    request_body(content((Vec<dto::NewEvent> = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "A result for each item", body = dto::EventBatchResult),
        Problems<{ ANY_BODY | STORE | of(&[ProblemCode::InvalidIdempotencyKey, ProblemCode::InvalidBatch, ProblemCode::TooManyBatches]) }>,
    )
)]
pub(super) async fn publish_many(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::EventBatchResult>, Problem> {
    let caller = caller(&request);
    let events = Events { engine: &state.engine, caller: &caller };
    let results = batch::store_all(&state, request, events).await?;
    let results: Vec<_> =
        results.into_iter().enumerate().map(|(index, result)| item(index, result)).collect();
    let accepted = results.iter().filter(|item| item.sequence.is_some()).count();
    Ok(Json(dto::EventBatchResult { accepted, refused: results.len() - accepted, results }))
}

struct Events<'a> {
    engine: &'a Engine,
    caller: &'a Caller,
}

impl Items for Events<'_> {
    type Item = EventSubmission;
    type Stored = Published;

    fn read(&self, text: &[u8]) -> Result<EventSubmission, Problem> {
        event_submission::read(text)
    }

    async fn store(
        &self,
        items: Vec<EventSubmission>,
    ) -> Result<Vec<Result<Published, Problem>>, StoreError> {
        let answers = self.engine.publish_batch(self.caller, items).await?;
        Ok(answers.into_iter().map(|answer| answer.map_err(Problem::from)).collect())
    }
}

fn item(index: usize, result: Result<Published, Problem>) -> dto::EventBatchItem {
    match result {
        Ok(published) => {
            let status = if matches!(published, Published::Recorded(_)) { 201 } else { 200 };
            let sequence = Some(published.event().sequence.0);
            dto::EventBatchItem { index, status, sequence, problem: None }
        }
        Err(problem) => {
            let (status, problem) = batch::refused(&problem);
            dto::EventBatchItem { index, status, sequence: None, problem: Some(problem) }
        }
    }
}

/// List events
///
/// Oldest first, from the oldest that is kept. Pass `after` of the answer to go on.
#[utoipa::path(
    get, path = "/v1/events", tag = TAG, operation_id = "listEvents",
    params(
        ("subject" = Option<String>, Query, example = "order.*", description = "Of these subjects, as in the binding of a topic exchange: `*` stands for one word, `#` for any number of them"),
        ("after" = Option<u64>, Query, description = "Those after this place of the log; 410 when what comes next is deleted"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 50 if not given; there are fewer when they are large"),
    ),
    responses(
        (status = 200, description = "A part of the log", body = dto::EventList),
        Problems<{ QUERY | STORE | of(&[ProblemCode::EventsGone]) }>,
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::EventList>, Problem> {
    let query = query::read_events(raw.as_deref())?;
    let LogPage { events, after, bounds: LogBounds { oldest, head } } = state.engine.events(&query).await?;
    let events = events.iter().map(dto::PublishedEvent::from).collect();
    Ok(Json(dto::EventList { events, after: after.0, oldest: oldest.0, head: head.0 }))
}

/// Get an event
#[utoipa::path(
    get, path = "/v1/events/{sequence}", tag = TAG, operation_id = "getEvent",
    params(("sequence" = u64, Path, description = "The event's place in the log")),
    responses(
        (status = 200, description = "The event", body = dto::PublishedEvent),
        Problems<{ STORE | of(&[ProblemCode::InvalidId, ProblemCode::EventNotFound]) }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(sequence): Path<String>,
) -> Result<Json<dto::PublishedEvent>, Problem> {
    let sequence = query::sequence_of(&sequence).ok_or_else(|| {
        Problem::new(ProblemCode::InvalidId, "an event is named by its sequence, a whole number")
    })?;
    match state.engine.event(sequence).await? {
        Some(event) => Ok(Json(dto::PublishedEvent::from(&event))),
        None => {
            Err(Problem::new(ProblemCode::EventNotFound, format!("there is no event {sequence} in the log")))
        }
    }
}
