//! Which job types there are: what workers announced, and what jobs have.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::StatusCode,
};
use crewcall_proto::{JobType, Timestamp};

use super::{
    HttpState, cursor, detached, dto,
    problem::{Code, Problem, ProblemBody},
    query::TypesQuery,
};
use crate::{
    domain::{State as JobState, TypeSettings},
    engine::{ports::Count, upkeep::forget::Forgotten},
};

/// The tag of these routes in the document.
const TAG: &str = "types";

/// The schemas of one page may be this large, in bytes; then it ends early.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The states of jobs that are due and have not started: what "oldest waiting" is about.
pub(super) const WAITING: &[JobState] = &[JobState::Ready, JobState::Unroutable, JobState::Dispatched];

/// List job types
///
/// Every type that was ever announced, has jobs, or had something set for it, with its schemas, its workers and how many jobs are in each state. By name.
#[utoipa::path(
    get, path = "/v1/types", tag = TAG, operation_id = "listTypes",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 500 if not given; a page of large schemas has fewer"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::TypeList),
        (status = 400, description = "`invalid-query`, `invalid-cursor`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store-unavailable`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::TypeList>, Problem> {
    let TypesQuery { limit, after } = TypesQuery::read(raw.as_deref())?;
    let counts = state.jobs.store.counts().await?;
    let mut by_type: BTreeMap<JobType, Vec<Count>> = BTreeMap::new();
    for job_type in state.jobs.catalogue.names().into_iter().chain(state.jobs.flow.names()) {
        by_type.entry(job_type).or_default();
    }
    for job_type in state.jobs.catalogue.refused() {
        by_type.entry(job_type).or_default();
    }
    for count in counts {
        by_type.entry(count.job_type.clone()).or_default().push(count);
    }
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    // One more than is wanted tells whether there are more.
    let page: Vec<_> = by_type.range((from, Bound::Unbounded)).take(limit + 1).collect();
    let names = page.iter().take(limit).map(|(job_type, _)| (*job_type).clone()).collect();
    let oldest: HashMap<_, _> = state.jobs.store.oldest(names, WAITING).await?.into_iter().collect();
    let (mut types, mut schema_bytes) = (Vec::new(), 0);
    for (job_type, counts) in page.iter().take(limit) {
        let described = described(&state, job_type, counts, oldest.get(*job_type).copied());
        schema_bytes += described.schema_bytes();
        types.push(described);
        if schema_bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    let last = page.get(types.len()).and_then(|_| types.last());
    let next_cursor = last.map(|last| cursor::encode_name(&last.r#type));
    Ok(Json(dto::TypeList { types, next_cursor }))
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
    let counts = state.jobs.store.counts_of(job_type).await?;
    let is_set = state.jobs.flow.get(job_type) != TypeSettings::default();
    let catalogue = &state.jobs.catalogue;
    let is_known = catalogue.knows(job_type) || catalogue.refusal(job_type).is_some();
    if counts.is_empty() && !is_set && !is_known {
        return Err(not_found(job_type.as_str()));
    }
    read_any(state, job_type).await
}

/// A type as it is now, also one that nobody knows any more: what was just removed from it may have been all.
///
/// # Errors
///
/// The [`Problem`] to answer when the store cannot be read.
pub(super) async fn read_any(state: &HttpState, job_type: &JobType) -> Result<dto::Type, Problem> {
    let counts = state.jobs.store.counts_of(job_type).await?;
    let oldest = state.jobs.store.oldest(vec![job_type.clone()], WAITING).await?.pop();
    Ok(described(state, job_type, &counts, oldest.map(|(_, oldest)| oldest)))
}

fn not_found(name: &str) -> Problem {
    let detail =
        format!("no worker ever announced {name:?}, and no job has it; /v1/types lists those that are known");
    Problem::new(Code::TypeNotFound, detail)
}

fn described(
    state: &HttpState,
    job_type: &JobType,
    counts: &[Count],
    oldest_waiting: Option<Timestamp>,
) -> dto::Type {
    let stored = state.jobs.catalogue.get(job_type);
    let flow = state.jobs.flow.get(job_type);
    let capacity = state.jobs.registry.capacity(job_type);
    dto::Type {
        queue_error: state.jobs.queue_error(job_type),
        schema_error: state.jobs.catalogue.schema_error(job_type),
        refused: state.jobs.catalogue.refusal(job_type),
        ..dto::Type::new(job_type, stored, capacity, counts, &flow, oldest_waiting)
    }
}
