//! Hooks: where other services tell us what happened.

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    HttpState,
    actions::read_actor,
    body, dto, hook_settings, idempotency,
    json::Json,
    problem::{Problem, ProblemCode},
    request::caller,
    responses::{BODY, CHANGE, Codes, Problems, STORE, of},
};
use crate::{
    domain::{HookName, InvalidHookName},
    engine::{DELIVERY_BYTES_MAX, DeliveryError, HookError, Published, Put},
};

const TAG: &str = "hooks";

/// What a 401 says of how one gets in (RFC 9110, section 11.6.1): by a signature in the headers of the request.
const CHALLENGE: &str = "Webhook-Signature";

/// Naming a hook.
const HOOK: Codes = STORE | of(&[ProblemCode::HookNotFound]);

/// Set a hook
///
/// Makes it (201), or changes how its requests are verified (200). Without `secret`, it keeps the one that it has; a new hook of Standard
/// Webhooks gets one, which only this answer shows. The same again changes nothing.
#[utoipa::path(
    put, path = "/v1/hooks/{name}", tag = TAG, operation_id = "putHook",
    params(("name" = String, Path, description = "Its name: 1 to 100 characters of a-z 0-9 . _ - in dot-separated words", example = "github")),
    request_body = dto::NewHook,
    responses(
        (status = 200, description = "It was there, and is verified like this now", body = dto::Hook),
        (status = 201, description = "It is made", body = dto::Hook, headers(("Location" = String, description = "Its path"))),
        Problems<{ HOOK | BODY | of(&[ProblemCode::InvalidHook, ProblemCode::TooManyHooks]) }>,
    )
)]
pub(super) async fn put(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse(&name)?;
    let caller = caller(&request);
    let text = body::read_json(&state.bodies, request).await?;
    let (check, secret) = hook_settings::read(&text)?;
    let put = state.engine.put_hook(&caller, &name, check, secret).await;
    let put = put.map_err(|error| refused(&name, error))?;
    let shown = shown(&state, &name)?;
    let secret = put.made.map(|made| made.reveal().to_owned());
    let hook = Json(dto::Hook { secret, ..shown });
    Ok(match put.put {
        Put::Created => {
            let at = [(header::LOCATION, format!("/v1/hooks/{name}"))];
            (StatusCode::CREATED, at, hook).into_response()
        }
        Put::Changed | Put::Unchanged => hook.into_response(),
    })
}

/// List hooks
#[utoipa::path(
    get, path = "/v1/hooks", tag = TAG, operation_id = "listHooks",
    responses(
        (status = 200, description = "All of them, by name, without their secrets", body = dto::HookList),
        Problems<0>,
    )
)]
pub(super) async fn list(State(state): State<HttpState>) -> Json<dto::HookList> {
    Json(dto::HookList { hooks: state.engine.hook_views().iter().map(dto::Hook::from).collect() })
}

/// Get a hook
///
/// How its requests are verified; never its secret.
#[utoipa::path(
    get, path = "/v1/hooks/{name}", tag = TAG, operation_id = "getHook",
    params(("name" = String, Path, description = "Its name", example = "github")),
    responses(
        (status = 200, description = "The hook", body = dto::Hook),
        Problems<{ HOOK }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Json<dto::Hook>, Problem> {
    shown(&state, &parse(&name)?).map(Json)
}

/// Delete a hook
///
/// What comes for it is refused from now on. The events that deliveries to it became stay.
#[utoipa::path(
    delete, path = "/v1/hooks/{name}", tag = TAG, operation_id = "deleteHook",
    params(("name" = String, Path, description = "Its name", example = "github")),
    responses(
        (status = 204, description = "It is deleted"),
        Problems<{ HOOK }>,
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let name = parse(&name)?;
    let deleted = state.engine.delete_hook(&caller(&request), &name).await;
    deleted.map_err(|error| refused(&name, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate the secret of a hook
///
/// Of one of Standard Webhooks: the new secret is in this answer alone, and the one before is accepted for 24 hours more. Another
/// rotation within that time is refused, since it would lock out whoever has either of the two.
#[utoipa::path(
    post, path = "/v1/hooks/{name}/rotate", tag = TAG, operation_id = "rotateHook",
    params(("name" = String, Path, description = "Its name", example = "github")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "It has a new secret", body = dto::Hook),
        Problems<{ HOOK | CHANGE | of(&[ProblemCode::HookNotRotatable]) }>,
    )
)]
pub(super) async fn rotate(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Hook>, Problem> {
    let name = parse(&name)?;
    let (caller, _) = read_actor(&state.bodies, request).await?;
    let secret = state.engine.rotate_hook(&caller, &name).await.map_err(|error| refused(&name, error))?;
    Ok(Json(dto::Hook { secret: Some(secret.reveal().to_owned()), ..shown(&state, &name)? }))
}

/// Deliver to a hook
///
/// For the other service. The body is JSON, at most 256 KiB, and becomes the data of the event `hook.<name>`; a 201 means that it is on
/// disk. It is verified as the hook says, by its bytes. A delivery that comes again, by the sender's id, is answered with 200 and the event that
/// it became first; without an id, by its body.
#[utoipa::path(
    post, path = "/v1/hooks/{name}", tag = TAG, operation_id = "deliverToHook",
    params(("name" = String, Path, description = "Its name", example = "github")),
    request_body(content = Object, description = "Any JSON but null", content_type = "application/json"),
    responses(
        (status = 200, description = "It is an event already", body = dto::HookDelivery, headers(("Location" = String, description = "The event's path"), ("Idempotency-Replayed" = String, description = "`true`"))),
        (status = 201, description = "It is an event", body = dto::HookDelivery, headers(("Location" = String, description = "The event's path"))),
        Problems<{ HOOK | of(&[
            ProblemCode::HookUnverified, ProblemCode::InvalidDelivery, ProblemCode::EventIdReused, ProblemCode::UnreadableBody,
            ProblemCode::BodyTimeout, ProblemCode::BodyTooLarge, ProblemCode::TooManyBodies,
        ]) }>,
    )
)]
pub(super) async fn deliver(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    // Before the body is read, and so sooner than for a hook that there is: the names of hooks are no secrets.
    let name = parse(&name)?;
    if state.engine.hook_view(&name).is_none() {
        return Err(not_found(&name));
    }
    let caller = caller(&request);
    let (headers, body) = body::read_signed(&state.bodies, request, DELIVERY_BYTES_MAX).await?;
    let delivered = state.engine.deliver(&caller, &name, &headers, &body).await;
    let published = match delivered {
        Ok(published) => published,
        Err(error) => return undelivered(&name, error),
    };
    let event = published.event();
    let at = [(header::LOCATION, format!("/v1/events/{}", event.sequence))];
    let told = Json(dto::HookDelivery::from(event.as_ref()));
    Ok(match published {
        Published::Recorded(_) => (StatusCode::CREATED, at, told).into_response(),
        Published::Replayed(_) => (at, [(idempotency::IDEMPOTENCY_REPLAYED, "true")], told).into_response(),
    })
}

/// The hook as it is now.
fn shown(state: &HttpState, name: &HookName) -> Result<dto::Hook, Problem> {
    let view = state.engine.hook_view(name).ok_or_else(|| not_found(name))?;
    Ok(dto::Hook::from(&view))
}

/// The name. What cannot be one is not found either.
fn parse(name: &str) -> Result<HookName, Problem> {
    name.parse()
        .map_err(|invalid: InvalidHookName| Problem::new(ProblemCode::HookNotFound, invalid.to_string()))
}

fn not_found(name: &HookName) -> Problem {
    let detail = format!("there is no hook \"{name}\"; /v1/hooks lists those that there are");
    Problem::new(ProblemCode::HookNotFound, detail)
}

fn refused(name: &HookName, error: HookError) -> Problem {
    let code = match error {
        HookError::Invalid(problems) => return Problem::with_errors(ProblemCode::InvalidHook, problems),
        HookError::Unknown => return not_found(name),
        HookError::Store(error) => return error.into(),
        HookError::TooMany => ProblemCode::TooManyHooks,
        HookError::NotRotatable(_) => ProblemCode::HookNotRotatable,
    };
    Problem::new(code, error.to_string())
}

/// Why nothing was recorded. What is missing or wrong is told, and never what would have been right.
fn undelivered(name: &HookName, error: DeliveryError) -> Result<Response, Problem> {
    Err(match error {
        DeliveryError::Unverified(error) => {
            let problem = Problem::new(ProblemCode::HookUnverified, error.to_string());
            return Ok(([(header::WWW_AUTHENTICATE, CHALLENGE)], problem).into_response());
        }
        DeliveryError::Unknown => not_found(name),
        DeliveryError::Invalid(problems) => Problem::with_errors(ProblemCode::InvalidDelivery, problems),
        DeliveryError::IdTaken(_) => Problem::new(ProblemCode::EventIdReused, error.to_string()),
        DeliveryError::Store(error) => error.into(),
    })
}
