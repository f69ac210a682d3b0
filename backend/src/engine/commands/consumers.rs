//! What people do to consumers.

use std::sync::Arc;

use crewcall_proto::Timestamp;

use crate::{
    domain::{
        ConsumerName, ConsumerSettings, Pause, Problem, Reaction, Replay, Sequence, Start, Then,
        times::BackoffRequest,
    },
    engine::{
        Caller, Engine,
        ports::{
            CONSUMERS_MAX, ConsumerChange, ConsumerChanged, LogBounds, REPLAYS_OPEN_MAX, ReplayRequest,
            StoreError,
        },
    },
};

/// Why something was not done to a consumer.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The settings are not valid.
    #[error("the consumer has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    #[error("there is no such consumer")]
    Unknown,
    #[error("there are {CONSUMERS_MAX} consumers already")]
    TooMany,
    #[error("{REPLAYS_OPEN_MAX} replays of the consumer are under way already")]
    TooManyReplays,
    /// It was told to begin elsewhere when it was made.
    #[error("the consumer was made to begin elsewhere: its place in the log is changed with seek")]
    OtherStart,
    /// What comes after this place is deleted.
    #[error("the events after {after} are deleted; the oldest that is kept is {}", .bounds.oldest)]
    Gone { after: Sequence, bounds: LogBounds },
    /// There is no such place yet.
    #[error("the log has no event {after} yet; its newest is {head}")]
    Beyond { after: Sequence, head: Sequence },
    /// A part of the log that ends before it begins.
    #[error("a replay ends behind its beginning: to is larger than after")]
    Backwards,
    /// The key belongs to a replay of another part.
    #[error("the key belongs to a replay of another part of the log")]
    KeyReused,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a consumer moved in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub from: Sequence,
    pub to: Sequence,
}

impl Moved {
    /// How many events it will not see.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.to.0.saturating_sub(self.from.0)
    }

    /// How many events it will see again.
    #[must_use]
    pub const fn repeated(&self) -> u64 {
        self.from.0.saturating_sub(self.to.0)
    }
}

/// Whether setting a consumer made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Created,
    Changed,
    /// It was like that already.
    Unchanged,
}

impl Engine {
    /// Makes a consumer, or changes its settings: it stays where it is then.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] when nothing changes.
    pub async fn put_consumer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ConsumerName,
        mut settings: ConsumerSettings,
        start: Option<Start>,
    ) -> Result<Put, ConsumerError> {
        if let Then::Job(job) = &mut settings.then {
            let backoff = job.times.backoff.take();
            job.times.backoff = backoff.filter(|backoff| *backoff != BackoffRequest::default());
        }
        Reaction::of(&settings, self.clock.now()).map_err(ConsumerError::Invalid)?;
        let known = self.store.consumer(name);
        if let Some(known) = &known {
            // What was looked at under the settings before is not looked at again under these, whatever dies when.
            self.keep_places(std::slice::from_ref(known)).await?;
        }
        let begin = if known.is_some() { None } else { self.place_of(start.unwrap_or_default()).await? };
        tracing::info!(consumer = %name, by = caller.by(), "A consumer is set.");
        let change = ConsumerChange::Put { settings: Arc::new(settings), start, begin };
        Ok(match self.change_consumer(name, change).await? {
            ConsumerChanged::Created(_) => Put::Created,
            ConsumerChanged::Unchanged(_) => Put::Unchanged,
            _ => Put::Changed,
        })
    }

    /// Pauses a consumer. One that is paused stays as it is.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] when nothing changes.
    pub async fn pause_consumer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ConsumerName,
        reason: Option<String>,
    ) -> Result<(), ConsumerError> {
        let by = caller.by().to_owned();
        tracing::info!(consumer = %name, by, reason, "A consumer is paused.");
        let pause = Pause { by, reason, at: self.clock.now() };
        self.change_consumer(name, ConsumerChange::Pause(pause)).await.map(drop)
    }

    /// Ends the pause of a consumer: it goes on where it stood, or passes over what came meanwhile. Returns how it moved.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] when nothing changes.
    pub async fn resume_consumer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ConsumerName,
        from_now: bool,
        reason: Option<String>,
    ) -> Result<Moved, ConsumerError> {
        tracing::info!(consumer = %name, by = caller.by(), from_now, reason, "A consumer is resumed.");
        self.move_consumer(name, ConsumerChange::Resume { from_now }).await
    }

    /// Has a consumer go on somewhere else. Returns how it moved.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] when nothing changes.
    pub async fn seek_consumer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ConsumerName,
        to: Start,
        reason: Option<String>,
    ) -> Result<Moved, ConsumerError> {
        let place = self.place_of(to).await?;
        tracing::info!(consumer = %name, by = caller.by(), ?to, reason, "A consumer is moved.");
        self.move_consumer(name, ConsumerChange::Seek(place)).await
    }

    /// Has a consumer go through a part of the log once more, beside its own place. Returns the replay, and whether it was asked
    /// for before under the same key.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] when nothing changes.
    pub async fn replay_consumer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ConsumerName,
        (after, to): (Sequence, Sequence),
        reason: Option<String>,
        key: Option<String>,
    ) -> Result<(Replay, bool), ConsumerError> {
        if after >= to {
            return Err(ConsumerError::Backwards);
        }
        self.place_of(Start::After(after)).await?;
        let by = caller.by().to_owned();
        tracing::info!(consumer = %name, by, after = after.0, to = to.0, reason, "A consumer is to replay a part of the log.");
        let request = ReplayRequest { after, to, by, reason, key };
        match self.change_consumer(name, ConsumerChange::Replay(request)).await? {
            ConsumerChanged::Repeated(replay) => Ok((*replay, true)),
            ConsumerChanged::Changed(consumer) => {
                let replay = consumer.replays.last().cloned();
                Ok((replay.ok_or_else(|| broken("it kept no replay"))?, false))
            }
            _ => Err(broken("it answered a replay with something else").into()),
        }
    }

    /// Deletes a consumer. The jobs that it made go on.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] when nothing changes.
    pub async fn delete_consumer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ConsumerName,
    ) -> Result<(), ConsumerError> {
        tracing::info!(consumer = %name, by = caller.by(), "A consumer is deleted.");
        self.change_consumer(name, ConsumerChange::Delete).await?;
        self.consumption.forget(name);
        Ok(())
    }

    async fn move_consumer(
        self: &Arc<Self>,
        name: &ConsumerName,
        change: ConsumerChange,
    ) -> Result<Moved, ConsumerError> {
        let known = self.store.consumer(name).ok_or(ConsumerError::Unknown)?;
        self.keep_places(std::slice::from_ref(&known)).await?;
        let from = self.consumption.place_of(&known);
        Ok(match self.change_consumer(name, change).await? {
            ConsumerChanged::Changed(now) => {
                Moved { from, to: now.cursor.max(self.consumption.place_of(&now)) }
            }
            _ => Moved { from, to: from },
        })
    }

    async fn change_consumer(
        self: &Arc<Self>,
        name: &ConsumerName,
        change: ConsumerChange,
    ) -> Result<ConsumerChanged, ConsumerError> {
        let (engine, name) = (Arc::clone(self), name.clone());
        let changed = self.to_its_end(async move {
            let changed = engine.store.change_consumer(&name, change).await?;
            engine.consumption.wake();
            Ok::<_, StoreError>(changed)
        });
        match changed.await? {
            ConsumerChanged::Unknown => Err(ConsumerError::Unknown),
            ConsumerChanged::TooMany => Err(ConsumerError::TooMany),
            ConsumerChanged::TooManyReplays => Err(ConsumerError::TooManyReplays),
            ConsumerChanged::OtherStart(_) => Err(ConsumerError::OtherStart),
            ConsumerChanged::Beyond { place: after, head } => Err(ConsumerError::Beyond { after, head }),
            ConsumerChanged::KeyReused => Err(ConsumerError::KeyReused),
            changed => Ok(changed),
        }
    }

    /// Which place somebody means; `None` for the end of the log.
    async fn place_of(&self, start: Start) -> Result<Option<Sequence>, ConsumerError> {
        let bounds = self.store.log_bounds().await?;
        let before_oldest = Sequence(bounds.oldest.0.saturating_sub(1));
        match start {
            Start::Now => Ok(None),
            Start::Oldest => Ok(Some(before_oldest)),
            Start::After(after) if after > bounds.head => {
                Err(ConsumerError::Beyond { after, head: bounds.head })
            }
            Start::After(after) if after < before_oldest => Err(ConsumerError::Gone { after, bounds }),
            Start::After(after) => Ok(Some(after)),
            Start::Since(time) => self.before(time, before_oldest, bounds.head).await.map(Some),
        }
    }

    /// The place before the first event that was recorded at this time or later, of a log whose times grow.
    async fn before(
        &self,
        time: Timestamp,
        mut low: Sequence,
        mut high: Sequence,
    ) -> Result<Sequence, ConsumerError> {
        while low < high {
            let middle = Sequence(low.0 + (high.0 - low.0).div_ceil(2));
            let event = self.store.event(middle).await?;
            match event.filter(|event| event.recorded_at >= time) {
                Some(_) => high = Sequence(middle.0 - 1),
                None => low = middle,
            }
        }
        Ok(low)
    }
}

fn broken(reason: &str) -> StoreError {
    StoreError::Broken { reason: reason.to_owned() }
}
