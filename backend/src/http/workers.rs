//! Who is there.

use axum::{
    Json,
    extract::{Path, State},
};
use crewcall_proto::WorkerId;

use super::{
    HttpState, dto,
    problem::{Code, Problem, ProblemBody},
};

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
    // What is no id is nobody's id.
    let worker = id.parse::<WorkerId>().ok().and_then(|id| state.jobs.registry.worker(&id));
    worker.map(|worker| Json(dto::Worker::from(&worker))).ok_or_else(|| {
        let detail = format!("no worker {id:?} is known; /v1/workers lists those that are");
        Problem::new(Code::WorkerNotFound, detail)
    })
}
