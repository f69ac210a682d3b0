//! Runs of workflows, as they are.

use std::{str::FromStr, time::Duration};

use axum::{
    extract::{FromRequestParts, Path, RawQuery, State},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use crewcall_proto::{InvalidId, RunId};

use super::{
    HttpState, cursor, dto,
    json::Json,
    problem::{Problem, ProblemCode},
    query::{self, ItemsQuery},
    responses::{Codes, PAGE, Problems, QUERY, SEARCH, STORE, of},
    workflow_graph::{self, Form},
    workflow_problems::{no_run, no_step},
};
use crate::{
    domain::workflow::known::ItemWork,
    engine::{Engine, ItemView, RunView, ports::StoreError},
};

pub(super) const TAG: &str = "runs";

/// Naming a run.
pub(super) const RUN: Codes = STORE | of(&[ProblemCode::InvalidId, ProblemCode::RunNotFound]);

/// A page of items ends early when their results take more than this, in bytes.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many items of a page are read at once.
const STEP_ITEMS: usize = 32;

/// List runs
///
/// Newest first, without their steps and data. A page is not a snapshot, but no run that was there all the time is skipped or shown
/// twice.
#[utoipa::path(
    get, path = "/v1/runs", tag = TAG, operation_id = "listRuns",
    params(
        dto::RunFilter,
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 50 if not given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::RunList, headers(("Link" = String, description = "`rel=\"next\"`: the page after this one, if there is one"))),
        Problems<{ PAGE | SEARCH }>,
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let mut query = query::read_runs(raw.as_deref())?;
    let limit = query.limit;
    // One more than is wanted tells whether there are more.
    query.limit += 1;
    let mut found = state.engine.runs(&query).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|last| cursor::encode(&last.id()));
    let link = next_cursor.as_deref().map(|cursor| query::next_page(raw.as_deref(), cursor));
    let body = Json(dto::RunList { runs: found.iter().map(dto::Run::entry).collect(), next_cursor });
    Ok(match link {
        Some(next) => ([(header::LINK, format!("</v1/runs?{next}>; rel=\"next\""))], body).into_response(),
        None => body.into_response(),
    })
}

/// Get a run
///
/// With its steps, and what each of them waits for if it is not over.
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = TAG, operation_id = "getRun",
    params(
        ("id" = uuid::Uuid, Path, description = "The run's id"),
        ("wait" = Option<u64>, Query, maximum = 60, description = "Wait until the run is over, at most for so many seconds"),
    ),
    responses(
        (status = 200, description = "The run", body = dto::Run),
        Problems<{ RUN | QUERY | of(&[ProblemCode::TooManyWatchers]) }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    RunPath(id): RunPath,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::Run>, Problem> {
    let wait = query::read_wait(raw.as_deref())?;
    let _place = (!wait.is_zero()).then(|| state.watchers.admit()).transpose()?;
    let view = waited(&state, id, wait).await?.ok_or_else(|| no_run(id))?;
    Ok(shown(&state.engine, &view).await?)
}

/// Get a run as a graph
///
/// As that of its workflow, with the states of its steps.
#[utoipa::path(
    get, path = "/v1/runs/{id}/graph", tag = TAG, operation_id = "getRunGraph",
    params(
        ("id" = uuid::Uuid, Path, description = "The run's id"),
        ("format" = Option<String>, Query, description = "`json` or `mermaid`; goes before the header `Accept`"),
    ),
    responses(
        (status = 200, description = "The steps, and which needs which", content((dto::Graph = "application/json"), (String = "text/vnd.mermaid"))),
        Problems<{ RUN | QUERY }>,
    )
)]
pub(super) async fn graph(
    State(state): State<HttpState>,
    RunPath(id): RunPath,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = Form::read(raw.as_deref(), &headers)?;
    let view = state.engine.run_view(id).await?.ok_or_else(|| no_run(id))?;
    Ok(workflow_graph::respond(&view.stored.info.version, Some(&view.stored.run), form))
}

/// Get the items of a step
///
/// As they are now: the jobs of a step, or the run that is its work; with `role=undo` the jobs that undo it.
#[utoipa::path(
    get, path = "/v1/runs/{id}/steps/{step}/items", tag = TAG, operation_id = "listRunItems",
    params(
        ("id" = uuid::Uuid, Path, description = "The run's id"),
        ("step" = String, Path, description = "The step's name", example = "encode"),
        ("role" = Option<String>, Query, description = "`work`, if not given, or `undo`"),
        ("after" = Option<u32>, Query, description = "Those after the item of this index"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 50 if not given; a page of large results has fewer"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::ItemList),
        Problems<{ RUN | QUERY | of(&[ProblemCode::StepNotFound]) }>,
    )
)]
pub(super) async fn items(
    State(state): State<HttpState>,
    StepPath(id, step): StepPath,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::ItemList>, Problem> {
    let query = query::read_items(raw.as_deref())?;
    let Some(page) = read_items(&state.engine, id, &step, &query).await? else {
        return Err(missing(&state.engine, id, &step).await?);
    };
    Ok(Json(page))
}

/// Get the journal of a run
///
/// What happened to it, and what followed, oldest first. Items come and end without a line here: they have their own list.
#[utoipa::path(
    get, path = "/v1/runs/{id}/journal", tag = TAG, operation_id = "getRunJournal",
    params(
        ("id" = uuid::Uuid, Path, description = "The run's id"),
        ("after" = Option<u64>, Query, description = "The lines after the one of this number"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 50 if not given"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::Journal),
        Problems<{ RUN | QUERY }>,
    )
)]
pub(super) async fn journal(
    State(state): State<HttpState>,
    RunPath(id): RunPath,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::Journal>, Problem> {
    let (after, limit) = query::read_journal(raw.as_deref())?;
    let found = state.engine.run_journal(id, after, limit + 1).await?;
    let (version, mut lines) = found.ok_or_else(|| no_run(id))?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next_after = lines.last().filter(|_| more).map(|last| last.number);
    let lines = lines.iter().map(|line| dto::JournalLine::new(line, &version.workflow)).collect();
    Ok(Json(dto::Journal { lines, next_after }))
}

/// A run as soon as it is over or the time is, or when the backend stops.
pub(super) async fn waited(
    state: &HttpState,
    id: RunId,
    wait: Duration,
) -> Result<Option<RunView>, StoreError> {
    if wait.is_zero() {
        return state.engine.run_view(id).await;
    }
    tokio::select! {
        view = state.engine.wait_for_run(id, wait) => view,
        () = state.stop.cancelled() => state.engine.run_view(id).await,
    }
}

/// A run with everything. Which step of another run it is, only that one can say.
pub(super) async fn shown(engine: &Engine, view: &RunView) -> Result<Json<dto::Run>, StoreError> {
    let parent = match view.stored.info.parent() {
        Some(parent) => engine.run_view(parent.run).await?.and_then(|run| {
            let step = run.stored.info.workflow().step(parent.step)?;
            Some(step.name.to_string())
        }),
        None => None,
    };
    Ok(Json(dto::Run::whole(view, parent)))
}

/// A page of items, in steps, so that not too many results stand in memory. `None` if there is no such run or step.
async fn read_items(
    engine: &Engine,
    id: RunId,
    step: &str,
    query: &ItemsQuery,
) -> Result<Option<dto::ItemList>, StoreError> {
    let (mut items, mut bytes, mut after) = (Vec::new(), 0, query.after);
    while bytes <= PAGE_BYTES_MAX {
        let wanted = (query.limit - items.len()).min(STEP_ITEMS);
        // One more than is wanted tells whether there are more.
        let Some(found) = engine.run_items(id, step, query.role, after, wanted + 1).await? else {
            return Ok(None);
        };
        for item in found.iter().take(wanted) {
            bytes += result_bytes(item);
            after = Some(item.key.index);
            items.push(dto::Item::from(item));
        }
        if found.len() <= wanted {
            return Ok(Some(dto::ItemList { items, next_after: None }));
        }
        if items.len() == query.limit {
            break;
        }
    }
    Ok(Some(dto::ItemList { items, next_after: after }))
}

fn result_bytes(item: &ItemView) -> usize {
    match &item.work {
        ItemWork::Job { result: Some(result), .. } => result.len(),
        ItemWork::Job { result: None, .. } | ItemWork::Run { .. } => 0,
    }
}

/// There is no such run, or it has no such step.
async fn missing(engine: &Engine, id: RunId, step: &str) -> Result<Problem, StoreError> {
    let run = engine.run_view(id).await?;
    Ok(run.map_or_else(
        || no_run(id),
        |run| {
            let names: Vec<_> = run.steps.iter().map(|step| step.name.clone()).collect();
            no_step(id, step, &names)
        },
    ))
}

/// The id in a run's path.
pub(super) struct RunPath(pub(super) RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        read(&text.map(|Path(text)| text).unwrap_or_default()).map(Self)
    }
}

/// The id and the step in the path of a step of a run.
pub(super) struct StepPath(pub(super) RunId, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for StepPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let (id, step) = texts.map(|Path(texts)| texts).unwrap_or_default();
        read(&id).map(|id| Self(id, step))
    }
}

fn read(id: &str) -> Result<RunId, Problem> {
    RunId::from_str(id).map_err(|error: InvalidId| {
        Problem::new(ProblemCode::InvalidId, format!("{error}, such as the one that a trigger returns"))
    })
}
