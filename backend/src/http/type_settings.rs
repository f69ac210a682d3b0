//! What operators set for types: pauses and limits.

use axum::extract::{Path, Request, State};
use crewcall_proto::JobType;

use super::{
    HttpState,
    actions::read_actor,
    body, dto,
    fields::Fields,
    json::Json,
    problem::{Problem, ProblemCode},
    responses::{CHANGE, Problems, TYPE, of},
    types,
};
use crate::{domain::TypeSettings, engine::Caller};

const TAG: &str = "types";

/// Pause a type
///
/// Its jobs are accepted and wait; attempts that are with the broker or run go on. Pausing a paused type
/// changes nothing. A type that nobody knows yet can be paused too; 404 means that it cannot be the name of a type.
#[utoipa::path(
    post, path = "/v1/types/{type}/pause", tag = TAG, operation_id = "pauseType",
    params(("type" = String, Path, description = "The type's name", example = "image.thumbnail")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "The type is paused", body = dto::Type),
        Problems<{ TYPE | CHANGE | of(&[ProblemCode::TooManyTypes]) }>,
    )
)]
pub(super) async fn pause(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Type>, Problem> {
    let job_type = types::parse_type(&name)?;
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    state.engine.pause_type(&caller, &job_type, reason).await?;
    changed(&state, &job_type).await
}

/// Resume a type
///
/// Ends its pause, if there is one.
#[utoipa::path(
    post, path = "/v1/types/{type}/resume", tag = TAG, operation_id = "resumeType",
    params(("type" = String, Path, description = "The type's name", example = "image.thumbnail")),
    request_body = Option<dto::Actor>,
    responses(
        (status = 200, description = "The type is not paused", body = dto::Type),
        Problems<{ TYPE | CHANGE }>,
    )
)]
pub(super) async fn resume(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Type>, Problem> {
    let job_type = types::parse_type(&name)?;
    let (caller, reason) = read_actor(&state.bodies, request).await?;
    // A name that was mistyped must not look like a success.
    if !state.engine.resume_type(&caller, &job_type, reason).await? {
        return Err(types::not_found(&name));
    }
    changed(&state, &job_type).await
}

/// Limit a type
///
/// Sets both limits; left out or null means no limit. A type that nobody knows yet can be limited too; 404 means that
/// it cannot be the name of a type.
#[utoipa::path(
    put, path = "/v1/types/{type}/limits", tag = TAG, operation_id = "limitType",
    params(("type" = String, Path, description = "The type's name", example = "image.thumbnail")),
    request_body = dto::Limits,
    responses(
        (status = 200, description = "The limits are set", body = dto::Type),
        Problems<{ TYPE | CHANGE | of(&[ProblemCode::TooManyTypes]) }>,
    )
)]
pub(super) async fn limit(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<dto::Type>, Problem> {
    let job_type = types::parse_type(&name)?;
    let text = body::read_json(&state.bodies, request).await?;
    let mut fields = Fields::parse("the body", &text, ProblemCode::InvalidRequest)?;
    let limits = TypeSettings::limits(fields.integer("running_max"), fields.number("rate_per_second"));
    let limits = fields.conclude(limits)?;
    state.engine.limit_type(&Caller::loopback(), &job_type, limits).await?;
    changed(&state, &job_type).await
}

/// The type as the command left it, also if nothing is left of it.
async fn changed(state: &HttpState, job_type: &JobType) -> Result<Json<dto::Type>, Problem> {
    let view = state.engine.any_job_type(job_type).await?;
    Ok(Json(dto::Type::from(&view)))
}
