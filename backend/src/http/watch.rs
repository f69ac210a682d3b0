//! Watching jobs: server-sent events.
//!
//! A watcher is registered before the job is read, so that no change falls between. It is sent what the job
//! is now, not each step that led there: a slow one skips steps, never the last.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use crewcall_proto::JobId;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{
    HttpState,
    answers::SMALL_BYTES_MAX,
    body::BodyBudget,
    dto,
    jobs::{JobPath, not_found},
    problem::{Problem, ProblemCode},
    query,
    responses::{JOB, Problems, QUERY, of},
};
use crate::engine::{
    Engine, JobView,
    ports::JobQuery,
    watch::{AllWatch, Changed, JobWatch},
};

const TAG: &str = "watch";

/// How often a silent stream says that it lives: proxies cut what is silent for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What the last event was that a returning watcher saw.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Asks nginx and those who follow it not to hold events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Watch a job
///
/// Server-sent events named `job`: the job as it is now, then whenever it changed, until it is over. The
/// event id is the job's version; what `Last-Event-ID` names is not sent again. 204 when there is nothing
/// left to send.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/watch", tag = TAG, operation_id = "watchJob",
    params(
        ("id" = uuid::Uuid, Path, description = "The job's id"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
    ),
    responses(
        (status = 200, description = "Events `job`, with a Job as data", body = dto::Job, content_type = "text/event-stream"),
        (status = 204, description = "The job is over, and its end was seen"),
        Problems<{ JOB | of(&[ProblemCode::TooManyWatchers]) }>,
    )
)]
pub(super) async fn watch_job(
    State(state): State<HttpState>,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seat = Seat::take(&state)?;
    let watch = state.engine.watch_job(id);
    let view = state.engine.job(id).await?.ok_or_else(|| not_found(id))?;
    let seen = last_event_id(&headers).and_then(|id| id.parse().ok()).unwrap_or(0);
    if view.job.status.state.is_terminal() && view.job.status.version <= seen {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let feed = JobFeed {
        engine: Arc::clone(&state.engine),
        id,
        watch,
        seen,
        current: Some(view),
        over: false,
        seat,
    };
    Ok(events(stream::unfold(feed, JobFeed::next), state.stop.clone()))
}

/// Watch all jobs
///
/// Server-sent events named `job` for every change from now on. With `Last-Event-ID`, first what was missed;
/// if that is no longer remembered, or the watcher is too slow, an event `reset`: list the jobs again, then
/// go on watching.
#[utoipa::path(
    get, path = "/v1/watch", tag = TAG, operation_id = "watchJobs",
    params(
        ("state" = Option<String>, Query, description = "In one of these states, with commas between them", example = "completed,failed"),
        ("type" = Option<String>, Query, description = "Of this type; `*` stands for any characters", example = "image.*"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
    ),
    responses(
        (status = 200, description = "Events `job`, with a JobEvent as data, and `reset`", body = dto::JobEvent, content_type = "text/event-stream"),
        Problems<{ QUERY | of(&[ProblemCode::TooManyWatchers]) }>,
    )
)]
pub(super) async fn watch_all(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = query::read_watch(raw.as_deref())?;
    let feed = AllFeed::new(Arc::clone(&state.engine), filter, last_event_id(&headers), Seat::take(&state)?);
    Ok(events(stream::unfold(feed, AllFeed::next), state.stop.clone()))
}

/// A stream that ends when the backend stops.
pub(super) fn events(
    stream: impl Stream<Item = Event> + Send + 'static,
    stop: CancellationToken,
) -> Response {
    let stream = stream.take_until(stop.cancelled_owned()).map(Ok::<_, Infallible>);
    let sse = Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    ([(X_ACCEL_BUFFERING, "no")], sse).into_response()
}

fn from_now(engine: &Engine) -> AllWatch {
    engine.watch_all(None).expect("what comes from now on is always remembered")
}

pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok())
}

/// The place of a watcher, and the room that its last event takes until the next is asked for, which is when that one
/// was sent.
pub(super) struct Seat {
    answers: BodyBudget,
    pub(super) room: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

impl Seat {
    pub(super) fn take(state: &HttpState) -> Result<Self, Problem> {
        Ok(Self { answers: state.answers.clone(), room: None, _place: state.watchers.admit()? })
    }

    /// Something to send. `None` cuts the watcher off: it cannot be written, or too much waits to be read by others; it
    /// comes back and asks again.
    pub(super) fn event(&mut self, name: &str, id: String, data: &impl Serialize) -> Option<Event> {
        let text = serde_json::to_string(data)
            .inspect_err(|error| tracing::error!(%error, name, "Something could not be written; its watcher is cut off."))
            .ok()?;
        if text.len() > SMALL_BYTES_MAX {
            self.room = Some(self.answers.take(text.len())?);
        }
        Some(Event::default().event(name).id(id).data(text))
    }
}

/// One job's changes.
struct JobFeed {
    engine: Arc<Engine>,
    id: JobId,
    watch: JobWatch,
    /// The version that the watcher has.
    seen: u64,
    /// What was read and not yet looked at.
    current: Option<JobView>,
    over: bool,
    seat: Seat,
}

impl JobFeed {
    async fn next(mut self) -> Option<(Event, Self)> {
        self.seat.room = None;
        while !self.over {
            let view = match self.current.take() {
                Some(view) => view,
                None => self.read_changed().await?,
            };
            let status = &view.job.status;
            self.over = status.state.is_terminal();
            if status.version > self.seen {
                self.seen = status.version;
                let id = status.version.to_string();
                let event = self.seat.event("job", id, &dto::Job::with_attempts(&view))?;
                return Some((event, self));
            }
        }
        None
    }

    /// The job after its next change. `None` cuts the watcher off: it comes back and asks again.
    async fn read_changed(&mut self) -> Option<JobView> {
        self.watch.changed().await;
        self.engine.job(self.id).await.unwrap_or_else(|error| {
            tracing::warn!(job.id = %self.id, %error, "A watched job could not be read; its watcher is cut off.");
            None
        })
    }
}

/// Every job's changes.
struct AllFeed {
    engine: Arc<Engine>,
    filter: JobQuery,
    watch: AllWatch,
    /// Whether the watcher has to be told to start over.
    reset: bool,
    seat: Seat,
}

impl AllFeed {
    fn new(engine: Arc<Engine>, filter: JobQuery, last_event_id: Option<&str>, seat: Seat) -> Self {
        // An id of an earlier process, or not one of ours, is as good as one that is forgotten.
        let of_this_process = |id: &str| {
            let (epoch, sequence) = id.split_once('-')?;
            (epoch.parse() == Ok(engine.watch_epoch())).then(|| sequence.parse::<u64>().ok())?
        };
        let resumed =
            last_event_id.map(|id| of_this_process(id).and_then(|after| engine.watch_all(Some(after)).ok()));
        let (watch, reset) = match resumed {
            Some(Some(watch)) => (watch, false),
            Some(None) => (from_now(&engine), true),
            None => (from_now(&engine), false),
        };
        Self { engine, filter, watch, reset, seat }
    }

    async fn next(mut self) -> Option<(Event, Self)> {
        self.seat.room = None;
        loop {
            if std::mem::take(&mut self.reset) {
                return Some((Event::default().event("reset").data("{}"), self));
            }
            match self.watch.next().await {
                Ok(changed) if self.filter.selects(&changed.job_type, changed.state) => {
                    if let Some(event) = self.read(&changed).await? {
                        return Some((event, self));
                    }
                }
                Ok(_) => {}
                Err(_) => {
                    self.watch = from_now(&self.engine);
                    self.reset = true;
                }
            }
        }
    }

    /// The job that changed, unless it went on to what is not wanted. The outer `None` cuts the watcher off.
    async fn read(&mut self, changed: &Changed) -> Option<Option<Event>> {
        let job = match self.engine.job(changed.job_id).await {
            Ok(Some(view)) => view.job,
            Ok(None) => return Some(None),
            Err(error) => {
                tracing::warn!(%error, "A changed job could not be read; a watcher is cut off.");
                return None;
            }
        };
        if !self.filter.selects(&job.job_type, job.status.state) {
            return Some(None);
        }
        let id = format!("{}-{}", self.engine.watch_epoch(), changed.sequence);
        self.seat.event("job", id, &dto::JobEvent::from(&job)).map(Some)
    }
}
