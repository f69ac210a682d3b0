//! Watching a run: server-sent events, as of a job.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response, sse::Event},
};
use crewcall_proto::RunId;
use futures_util::stream;

use super::{
    HttpState, dto,
    json::Json,
    problem::{Problem, ProblemCode},
    responses::{Problems, of},
    runs::{RUN, RunPath, TAG, shown},
    watch::{Seat, events, last_event_id},
    workflow_problems::no_run,
};
use crate::engine::{Engine, RunView, RunWatch, ports::StoreError};

/// Watch a run
///
/// Server-sent events named `run`: the run as it is now, then whenever it changed, until it is over. The event id counts the run's changes; what
/// `Last-Event-ID` names is not sent again. 204 when there is nothing left to send.
#[utoipa::path(
    get, path = "/v1/runs/{id}/watch", tag = TAG, operation_id = "watchRun",
    params(
        ("id" = uuid::Uuid, Path, description = "The run's id"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
    ),
    responses(
        (status = 200, description = "Events `run`, with a Run as data", body = dto::Run, content_type = "text/event-stream"),
        (status = 204, description = "The run is over, and its end was seen"),
        Problems<{ RUN | of(&[ProblemCode::TooManyWatchers]) }>,
    )
)]
pub(super) async fn watch_run(
    State(state): State<HttpState>,
    RunPath(id): RunPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seat = Seat::take(&state)?;
    let watch = state.engine.watch_run(id);
    let view = state.engine.run_view(id).await?.ok_or_else(|| no_run(id))?;
    let seen = last_event_id(&headers).and_then(|id| id.parse().ok()).unwrap_or(0);
    let run = &view.stored.run;
    if run.state.is_terminal() && run.version <= seen {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let engine = Arc::clone(&state.engine);
    let feed = RunFeed { engine, id, watch, seen, current: Some(view), over: false, seat };
    Ok(events(stream::unfold(feed, RunFeed::next), state.stop.clone()))
}

/// One run's changes.
struct RunFeed {
    engine: Arc<Engine>,
    id: RunId,
    watch: RunWatch,
    /// The version that the watcher has.
    seen: u64,
    /// What was read and not yet looked at.
    current: Option<RunView>,
    over: bool,
    seat: Seat,
}

impl RunFeed {
    async fn next(mut self) -> Option<(Event, Self)> {
        self.seat.room = None;
        while !self.over {
            let event = self.look().await.unwrap_or_else(|error| {
                tracing::warn!(run.id = %self.id, %error, "A watched run could not be read; its watcher is cut off.");
                None
            })?;
            if let Some(event) = event {
                return Some((event, self));
            }
        }
        None
    }

    /// The run after its next change, if it changed so that it is seen. The outer `None` cuts the watcher off: it comes back and asks again.
    async fn look(&mut self) -> Result<Option<Option<Event>>, StoreError> {
        let view = match self.current.take() {
            Some(view) => view,
            None => {
                self.watch.changed().await;
                let Some(view) = self.engine.run_view(self.id).await? else { return Ok(None) };
                view
            }
        };
        let run = &view.stored.run;
        self.over = run.state.is_terminal();
        if run.version <= self.seen {
            return Ok(Some(None));
        }
        self.seen = run.version;
        let Json(shown) = shown(&self.engine, &view).await?;
        Ok(self.seat.event("run", run.version.to_string(), &shown).map(Some))
    }
}
