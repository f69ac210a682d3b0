//! Schedules and what became of their ticks, in memory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_backend::{
    domain::{
        Cause, CausedBy, FiredBy, Root, ScheduleId, ScheduleName, TickKey, TickOrigin,
        schedules::{
            known::{Schedule, Wait},
            tick::{TickRecord, TickState, TickWork},
        },
    },
    engine::{
        ports::{
            Cut, ScheduleChange, ScheduleChanged, ScheduleStep, ScheduleWrite, Schedules, StoreError,
            TickQuery, Ticked, Written,
        },
        rules::{self, ChangeSchedule, DeleteTicks, TickSchedule},
    },
};
use crewcall_proto::{JobId, Timestamp};

use super::MemoryStore;

/// Where a record stands: in the order in which they are listed, which is that of the words for their origins.
type Place = (ScheduleId, Timestamp, &'static str);

/// What became of a tick, with whose it is.
#[derive(Clone)]
struct KeptTick {
    schedule: ScheduleName,
    record: TickRecord,
    wait: Wait,
}

/// Schedules and ticks.
#[derive(Clone, Default)]
pub(super) struct Agenda {
    /// Without what is open and what waits: their ticks say that.
    schedules: BTreeMap<ScheduleId, Schedule>,
    results: BTreeMap<ScheduleId, Arc<str>>,
    ticks: BTreeMap<Place, KeptTick>,
    last_id: ScheduleId,
}

fn place(schedule: ScheduleId, key: TickKey) -> Place {
    (schedule, key.at, key.origin.as_str())
}

impl KeptTick {
    fn is_open(&self) -> bool {
        let TickRecord { state, work, outcome, .. } = &self.record;
        *state == TickState::Fired && outcome.is_none() && !matches!(work, None | Some(TickWork::Event(_)))
    }

    fn waits(&self) -> bool {
        self.record.state == TickState::Queued
    }

    /// Whether it is one of the calendar that fired, or waits to.
    fn has_fired(&self) -> bool {
        let of_calendar = self.record.key.origin != TickOrigin::Hand;
        of_calendar && matches!(self.record.state, TickState::Fired | TickState::Queued)
    }

    fn cause(&self, id: ScheduleId, job_id: JobId) -> Cause {
        let by = FiredBy { schedule: self.schedule.clone(), id, tick: self.record.key };
        Cause { by: CausedBy::Schedule(by), root: Root::Job(job_id), depth: 0 }
    }
}

impl Agenda {
    /// What the rules know of it.
    pub(super) fn known(&self) -> rules::Schedules {
        let whole = self.schedules.values().map(|schedule| {
            let mut schedule = schedule.clone();
            for tick in self.of(schedule.id) {
                let key = tick.record.key;
                if tick.waits() {
                    schedule.queue.insert(key, tick.wait);
                } else if let Some(work) = tick.record.work.filter(|_| tick.is_open()) {
                    schedule.open.insert(key, work);
                }
            }
            schedule
        });
        rules::Schedules::new(whole, self.last_id)
    }

    fn of(&self, id: ScheduleId) -> impl DoubleEndedIterator<Item = &KeptTick> {
        let first = (id, Timestamp::from_millis(i64::MIN), "");
        let next = (ScheduleId(id.0 + 1), Timestamp::from_millis(i64::MIN), "");
        self.ticks.range(first..next).map(|(_, tick)| tick)
    }

    /// Why the jobs were made that ticks made, and that are not over.
    pub(super) fn open_causes(&self) -> impl Iterator<Item = (JobId, Cause)> {
        self.ticks.iter().filter(|(_, tick)| tick.is_open()).filter_map(|((id, ..), tick)| {
            match tick.record.work {
                Some(TickWork::Job(job_id)) => Some((job_id, tick.cause(*id, job_id))),
                _ => None,
            }
        })
    }

    /// Why a job was made, if a tick made it.
    pub(super) fn cause(&self, job_id: JobId) -> Option<Cause> {
        let made_it = |tick: &KeptTick| tick.record.work == Some(TickWork::Job(job_id));
        let ((id, ..), tick) = self.ticks.iter().find(|(_, tick)| made_it(tick))?;
        Some(tick.cause(*id, job_id))
    }

    /// The ticks of a calendar in (after, to] that fired, or wait to.
    pub(super) fn fired(&self, id: ScheduleId, after: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let fired = self.of(id).filter(|tick| tick.has_fired()).map(|tick| tick.record.key.at);
        fired.filter(|at| *at > after && *at <= to).collect()
    }

    fn list(&self, query: &TickQuery) -> Vec<TickRecord> {
        let before = query.before.map(|key| place(query.schedule, key));
        let meant = self.of(query.schedule).map(|tick| &tick.record).filter(|record| {
            before.is_none_or(|before| place(query.schedule, record.key) < before)
                && query.from.is_none_or(|from| record.last >= from)
                && (query.states.is_empty() || query.states.contains(&record.state))
        });
        meant.rev().take(query.limit).cloned().collect()
    }

    pub(super) fn write(&mut self, write: &ScheduleWrite) {
        match write {
            ScheduleWrite::Put(schedule) => {
                let new = bare(schedule);
                self.last_id = self.last_id.max(new.id);
                let says = |known: &Schedule| (Arc::clone(&known.settings), Arc::clone(&known.document));
                let (settings, document) = self.schedules.get(&new.id).map_or_else(|| says(&new), says);
                self.schedules.insert(new.id, Schedule { settings, document, ..new });
            }
            ScheduleWrite::Document(schedule) => {
                self.schedules.insert(schedule.id, bare(schedule));
            }
            ScheduleWrite::Deleted(name) => {
                self.schedules.retain(|_, known| known.name != *name);
                let Self { schedules, results, .. } = self;
                results.retain(|id, _| schedules.contains_key(id));
            }
            ScheduleWrite::Record(id, name, record) => {
                let before = self.keep(*id, name, record, Wait::Alone);
                assert!(before.is_none(), "a tick has one record: {record:?}");
            }
            ScheduleWrite::Changed(id, name, record) => drop(self.keep(*id, name, record, Wait::Alone)),
            ScheduleWrite::Backfilled(id, name, record, wait) => drop(self.keep(*id, name, record, *wait)),
            ScheduleWrite::Extended { schedule, first, last, count } => {
                let record = self.record(*schedule, clock(*first)).expect("it has a record");
                record.last = *last;
                record.count += count;
            }
            ScheduleWrite::Ended { schedule, key, outcome } => {
                if let Some(record) = self.record(*schedule, *key) {
                    (record.outcome, record.ended_at) = outcome.unzip();
                }
            }
            ScheduleWrite::LastResult(id, result) => drop(self.results.insert(*id, Arc::clone(result))),
            ScheduleWrite::StruckOut { schedule, after, cut } => self.strike_out(*schedule, *after, *cut),
            ScheduleWrite::Forget { until, limit } => self.forget(*until, *limit),
        }
    }

    fn record(&mut self, id: ScheduleId, key: TickKey) -> Option<&mut TickRecord> {
        self.ticks.get_mut(&place(id, key)).map(|tick| &mut tick.record)
    }

    fn keep(
        &mut self,
        id: ScheduleId,
        name: &ScheduleName,
        record: &TickRecord,
        wait: Wait,
    ) -> Option<KeptTick> {
        let tick = KeptTick { schedule: name.clone(), record: record.clone(), wait };
        if tick.has_fired() {
            let is_same = |known: &&KeptTick| known.record.key == record.key;
            let others = self.of(id).filter(|known| !is_same(known) && known.has_fired());
            let at: Vec<Timestamp> = others.map(|known| known.record.key.at).collect();
            assert!(!at.contains(&record.key.at), "a tick of the calendar fires once: {record:?}");
        }
        self.ticks.insert(place(id, record.key), tick)
    }

    fn strike_out(&mut self, id: ScheduleId, after: Timestamp, cut: Option<Cut>) {
        self.ticks.retain(|(of, at, _), tick| {
            let TickRecord { key, state, .. } = &tick.record;
            *of != id || *at <= after || key.origin != TickOrigin::Clock || *state == TickState::Fired
        });
        if let Some(Cut { first, last, count }) = cut
            && let Some(record) = self.record(id, clock(first))
        {
            (record.last, record.count) = (last, count);
        }
    }

    /// What is not over stays, and the record to which ticks are still added.
    fn forget(&mut self, until: Timestamp, limit: usize) {
        let is_tail = |id: &ScheduleId, key: TickKey| {
            let tail = self.schedules.get(id).and_then(|schedule| schedule.tail);
            tail.is_some_and(|tail| clock(tail.first) == key)
        };
        let goes = |((id, ..), tick): &(&Place, &KeptTick)| {
            let record = &tick.record;
            record.decided_at <= until && !tick.waits() && !tick.is_open() && !is_tail(id, record.key)
        };
        let mut old: Vec<(Timestamp, Place)> =
            self.ticks.iter().filter(goes).map(|(place, tick)| (tick.record.decided_at, *place)).collect();
        old.sort_unstable();
        for (_, place) in old.into_iter().take(limit) {
            self.ticks.remove(&place);
        }
    }
}

fn clock(at: Timestamp) -> TickKey {
    TickKey { at, origin: TickOrigin::Clock }
}

/// Without what its ticks say.
fn bare(schedule: &Schedule) -> Schedule {
    Schedule { open: BTreeMap::new(), queue: BTreeMap::new(), ..schedule.clone() }
}

#[async_trait]
impl Schedules for MemoryStore {
    fn schedules(&self) -> Vec<Arc<Schedule>> {
        self.read(|_, rules| rules.schedules.all().cloned().collect()).unwrap_or_default()
    }

    fn schedule(&self, name: &ScheduleName) -> Option<Arc<Schedule>> {
        self.read(|_, rules| rules.schedules.get(name).cloned()).ok().flatten()
    }

    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<Written<ScheduleChanged>, StoreError> {
        self.run(ChangeSchedule { name: name.clone(), change }).await
    }

    async fn tick(&self, step: ScheduleStep) -> Result<Written<Ticked>, StoreError> {
        self.run(TickSchedule::new(step).unwrap()).await
    }

    async fn ticks(&self, query: TickQuery) -> Result<Vec<TickRecord>, StoreError> {
        self.read(|disk, _| disk.agenda.list(&query))
    }

    async fn last_result(&self, id: ScheduleId) -> Result<Option<Arc<str>>, StoreError> {
        self.read(|disk, _| disk.agenda.results.get(&id).cloned())
    }

    async fn delete_ticks(&self, kept_for: Duration, limit: usize) -> Result<(), StoreError> {
        self.run(DeleteTicks { kept_for, limit }).await.map(|written| written.value)
    }
}
