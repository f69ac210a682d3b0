//! Consumers: who makes jobs of events.

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    HttpState,
    actions::{actor, read_actor, read_optional},
    body, consumer_settings, dto,
    fields::Fields,
    idempotency,
    json::Json,
    problem::{Problem, ProblemCode},
    query,
    responses::{BODY, CHANGE, Codes, Problems, STORE, of},
};
use crate::{
    domain::{ConsumerName, InvalidConsumerName, Sequence, Start},
    engine::{Caller, Moved, Put},
};

const TAG: &str = "consumers";

/// Naming a consumer.
const CONSUMER: Codes = STORE | of(&[ProblemCode::ConsumerNotFound]);

/// Doing something to one.
const OWN: Codes = CONSUMER | of(&[ProblemCode::ConsumerBelongs]);

/// Set a consumer
///
/// Makes it (201), or changes its settings (200): it stays where it is in the log then. The same again changes nothing. From
/// the event behind its place on, it makes one job of each event that it selects, whatever dies when: the jobs and its place are stored together.
#[utoipa::path(
    put, path = "/v1/consumers/{name}", tag = TAG, operation_id = "putConsumer",
    params(("name" = String, Path, description = "Its name: 1 to 128 characters of a-z 0-9 . _ - in dot-separated words", example = "invoices")),
    request_body = dto::ConsumerSettings,
    responses(
        (status = 200, description = "It was there, and has these settings now", body = dto::Consumer),
        (status = 201, description = "It is made", body = dto::Consumer, headers(("Location" = String, description = "Its path"))),
        Problems<{ OWN | BODY | of(&[ProblemCode::InvalidConsumer, ProblemCode::InvalidRequest, ProblemCode::TooManyConsumers, ProblemCode::ConsumerHasBegun, ProblemCode::EventsGone]) }>,
    )
)]
pub(super) async fn put(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let name = own(&name)?;
    let text = body::read_json(&state.bodies, request).await?;
    let (settings, start) = consumer_settings::read(&text)?;
    let put = state.engine.put_consumer(&Caller::loopback(), &name, settings, start).await?;
    let consumer = shown(&state, &name, None).await?;
    Ok(match put {
        Put::Created => {
            let at = [(header::LOCATION, format!("/v1/consumers/{name}"))];
            (StatusCode::CREATED, at, consumer).into_response()
        }
        Put::Changed | Put::Unchanged => consumer.into_response(),
    })
}

/// List consumers
#[utoipa::path(
    get, path = "/v1/consumers", tag = TAG, operation_id = "listConsumers",
    responses(
        (status = 200, description = "All of them, by name", body = dto::ConsumerList),
        Problems<{ STORE }>,
    )
)]
pub(super) async fn list(State(state): State<HttpState>) -> Result<Json<dto::ConsumerList>, Problem> {
    let mut consumers = state.engine.consumers().await?;
    // Those of workflows and webhooks are shown, and changed, with them.
    consumers.retain(|view| !view.consumer.name.belongs());
    Ok(Json(dto::ConsumerList { consumers: consumers.iter().map(dto::Consumer::from).collect() }))
}

/// Get a consumer
#[utoipa::path(
    get, path = "/v1/consumers/{name}", tag = TAG, operation_id = "getConsumer",
    params(("name" = String, Path, description = "Its name", example = "invoices")),
    responses(
        (status = 200, description = "The consumer", body = dto::Consumer),
        Problems<{ CONSUMER }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Json<dto::Consumer>, Problem> {
    shown(&state, &parse(&name)?, None).await
}

/// Delete a consumer
///
/// The jobs that it made go on. One of the same name that is made later is another one.
#[utoipa::path(
    delete, path = "/v1/consumers/{name}", tag = TAG, operation_id = "deleteConsumer",
    params(("name" = String, Path, description = "Its name", example = "invoices")),
    responses(
        (status = 204, description = "It is deleted"),
        Problems<{ OWN }>,
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    state.engine.delete_consumer(&Caller::loopback(), &own(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pause a consumer
///
/// Events wait for it in the log, which keeps them for that: for 90 days at most. Pausing a paused one changes nothing.
#[utoipa::path(
    post, path = "/v1/consumers/{name}/pause", tag = TAG, operation_id = "pauseConsumer",
    params(("name" = String, Path, description = "Its name", example = "invoices")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "It is paused", body = dto::Consumer),
        Problems<{ OWN | CHANGE }>,
    )
)]
pub(super) async fn pause(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Consumer>, Problem> {
    let name = moved_by_itself(&name)?;
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    state.engine.pause_consumer(&caller, &name, reason).await?;
    shown(&state, &name, None).await
}

/// Resume a consumer
///
/// It goes on where it stood. With `"from": "now"` it passes over what came meanwhile, and `moved` says how much that was.
#[utoipa::path(
    post, path = "/v1/consumers/{name}/resume", tag = TAG, operation_id = "resumeConsumer",
    params(("name" = String, Path, description = "Its name", example = "invoices")),
    request_body = Option<dto::ConsumerResume>,
    responses(
        (status = 200, description = "It is not paused", body = dto::Consumer),
        Problems<{ OWN | CHANGE }>,
    )
)]
pub(super) async fn resume(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Consumer>, Problem> {
    let name = moved_by_itself(&name)?;
    let mut fields = read_optional(&state.bodies, request).await?;
    let from_now = read_from_now(&mut fields);
    let (caller, reason) = actor(fields)?;
    let moved = state.engine.resume_consumer(&caller, &name, from_now, reason).await?;
    shown(&state, &name, from_now.then_some(moved)).await
}

/// Whether what came during a pause is to be passed over.
pub(super) fn read_from_now(fields: &mut Fields) -> bool {
    let from = fields.read("from", |word| match word {
        "now" => Ok(()),
        _ => Err("from is \"now\", or left out to go on where it stood".to_owned()),
    });
    from.is_some()
}

/// Have a consumer go on somewhere else
///
/// `moved` says how many events it will not see, or will see again: of those, it makes jobs once more.
#[utoipa::path(
    post, path = "/v1/consumers/{name}/seek", tag = TAG, operation_id = "seekConsumer",
    params(("name" = String, Path, description = "Its name", example = "invoices")),
    request_body = dto::ConsumerSeek,
    responses(
        (status = 200, description = "It stands there now", body = dto::Consumer),
        Problems<{ OWN | CHANGE | of(&[ProblemCode::EventsGone]) }>,
    )
)]
pub(super) async fn seek(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Consumer>, Problem> {
    let name = moved_by_itself(&name)?;
    let text = body::read_json(&state.bodies, request).await?;
    let mut fields = Fields::parse("the body", &text, ProblemCode::InvalidRequest)?;
    if !fields.has("to") {
        fields.wrong("to", "say where to go on, such as {\"to\": \"now\"}");
    }
    let to = consumer_settings::read_start(&mut fields, "to");
    let (caller, reason) = actor(fields)?;
    let moved = state.engine.seek_consumer(&caller, &name, to.unwrap_or(Start::Now), reason).await?;
    shown(&state, &name, Some(moved)).await
}

/// Have a consumer go through a part of the log once more
///
/// Beside its own place, and with its settings as they are then: it makes a job of each event that it selects behind `after`,
/// up to `to`. With an `Idempotency-Key`, asking again returns 200 with the replay that was asked for first, for as long as it is remembered.
#[utoipa::path(
    post, path = "/v1/consumers/{name}/replay", tag = TAG, operation_id = "replayConsumer",
    params(
        ("name" = String, Path, description = "Its name", example = "invoices"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Your own name for the replay: 1 to 255 visible ASCII characters"),
    ),
    request_body = dto::NewReplay,
    responses(
        (status = 200, description = "It was asked for before, under this key", body = dto::Replay, headers(("Idempotency-Replayed" = String, description = "`true`"))),
        (status = 201, description = "It begins", body = dto::Replay),
        Problems<{ OWN | CHANGE | of(&[ProblemCode::EventsGone, ProblemCode::InvalidIdempotencyKey, ProblemCode::IdempotencyKeyReused, ProblemCode::TooManyReplays]) }>,
    )
)]
pub(super) async fn replay(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let name = moved_by_itself(&name)?;
    let key = idempotency::read_key(request.headers())?;
    let text = body::read_json(&state.bodies, request).await?;
    let mut fields = Fields::parse("the body", &text, ProblemCode::InvalidRequest)?;
    let mut place = |name: &'static str| {
        let place = fields.integer(name).and_then(|number| query::sequence_of(&number.to_string()));
        if place.is_none() {
            fields.wrong(
                name,
                "a replay goes from behind one event (after) to another (to): give the sequences of both",
            );
        }
        place.unwrap_or_default()
    };
    let part: (Sequence, Sequence) = (place("after"), place("to"));
    let (caller, reason) = actor(fields)?;
    let (replay, repeated) = state.engine.replay_consumer(&caller, &name, part, reason, key).await?;
    let body = Json(dto::Replay::from(&replay));
    Ok(if repeated {
        ([(idempotency::IDEMPOTENCY_REPLAYED, "true")], body).into_response()
    } else {
        (StatusCode::CREATED, body).into_response()
    })
}

/// The consumer as it is now.
async fn shown(
    state: &HttpState,
    name: &ConsumerName,
    moved: Option<Moved>,
) -> Result<Json<dto::Consumer>, Problem> {
    let view = state.engine.consumer(name).await?.ok_or_else(|| not_found(name.as_str()))?;
    let moved = moved.map(dto::Moved::from);
    Ok(Json(dto::Consumer { moved, ..dto::Consumer::from(&view) }))
}

/// The name of one that somebody set, which is changed and deleted by itself.
fn own(name: &str) -> Result<ConsumerName, Problem> {
    let name = moved_by_itself(name)?;
    match name.webhook() {
        Some(webhook) => Err(belongs(&name, "webhook", webhook.as_str())),
        None => Ok(name),
    }
}

/// The name of one that is paused and moved by itself: that of a webhook is.
fn moved_by_itself(name: &str) -> Result<ConsumerName, Problem> {
    let name = parse(name)?;
    match name.workflow() {
        Some(workflow) => Err(belongs(&name, "workflow", workflow.as_str())),
        None => Ok(name),
    }
}

fn belongs(name: &ConsumerName, kind: &str, owner: &str) -> Problem {
    let detail = format!("the consumer {name} belongs to the {kind} {owner}: it goes by /v1/{kind}s/{owner}");
    Problem::new(ProblemCode::ConsumerBelongs, detail)
}

/// The name. What cannot be one is not found either.
fn parse(name: &str) -> Result<ConsumerName, Problem> {
    ConsumerName::kept(name).map_err(|invalid: InvalidConsumerName| {
        Problem::new(ProblemCode::ConsumerNotFound, invalid.to_string())
    })
}

fn not_found(name: &str) -> Problem {
    let detail = format!("there is no consumer {name:?}; /v1/consumers lists those that there are");
    Problem::new(ProblemCode::ConsumerNotFound, detail)
}
