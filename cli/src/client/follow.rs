//! Following jobs by server-sent events, through restarts of the backend.

use std::time::Duration;

use crewcall_proto::JobId;

pub(crate) use super::stream::ABSENCE_MAX;
use super::{
    Client, ClientError,
    stream::{EventStream, StreamEvent},
};
use crate::api::{Document, Job};

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
    stream: EventStream<'a>,
    /// The job that is followed, if it is one: what to ask for when the stream is refused.
    job: Option<JobId>,
    /// The newest version of the one job that was told.
    version: Option<u64>,
}

impl Client {
    /// Follows one job that the backend has told us about. Ends with an error when the backend is away
    /// for `absence_max`; without one it tries for as long as it is asked.
    pub(crate) fn follow_job(&self, id: JobId, absence_max: Option<Duration>) -> Feed<'_> {
        let url = self.endpoint(&["v1", "jobs", &id.to_string(), "watch"]);
        let mut stream = EventStream::new(self, url, absence_max);
        stream.heard();
        Feed { client: self, stream, job: Some(id), version: None }
    }

    /// Follows all jobs that the filters let through. An absent backend is an error at first, and waited
    /// for later.
    pub(crate) fn follow_all(&self, query: &[(String, String)]) -> Feed<'_> {
        let mut url = self.endpoint(&["v1", "watch"]);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let stream = EventStream::new(self, url, Some(ABSENCE_MAX));
        Feed { client: self, stream, job: None, version: None }
    }
}

impl Feed<'_> {
    /// Opens the stream: what happens from now on is told.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    pub(crate) async fn open(&mut self) -> Result<(), ClientError> {
        self.stream.open().await
    }

    /// The next change. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// When the request is refused, or the backend stays away for too long.
    pub(crate) async fn next(&mut self) -> Result<FeedEvent, ClientError> {
        loop {
            let told = match self.stream.next().await? {
                StreamEvent::Event(event) => match event.event.as_str() {
                    "job" => self.tell(self.stream.read(&event)?),
                    "reset" => Some(FeedEvent::Reset),
                    // Kinds of a newer backend.
                    _ => None,
                },
                StreamEvent::Lost(reason) => Some(FeedEvent::Lost(reason)),
                StreamEvent::Back => Some(FeedEvent::Back),
                StreamEvent::Refused(error) => self.ask(&error).await,
            };
            if let Some(told) = told {
                return Ok(told);
            }
        }
    }

    /// Where streams are refused for now, the job itself is asked for.
    async fn ask(&mut self, refusal: &ClientError) -> Option<FeedEvent> {
        let (ClientError::Problem(_), Some(id)) = (refusal, self.job) else { return None };
        let job = self.client.job(id).await.ok()?;
        self.stream.heard();
        self.tell(job)
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
}
