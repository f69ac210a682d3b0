//! Following the log of published events: server-sent events, none of which is left out.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{Response, sse::Event},
};
use futures_util::stream;
use tokio::sync::watch;

use super::{
    HttpState, dto,
    problem::{Problem, ProblemCode},
    query,
    responses::{Problems, QUERY, STORE, of},
    watch::{Seat, events, last_event_id},
};
use crate::{
    domain::{PublishedEvent, Sequence},
    engine::{Engine, LogQuery},
};

/// How many events are read ahead of a watcher.
const READ_AHEAD: usize = 16;

/// Follow the log
///
/// Server-sent events named `event`, whose id is the event's sequence: those after `after`, or those that come from now on;
/// none is left out. With `Last-Event-ID`, as browsers send it when they come back, those after that one.
#[utoipa::path(
    get, path = "/v1/events/watch", tag = "events", operation_id = "watchEvents",
    params(
        ("subject" = Option<String>, Query, example = "order.*", description = "Of these subjects: `*` stands for one word, `#` for any number of them"),
        ("after" = Option<u64>, Query, description = "Those after this place of the log; 410 when what comes next is deleted"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen; it goes before `after`"),
    ),
    responses(
        (status = 200, description = "Events `event`, with a PublishedEvent as data", body = dto::PublishedEvent, content_type = "text/event-stream"),
        Problems<{ QUERY | STORE | of(&[ProblemCode::EventsGone, ProblemCode::TooManyWatchers]) }>,
    )
)]
pub(super) async fn watch_log(
    State(state): State<HttpState>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seat = Seat::take(&state)?;
    let mut query = query::read_event_watch(raw.as_deref())?;
    let mut head = state.engine.log_head();
    let now = *head.borrow_and_update();
    let after = last_event_id(&headers).and_then(query::sequence_of).or(query.after).unwrap_or(now);
    (query.after, query.limit) = (Some(after), READ_AHEAD);
    // Whatever is wrong with the place is told now.
    let page = state.engine.events(&query).await?;
    query.after = Some(page.after);
    let feed = LogFeed { engine: Arc::clone(&state.engine), query, head, read: page.events.into(), seat };
    Ok(events(stream::unfold(feed, LogFeed::next), state.stop.clone()))
}

/// The log from a place on.
struct LogFeed {
    engine: Arc<Engine>,
    /// What is read next.
    query: LogQuery,
    head: watch::Receiver<Sequence>,
    /// What was read and not yet sent.
    read: VecDeque<PublishedEvent>,
    seat: Seat,
}

impl LogFeed {
    /// `None` cuts the watcher off: it comes back, and is told what is wrong.
    async fn next(mut self) -> Option<(Event, Self)> {
        self.seat.room = None;
        loop {
            if let Some(event) = self.read.pop_front() {
                let id = event.sequence.to_string();
                let event = self.seat.event("event", id, &dto::PublishedEvent::from(&event))?;
                return Some((event, self));
            }
            // Marked as seen before the log is read, so that what comes in between is read next.
            let head = *self.head.borrow_and_update();
            let page = match self.engine.events(&self.query).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "The log of events could not be read; a watcher is cut off.");
                    return None;
                }
            };
            self.query.after = Some(page.after);
            self.read = page.events.into();
            if self.read.is_empty() && page.after >= head {
                self.head.changed().await.ok()?;
            }
        }
    }
}
