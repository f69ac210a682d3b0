//! Which job types there are: what workers announced, and what jobs have.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use crewcall_proto::JobType;

use super::{
    HttpState, detached, dto,
    problem::{Code, Problem, ProblemBody},
};
use crate::{
    dispatch::{forget::Forgotten, ports::Count},
    domain::State as JobState,
};

/// The tag of these routes in the document.
const TAG: &str = "types";

/// List job types
///
/// Every type that was ever announced, has jobs, or had something set for it, with its schemas, its workers and how many jobs are in each state.
#[utoipa::path(
    get, path = "/v1/types", tag = TAG, operation_id = "listTypes",
    responses(
        (status = 200, description = "The types", body = dto::TypeList),
        (status = 500, description = "`internal-error`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store-unavailable`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(State(state): State<HttpState>) -> Result<Json<dto::TypeList>, Problem> {
    let counts = state.jobs.store.counts().await?;
    let mut by_type: BTreeMap<JobType, Vec<&Count>> = BTreeMap::new();
    for stored in state.jobs.catalogue.all() {
        by_type.entry(stored.job_type).or_default();
    }
    for (job_type, _) in state.jobs.store.flows().await? {
        by_type.entry(job_type).or_default();
    }
    for job_type in state.jobs.catalogue.refused() {
        by_type.entry(job_type).or_default();
    }
    for count in &counts {
        by_type.entry(count.job_type.clone()).or_default().push(count);
    }
    let types = by_type.iter().map(|(job_type, counts)| described(&state, job_type, counts)).collect();
    Ok(Json(dto::TypeList { types }))
}

/// Get a job type
#[utoipa::path(
    get, path = "/v1/types/{type}", tag = TAG, operation_id = "getType",
    params(("type" = String, Path, description = "The type's name", example = "image.thumbnail")),
    responses(
        (status = 200, description = "The type", body = dto::Type),
        (status = 404, description = "`type-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store-unavailable`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Json<dto::Type>, Problem> {
    let job_type = named(&name)?;
    read(&state, &job_type).await.map(Json)
}

/// Forget a job type
///
/// Deletes a type that nobody uses any more, with what was set for it and its queue. A worker that announces it, or a
/// job that names it, makes it known again. Types without jobs and workers are also forgotten by themselves after a time.
#[utoipa::path(
    delete, path = "/v1/types/{type}", tag = TAG, operation_id = "deleteType",
    params(("type" = String, Path, description = "The type's name", example = "image.thumbnail")),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = 404, description = "`type-not-found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`type-in-use`: it has jobs, over or not, or workers", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store-unavailable`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let job_type = named(&name)?;
    let jobs = Arc::clone(&state.jobs);
    let forgotten = detached(&state, async move { jobs.forget_type(&job_type).await }).await??;
    match forgotten {
        Forgotten::Done => Ok(StatusCode::NO_CONTENT),
        Forgotten::Unknown => Err(not_found(&name)),
        Forgotten::HasWorkers(workers) => Err(Problem::new(
            Code::TypeInUse,
            format!("{workers} workers serve {name}: end them first, or a new one would bring it back"),
        )),
        Forgotten::HasJobs => Err(Problem::new(
            Code::TypeInUse,
            format!(
                "{name} has jobs: those that are not over have to end, and those that are over are deleted after their time"
            ),
        )),
    }
}

/// The type of this name.
///
/// # Errors
///
/// The [`Problem`] to answer when it is no type's name, and so nobody's.
pub(super) fn named(name: &str) -> Result<JobType, Problem> {
    JobType::new(name).map_err(|invalid| Problem::new(Code::TypeNotFound, invalid.to_string()))
}

/// A type as it is now.
///
/// # Errors
///
/// The [`Problem`] to answer when nobody knows it, or the store cannot be read.
pub(super) async fn read(state: &HttpState, job_type: &JobType) -> Result<dto::Type, Problem> {
    let counts = state.jobs.store.counts().await?;
    let counts: Vec<&Count> = counts.iter().filter(|count| count.job_type == *job_type).collect();
    let catalogue = &state.jobs.catalogue;
    if counts.is_empty() && !catalogue.knows(job_type) && catalogue.refusal(job_type).is_none() {
        let set = state.jobs.store.flows().await?;
        if !set.iter().any(|(known, _)| known == job_type) {
            return Err(not_found(job_type.as_str()));
        }
    }
    Ok(described(state, job_type, &counts))
}

fn not_found(name: &str) -> Problem {
    let detail =
        format!("no worker ever announced {name:?}, and no job has it; /v1/types lists those that are known");
    Problem::new(Code::TypeNotFound, detail)
}

fn described(state: &HttpState, job_type: &JobType, counts: &[&Count]) -> dto::Type {
    let stored = state.jobs.catalogue.get(job_type);
    let waiting = counts.iter().filter(|count| waits_for_a_start(count.state));
    let oldest_waiting = waiting.filter_map(|count| count.oldest_created_at).min();
    let flow = state.jobs.flow.get(job_type);
    let capacity = state.jobs.registry.capacity(job_type);
    dto::Type {
        queue_error: state.jobs.queue_error(job_type),
        schema_error: state.jobs.catalogue.schema_error(job_type),
        refused: state.jobs.catalogue.refusal(job_type),
        ..dto::Type::new(job_type, stored, capacity, counts, &flow, oldest_waiting)
    }
}

/// Whether a job in this state is due and has not started: what "oldest waiting" is about.
pub(super) const fn waits_for_a_start(state: JobState) -> bool {
    match state {
        JobState::Ready | JobState::Unroutable | JobState::Dispatched => true,
        JobState::Scheduled
        | JobState::Running
        | JobState::Completed
        | JobState::Failed
        | JobState::Cancelled => false,
    }
}
