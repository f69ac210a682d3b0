//! For those who run the backend: does it live, can it work, what does it count.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use crewcall_proto::JobType;

use super::{HttpState, dto, types::WAITING};
use crate::engine::{Jobs, fleet::registry::Presence};

/// The tag of these routes in the document.
const TAG: &str = "operation";

/// How long the store may take to answer before it counts as not there.
const STORE_TIME_MAX: Duration = Duration::from_secs(2);

/// The Prometheus text format.
const METRICS_MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Is the process alive?
///
/// 200 for as long as it runs. It says nothing about the broker: restarting the backend would not help that.
#[utoipa::path(
    get, path = "/livez", tag = TAG, operation_id = "alive",
    responses((status = 200, description = "It is", body = dto::Alive))
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
        (status = 200, description = "It can", body = dto::Readiness),
        (status = 503, description = "It cannot, and why", body = dto::Readiness),
    )
)]
pub(super) async fn readyz(State(state): State<HttpState>) -> impl IntoResponse {
    let store = match tokio::time::timeout(STORE_TIME_MAX, state.jobs.store.check()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("the store did not answer within {} s", STORE_TIME_MAX.as_secs())),
    };
    let broker = state.jobs.broker.status().borrow().trouble();
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
    let text = {
        let _alone = state.scrape.lock().await;
        count_jobs(&state.jobs).await;
        count_workers(&state.jobs);
        state.jobs.metrics.render()
    };
    ([(header::CONTENT_TYPE, METRICS_MEDIA_TYPE)], text)
}

/// Sets the gauges of jobs. They are counted when somebody asks, so that nobody pays for it otherwise.
async fn count_jobs(jobs: &Jobs) {
    let counts = match jobs.store.counts().await {
        Ok(counts) => counts,
        Err(error) => {
            tracing::warn!(%error, "The jobs could not be counted; their gauges keep their last values.");
            return;
        }
    };
    jobs.metrics.set_jobs(counts.iter().map(|count| (&count.job_type, count.state.as_str(), count.jobs)));
    let waiting = counts.into_iter().filter(|count| WAITING.contains(&count.state));
    let types: BTreeSet<JobType> = waiting.map(|count| count.job_type).collect();
    let oldest = match jobs.store.oldest(types.into_iter().collect(), WAITING).await {
        Ok(oldest) => oldest,
        Err(error) => {
            tracing::warn!(%error, "The oldest jobs could not be found; their gauges keep their last values.");
            return;
        }
    };
    let now = jobs.clock.now();
    jobs.metrics.set_oldest_waiting(oldest.iter().map(|(job_type, created_at)| {
        let age_ms = now.as_millis().saturating_sub(created_at.as_millis());
        (job_type, Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)))
    }));
}

fn count_workers(jobs: &Jobs) {
    let workers = jobs.registry.workers();
    let there = || workers.iter().filter(|worker| worker.presence != Presence::Lost);
    let with = |presence| workers.iter().filter(|worker| worker.presence == presence).count();
    let slots = there().map(|worker| u64::from(worker.announcement.slots)).sum();
    let slots_busy = there().map(|worker| u64::from(worker.slots_busy)).sum();
    let by_presence = Presence::ALL.map(|presence| (presence.as_str(), with(presence)));
    jobs.metrics.set_workers(by_presence, slots, slots_busy);
}
