//! For those who run the backend: does it live, can it work, what does it count.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use super::{HttpState, dto, json::Json};
use crate::engine::queries::Readiness;

const TAG: &str = "operation";

/// The Prometheus text format.
const METRICS_MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Is the process alive?
///
/// 200 for as long as it runs. It says nothing about the broker: restarting the backend would not help that.
#[utoipa::path(
    get, path = "/livez", tag = TAG, operation_id = "alive",
    responses((status = 200, description = "The process is alive", body = dto::Alive))
)]
pub(super) async fn livez() -> Json<dto::Alive> {
    Json(dto::Alive { status: "ok" })
}

/// Can it do its work?
///
/// 503 while the store cannot be read and written or the broker is not there. Without the broker, submissions are
/// accepted all the same, and wait.
#[utoipa::path(
    get, path = "/readyz", tag = TAG, operation_id = "ready",
    responses(
        (status = 200, description = "The backend can do its work", body = dto::Readiness),
        (status = 503, description = "The backend cannot do its work; `checks` says why.", body = dto::Readiness),
    )
)]
pub(super) async fn readyz(State(state): State<HttpState>) -> impl IntoResponse {
    let Readiness { store, broker } = state.engine.readiness().await;
    let ready = store.is_none() && broker.is_none();
    let checks = dto::Checks { store: dto::Check::new(store), broker: dto::Check::new(broker) };
    let (code, status) =
        if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (code, Json(dto::Readiness { status, checks }))
}

/// What is counted
///
/// In the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = TAG, operation_id = "metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    state.metrics.set_http_watchers(state.watching());
    ([(header::CONTENT_TYPE, METRICS_MEDIA_TYPE)], state.engine.render_metrics().await)
}
