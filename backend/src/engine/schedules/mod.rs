//! Schedules tick: by the machine's clock, which is looked at when the next tick is due, and once a second, so that it may jump.
//!
//! What becomes of ticks is decided by [`domain::schedules`](crate::domain::schedules); what they make is made ready beside the store's
//! transaction ([`making`]) and stored in it together with the mark up to which ticks were looked at ([`rules`](super::rules)). So two that
//! look at once make things ready twice and store them once, and there is no moment between a tick and its mark.

mod calendars;

mod agenda;

mod look;

mod making;

mod view;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crewcall_calendar::Calendar;
use crewcall_proto::Timestamp;
use futures_util::{StreamExt, stream};
use tokio::{sync::Notify, time::sleep};

use self::{agenda::Agenda, calendars::Calendars};
pub(super) use calendars::problems as calendar_problems;
pub(super) use look::sentence;
pub use view::{NextTick, Preview, ScheduleState, ScheduleView};

use super::{
    Engine, Observer,
    ports::{JobChanged, StoreError, TickMade},
};
use crate::domain::{ScheduleName, TickKey, schedules::known::Schedule};

/// How often the clock is looked at when nothing is due: somebody may have set it.
const TICK: Duration = Duration::from_secs(1);

/// How many schedules are looked at at once: the store commits for all of them together.
const LOOKS_AT_ONCE: usize = 64;

/// How schedules get on, as far as it is not in the store.
#[derive(Default)]
pub struct ScheduleWork {
    /// Schedules that changed and were not looked at since.
    moved: Mutex<HashSet<ScheduleName>>,
    wake: Notify,
    agenda: Mutex<Agenda>,
    calendars: Calendars,
    /// What keeps a schedule from going on.
    troubles: Mutex<HashMap<ScheduleName, String>>,
    /// The moment of the last tick that somebody made by hand: no two have the same.
    by_hand: Mutex<Option<Timestamp>>,
}

impl ScheduleWork {
    /// Something may have to be done for these schedules.
    fn look_at(&self, names: impl IntoIterator<Item = ScheduleName>) {
        locked(&self.moved).extend(names);
        self.wake.notify_one();
    }

    /// What keeps a schedule from going on, if anything does.
    fn trouble(&self, name: &ScheduleName) -> Option<String> {
        locked(&self.troubles).get(name).cloned()
    }

    fn set_trouble(&self, name: &ScheduleName, trouble: Option<String>) {
        let mut troubles = locked(&self.troubles);
        match trouble {
            Some(reason) => {
                let before = troubles.insert(name.clone(), reason.clone());
                if before.is_none() {
                    tracing::warn!(schedule = %name, reason, "A schedule does not get on.");
                }
            }
            None => {
                if troubles.remove(name).is_some() {
                    tracing::info!(schedule = %name, "A schedule gets on again.");
                }
            }
        }
    }

    /// How many schedules do not get on.
    pub(super) fn held(&self) -> usize {
        locked(&self.troubles).len()
    }

    /// The calendar of a schedule; or why it has none any more.
    pub(super) fn calendar(&self, schedule: &Schedule) -> Result<Arc<Calendar>, String> {
        self.calendars.of(schedule)
    }

    /// A moment for a tick by hand: this one, or the first after it that no other has.
    pub(super) fn moment_by_hand(&self, now: Timestamp) -> Timestamp {
        let mut last = locked(&self.by_hand);
        let moment = last.map_or(now, |last| now.max(last.plus_millis(1)));
        *last = Some(moment);
        moment
    }
}

impl Observer for ScheduleWork {
    fn after_commit(&self, _: &[JobChanged]) {}

    fn after_schedules(&self, schedules: &[Arc<Schedule>]) {
        self.look_at(schedules.iter().map(|schedule| schedule.name.clone()));
    }
}

impl Engine {
    /// Makes ready what a tick of a schedule makes. `None` when that cannot be said now.
    pub(super) async fn tick_made(
        &self,
        schedule: &Arc<Schedule>,
        tick: TickKey,
    ) -> Result<Option<TickMade>, StoreError> {
        match self.schedules.calendar(schedule) {
            Ok(calendar) => making::make(self, schedule, &calendar, tick).await,
            Err(_) => Ok(None),
        }
    }
}

/// Lets schedules tick until the engine's tasks are told to stop.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
pub(super) async fn run(engine: &Engine) -> Result<(), StoreError> {
    let stop = engine.tasks.stop();
    let work = &engine.schedules;
    let mut last_look = engine.clock.wall();
    work.look_at(names(engine));
    loop {
        let now = engine.clock.wall();
        if now < last_look {
            // Somebody set the clock back: what was over may be to come.
            locked(&work.moved).extend(names(engine));
        }
        last_look = now;
        let mut due = std::mem::take(&mut *locked(&work.moved));
        due.extend(locked(&work.agenda).due(now));
        let looks = stream::iter(due).map(|name| async move { (look::look(engine, &name).await, name) });
        let mut looks = std::pin::pin!(looks.buffer_unordered(LOOKS_AT_ONCE));
        while let Some((looked, name)) = looks.next().await {
            match looked {
                Ok(looked) => {
                    locked(&work.agenda).set(&name, looked.next);
                    if looked.more {
                        work.look_at([name]);
                    }
                }
                Err(error) if error.is_retryable() || matches!(error, StoreError::Broken { .. }) => {
                    work.set_trouble(&name, Some(error.to_string()));
                    locked(&work.agenda).set(&name, Some(now.plus_millis(RETRY_MS)));
                }
                Err(StoreError::Closed) if stop.is_cancelled() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let due_in = locked(&work.agenda).next().map_or(TICK, |at| at.since(engine.clock.wall()));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = work.wake.notified() => {}
            () = sleep(due_in.min(TICK)) => {}
        }
    }
}

/// How long what does not get on waits until it is tried again, in milliseconds.
const RETRY_MS: i64 = 1_000;

fn names(engine: &Engine) -> Vec<ScheduleName> {
    engine.store.schedules().iter().map(|schedule| schedule.name.clone()).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
