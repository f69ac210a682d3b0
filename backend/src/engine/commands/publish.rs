//! Publishing events.

use std::sync::Arc;

use crewcall_proto::{Timestamp, codec::PAYLOAD_BYTES_MAX};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    domain::{EventId, EventSubmission, NewEvent, Problem, PublishedEvent, Sequence},
    engine::{
        Caller, Engine,
        ports::{Appended, StoreError},
    },
};

/// Why an event is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It is not a valid event.
    #[error("the event has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    /// Its id belongs to an event that says something else.
    #[error("the id belongs to event {0}, which says something else")]
    IdReused(Sequence),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a submission that is an event.
#[derive(Debug, Clone)]
pub enum Published {
    Recorded(Arc<PublishedEvent>),
    /// It was recorded before, under the same id.
    Replayed(Arc<PublishedEvent>),
}

impl Published {
    /// The event.
    #[must_use]
    pub fn event(&self) -> &Arc<PublishedEvent> {
        match self {
            Self::Recorded(event) | Self::Replayed(event) => event,
        }
    }
}

/// The publisher's own name for an event, with what it stands for: the SHA-256 of what the event says, whatever the order of its
/// fields.
#[must_use]
pub fn event_id(text: String, subject: &str, occurred_at: Option<Timestamp>, data: Value) -> EventId {
    let time = occurred_at.map(Timestamp::as_millis);
    let mut content = Value::Array(vec![subject.into(), time.into(), data]);
    content.sort_all_objects();
    EventId { content_hash: Sha256::digest(content.to_string()).into(), text }
}

impl Engine {
    /// Records an event: when this returns `Ok`, it is on disk.
    ///
    /// # Errors
    ///
    /// [`PublishError`] when it is not recorded; nothing is stored then.
    pub async fn publish(
        &self,
        caller: &Caller,
        submission: EventSubmission,
    ) -> Result<Published, PublishError> {
        match self.publish_batch(caller, vec![submission]).await?.pop() {
            Some(outcome) => outcome,
            None => Err(StoreError::Broken { reason: "it answered for no event".to_owned() }.into()),
        }
    }

    /// Records many events in their order, each for itself: one that is not an event does not spoil the others. Returns what
    /// became of them, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when none of them was stored.
    pub async fn publish_batch(
        &self,
        caller: &Caller,
        submissions: Vec<EventSubmission>,
    ) -> Result<Vec<Result<Published, PublishError>>, StoreError> {
        self.publish_checked(caller, submissions.into_iter().map(check).collect()).await
    }

    /// Records events, or tells what is wrong with them, in their order. The one door to the log for everybody outside: what
    /// they publish themselves, and what they deliver to hooks.
    pub(super) async fn publish_checked(
        &self,
        caller: &Caller,
        checked: Vec<Result<NewEvent, Vec<Problem>>>,
    ) -> Result<Vec<Result<Published, PublishError>>, StoreError> {
        tracing::debug!(by = caller.by(), events = checked.len(), "Events are published.");
        let events: Vec<NewEvent> = checked.iter().filter_map(|event| event.as_ref().ok().cloned()).collect();
        let mut appended = if events.is_empty() {
            Vec::new().into_iter()
        } else {
            let changes = self.changes.clone();
            self.to_its_end(async move { changes.append(events).await }).await?.into_iter()
        };
        let outcome = |checked: Result<NewEvent, Vec<Problem>>| {
            checked.map_err(PublishError::Invalid)?;
            match appended.next() {
                Some(Appended::Recorded(event)) => Ok(Published::Recorded(event)),
                Some(Appended::Replayed(event)) => Ok(Published::Replayed(event)),
                Some(Appended::IdReused(sequence)) => Err(PublishError::IdReused(sequence)),
                None => {
                    let reason = "it answered for fewer events than it was given".to_owned();
                    Err(StoreError::Broken { reason }.into())
                }
            }
        };
        Ok(checked.into_iter().map(outcome).collect())
    }
}

fn check(submission: EventSubmission) -> Result<NewEvent, Vec<Problem>> {
    let bytes = submission.data.len();
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(vec![Problem {
            pointer: "/data".to_owned(),
            message: format!(
                "the data is {bytes} bytes of JSON; an event has at most {PAYLOAD_BYTES_MAX}: pass larger data by reference"
            ),
        }]);
    }
    submission.validate()
}
