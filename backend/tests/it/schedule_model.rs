//! A model check of schedules: every order in which two that look, ends of jobs and a clock that jumps can come between each other, with
//! the real decisions.
//!
//! **The world** is a schedule that ticks each second, lets one tick wait for the one before and makes up for none that it missed; a
//! clock that goes on, and that somebody sets forward and back; and two that look, as two backends would. To look is one step, to
//! commit what follows from it another; a crash may come at any moment, and forgets what was seen. The search visits every state that can
//! be reached, breadth first.
//!
//! **What must hold** in each: a tick has one record and makes one job at most, each tick up to the mark has a record, none after it has
//! one but those that fired while the clock was ahead, and one job is open at once. And from each state every tick gets its record and
//! what waits begins, if only the clock stands still.
//!
//! Two negative controls: without the comparison with what was seen, and with a mark that moves in a transaction of its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
};

use crewcall_backend::{
    clock::Clock,
    domain::{
        FiredBy, ScheduleId, ScheduleName, Submission, TickKey, TickOrigin,
        schedules::{
            consider::{Fate, Ticks},
            known::{Schedule, Wait},
            overlap::{Admission, admit},
            settings::ScheduleSettings,
            tick::{TickState, TickWork},
        },
    },
    engine::{
        ports::{Accepted, ScheduleChange, ScheduleStep, ScheduleWrite, StepTick, TickMade},
        rules::{ChangeSchedule, Decide, Loaded, Rules, Schedules, TickSchedule, Writes},
    },
};
use crewcall_calendar::{Calendar, Zone};
use crewcall_proto::{JobId, Timestamp};

/// Until when the clock goes on, in seconds.
const END: i64 = 2;
/// By how much somebody sets it, and how often: one jump makes ticks late, the other takes some of them back.
const JUMPS: [i64; 2] = [3, -2];
const JUMPS_MAX: u8 = 2;
/// More states than this mean that the world has grown beyond what a test should look at.
const STATES_MAX: usize = 1_000_000;

/// What those who look leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// What was seen is stored, whatever the schedule is by then.
    Fence,
    /// What becomes of ticks is stored first, and the mark after that.
    OneTransaction,
}

/// What somebody made ready for a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ready {
    Begin(i64),
    Due(i64, bool),
    Passed(i64, i64),
}

/// What somebody saw, and has to commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    from: i64,
    to: i64,
    ready: Vec<Ready>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: i64,
    jumps: u8,
    mark: i64,
    fired_ahead: Option<i64>,
    /// What stands for several ticks stands for each of them.
    records: BTreeMap<i64, &'static str>,
    open: BTreeSet<i64>,
    queue: BTreeSet<i64>,
    lookers: [Option<Seen>; 2],
    /// Marks that are to be moved in a transaction of their own.
    moves: [Option<i64>; 2],
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Time,
    Jump(i64),
    Look(usize),
    Commit(usize),
    Move(usize),
    Crash,
    End(i64),
}

/// The clock of the world.
struct WorldClock(i64);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0 * 1_000)
    }

    fn machine_ahead_ms(&self) -> i64 {
        0
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

fn second(at: Timestamp) -> i64 {
    at.as_millis() / 1_000
}

fn key(second: i64) -> TickKey {
    TickKey { at: at(second), origin: TickOrigin::Clock }
}

fn name() -> ScheduleName {
    "s".parse().unwrap()
}

fn job(second: i64) -> JobId {
    JobId::from_uuid(uuid::Uuid::from_u128(u128::from(second.unsigned_abs())))
}

impl World {
    fn start() -> Self {
        let (lookers, moves) = ([None, None], [None, None]);
        let (records, open, queue) = Default::default();
        Self { now: 0, jumps: 0, mark: 0, fired_ahead: None, records, open, queue, lookers, moves }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend((self.now < END).then_some(Step::Time));
        if self.jumps < JUMPS_MAX {
            steps.extend(JUMPS.into_iter().filter(|by| self.now + by >= 0).map(Step::Jump));
        }
        for looker in 0..2 {
            let is_free = self.lookers[looker].is_none() && self.moves[looker].is_none();
            steps.extend(is_free.then_some(Step::Look(looker)));
            steps.extend(self.lookers[looker].as_ref().map(|_| Step::Commit(looker)));
            steps.extend(self.moves[looker].map(|_| Step::Move(looker)));
        }
        let is_busy = self.lookers.iter().any(Option::is_some) || self.moves.iter().any(Option::is_some);
        steps.extend(is_busy.then_some(Step::Crash));
        steps.extend(self.open.iter().copied().map(Step::End));
        steps
    }

    /// The world after a step; or what is wrong with it.
    fn after(&self, step: Step, broken: Broken) -> Result<Self, String> {
        let mut next = self.clone();
        match step {
            Step::Time => next.now += 1,
            Step::Jump(by) => (next.now, next.jumps) = (self.now + by, self.jumps + 1),
            Step::Look(looker) => next.look(looker)?,
            Step::Commit(looker) => {
                let seen = next.lookers[looker].take().unwrap();
                next.commit(&seen, looker, broken)?;
            }
            Step::Move(looker) => next.mark = next.moves[looker].take().unwrap().max(next.mark),
            Step::Crash => (next.lookers, next.moves) = ([None, None], [None, None]),
            Step::End(tick) => drop(next.open.remove(&tick)),
        }
        next.holds(broken)?;
        Ok(next)
    }

    /// As the engine looks: a mark in the future comes back at once, everything else is made ready first.
    fn look(&mut self, looker: usize) -> Result<(), String> {
        if self.mark > self.now {
            let change = ChangeSchedule { name: name(), change: ScheduleChange::ClockSetBack { cut: None } };
            let (writes, rules) = self.decide(self.schedule(), change, self.fired(self.now));
            return self.store(&writes, &rules);
        }
        let (calendar, schedule) = (calendar(), self.schedule());
        let name = name();
        let ticks = Ticks { calendar: &calendar, times: &schedule.settings.times, name: &name };
        let considered = ticks.consider(at(self.mark), at(self.now), false);
        let to = considered.fates.last().map_or(self.mark, |fate| second(fate.last()));
        let fired = self.fired(self.mark);
        let mut ready = Vec::new();
        let mut local = schedule.clone();
        if let Some(begins) = local.next_to_begin() {
            local.queue.remove(&begins);
            local.open.insert(begins, TickWork::Job(job(0)));
            ready.push(Ready::Begin(second(begins.at)));
        }
        for fate in considered.fates.into_iter().flat_map(|fate| ticks.apart(fate, &fired)) {
            ready.push(match fate {
                Fate::Passed { first, last, .. } => Ready::Passed(second(first), second(last)),
                Fate::Due(tick) => {
                    let key = TickKey { at: tick, origin: TickOrigin::Clock };
                    let fires = admit(&local) == Admission::Fire;
                    if fires {
                        local.open.insert(key, TickWork::Job(job(0)));
                    } else if matches!(admit(&local), Admission::Queue { .. }) {
                        local.queue.insert(key, Wait::Alone);
                    }
                    Ready::Due(second(tick), fires)
                }
            });
        }
        if !ready.is_empty() {
            self.lookers[looker] = Some(Seen { from: self.mark, to, ready });
        }
        Ok(())
    }

    /// The real decision, upon the schedule as the store has it.
    fn commit(&mut self, seen: &Seen, looker: usize, broken: Broken) -> Result<(), String> {
        let mut schedule = self.schedule();
        if broken == Broken::Fence {
            schedule.considered_until = at(seen.from);
        }
        let id = schedule.id;
        let step = ScheduleStep {
            schedule: name(),
            id,
            revision: schedule.revision,
            from: at(seen.from),
            to: at(seen.to),
            ticks: seen.ready.iter().map(|ready| tick(*ready, id)).collect(),
        };
        let (writes, rules) = self.decide(schedule, TickSchedule::new(step).unwrap(), self.fired(seen.from));
        let before = self.mark;
        self.store(&writes, &rules)?;
        if broken == Broken::OneTransaction && self.mark > before {
            self.moves[looker] = Some(self.mark);
            self.mark = before;
        }
        Ok(())
    }

    fn decide<D: Decide>(
        &self,
        schedule: Schedule,
        command: D,
        fired_ticks: BTreeSet<Timestamp>,
    ) -> (Writes, Rules) {
        let schedules = Schedules::new([schedule], ScheduleId(1));
        let clock = Arc::new(WorldClock(self.now));
        let mut rules = Rules { schedules, ..Rules::empty(clock) };
        let loaded = Loaded { fired_ticks, ..Loaded::default() };
        let writes = command.decide(loaded, &mut rules).unwrap().writes;
        (writes, rules)
    }

    /// The store does what was decided; a key refuses what is there already.
    fn store(&mut self, writes: &Writes, rules: &Rules) -> Result<(), String> {
        for write in &writes.schedules {
            match write {
                ScheduleWrite::Record(_, _, record) => {
                    self.record(record.key.at, record.last, record.state)?;
                }
                ScheduleWrite::Changed(_, _, record) => {
                    self.records.insert(second(record.key.at), record.state.as_str());
                }
                ScheduleWrite::Extended { last, count, .. } => {
                    let first = last.plus_millis(-1_000 * (i64::try_from(*count).unwrap() - 1));
                    self.record(first, *last, TickState::Missed)?;
                }
                ScheduleWrite::StruckOut { after, .. } => {
                    let after = second(*after);
                    self.records.retain(|tick, state| *tick <= after || *state == "fired");
                }
                _ => {}
            }
        }
        let Some(schedule) = rules.schedules.get(&name()).filter(|_| !writes.schedules.is_empty()) else {
            return Ok(());
        };
        self.mark = second(schedule.considered_until);
        self.fired_ahead = schedule.fired_ahead.map(second);
        self.open = schedule.open.keys().map(|key| second(key.at)).collect();
        self.queue = schedule.queue.keys().map(|key| second(key.at)).collect();
        Ok(())
    }

    fn record(&mut self, first: Timestamp, last: Timestamp, state: TickState) -> Result<(), String> {
        for tick in second(first)..=second(last) {
            if let Some(before) = self.records.insert(tick, state.as_str()) {
                return Err(format!("the tick {tick} has a second record: {before}, and {state}"));
            }
        }
        Ok(())
    }

    /// The ticks after this one that fired, or wait.
    fn fired(&self, after: i64) -> BTreeSet<Timestamp> {
        let later = self.records.range(after + 1..);
        later.filter(|(_, state)| matches!(**state, "fired" | "queued")).map(|(tick, _)| at(*tick)).collect()
    }

    fn schedule(&self) -> Schedule {
        let document =
            r#"{"every_seconds": 1, "overlap": "queue_one", "catch_up": "none", "job": {"type": "a"}}"#;
        let now = at(0);
        Schedule {
            id: ScheduleId(1),
            name: name(),
            settings: Arc::new(ScheduleSettings::read(&document.parse().unwrap()).unwrap()),
            document: document.into(),
            considered_until: at(self.mark),
            fired_ahead: self.fired_ahead.map(at),
            pause: None,
            failures: 0,
            last_completed: None,
            open: self.open.iter().map(|tick| (key(*tick), TickWork::Job(job(*tick)))).collect(),
            queue: self.queue.iter().map(|tick| (key(*tick), Wait::Alone)).collect(),
            tail: None,
            created_at: now,
            changed_at: now,
            changed_by: "anna".to_owned(),
            revision: 1,
        }
    }

    fn holds(&self, broken: Broken) -> Result<(), String> {
        if let Some(tick) = (1..=self.mark).find(|tick| !self.records.contains_key(tick)) {
            return Err(format!("the tick {tick} is behind the mark and has no record"));
        }
        let later = self.records.range(self.mark + 1..).find(|(_, state)| **state != "fired");
        // In the middle of two transactions it cannot be otherwise.
        if let Some((tick, state)) = later.filter(|_| broken != Broken::OneTransaction) {
            return Err(format!("the tick {tick} is not behind the mark and is {state}"));
        }
        if self.open.len() > 1 {
            return Err(format!("{} jobs are open", self.open.len()));
        }
        Ok(())
    }

    /// The world when everybody who looked has crashed, and what was open has ended.
    fn at_rest(&self) -> Self {
        Self { lookers: [None, None], moves: [None, None], open: BTreeSet::new(), ..self.clone() }
    }

    /// Whether every tick gets its record, and what waits begins, if only the clock stands still.
    fn comes_to_its_end(mut self) -> bool {
        let world = &mut self;
        for _ in 0..2 * (END + JUMPS[0] + 2) {
            world.open.clear();
            *world = world.after(Step::Look(0), Broken::Nothing).unwrap();
            if world.lookers[0].is_some() {
                *world = world.after(Step::Commit(0), Broken::Nothing).unwrap();
            }
        }
        world.mark <= world.now
            && (1..=world.now).all(|tick| world.records.contains_key(&tick))
            && world.queue.is_empty()
    }
}

fn calendar() -> Calendar {
    Calendar::every(1, 0, Zone::utc()).unwrap()
}

/// What was made ready, as the store is given it.
fn tick(ready: Ready, id: ScheduleId) -> StepTick {
    let made = |tick: i64| {
        let submission = Submission { job_type: "a".to_owned(), ..Submission::default() };
        let job = submission.validate(at(0)).unwrap().accept(job(tick), at(0));
        let by = FiredBy { schedule: name(), id, tick: key(tick) };
        Box::new(TickMade::Job(Box::new(Accepted { job, window: 0, idempotency: None, after: None }), by))
    };
    match ready {
        Ready::Begin(tick) => StepTick::Begin { key: key(tick), made: made(tick) },
        Ready::Due(tick, fires) => StepTick::Due { key: key(tick), made: fires.then(|| made(tick)) },
        Ready::Passed(first, last) => StepTick::Passed {
            first: at(first),
            last: at(last),
            count: u64::try_from(last - first + 1).unwrap(),
            why: crewcall_backend::domain::schedules::consider::Passed::Missed,
            reason: None,
        },
    }
}

/// What was seen.
struct Explored {
    states: usize,
    fates: BTreeSet<&'static str>,
}

/// The shortest way to a state that must not be, and what is wrong with it.
#[derive(Debug)]
struct Wrong {
    way: Vec<Step>,
    what: String,
}

/// Looks at every state.
fn explore(broken: Broken) -> Result<Explored, Wrong> {
    let start = World::start();
    let mut seen = HashSet::from([start.clone()]);
    let mut rests = HashSet::new();
    let mut fates = BTreeSet::new();
    let mut waiting = VecDeque::from([(start, Vec::new())]);
    while let Some((world, way)) = waiting.pop_front() {
        assert!(seen.len() < STATES_MAX, "the world has grown too large");
        for step in world.steps() {
            let mut way: Vec<Step> = way.clone();
            way.push(step);
            match world.after(step, broken) {
                Err(what) => return Err(Wrong { way, what }),
                Ok(next) => {
                    if !seen.insert(next.clone()) {
                        continue;
                    }
                    let rest = next.at_rest();
                    if broken == Broken::Nothing && rests.insert(rest.clone()) && !rest.comes_to_its_end() {
                        return Err(Wrong { way, what: format!("it does not come to its end: {next:?}") });
                    }
                    fates.extend(next.records.values().copied());
                    fates.extend(next.fired_ahead.map(|_| "ahead"));
                    waiting.push_back((next, way));
                }
            }
        }
    }
    Ok(Explored { states: seen.len(), fates })
}

#[test]
fn every_order_gives_each_tick_one_record_and_one_job() {
    let Explored { states, fates } = explore(Broken::Nothing).unwrap();
    assert!(states > 10_000, "only {states} states were looked at");
    assert_eq!(fates, BTreeSet::from(["ahead", "fired", "missed", "queued", "skipped"]));
}

#[test]
fn without_the_comparison_a_tick_is_decided_twice() {
    let Wrong { way, what } = explore(Broken::Fence).err().unwrap();
    assert!(what.contains("second record"), "{what}: {way:?}");
}

#[test]
fn with_a_mark_that_moves_by_itself_a_tick_is_decided_twice() {
    let Wrong { way, what } = explore(Broken::OneTransaction).err().unwrap();
    assert!(what.contains("second record"), "{what}: {way:?}");
}
