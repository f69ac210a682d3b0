//! Consumers as people see them.

use std::{sync::Arc, time::Duration};

use super::ConsumerNotes;
use crate::{
    domain::{Consumer, ConsumerName, Sequence},
    engine::{
        Engine,
        ports::{LogBounds, StoreError},
    },
};

/// How a consumer gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerState {
    /// It has seen everything.
    Following,
    /// There are events that it has not seen, and it goes on.
    Behind,
    /// It has as many unfinished jobs as it may, or something else keeps it.
    Full,
    Paused,
    /// What comes next for it is deleted.
    Stranded,
}

impl ConsumerState {
    pub const ALL: [Self; 5] = [Self::Following, Self::Behind, Self::Full, Self::Paused, Self::Stranded];

    /// The word in the API and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Behind => "behind",
            Self::Full => "full",
            Self::Paused => "paused",
            Self::Stranded => "stranded",
        }
    }
}

/// A consumer as it is now.
#[derive(Debug, Clone)]
pub struct ConsumerView {
    pub consumer: Arc<Consumer>,
    pub state: ConsumerState,
    /// Why it is in that state: a sentence.
    pub reason: String,
    /// How far it looked.
    pub place: Sequence,
    /// The newest event.
    pub head: Sequence,
    /// How long ago the first event was recorded that it has not seen.
    pub lag: Duration,
    pub notes: ConsumerNotes,
}

impl ConsumerView {
    /// How many events it has not seen.
    #[must_use]
    pub const fn lag_events(&self) -> u64 {
        self.head.0.saturating_sub(self.place.0)
    }
}

impl Engine {
    /// All consumers, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the log cannot be read.
    pub async fn consumers(&self) -> Result<Vec<ConsumerView>, StoreError> {
        let bounds = self.store.log_bounds().await?;
        let mut views = Vec::new();
        for consumer in self.store.consumers() {
            views.push(self.consumer_view(consumer, bounds).await?);
        }
        Ok(views)
    }

    /// One consumer.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the log cannot be read.
    pub async fn consumer(&self, name: &ConsumerName) -> Result<Option<ConsumerView>, StoreError> {
        match self.store.consumer(name) {
            Some(consumer) => {
                let bounds = self.store.log_bounds().await?;
                self.consumer_view(consumer, bounds).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn consumer_view(
        &self,
        consumer: Arc<Consumer>,
        LogBounds { oldest, head }: LogBounds,
    ) -> Result<ConsumerView, StoreError> {
        let place = self.consumption.place_of(&consumer);
        let notes = self.consumption.notes.of(&consumer.name);
        let next = if place < head { self.store.event(place.next()).await? } else { None };
        let lag = next.map_or(Duration::ZERO, |event| self.clock.now().since(event.recorded_at));
        let (state, reason) = state_of(&consumer, place, (oldest, head), notes.trouble.as_deref());
        Ok(ConsumerView { consumer, state, reason, place, head, lag, notes })
    }
}

fn state_of(
    consumer: &Consumer,
    place: Sequence,
    (oldest, head): (Sequence, Sequence),
    trouble: Option<&str>,
) -> (ConsumerState, String) {
    let unseen = head.0.saturating_sub(place.0);
    if place < head && place.next() < oldest {
        let gone = oldest.0 - place.next().0;
        let reason = format!(
            "{gone} events behind {place} are deleted, for they were kept for long enough; it makes nothing until somebody says where to go on (seek)"
        );
        return (ConsumerState::Stranded, reason);
    }
    if let Some(pause) = &consumer.pause {
        let why = pause.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        return (ConsumerState::Paused, format!("{} paused it{why}; {unseen} events wait for it", pause.by));
    }
    if unseen == 0 {
        return (ConsumerState::Following, "it has seen every event".to_owned());
    }
    if let Some(trouble) = trouble {
        return (ConsumerState::Full, format!("it does not get on: {trouble}"));
    }
    if consumer.room() == 0 {
        let reason = format!(
            "{} of its jobs are unfinished, as many as may be (in_flight_max); it goes on when one of them ends",
            consumer.in_flight
        );
        return (ConsumerState::Full, reason);
    }
    (ConsumerState::Behind, format!("it goes on; {unseen} events are ahead of it"))
}
