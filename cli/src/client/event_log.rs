//! Publishing events, and reading and following the log of them.

use serde_json::Value;

use super::{
    Client, ClientError, Submitted,
    stream::{ABSENCE_MAX, EventStream, StreamEvent},
};
use crate::api::{Document, EventPage, PublishedEvent};

/// Which events are asked for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct LogQuery<'a> {
    /// Those of which subjects; all, if there is none.
    pub(crate) subject: Option<&'a str>,
    /// Those after which place of the log.
    pub(crate) after: Option<u64>,
    /// How many at most.
    pub(crate) limit: Option<usize>,
}

/// What a [`LogFeed`] tells.
#[derive(Debug)]
pub(crate) enum LogFeedEvent {
    /// The next event; none is left out.
    Event(Box<Document<PublishedEvent>>),
    /// The backend went away. The feed is connecting again.
    Lost(String),
    /// The backend is back.
    Back,
}

/// The log from a place on, through restarts of the backend.
pub(crate) struct LogFeed<'a> {
    stream: EventStream<'a>,
}

impl LogQuery<'_> {
    fn pairs(self) -> Vec<(&'static str, String)> {
        [
            ("subject", self.subject.map(str::to_owned)),
            ("after", self.after.map(|after| after.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

impl Client {
    /// Publishes an event. One with an id may be sent again: it is recorded once.
    pub(crate) async fn publish(&self, event: &Value) -> Result<Submitted<PublishedEvent>, ClientError> {
        let url = self.endpoint(&["v1", "events"]);
        self.submitted(self.http.post(url.clone()).json(event), &url).await
    }

    /// A part of the log.
    pub(crate) async fn events(&self, query: LogQuery<'_>) -> Result<EventPage, ClientError> {
        let mut url = self.endpoint(&["v1", "events"]);
        url.query_pairs_mut().extend_pairs(query.pairs());
        self.get(url).await
    }

    /// One event.
    pub(crate) async fn event(&self, sequence: u64) -> Result<Document<PublishedEvent>, ClientError> {
        self.get(self.endpoint(&["v1", "events", &sequence.to_string()])).await
    }

    /// Follows the log. An absent backend is an error at first, and waited for later.
    pub(crate) fn follow_events(&self, subject: Option<&str>, after: u64) -> LogFeed<'_> {
        let mut url = self.endpoint(&["v1", "events", "watch"]);
        let query = LogQuery { subject, after: Some(after), limit: None };
        url.query_pairs_mut().extend_pairs(query.pairs());
        LogFeed { stream: EventStream::new(self, url, Some(ABSENCE_MAX)) }
    }
}

impl LogFeed<'_> {
    /// The next event. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// When the request is refused, what comes next is deleted, or the backend stays away for too long.
    pub(crate) async fn next(&mut self) -> Result<LogFeedEvent, ClientError> {
        loop {
            match self.stream.next().await? {
                StreamEvent::Event(event) if event.event == "event" => {
                    return Ok(LogFeedEvent::Event(Box::new(self.stream.read(&event)?)));
                }
                StreamEvent::Lost(reason) => return Ok(LogFeedEvent::Lost(reason)),
                StreamEvent::Back => return Ok(LogFeedEvent::Back),
                // Kinds of a newer backend; what is refused is tried again.
                StreamEvent::Event(_) | StreamEvent::Refused(_) => {}
            }
        }
    }
}
