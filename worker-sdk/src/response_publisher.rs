//! Everything that a worker sends.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use crewcall_amqp::{HeaderValue, MessageProperties, OutboundMessage, PublishError, Published, Publisher};
use crewcall_proto::{
    ContentType, EncodeError, JobId, JobType, MessageKind, TRACEPARENT, Topology, TraceParent, WorkerId,
    bundle, codec, discovery::WORKER_LOST_AFTER, response::HandedBack,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{clock, execution::Execution, limits::RETRY_PAUSE, order_key::OrderKey};

/// Encodes messages and publishes them.
pub(crate) struct ResponsePublisher {
    pub(crate) publisher: Publisher,
    pub(crate) topology: Topology,
    pub(crate) content_type: ContentType,
    pub(crate) worker_id: WorkerId,
    /// The program's name, as the property `app_id`.
    pub(crate) name: String,
}

/// Which job a response is about.
pub(crate) struct JobReference<'a> {
    pub(crate) job_id: JobId,
    pub(crate) job_type: &'a JobType,
    pub(crate) traceparent: Option<&'a TraceParent>,
}

impl ResponsePublisher {
    /// A response, ready to be published, any number of times.
    pub(crate) fn response(
        &self,
        kind: MessageKind,
        reference: &JobReference<'_>,
        message: &impl Serialize,
    ) -> Result<OutboundMessage, EncodeError> {
        let is_progression = kind == MessageKind::Progression;
        let mut properties = self.properties(kind.as_str());
        properties.correlation_id = Some(reference.job_id.to_string());
        // Progression is lossy by contract and may be much: it does not go to the disk.
        properties.persistent = !is_progression;
        if let Some(traceparent) = reference.traceparent {
            properties.headers.insert(TRACEPARENT.to_owned(), HeaderValue::from(traceparent.as_str()));
        }
        Ok(OutboundMessage {
            exchange: self.topology.response_exchange(),
            routing_key: self.topology.response_key(kind, reference.job_type),
            body: self.encode(message)?,
            properties,
            // A result that no queue takes must come back, to be sent again.
            mandatory: !is_progression,
        })
    }

    /// Several responses of one kind and type in one message.
    pub(crate) fn bundle(
        &self,
        kind: MessageKind,
        responses: &[&OutboundMessage],
    ) -> Result<OutboundMessage, EncodeError> {
        let alone = || EncodeError::Unencodable(format!("messages of the kind {kind} travel alone"));
        let (word, first) = bundle::word(kind).zip(responses.first()).ok_or_else(alone)?;
        let bodies: Vec<Vec<u8>> = responses.iter().map(|response| response.body.to_vec()).collect();
        Ok(OutboundMessage {
            exchange: first.exchange.clone(),
            routing_key: first.routing_key.clone(),
            body: Bytes::from(bundle::join(self.content_type, &bodies)?),
            properties: self.properties(word),
            mandatory: first.mandatory,
        })
    }

    /// A message to discovery.
    pub(crate) fn discovery(
        &self,
        kind: MessageKind,
        message: &impl Serialize,
    ) -> Result<OutboundMessage, EncodeError> {
        let mut properties = self.properties(kind.as_str());
        if kind == MessageKind::Heartbeat {
            // An old heartbeat would keep a dead worker alive when it is read after an outage of the backend.
            properties.expiration = Some(WORKER_LOST_AFTER.as_millis().to_string());
        }
        Ok(OutboundMessage {
            exchange: self.topology.discovery_exchange(),
            routing_key: kind.as_str().to_owned(),
            body: self.encode(message)?,
            properties,
            mandatory: false, // what is not heard is said again
        })
    }

    /// Publishes the report of a start on the way that loses nothing, until it is confirmed. A backend of an earlier
    /// version has no queue for that: then it goes the way of all progress.
    pub(crate) async fn deliver_start(&self, mut message: OutboundMessage, job_type: &JobType) {
        let as_progress = message.clone();
        message.routing_key = self.topology.start_key(job_type);
        message.properties.persistent = true;
        message.mandatory = true;
        let mut pauses = pauses();
        loop {
            match self.publisher.publish(message.clone()).await {
                Ok(Published::Confirmed) => return,
                Ok(Published::Returned { .. }) => return drop(self.publisher.publish(as_progress).await),
                Err(error) if error.is_retryable() => {
                    tokio::time::sleep(pauses.next().unwrap_or(RETRY_PAUSE.1)).await;
                }
                Err(_) => return,
            }
        }
    }

    /// Publishes until the broker has the message: the same one, with the same id, so that the backend can
    /// tell a repetition. While the broker is away it waits, without end.
    ///
    /// # Errors
    ///
    /// [`PublishError`] when trying again is of no use: the message cannot be sent, or the worker ends.
    pub(crate) async fn deliver(&self, message: &OutboundMessage) -> Result<(), PublishError> {
        let mut pauses = pauses();
        loop {
            let reason = match self.publisher.publish(message.clone()).await {
                Ok(Published::Confirmed) => return Ok(()),
                Ok(Published::Returned { code, text }) => {
                    format!(
                        "no queue takes it ({code} {text}); the backend declares the queues when it starts"
                    )
                }
                Err(error) if error.is_retryable() => error.to_string(),
                Err(error) => return Err(error),
            };
            tracing::warn!(
                job.id = message.properties.correlation_id.as_deref().unwrap_or_default(),
                message.kind = message.properties.message_type.as_deref().unwrap_or_default(),
                reason,
                "A response is not confirmed yet; it is sent again."
            );
            tokio::time::sleep(pauses.next().unwrap_or(RETRY_PAUSE.1)).await;
        }
    }

    /// Says once that an attempt goes back. `false` when it is not known to have arrived: the backend may be of a version
    /// that does not listen.
    pub(crate) async fn hand_back(
        &self,
        reference: &JobReference<'_>,
        key: &OrderKey,
        execution: &Execution,
        resend: bool,
        message: Option<String>,
    ) -> bool {
        let handed_back = HandedBack {
            job_id: key.job_id(),
            attempt: key.attempt(),
            attempt_token: key.attempt_token(),
            execution_id: execution.id,
            worker_id: self.worker_id.clone(),
            resend,
            message,
            started_at: execution.started_at,
            at: clock::now(),
        };
        match self.response(MessageKind::HandedBack, reference, &handed_back) {
            Ok(message) => matches!(self.publisher.publish(message).await, Ok(Published::Confirmed)),
            Err(_) => false,
        }
    }

    fn properties(&self, message_type: &str) -> MessageProperties {
        MessageProperties {
            message_id: Some(Uuid::now_v7().to_string()),
            message_type: Some(message_type.to_owned()),
            content_type: Some(self.content_type.as_str().to_owned()),
            timestamp_ms: u64::try_from(clock::now().as_millis()).ok(),
            persistent: true,
            app_id: Some(self.name.clone()),
            ..MessageProperties::default()
        }
    }

    fn encode(&self, message: &impl Serialize) -> Result<Bytes, EncodeError> {
        codec::encode(self.content_type, message).map(Bytes::from)
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(RETRY_PAUSE.0)
        .with_max_delay(RETRY_PAUSE.1)
        .with_jitter() // so that the attempts of one outage do not come back in step
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use crewcall_amqp::{LinkConfig, PublisherOptions};
    use crewcall_proto::{Attempt, AttemptToken, ExecutionId, Timestamp, response::Completed};
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;

    impl ResponsePublisher {
        /// One whose broker is not there: it is not needed to write messages.
        pub(crate) fn without_broker(content_type: ContentType, stop: &CancellationToken) -> Self {
            let (config, tracker) = (LinkConfig::new("amqp://127.0.0.1:1/%2f", "test"), TaskTracker::new());
            Self {
                publisher: Publisher::start(config, Vec::new(), PublisherOptions::default(), stop, &tracker),
                topology: Topology::default(),
                content_type,
                worker_id: WorkerId::generate(),
                name: "test".to_owned(),
            }
        }
    }

    #[tokio::test]
    async fn responses_of_one_message_are_what_they_would_be_alone() {
        for content_type in [ContentType::MessagePack, ContentType::Json] {
            let stop = CancellationToken::new();
            stop.cancel();
            let publisher = ResponsePublisher::without_broker(content_type, &stop);
            let job_type = JobType::new("test").unwrap();
            let answer = |result: u32| {
                let job_id = JobId::generate();
                let completed = Completed {
                    job_id,
                    attempt: Attempt::FIRST,
                    attempt_token: AttemptToken::generate(),
                    execution_id: ExecutionId::generate(),
                    worker_id: WorkerId::generate(),
                    result: result.into(),
                    events: Vec::new(),
                    started_at: Timestamp::from_millis(0),
                    finished_at: Timestamp::from_millis(1),
                };
                let reference = JobReference { job_id, job_type: &job_type, traceparent: None };
                publisher.response(MessageKind::Completed, &reference, &completed).unwrap()
            };
            let answers = [answer(1), answer(2)];
            let together = publisher.bundle(MessageKind::Completed, &answers.each_ref()).unwrap();
            let split = bundle::split(content_type, &together.body).unwrap();
            assert_eq!(split, answers.each_ref().map(|answer| &answer.body[..]));
            assert_eq!(
                (&together.exchange, &together.routing_key, together.mandatory),
                (&answers[0].exchange, &answers[0].routing_key, true)
            );
            let properties = together.properties;
            assert_eq!(properties.message_type.as_deref(), Some("completions"));
            assert_eq!(properties.content_type.as_deref(), Some(content_type.as_str()));
            assert!(
                properties.persistent && properties.correlation_id.is_none() && properties.headers.is_empty()
            );
            let ids = answers.each_ref().map(|answer| answer.properties.message_id.clone());
            assert!(!ids.contains(&properties.message_id));
            assert!(publisher.bundle(MessageKind::Held, &answers.each_ref()).is_err(), "they travel alone");
        }
    }
}
