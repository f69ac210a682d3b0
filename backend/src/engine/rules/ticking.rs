//! Ticks fire, wait or pass, and the mark moves: together with what they make, or not at all.

use std::sync::Arc;

use crewcall_proto::Timestamp;

use super::{
    Decide, Decision, Inconsistent, Loaded, NewJob, NewLogRow, Rules, Wanted,
    fires::FireEnded,
    runs,
    schedules::{passed, single, tell},
    submission,
};
use crate::{
    domain::{
        Cause, CausedBy, FiredBy, NewEvent, Root, TickKey, TickOrigin,
        schedules::{
            consider::Passed,
            known::{Schedule, Wait},
            overlap::{Admission, Obstacle, admit},
            tick::{TickRecord, TickState, TickWork},
        },
    },
    engine::ports::{
        Inserted, NewRun, RunStarted, ScheduleStep, ScheduleWrite, StepTick, TickMade, TickStop, Ticked,
    },
    mutant::mutant,
};

/// What becomes of ticks, for which everything is ready: what was read is decided again if the schedule is not as it was.
pub struct TickSchedule {
    step: ScheduleStep,
    /// The jobs of its ticks, in their order.
    jobs: Vec<NewJob>,
}

impl TickSchedule {
    /// Makes it ready.
    ///
    /// # Errors
    ///
    /// When parameters cannot be written as JSON, which no accepted job's cannot.
    pub fn new(step: ScheduleStep) -> Result<Self, serde_json::Error> {
        let made = step.ticks.iter().filter_map(|tick| match tick {
            StepTick::Due { made, .. } => made.as_deref(),
            StepTick::Begin { made, .. } => Some(made),
            StepTick::Passed { .. } => None,
        });
        let jobs = made.filter_map(|made| match made {
            TickMade::Job(accepted, _) => Some(NewJob::new(accepted.as_ref().clone())),
            TickMade::Run(_) | TickMade::Event(_) | TickMade::Nothing(_) => None,
        });
        let jobs = jobs.collect::<Result<_, _>>()?;
        Ok(Self { step, jobs })
    }

    /// How many rows it is about.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.step.ticks.len() + 1
    }
}

impl Decide for TickSchedule {
    type Value = Ticked;

    fn wants(&self, rules: &Rules) -> Wanted {
        let ScheduleStep { schedule, id, from, to, .. } = &self.step;
        let known = rules.schedules.find(schedule, *id);
        match known.and_then(|known| known.fired_ahead).filter(|ahead| ahead > from) {
            // The clock was ahead once, and some of these fired then.
            Some(_) => Wanted::FiredTicks { schedule: *id, after: *from, to: *to },
            None => Wanted::Nothing,
        }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<Ticked>, Inconsistent> {
        let ScheduleStep { schedule: name, id, revision, from, to, ticks } = self.step;
        let mut decision = Decision::nothing(Ticked::Stale);
        let known = rules.schedules.find(&name, id);
        let is_as_read = |known: &Schedule| known.revision == revision && known.considered_until == from;
        let Some(schedule) = known.filter(|known| is_as_read(known) && fits_pause(known, &ticks)) else {
            return Ok(decision);
        };
        let mut ticking = Ticking { schedule, jobs: self.jobs.into_iter(), told: Vec::new() };
        let (mut mark, mut done, mut stop) = (to, from, None);
        for tick in ticks {
            let (due, last) = (due_of(&tick), last_of(&tick));
            if single_of(&tick).is_some_and(|single| loaded.fired_ticks.contains(&single)) {
                ticking.skip_made(&tick);
                // It fired: what passes before and after it is not in a row.
                ticking.schedule.tail = None;
                continue;
            }
            if last.is_some_and(|last| {
                loaded.fired_ticks.range(done..).next().is_some_and(|fired| *fired <= last)
            }) {
                ticking.schedule.tail = None;
            }
            if let Err(why) = ticking.take(tick, rules, &mut decision)? {
                // Up to the tick before this one, everything is done.
                let before = due.map_or(done, |due| due.plus_millis(-1));
                (mark, stop) = (before.max(from), Some(why));
                break;
            }
            done = last.unwrap_or(done);
        }
        let Ticking { mut schedule, told, .. } = ticking;
        schedule.considered_until = mark;
        schedule.fired_ahead = schedule.fired_ahead.filter(|ahead| *ahead > mark);
        for record in &told {
            let event = tell(&name, record, rules);
            decision.record(event);
        }
        let schedule = rules.schedules.set(schedule);
        decision.schedules.push(Arc::clone(&schedule));
        if !mutant("mark_unkept") {
            decision.writes.schedules.push(ScheduleWrite::Put(schedule));
        }
        decision.value = Ticked::Done { told, stop };
        Ok(decision)
    }
}

/// The tick of the calendar that is due; none, if the mark does not care.
fn due_of(tick: &StepTick) -> Option<Timestamp> {
    match tick {
        StepTick::Due { key, .. } if key.origin == TickOrigin::Clock => Some(key.at),
        StepTick::Passed { .. } | StepTick::Due { .. } | StepTick::Begin { .. } => None,
    }
}

/// The tick of the calendar that something is about, if it is one: of several in a row, none fired.
fn single_of(tick: &StepTick) -> Option<Timestamp> {
    match tick {
        StepTick::Passed { first, last, .. } => (first == last).then_some(*first),
        StepTick::Due { .. } | StepTick::Begin { .. } => due_of(tick),
    }
}

/// The last tick of the calendar that something is about; none, if the mark does not care.
fn last_of(tick: &StepTick) -> Option<Timestamp> {
    match tick {
        StepTick::Passed { last, .. } => Some(*last),
        StepTick::Due { .. } | StepTick::Begin { .. } => due_of(tick),
    }
}

/// Whether ticks were decided about by whether the schedule is paused: a pause is no change of what it says, so that its revision does
/// not tell.
fn fits_pause(schedule: &Schedule, ticks: &[StepTick]) -> bool {
    let is_paused = schedule.pause.is_some();
    ticks.iter().all(|tick| match tick {
        StepTick::Passed { why: Passed::Paused, .. } => is_paused,
        StepTick::Due { key, .. } => !is_paused || key.origin != TickOrigin::Clock,
        StepTick::Passed { why: Passed::Missed, .. } | StepTick::Begin { .. } => true,
    })
}

/// A schedule while its ticks are decided about.
struct Ticking {
    schedule: Schedule,
    jobs: std::vec::IntoIter<NewJob>,
    told: Vec<TickRecord>,
}

impl Ticking {
    fn take(
        &mut self,
        tick: StepTick,
        rules: &mut Rules,
        decision: &mut Decision<Ticked>,
    ) -> Result<Result<(), TickStop>, Inconsistent> {
        let now = rules.now();
        match tick {
            StepTick::Passed { first, last, count, why, reason } => {
                let state = match why {
                    Passed::Missed => TickState::Missed,
                    Passed::Paused => TickState::Paused,
                };
                let key = TickKey { at: first, origin: TickOrigin::Clock };
                let record = TickRecord { last, count, ..single(key, state, (reason, None), now) };
                passed(&mut self.schedule, record.clone(), decision);
                self.told.push(record);
                Ok(Ok(()))
            }
            StepTick::Begin { key, made } => match self.schedule.queue.get(&key) {
                // Somebody struck it out, or began it.
                None => {
                    self.skip(&made);
                    Ok(Ok(()))
                }
                Some(_) if self.schedule.next_to_begin() != Some(key) => {
                    self.skip(&made);
                    Ok(Err(TickStop::NotReady))
                }
                Some(_) => {
                    let fired = self.fire(key, *made, rules, decision)?;
                    Ok(fired.map(|record| {
                        self.schedule.queue.remove(&key);
                        self.told.push(record.clone());
                        decision.writes.schedules.push(ScheduleWrite::Changed(
                            self.schedule.id,
                            self.schedule.name.clone(),
                            record,
                        ));
                    }))
                }
            },
            StepTick::Due { key, made } => self.due(key, made, rules, decision),
        }
    }

    fn due(
        &mut self,
        key: TickKey,
        made: Option<Box<TickMade>>,
        rules: &mut Rules,
        decision: &mut Decision<Ticked>,
    ) -> Result<Result<(), TickStop>, Inconsistent> {
        let now = rules.now();
        let record = match admit(&self.schedule) {
            Admission::Fire => {
                let Some(made) = made else { return Ok(Err(TickStop::NotReady)) };
                match self.fire(key, *made, rules, decision)? {
                    Ok(record) => record,
                    Err(stop) => return Ok(Err(stop)),
                }
            }
            Admission::Queue { instead_of } => {
                made.iter().for_each(|made| self.skip(made));
                if let Some(instead_of) = instead_of {
                    self.schedule.queue.remove(&instead_of);
                    let reason = Some(Obstacle::Replaced.sentence());
                    let record = single(instead_of, TickState::Skipped, (reason, None), now);
                    decision.writes.schedules.push(ScheduleWrite::Changed(
                        self.schedule.id,
                        self.schedule.name.clone(),
                        record.clone(),
                    ));
                    self.told.push(record);
                }
                self.schedule.queue.insert(key, Wait::Alone);
                single(key, TickState::Queued, (None, None), now)
            }
            Admission::Skip(obstacle) => {
                made.iter().for_each(|made| self.skip(made));
                let work = self.schedule.open.values().next().copied();
                single(key, TickState::Skipped, (Some(sentence(obstacle, work)), None), now)
            }
        };
        self.schedule.tail = None;
        decision.writes.schedules.push(ScheduleWrite::Record(
            self.schedule.id,
            self.schedule.name.clone(),
            record.clone(),
        ));
        self.told.push(record);
        Ok(Ok(()))
    }

    /// What is ready for a tick is made. Returns what became of the tick, or why it cannot be said now.
    fn fire(
        &mut self,
        key: TickKey,
        made: TickMade,
        rules: &mut Rules,
        decision: &mut Decision<Ticked>,
    ) -> Result<Result<TickRecord, TickStop>, Inconsistent> {
        let now = rules.now();
        let nothing = |reason: String| single(key, TickState::Skipped, (Some(reason), None), now);
        let work = match made {
            TickMade::Nothing(reason) => return Ok(Ok(nothing(reason))),
            TickMade::Job(_, by) => {
                let Some(job) = self.jobs.next() else {
                    return Err(Inconsistent("a tick has a job that was not made ready"));
                };
                match make_job(job, by, rules, decision)? {
                    Ok(work) => work,
                    Err(stop) => return Ok(Err(stop)),
                }
            }
            TickMade::Event(event) => {
                // It is over as soon as it is there.
                self.schedule.last_completed = self.schedule.last_completed.max(Some(key.at));
                append(event, rules, decision)
            }
            TickMade::Run(new) => match make_run(new, rules, decision)? {
                Ok(work) => work,
                Err(Unmade::Never(TickState::Paused, reason)) => {
                    return Ok(Ok(single(key, TickState::Paused, (Some(reason), None), now)));
                }
                Err(Unmade::Never(_, reason)) => return Ok(Ok(nothing(reason))),
                Err(Unmade::Later(stop)) => return Ok(Err(stop)),
            },
        };
        if !matches!(work, TickWork::Event(_)) {
            self.schedule.open.insert(key, work);
        }
        Ok(Ok(single(key, TickState::Fired, (None, Some(work)), now)))
    }

    /// What was made ready is not needed.
    fn skip(&mut self, made: &TickMade) {
        if matches!(made, TickMade::Job(..)) {
            drop(self.jobs.next());
        }
    }

    fn skip_made(&mut self, tick: &StepTick) {
        match tick {
            StepTick::Due { made: Some(made), .. } | StepTick::Begin { made, .. } => self.skip(made),
            StepTick::Due { made: None, .. } | StepTick::Passed { .. } => {}
        }
    }
}

/// Why nothing is made.
enum Unmade {
    /// Not of this tick.
    Never(TickState, String),
    /// It may be later.
    Later(TickStop),
}

fn make_job(
    job: NewJob,
    by: FiredBy,
    rules: &mut Rules,
    decision: &mut Decision<Ticked>,
) -> Result<Result<TickWork, TickStop>, Inconsistent> {
    let root = Root::Job(job.id());
    let cause = Arc::new(Cause { by: CausedBy::Schedule(by.clone()), root, depth: 0 });
    match submission::store(job, Some(cause), &mut Loaded::default(), rules, decision) {
        Inserted::Stored { job } => {
            if job.status.state.is_terminal() {
                decision.ended_fires.push(FireEnded::of_job(by, &job.status));
            }
            Ok(Ok(TickWork::Job(job.id)))
        }
        Inserted::TooManyTypes => Ok(Err(TickStop::TooManyTypes)),
        Inserted::Replayed { .. }
        | Inserted::KeyReused
        | Inserted::UnknownJobs(_)
        | Inserted::TooManyLinks => {
            Err(Inconsistent("a job without a name was submitted before, or comes after another"))
        }
    }
}

fn append(event: NewEvent, rules: &mut Rules, decision: &mut Decision<Ticked>) -> TickWork {
    let event = Arc::new(event.record(rules.counts.next_sequence(), rules.now()));
    let sequence = event.sequence;
    decision.writes.events.push(NewLogRow { event, content_hash: None });
    TickWork::Event(sequence)
}

fn make_run(
    new: NewRun,
    rules: &mut Rules,
    decision: &mut Decision<Ticked>,
) -> Result<Result<TickWork, Unmade>, Inconsistent> {
    let workflow = new.workflow.clone();
    let skipped = |reason: String| Err(Unmade::Never(TickState::Skipped, reason));
    Ok(match runs::start(new, rules, decision) {
        RunStarted::Started(run) => Ok(TickWork::Run(run.id())),
        RunStarted::Paused(pause) => {
            let reason = format!("the workflow {workflow} was paused by {}", pause.by);
            Err(Unmade::Never(TickState::Paused, reason))
        }
        RunStarted::Skipped => skipped(format!("as many runs of {workflow} were under way as may be")),
        RunStarted::Unknown => skipped(format!("there is no workflow {workflow}")),
        RunStarted::OtherVersion => Err(Unmade::Later(TickStop::NotReady)),
        RunStarted::TooMany => Err(Unmade::Later(TickStop::TooManyRuns)),
        RunStarted::Replayed(_) | RunStarted::KeyReused => {
            return Err(Inconsistent("a run without a name was started before"));
        }
    })
}

fn sentence(obstacle: Obstacle, work: Option<TickWork>) -> String {
    match (obstacle, work) {
        (Obstacle::Open, Some(TickWork::Job(id))) => format!("job {id} of an earlier one was not over"),
        (Obstacle::Open, Some(TickWork::Run(id))) => format!("run {id} of an earlier one was not over"),
        (obstacle, _) => obstacle.sentence(),
    }
}
