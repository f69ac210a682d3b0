//! Which job types there are: what workers announced, and what jobs have.

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
};
use crewcall_proto::JobType;

use super::{
    HttpState, cursor, dto,
    json::Json,
    problem::{Problem, ProblemCode},
    query::{PAGE_JOBS_MAX, PageQuery},
    responses::{PAGE, Problems, STORE, TYPE, of},
};
use crate::engine::{Caller, upkeep::forget::Forgotten};

const TAG: &str = "types";

/// The schemas of one page may be this large, in bytes; then it ends early.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// List job types
///
/// Every type that was ever announced, has jobs, or had something set for it, with its schemas, its workers and how many
/// jobs are in each state. By name.
#[utoipa::path(
    get, path = "/v1/types", tag = TAG, operation_id = "listTypes",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 500 if not given; a page of large schemas has fewer"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::TypeList),
        Problems<{ PAGE | STORE }>,
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::TypeList>, Problem> {
    let PageQuery { limit, after } = PageQuery::read(raw.as_deref(), PAGE_JOBS_MAX)?;
    // One more than is wanted tells whether there are more.
    let page = state.engine.job_types(after, limit + 1).await?;
    let (types, last) = fill(&page, limit, dto::Type::from, dto::Type::schema_bytes);
    let next_cursor = last.map(|last| cursor::encode(&last.job_type));
    Ok(Json(dto::TypeList { types, next_cursor }))
}

/// As many of these as fit a page, and the last of them if there are more.
fn fill<'a, V, S>(
    found: &'a [V],
    limit: usize,
    show: impl Fn(&'a V) -> S,
    schema_bytes: impl Fn(&S) -> usize,
) -> (Vec<S>, Option<&'a V>) {
    let (mut shown, mut bytes) = (Vec::new(), 0);
    for view in found.iter().take(limit) {
        let next = show(view);
        bytes += schema_bytes(&next);
        shown.push(next);
        if bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    let more = found.get(..shown.len()).filter(|shown| shown.len() < found.len());
    (shown, more.and_then(<[V]>::last))
}

/// List the events that jobs publish
///
/// What workers announced that their jobs publish, with the schemas of the data, by subject. Anybody may publish other
/// events, which are not in this list.
#[utoipa::path(
    get, path = "/v1/subjects", tag = TAG, operation_id = "listSubjects",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 500 if not given; a page of large schemas has fewer"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::SubjectList),
        Problems<{ PAGE }>,
    )
)]
pub(super) async fn subjects(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::SubjectList>, Problem> {
    let PageQuery { limit, after } = PageQuery::read(raw.as_deref(), PAGE_JOBS_MAX)?;
    // One more than is wanted tells whether there are more.
    let page = state.engine.subjects(after, limit + 1);
    let (subjects, last) = fill(&page, limit, dto::EventSubject::from, dto::EventSubject::schema_bytes);
    let next_cursor = last.map(|last| cursor::encode(&last.subject));
    Ok(Json(dto::SubjectList { subjects, next_cursor }))
}

/// Get a job type
#[utoipa::path(
    get, path = "/v1/types/{type}", tag = TAG, operation_id = "getType",
    params(("type" = String, Path, description = "The type's name", example = "image.thumbnail")),
    responses(
        (status = 200, description = "The type", body = dto::Type),
        Problems<{ TYPE }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Json<dto::Type>, Problem> {
    let job_type = parse_type(&name)?;
    let view = state.engine.job_type(&job_type).await?.ok_or_else(|| not_found(&name))?;
    Ok(Json(dto::Type::from(&view)))
}

/// How many slots a type's work wants
///
/// For an autoscaler, such as KEDA's `metrics-api` with `valueLocation: slots_wanted`. A type that nobody knows yet wants
/// none: whoever scales from nothing asks before there are workers or jobs.
#[utoipa::path(
    get, path = "/v1/types/{type}/scale", tag = TAG, operation_id = "scaleType",
    params(("type" = String, Path, description = "The type's name", example = "image.thumbnail")),
    responses(
        (status = 200, description = "Its work", body = dto::Scale),
        Problems<{ TYPE }>,
    )
)]
pub(super) async fn scale(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Json<dto::Scale>, Problem> {
    let job_type = parse_type(&name)?;
    let demand = state.engine.demand(&job_type).await?;
    Ok(Json(dto::Scale::new(&job_type, demand)))
}

/// Forget a job type
///
/// Deletes a type that has neither jobs, over or not, nor workers, with what was set for it and its queue. A worker that
/// announces it, or a job that names it, makes it known again. Types without jobs and workers are also forgotten by
/// themselves after a time.
#[utoipa::path(
    delete, path = "/v1/types/{type}", tag = TAG, operation_id = "deleteType",
    params(("type" = String, Path, description = "The type's name", example = "image.thumbnail")),
    responses(
        (status = 204, description = "It is forgotten"),
        Problems<{ TYPE | of(&[ProblemCode::TypeInUse]) }>,
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let job_type = parse_type(&name)?;
    let in_use = match state.engine.forget_type(&Caller::loopback(), &job_type).await? {
        Forgotten::Done => return Ok(StatusCode::NO_CONTENT),
        Forgotten::Unknown => return Err(not_found(&name)),
        Forgotten::HasWorkers(workers) => {
            format!("{workers} workers serve {name}: end them first, or a new one would bring it back")
        }
        Forgotten::HasJobs => format!(
            "{name} has jobs: those that are not over have to end, and those that are over are deleted after their time"
        ),
    };
    Err(Problem::new(ProblemCode::TypeInUse, in_use))
}

/// The type of this name. A name that cannot be a type's is not found either.
pub(super) fn parse_type(name: &str) -> Result<JobType, Problem> {
    JobType::new(name).map_err(|invalid| Problem::new(ProblemCode::TypeNotFound, invalid.to_string()))
}

/// Nobody knows a type of this name.
pub(super) fn not_found(name: &str) -> Problem {
    let detail = format!(
        "no worker has ever announced {name:?}, and no job has it; /v1/types lists those that are known"
    );
    Problem::new(ProblemCode::TypeNotFound, detail)
}
