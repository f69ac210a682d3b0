//! Who is there, and who takes jobs.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use crewcall_proto::{WorkerId, control::Control};

use super::{
    HttpState, dto,
    problem::{Code, Problem, ProblemBody},
};
use crate::{
    domain::excerpt,
    engine::{
        fleet::registry::{Presence, Worker},
        ports::BrokerError,
    },
};

/// How long the broker may take to confirm an instruction to a worker.
const TELL_TIME_MAX: Duration = Duration::from_secs(2);

/// The tag of these routes in the document.
const TAG: &str = "workers";

/// List workers
///
/// Those that are there, and those that were lost in the last ten minutes.
#[utoipa::path(
    get, path = "/v1/workers", tag = TAG, operation_id = "listWorkers",
    responses((status = 200, description = "The workers", body = dto::WorkerList))
)]
pub(super) async fn list(State(state): State<HttpState>) -> Json<dto::WorkerList> {
    let workers = state.jobs.registry.workers().iter().map(dto::Worker::from).collect();
    Json(dto::WorkerList { workers })
}

/// Get a worker
#[utoipa::path(
    get, path = "/v1/workers/{id}", tag = TAG, operation_id = "getWorker",
    params(("id" = String, Path, description = "The worker's id")),
    responses(
        (status = 200, description = "The worker", body = dto::Worker),
        (status = 404, description = "`worker-not-found`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<dto::Worker>, Problem> {
    find(&state, &id).map(|worker| Json(dto::Worker::from(&worker)))
}

/// Drain a worker
///
/// It is told to finish what it runs and to take no more, until it is told to resume. That it does so shows in
/// its next heartbeat.
#[utoipa::path(
    post, path = "/v1/workers/{id}/drain", tag = TAG, operation_id = "drainWorker",
    params(("id" = String, Path, description = "The worker's id")),
    responses(
        (status = 202, description = "The worker is told", body = dto::Worker),
        (status = 404, description = "`worker-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`worker-lost`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`broker-unavailable`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn drain(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<dto::Worker>), Problem> {
    tell(&state, &id, &Control::Drain).await
}

/// Resume a worker
///
/// A drained worker is told to take orders again.
#[utoipa::path(
    post, path = "/v1/workers/{id}/resume", tag = TAG, operation_id = "resumeWorker",
    params(("id" = String, Path, description = "The worker's id")),
    responses(
        (status = 202, description = "The worker is told", body = dto::Worker),
        (status = 404, description = "`worker-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`worker-lost`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`broker-unavailable`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<dto::Worker>), Problem> {
    tell(&state, &id, &Control::Resume).await
}

async fn tell(
    state: &HttpState,
    id: &str,
    control: &Control,
) -> Result<(StatusCode, Json<dto::Worker>), Problem> {
    let worker = find(state, id)?;
    let worker_id = &worker.announcement.worker_id;
    if worker.presence == Presence::Lost {
        let detail = format!("worker {worker_id} fell silent: it would not hear it");
        return Err(Problem::new(Code::WorkerLost, detail));
    }
    let (registry, broker) = (&state.jobs.registry, &state.jobs.broker);
    let away = |reason: String| Problem::new(Code::BrokerUnavailable, reason);
    // The link would wait for the broker's return, and the caller with it.
    if let Some(trouble) = broker.status().borrow().trouble() {
        return Err(away(format!("the worker cannot be told through the broker: {trouble}")));
    }
    // Before it is told: should it connect again meanwhile, it is told with its welcome.
    let before = registry.set_drained(worker_id, *control == Control::Drain);
    let told = broker.tell_worker(worker_id, registry.content_type(worker_id), control);
    let told = tokio::time::timeout(TELL_TIME_MAX, told).await;
    if !matches!(told, Ok(Ok(()))) {
        registry.set_drained(worker_id, before);
    }
    match told {
        Ok(Ok(())) => Ok((StatusCode::ACCEPTED, Json(dto::Worker::from(&worker)))),
        Ok(Err(error @ (BrokerError::Unavailable { .. } | BrokerError::Closed))) => {
            Err(away(error.to_string()))
        }
        Ok(Err(error @ BrokerError::Refused { .. })) => Err(Problem::internal(&error)),
        Err(_) => Err(away(format!("the broker did not confirm it within {} s", TELL_TIME_MAX.as_secs()))),
    }
}

fn find(state: &HttpState, id: &str) -> Result<Worker, Problem> {
    // What is no id is nobody's id.
    let worker = id.parse::<WorkerId>().ok().and_then(|id| state.jobs.registry.worker(&id));
    worker.ok_or_else(|| {
        let detail = format!("no worker {:?} is known; /v1/workers lists those that are", excerpt(id));
        Problem::new(Code::WorkerNotFound, detail)
    })
}
