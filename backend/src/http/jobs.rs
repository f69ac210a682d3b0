//! Submitting and reading jobs.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, Path, RawQuery, Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use crewcall_proto::JobId;

use super::{
    HttpState,
    answers::{self, Pieces},
    body, cursor, dto, idempotency,
    json::Json,
    problem::{Problem, ProblemCode},
    query,
    request::caller,
    responses::{BODY, JOB, PAGE, Problems, QUERY, SEARCH, STORE, of},
    submission,
};
use crate::engine::{
    Caller, Engine, Submitted,
    ports::{IdempotencyKey, JobQuery},
};

/// A page ends early when its parameters and results take more than this, in bytes: 500 jobs may carry
/// 250 MB.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many jobs of a page are read at once.
const STEP_JOBS: usize = 64;

/// How much text the jobs of one step may have, in bytes, the last aside: read, they take several times as much.
const STEP_BYTES_MAX: usize = 1024 * 1024;

/// How many pages are put together at once: twice as many as the store reads at once, so that it is kept busy.
pub(super) const PAGES_MAX: usize = 8;

/// How long a page waits for its turn, as long as a read does in the store.
const PAGE_TURN_WAIT: Duration = Duration::from_secs(10);

const TAG: &str = "jobs";

/// Submit a job
///
/// A 201 means that the job is on disk and will be tried until it ends. With an `Idempotency-Key`, the same key and
/// body within 24 hours return 200 with the job that the first request made, as it is now.
#[utoipa::path(
    post, path = "/v1/jobs", tag = TAG, operation_id = "submitJob",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The submitter's own name for this submission: 1 to 255 visible ASCII characters")),
    request_body = dto::NewJob,
    responses(
        (status = 200, description = "The job is stored already, under this key", body = dto::Job, headers(("Location" = String, description = "The job's path"), ("Idempotency-Replayed" = String, description = "`true`"))),
        (status = 201, description = "The job is stored", body = dto::Job, headers(("Location" = String, description = "The job's path"))),
        Problems<{ BODY | STORE | of(&[
            ProblemCode::InvalidIdempotencyKey, ProblemCode::InvalidSubmission, ProblemCode::InvalidParameters,
            ProblemCode::IdempotencyKeyReused, ProblemCode::TooManyTypes, ProblemCode::TooManyLinks, ProblemCode::TooManyChecks,
        ]) }>,
    )
)]
pub(super) async fn submit(State(state): State<HttpState>, request: Request) -> Result<Response, Problem> {
    let key = idempotency::read_key(request.headers())?;
    let caller = caller(&request);
    let text = body::read_json(&state.bodies, request).await?;
    let key = key.map(|key| idempotency::bound(key, &text));
    let at = |id: JobId| [(header::LOCATION, format!("/v1/jobs/{id}"))];
    match submitted(&state.engine, &caller, &text, key).await? {
        Submitted::Accepted(job) => {
            let view = state.engine.accepted(&job).await?;
            Ok((StatusCode::CREATED, at(job.id), Json(dto::Job::with_attempts(&view))).into_response())
        }
        Submitted::Replayed(job) => {
            let view = state.engine.job(job.id).await?.ok_or_else(|| not_found(job.id))?;
            let replayed = [(idempotency::IDEMPOTENCY_REPLAYED, "true")];
            Ok((at(job.id), replayed, Json(dto::Job::with_attempts(&view))).into_response())
        }
    }
}

/// Submits what a body says; or returns the job that the same key and body made before, whatever would be said against
/// it today.
async fn submitted(
    engine: &Engine,
    caller: &Caller,
    text: &[u8],
    key: Option<IdempotencyKey>,
) -> Result<Submitted, Problem> {
    let outcome = match submission::read(text, engine.now()) {
        Ok(submission) => engine.submit(caller, submission, key.clone()).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match (outcome, key) {
        // A key that was reused has been looked up already.
        (Err(refused), Some(key))
            if refused.code().status().is_client_error()
                && refused.code() != ProblemCode::IdempotencyKeyReused =>
        {
            engine.submitted_before(&key).await?.ok_or(refused)
        }
        (outcome, _) => outcome,
    }
}

/// Get a job
///
/// With its ended attempts, and what it waits for if it is not over.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = TAG, operation_id = "getJob",
    params(
        ("id" = uuid::Uuid, Path, description = "The job's id"),
        ("wait" = Option<u64>, Query, maximum = 60, description = "Wait until the job is over, at most for so many seconds"),
    ),
    responses(
        (status = 200, description = "The job", body = dto::Job),
        Problems<{ JOB | QUERY | of(&[ProblemCode::TooManyWatchers]) }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    JobPath(id): JobPath,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::Job>, Problem> {
    let wait = query::read_wait(raw.as_deref())?;
    let view = if wait.is_zero() {
        state.engine.job(id).await?
    } else {
        let _place = state.watchers.admit()?;
        tokio::select! {
            view = state.engine.wait_for(id, wait) => view?,
            () = state.stop.cancelled() => state.engine.job(id).await?,
        }
    };
    let view = view.ok_or_else(|| not_found(id))?;
    Ok(Json(dto::Job::with_attempts(&view)))
}

/// List jobs
///
/// Newest first. A page is not a snapshot, but no job that was there all the time is skipped or shown twice.
#[utoipa::path(
    get, path = "/v1/jobs", tag = TAG, operation_id = "listJobs",
    params(
        dto::JobFilter,
        ("id_prefix" = Option<String>, Query, example = "0192e4a0-7c", description = "With an id that begins so; hyphens do not matter"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 50 if not given; a page of large jobs has fewer"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::JobList, headers(("Link" = String, description = "`rel=\"next\"`: the page after this one, if there is one"))),
        Problems<{ PAGE | SEARCH }>,
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let raw = raw.as_deref();
    let query = query::read_jobs(raw)?;
    let turn = tokio::time::timeout(PAGE_TURN_WAIT, state.pages.acquire()).await;
    let _turn = turn.ok().and_then(Result::ok).ok_or_else(answers::no_room)?;
    let page = Page::read(&state, &query).await?;
    let next_cursor = page.last.filter(|_| page.more).map(|last| cursor::encode(&last));
    let next_page = next_cursor.as_deref().map(|cursor| query::next_page(raw, cursor));
    let link = next_page.map(|next_page| format!("</v1/jobs?{next_page}>; rel=\"next\""));
    let mut json = page.json;
    json.text("],\"next_cursor\":");
    json.json(&next_cursor)?;
    json.text("}");
    let body = json.finish()?;
    Ok(match link {
        Some(link) => ([(header::LINK, link)], body).into_response(),
        None => body,
    })
}

/// A page as far as it is read: the beginning of a [`dto::JobList`].
struct Page {
    json: Pieces,
    jobs: usize,
    last: Option<JobId>,
    /// Whether there are jobs after it.
    more: bool,
}

impl Page {
    /// Reads a page in steps: each job is written before the next step is read.
    async fn read(state: &HttpState, query: &JobQuery) -> Result<Self, Problem> {
        let mut page = Self { json: Pieces::new(&state.answers), jobs: 0, last: None, more: false };
        page.json.text("{\"jobs\":[");
        let mut waiting = state.engine.waiting_reader();
        let mut step = query.clone();
        step.bytes_max = Some(STEP_BYTES_MAX);
        loop {
            let wanted = if page.json.bytes() > PAGE_BYTES_MAX { 0 } else { query.limit - page.jobs };
            let wanted = wanted.min(STEP_JOBS);
            // One more than is wanted tells whether there are more.
            step.limit = wanted + 1;
            step.before = page.last.or(query.before);
            let mut found = state.engine.jobs(&step).await?.into_iter();
            let written = page.json.bytes();
            for job in found.by_ref().take(wanted) {
                page.push(&dto::Job::summary(&job, waiting.of(&job).as_ref()), job.id)?;
                if page.json.bytes() > PAGE_BYTES_MAX {
                    break;
                }
            }
            page.more = found.next().is_some();
            let may_be_cut = page.json.bytes() - written >= STEP_BYTES_MAX;
            let is_full = page.jobs == query.limit || page.json.bytes() > PAGE_BYTES_MAX;
            if page.more && is_full || !page.more && !may_be_cut {
                return Ok(page);
            }
        }
    }

    fn push(&mut self, job: &dto::Job, id: JobId) -> Result<(), Problem> {
        if self.jobs > 0 {
            self.json.text(",");
        }
        self.jobs += 1;
        self.last = Some(id);
        self.json.json(job)
    }
}

/// There is no job of this id.
pub(super) fn not_found(id: JobId) -> Problem {
    Problem::new(ProblemCode::JobNotFound, format!("there is no job {id}"))
}

/// The id in a job's path.
pub(super) struct JobPath(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let text = text.map(|Path(text)| text).unwrap_or_default();
        let invalid = |error: crewcall_proto::InvalidId| {
            Problem::new(
                ProblemCode::InvalidId,
                format!("{error}, such as the one that a submission returns"),
            )
        };
        text.parse().map(Self).map_err(invalid)
    }
}
