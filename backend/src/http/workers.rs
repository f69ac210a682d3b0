//! Who is there, and who takes jobs.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use crewcall_proto::WorkerId;

use super::{
    HttpState, dto,
    json::Json,
    problem::{Problem, ProblemCode},
    responses::{Problems, WORKER, of},
};
use crate::{
    domain::excerpt,
    engine::{Caller, commands::workers::TellError, fleet::registry::Worker},
};

const TAG: &str = "workers";

/// List workers
///
/// Those that are there, and those that were lost in the last ten minutes.
#[utoipa::path(
    get, path = "/v1/workers", tag = TAG, operation_id = "listWorkers",
    responses((status = 200, description = "The workers", body = dto::WorkerList))
)]
pub(super) async fn list(State(state): State<HttpState>) -> Json<dto::WorkerList> {
    let workers = state.engine.workers().iter().map(dto::Worker::from).collect();
    Json(dto::WorkerList { workers })
}

/// Get a worker
#[utoipa::path(
    get, path = "/v1/workers/{id}", tag = TAG, operation_id = "getWorker",
    params(("id" = String, Path, description = "The worker's id")),
    responses(
        (status = 200, description = "The worker", body = dto::Worker),
        Problems<{ of(&[ProblemCode::WorkerNotFound]) }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<dto::Worker>, Problem> {
    let worker = state.engine.worker(&parse_id(&id)?).ok_or_else(|| not_found(&id))?;
    Ok(Json(dto::Worker::from(&worker)))
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
        Problems<{ WORKER }>,
    )
)]
pub(super) async fn drain(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<dto::Worker>), Problem> {
    let worker_id = parse_id(&id)?;
    told(&id, state.engine.drain_worker(&Caller::loopback(), &worker_id).await)
}

/// Resume a worker
///
/// A drained worker is told to take orders again.
#[utoipa::path(
    post, path = "/v1/workers/{id}/resume", tag = TAG, operation_id = "resumeWorker",
    params(("id" = String, Path, description = "The worker's id")),
    responses(
        (status = 202, description = "The worker is told", body = dto::Worker),
        Problems<{ WORKER }>,
    )
)]
pub(super) async fn resume(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<dto::Worker>), Problem> {
    let worker_id = parse_id(&id)?;
    told(&id, state.engine.resume_worker(&Caller::loopback(), &worker_id).await)
}

/// What an instruction came to: the worker is told, and shows with its next heartbeat that it heard it.
fn told(id: &str, told: Result<Worker, TellError>) -> Result<(StatusCode, Json<dto::Worker>), Problem> {
    match told {
        Ok(worker) => Ok((StatusCode::ACCEPTED, Json(dto::Worker::from(&worker)))),
        Err(TellError::Unknown) => Err(not_found(id)),
        Err(TellError::Lost) => {
            let detail = format!("worker {id} fell silent and would not hear this");
            Err(Problem::new(ProblemCode::WorkerLost, detail))
        }
        Err(TellError::Unavailable(reason)) => Err(Problem::new(ProblemCode::BrokerUnavailable, reason)),
        Err(error @ TellError::Refused(_)) => Err(Problem::internal(&error)),
    }
}

/// The worker's id. What is not an id is nobody's.
fn parse_id(id: &str) -> Result<WorkerId, Problem> {
    id.parse().map_err(|_| not_found(id))
}

fn not_found(id: &str) -> Problem {
    let detail = format!("no worker {:?} is known; /v1/workers lists those that are", excerpt(id));
    Problem::new(ProblemCode::WorkerNotFound, detail)
}
