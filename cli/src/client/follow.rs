//! Following jobs by server-sent events, through restarts of the backend.

use std::{mem::take, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use crewcall_proto::JobId;
use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures_util::{StreamExt, stream::BoxStream};
use reqwest::header::ACCEPT;
use tokio::time::{Instant, sleep};
use url::Url;

use super::{Client, ClientError, innermost, strange};
use crate::api::{Document, Job};

/// The first pause before connecting again.
const RECONNECT_MIN: Duration = Duration::from_millis(200);
/// The longest pause before connecting again: a backend that comes back is noticed within it.
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a backend may be gone before we stop waiting, when the caller set no wait time: longer than a
/// restart or a deployment takes, short enough that a script does not hang for ever.
pub(crate) const ABSENCE_MAX: Duration = Duration::from_secs(5 * 60);

/// What a [`Feed`] tells.
#[derive(Debug)]
pub(crate) enum FeedEvent {
    /// A job changed; steps in between may be missing, the last one never is.
    Job(Box<Document<Job>>),
    /// Changes were missed (we were away for too long, or the backend restarted).
    Reset,
    /// The backend went away. The feed is connecting again.
    Lost(String),
    /// The backend is back.
    Back,
}

/// A stream of changes that reconnects by itself and goes on where it was.
pub(crate) struct Feed<'a> {
    client: &'a Client,
    url: Url,
    /// The job that is followed, if it is one: what to ask for when the stream is refused.
    job: Option<JobId>,
    stream: Option<BoxStream<'static, Result<Event, EventStreamError<reqwest::Error>>>>,
    /// Whether the caller was told that the backend went away.
    is_lost: bool,
    last_event_id: Option<String>,
    /// The newest version of the one job that was told.
    version: Option<u64>,
    backoff: ExponentialBackoff,
    /// When the backend last answered; never, if it has yet to prove that it exists.
    last_contact: Option<Instant>,
    absence_max: Option<Duration>,
}

impl Client {
    /// Follows one job that the backend has told us about. Ends with an error when the backend is away
    /// for `absence_max`; without one it tries for as long as it is asked.
    pub(crate) fn follow_job(&self, id: JobId, absence_max: Option<Duration>) -> Feed<'_> {
        let url = self.endpoint(&["v1", "jobs", &id.to_string(), "watch"]);
        Feed { job: Some(id), last_contact: Some(Instant::now()), absence_max, ..Feed::new(self, url) }
    }

    /// Follows all jobs that the filters let through. An absent backend is an error at first, and waited
    /// for later.
    pub(crate) fn follow_all(&self, query: &[(String, String)]) -> Feed<'_> {
        let mut url = self.endpoint(&["v1", "watch"]);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Feed { absence_max: Some(ABSENCE_MAX), ..Feed::new(self, url) }
    }
}

impl<'a> Feed<'a> {
    fn new(client: &'a Client, url: Url) -> Self {
        Self {
            client,
            url,
            job: None,
            stream: None,
            is_lost: false,
            last_event_id: None,
            version: None,
            backoff: backoff(),
            last_contact: None,
            absence_max: None,
        }
    }

    /// Opens the stream: what happens from now on is told.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    pub(crate) async fn open(&mut self) -> Result<(), ClientError> {
        self.connect().await.map(drop)
    }

    /// The next change. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// When the request is refused, or the backend stays away for too long.
    pub(crate) async fn next(&mut self) -> Result<FeedEvent, ClientError> {
        loop {
            let Some(stream) = &mut self.stream else {
                if let Some(event) = self.connect().await? {
                    return Ok(event);
                }
                continue;
            };
            match stream.next().await {
                Some(Ok(event)) => {
                    self.contact();
                    if let Some(event) = self.understand(event)? {
                        return Ok(event);
                    }
                }
                Some(Err(EventStreamError::Transport(error))) => return Ok(self.lost(&innermost(&error))),
                Some(Err(error)) => return Ok(self.lost(&error.to_string())),
                None => return Ok(self.lost("it closed the event stream")),
            }
        }
    }

    /// Opens the stream; after a failure that may pass, waits a little. Where streams are refused for now,
    /// the job itself is asked for.
    async fn connect(&mut self) -> Result<Option<FeedEvent>, ClientError> {
        let mut request = self.client.http.get(self.url.clone()).header(ACCEPT, "text/event-stream");
        if let Some(id) = &self.last_event_id {
            request = request.header("last-event-id", id);
        }
        match self.client.send(request).await {
            Ok(response) => {
                self.stream = Some(response.bytes_stream().eventsource().boxed());
                self.last_contact = Some(Instant::now());
                Ok(take(&mut self.is_lost).then_some(FeedEvent::Back))
            }
            Err(error) if !error.is_retryable() || !self.is_patient() => Err(error),
            Err(error) => {
                if let (ClientError::Problem(_), Some(id)) = (&error, self.job)
                    && let Ok(job) = self.client.job(id).await
                {
                    self.last_contact = Some(Instant::now());
                    if let Some(event) = self.tell(job) {
                        return Ok(Some(event));
                    }
                }
                sleep(self.backoff.next().unwrap_or(RECONNECT_MAX)).await;
                Ok(None)
            }
        }
    }

    fn understand(&mut self, event: Event) -> Result<Option<FeedEvent>, ClientError> {
        if !event.id.is_empty() {
            self.last_event_id = Some(event.id);
        }
        match event.event.as_str() {
            "job" => {
                let job: Document<Job> = serde_json::from_str(&event.data)
                    .map_err(|error| strange(&self.url, format!("an event is not as expected: {error}")))?;
                Ok(self.tell(job))
            }
            "reset" => Ok(Some(FeedEvent::Reset)),
            // Kinds of a newer backend.
            _ => Ok(None),
        }
    }

    /// Tells a state of the one job only once, however often the backend repeats it.
    fn tell(&mut self, job: Document<Job>) -> Option<FeedEvent> {
        if self.job.is_some() {
            if self.version.is_some_and(|version| job.version <= version) {
                return None;
            }
            self.version = Some(job.version);
        }
        Some(FeedEvent::Job(Box::new(job)))
    }

    fn contact(&mut self) {
        self.last_contact = Some(Instant::now());
        self.backoff = backoff();
    }

    fn lost(&mut self, reason: &str) -> FeedEvent {
        self.stream = None;
        self.is_lost = true;
        FeedEvent::Lost(reason.to_owned())
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
