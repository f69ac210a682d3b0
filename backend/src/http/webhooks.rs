//! Webhooks: where events are delivered to.

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    HttpState,
    actions::{actor, read_actor, read_optional},
    body,
    consumers::read_from_now,
    dto,
    json::Json,
    problem::{Problem, ProblemCode},
    request::caller,
    responses::{BODY, CHANGE, Codes, Problems, STORE, of},
    webhook_settings::{self, WebhookSettings},
};
use crate::{
    domain::{InvalidWebhookName, WebhookName},
    engine::{Put, WebhookError},
};

const TAG: &str = "webhooks";

/// Naming a webhook.
const WEBHOOK: Codes = STORE | of(&[ProblemCode::WebhookNotFound]);

/// Set a webhook
///
/// Makes it (201), with a secret that only this answer shows; or changes its URL and what it wants (200): it keeps its secret and its place in
/// the log then. The same again changes nothing. From the next event on, each that it selects is delivered: a signed POST, tried ten times over
/// three days.
#[utoipa::path(
    put, path = "/v1/webhooks/{name}", tag = TAG, operation_id = "putWebhook",
    params(("name" = String, Path, description = "Its name: 1 to 128 characters of a-z 0-9 . _ - in dot-separated words", example = "shop")),
    request_body = dto::NewWebhook,
    responses(
        (status = 200, description = "It was there, and is like this now", body = dto::Webhook),
        (status = 201, description = "It is made", body = dto::Webhook, headers(("Location" = String, description = "Its path"))),
        Problems<{ WEBHOOK | BODY | of(&[ProblemCode::InvalidWebhook, ProblemCode::TooManyWebhooks]) }>,
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
    let WebhookSettings { url, subjects, condition } = webhook_settings::read(&text)?;
    let put = state.engine.put_webhook(&caller, &name, &url, (subjects, condition)).await;
    let put = put.map_err(|error| refused(&name, error))?;
    let shown = shown(&state, &name).await?;
    let webhook = Json(dto::Webhook { secret: put.made.map(|made| made.reveal()), ..shown });
    Ok(match put.put {
        Put::Created => {
            let at = [(header::LOCATION, format!("/v1/webhooks/{name}"))];
            (StatusCode::CREATED, at, webhook).into_response()
        }
        Put::Changed | Put::Unchanged => webhook.into_response(),
    })
}

/// List webhooks
#[utoipa::path(
    get, path = "/v1/webhooks", tag = TAG, operation_id = "listWebhooks",
    responses(
        (status = 200, description = "All of them, by name, without their secrets", body = dto::WebhookList),
        Problems<{ STORE }>,
    )
)]
pub(super) async fn list(State(state): State<HttpState>) -> Result<Json<dto::WebhookList>, Problem> {
    let views = state.engine.webhook_views().await?;
    Ok(Json(dto::WebhookList { webhooks: views.iter().map(dto::Webhook::from).collect() }))
}

/// Get a webhook
///
/// Where it leads to, what it wants and how far it got; never its secret.
#[utoipa::path(
    get, path = "/v1/webhooks/{name}", tag = TAG, operation_id = "getWebhook",
    params(("name" = String, Path, description = "Its name", example = "shop")),
    responses(
        (status = 200, description = "The webhook", body = dto::Webhook),
        Problems<{ WEBHOOK }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Json<dto::Webhook>, Problem> {
    shown(&state, &parse(&name)?).await.map(Json)
}

/// Delete a webhook
///
/// Nothing is delivered to it from now on: deliveries that are to be tried again fail at their next try.
#[utoipa::path(
    delete, path = "/v1/webhooks/{name}", tag = TAG, operation_id = "deleteWebhook",
    params(("name" = String, Path, description = "Its name", example = "shop")),
    responses(
        (status = 204, description = "It is deleted"),
        Problems<{ WEBHOOK }>,
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let name = parse(&name)?;
    let deleted = state.engine.delete_webhook(&caller(&request), &name).await;
    deleted.map_err(|error| refused(&name, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate the secret of a webhook
///
/// The new secret is in this answer alone. For 24 hours, messages carry two signatures, the second with the secret before, so that the
/// receiver can change its own at any time. Another rotation within that time is refused.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}/rotate", tag = TAG, operation_id = "rotateWebhook",
    params(("name" = String, Path, description = "Its name", example = "shop")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "It has a new secret", body = dto::Webhook),
        Problems<{ WEBHOOK | CHANGE | of(&[ProblemCode::WebhookRotating]) }>,
    )
)]
pub(super) async fn rotate(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Webhook>, Problem> {
    let name = parse(&name)?;
    let (caller, _) = read_actor(&state.bodies, request).await?;
    let secret = state.engine.rotate_webhook(&caller, &name).await.map_err(|error| refused(&name, error))?;
    Ok(Json(dto::Webhook { secret: Some(secret.reveal()), ..shown(&state, &name).await? }))
}

/// Pause a webhook
///
/// Events wait for it in the log, which keeps them for that: for 90 days at most. Deliveries that are to be tried again are still tried. Pausing a
/// paused one changes nothing.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}/pause", tag = TAG, operation_id = "pauseWebhook",
    params(("name" = String, Path, description = "Its name", example = "shop")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "It is paused", body = dto::Webhook),
        Problems<{ WEBHOOK | CHANGE }>,
    )
)]
pub(super) async fn pause(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Webhook>, Problem> {
    let name = parse(&name)?;
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    let paused = state.engine.pause_webhook(&caller, &name, reason).await;
    paused.map_err(|error| refused(&name, error))?;
    shown(&state, &name).await.map(Json)
}

/// Resume a webhook
///
/// It goes on where it stood, also when its receiver had answered 410. With `"from": "now"` it passes over what came meanwhile, and `moved`
/// says how much that was.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}/resume", tag = TAG, operation_id = "resumeWebhook",
    params(("name" = String, Path, description = "Its name", example = "shop")),
    request_body = Option<dto::ConsumerResume>,
    responses(
        (status = 200, description = "It is not paused", body = dto::Webhook),
        Problems<{ WEBHOOK | CHANGE }>,
    )
)]
pub(super) async fn resume(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Webhook>, Problem> {
    let name = parse(&name)?;
    let mut fields = read_optional(&state.bodies, request).await?;
    let from_now = read_from_now(&mut fields);
    let (caller, reason) = actor(fields)?;
    let resumed = state.engine.resume_webhook(&caller, &name, from_now, reason).await;
    let moved = resumed.map_err(|error| refused(&name, error))?;
    let moved = from_now.then(|| dto::Moved::from(moved));
    Ok(Json(dto::Webhook { moved, ..shown(&state, &name).await? }))
}

/// The webhook as it is now.
async fn shown(state: &HttpState, name: &WebhookName) -> Result<dto::Webhook, Problem> {
    let view = state.engine.webhook_view(name).await?.ok_or_else(|| not_found(name))?;
    Ok(dto::Webhook::from(&view))
}

/// The name. What cannot be one is not found either.
fn parse(name: &str) -> Result<WebhookName, Problem> {
    name.parse().map_err(|invalid: InvalidWebhookName| {
        Problem::new(ProblemCode::WebhookNotFound, invalid.to_string())
    })
}

fn not_found(name: &WebhookName) -> Problem {
    let detail = format!("there is no webhook \"{name}\"; /v1/webhooks lists those that there are");
    Problem::new(ProblemCode::WebhookNotFound, detail)
}

fn refused(name: &WebhookName, error: WebhookError) -> Problem {
    let code = match error {
        WebhookError::Invalid(problems) => {
            return Problem::with_errors(ProblemCode::InvalidWebhook, problems);
        }
        WebhookError::Unknown => return not_found(name),
        WebhookError::Store(error) => return error.into(),
        WebhookError::TooMany => ProblemCode::TooManyWebhooks,
        WebhookError::Rotating { .. } => ProblemCode::WebhookRotating,
    };
    Problem::new(code, error.to_string())
}
