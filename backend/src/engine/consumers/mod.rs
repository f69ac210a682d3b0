//! Consumers go on in the log of events: they read what is new, decide what follows, and store it together with the place that they
//! got to.
//!
//! What is read and decided happens beside the store's transaction ([`step`]); in it, the consumer has to stand where it was
//! read to stand ([`rules`](super::rules)). So two that step at once do the work twice and store it once. The log is read once for all that
//! stand at the same place, and a part of which nothing follows moves a place in memory, which is kept once a second.

mod notes;

mod step;

mod view;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use self::notes::NoteBook;
pub(super) use self::step::known_of;
pub use self::{
    notes::{ConsumerNotes, Note, Notes},
    view::{ConsumerState, ConsumerView},
};
use super::{
    Engine, Observer,
    ports::{JobChanged, StoreError},
};
use crate::domain::{Consumer, ConsumerName, Pass, Problem, Reaction, Sequence, State};

/// How often it is looked whether anything is left undone, and places are kept that moved in memory. What is new wakes at once.
const TICK: Duration = Duration::from_secs(1);

/// How consumers get on, as far as it is not in the store.
#[derive(Default)]
pub struct Consumption {
    /// How far passes looked, where that is further than the store knows.
    places: Mutex<HashMap<Pass, Sequence>>,
    reactions: Mutex<HashMap<ConsumerName, (u64, Arc<Reaction>)>>,
    notes: NoteBook,
    /// Whether somebody waits for jobs to end.
    any_full: AtomicBool,
    wake: Notify,
}

impl Consumption {
    /// Something changed that may let consumers go on.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// How far a pass looked.
    fn place(&self, pass: Pass, kept: Sequence) -> Sequence {
        self.places().get(&pass).copied().map_or(kept, |place| place.max(kept))
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Pass, Sequence>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings of a consumer, read once for each revision.
    fn reaction(&self, consumer: &Consumer, now: crewcall_proto::Timestamp) -> Result<Arc<Reaction>, String> {
        let mut reactions = self.reactions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, reaction)) = reactions.get(&consumer.name)
            && *revision == consumer.revision
        {
            return Ok(Arc::clone(reaction));
        }
        let reaction = Reaction::of(&consumer.settings, now).map_err(|problems| {
            format!("its settings cannot be used any more ({}): set others", Problem::sentence(&problems))
        })?;
        let reaction = Arc::new(reaction);
        reactions.insert(consumer.name.clone(), (consumer.revision, Arc::clone(&reaction)));
        Ok(reaction)
    }

    /// Forgets what belongs to nobody any more.
    fn tidy(&self, consumers: &[Arc<Consumer>]) {
        let is_open = |pass: &Pass| {
            consumers.iter().any(|consumer| {
                consumer.pass == *pass || consumer.open_replays().any(|replay| replay.pass == *pass)
            })
        };
        self.places().retain(|pass, _| is_open(pass));
        let mut reactions = self.reactions.lock().unwrap_or_else(PoisonError::into_inner);
        reactions.retain(|name, _| consumers.iter().any(|consumer| consumer.name == *name));
    }

    /// Forgets a consumer that is deleted.
    pub(super) fn forget(&self, name: &ConsumerName) {
        self.notes.forget(name);
    }

    /// How far a consumer looked, by itself.
    pub(super) fn place_of(&self, consumer: &Consumer) -> Sequence {
        self.place(consumer.pass, consumer.cursor)
    }
}

impl Observer for Consumption {
    fn after_commit(&self, changes: &[JobChanged]) {
        let over = |change: &JobChanged| change.entered().is_some_and(State::is_terminal);
        if self.any_full.load(Ordering::Relaxed) && changes.iter().any(over) {
            self.wake();
        }
    }
}

/// Lets consumers go on until the engine's tasks are told to stop.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
pub(super) async fn run(engine: &Engine) -> Result<(), StoreError> {
    let stop = engine.tasks.stop();
    let mut head = engine.changes.log_head();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept_at = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
            () = engine.consumption.wake.notified() => {}
            changed = head.changed() => if changed.is_err() { return Ok(()) },
        }
        head.mark_unchanged();
        match go_on(engine, &mut kept_at).await {
            Ok(()) => {}
            Err(StoreError::Closed) if stop.is_cancelled() => return Ok(()),
            Err(error @ (StoreError::Failed { .. } | StoreError::Closed)) => return Err(error),
            Err(error) => tracing::warn!(%error, "Consumers wait for the store."),
        }
    }
}

/// Takes steps until there is nothing to do.
async fn go_on(engine: &Engine, kept_at: &mut Instant) -> Result<(), StoreError> {
    while !engine.tasks.stop().is_cancelled() && step::round(engine).await? {}
    if kept_at.elapsed() >= TICK {
        *kept_at = Instant::now();
        let consumers = engine.store.consumers();
        engine.consumption.tidy(&consumers);
        engine.keep_places(&consumers).await?;
    }
    Ok(())
}
