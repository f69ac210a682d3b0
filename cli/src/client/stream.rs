//! A stream of server-sent events that outlives its connection: it connects again and goes on where it was.

use std::{mem::take, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures_util::{StreamExt, stream::BoxStream};
use reqwest::header::ACCEPT;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use url::Url;

use super::{Client, ClientError, innermost, strange};
use crate::api::Document;

/// The first pause before connecting again.
const RECONNECT_MIN: Duration = Duration::from_millis(200);
/// The longest pause before connecting again: a backend that comes back is noticed within it.
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a backend may be gone before we stop waiting, when the caller set no wait time: longer than a
/// restart or a deployment takes, short enough that a script does not hang for ever.
pub(crate) const ABSENCE_MAX: Duration = Duration::from_secs(5 * 60);

/// What an [`EventStream`] tells.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// An event came.
    Event(Event),
    /// The backend went away. The stream is connecting again.
    Lost(String),
    /// The backend is back.
    Back,
    /// The stream cannot be opened now. It is tried again after a pause.
    Refused(ClientError),
}

/// A stream of events that reconnects by itself.
pub(super) struct EventStream<'a> {
    client: &'a Client,
    url: Url,
    connection: Option<BoxStream<'static, Result<Event, EventStreamError<reqwest::Error>>>>,
    /// Whether the caller was told that the backend went away.
    is_lost: bool,
    /// Whether to pause before connecting.
    is_refused: bool,
    last_event_id: Option<String>,
    backoff: ExponentialBackoff,
    /// When the backend last answered; never, if it has yet to prove that it exists.
    last_contact: Option<Instant>,
    absence_max: Option<Duration>,
}

impl<'a> EventStream<'a> {
    /// A stream that ends with an error when the backend is away for `absence_max`; without one it tries for as long as it is
    /// asked. An absent backend is an error at first, unless it was [`heard`](Self::heard) of.
    pub(super) fn new(client: &'a Client, url: Url, absence_max: Option<Duration>) -> Self {
        Self {
            client,
            url,
            connection: None,
            is_lost: false,
            is_refused: false,
            last_event_id: None,
            backoff: backoff(),
            last_contact: None,
            absence_max,
        }
    }

    /// The backend answered us just now.
    pub(super) fn heard(&mut self) {
        self.last_contact = Some(Instant::now());
    }

    /// Opens the stream: what happens from now on is told.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    pub(super) async fn open(&mut self) -> Result<(), ClientError> {
        self.connect().await.map(drop)
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// When the request is refused, or the backend stays away for too long.
    pub(super) async fn next(&mut self) -> Result<StreamEvent, ClientError> {
        loop {
            let Some(connection) = &mut self.connection else {
                if let Some(event) = self.connect().await? {
                    return Ok(event);
                }
                continue;
            };
            let reason = match connection.next().await {
                Some(Ok(event)) => {
                    self.heard();
                    self.backoff = backoff();
                    if !event.id.is_empty() {
                        self.last_event_id = Some(event.id.clone());
                    }
                    return Ok(StreamEvent::Event(event));
                }
                Some(Err(EventStreamError::Transport(error))) => innermost(&error),
                Some(Err(error)) => error.to_string(),
                None => "it closed the event stream".to_owned(),
            };
            self.connection = None;
            self.is_lost = true;
            return Ok(StreamEvent::Lost(reason));
        }
    }

    /// The data of an event.
    pub(super) fn read<T: DeserializeOwned>(&self, event: &Event) -> Result<Document<T>, ClientError> {
        serde_json::from_str(&event.data)
            .map_err(|error| strange(&self.url, format!("an event is not as expected: {error}")))
    }

    /// Opens the stream, after a pause if it was refused.
    async fn connect(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        if self.is_refused {
            sleep(self.backoff.next().unwrap_or(RECONNECT_MAX)).await;
            self.is_refused = false;
        }
        let mut request = self.client.http.get(self.url.clone()).header(ACCEPT, "text/event-stream");
        if let Some(id) = &self.last_event_id {
            request = request.header("last-event-id", id);
        }
        match self.client.send(request).await {
            Ok(response) => {
                self.connection = Some(response.bytes_stream().eventsource().boxed());
                self.heard();
                Ok(take(&mut self.is_lost).then_some(StreamEvent::Back))
            }
            Err(error) if !error.is_retryable() || !self.is_patient() => Err(error),
            Err(error) => {
                self.is_refused = true;
                Ok(Some(StreamEvent::Refused(error)))
            }
        }
    }

    fn is_patient(&self) -> bool {
        match (self.last_contact, self.absence_max) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(contact), Some(absence_max)) => contact.elapsed() < absence_max,
        }
    }
}

/// Jittered, so that the watchers of a restarted backend do not all come back in the same moment.
fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(RECONNECT_MIN)
        .with_max_delay(RECONNECT_MAX)
        .without_max_times()
        .with_jitter()
        .build()
}
