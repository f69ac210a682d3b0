//! A model check of consumers: every order in which two that step, people, and ends of jobs can come between each other, with the
//! real decision.
//!
//! **The world** is a log of three events, of which the second is not selected; one consumer, with room for two unfinished jobs; and
//! two steppers, as two backends would have. To read a part of the log is one step, to commit what follows from it another; a crash
//! may come at any moment, and forgets what was read. People pause the consumer, change its settings and send it back to the
//! beginning. The search visits every state that can be reached, breadth first.
//!
//! **What must hold** in each: of the events behind the cursor each that is selected has one job of this pass, and no other has any;
//! no more jobs are unfinished than may be. And from each state all of the log is gone through, if only the consumer may go on.
//!
//! Two negative controls: without the comparison with what was read, and with a cursor that moves
//! in a transaction of its own.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use crewcall_backend::{
    clock::{Clock, SystemClock},
    domain::{
        Cause, CausedBy, Consumer, ConsumerSettings, MadeOf, Pass, Pause, Root, Sequence, Start, Submission,
        Then,
    },
    engine::{
        ports::{Accepted, ConsumerStep, ConsumerWrite, Made, MatchedEvent},
        rules::{Consume, Consumers, Decide, Loaded, Rules, Writes},
    },
};
use crewcall_proto::{JobId, Timestamp};

const EVENTS: u64 = 3;
const IN_FLIGHT_MAX: u32 = 2;
/// How often people do something.
const CHANGES_MAX: u8 = 2;
/// More states than this mean that the world has grown beyond what a test should look at.
const STATES_MAX: usize = 1_000_000;

fn is_selected(event: u64) -> bool {
    event != 2
}

/// What the steppers leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// What was read is stored, whatever the consumer is by then.
    Fence,
    /// The jobs are stored first, and the place after that.
    OneTransaction,
}

/// What a stepper read, and has to commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Read {
    pass: u64,
    revision: u64,
    from: u64,
    to: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    published: u64,
    pass: u64,
    cursor: u64,
    revision: u64,
    is_paused: bool,
    changes: u8,
    /// By pass and event, and whether they are unfinished.
    jobs: BTreeMap<(u64, u64), bool>,
    steppers: [Option<Read>; 2],
    /// Places that are to be moved in a transaction of their own.
    moves: [Option<Read>; 2],
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Publish,
    Read(usize),
    Commit(usize),
    Move(usize),
    Crash,
    TogglePause,
    ChangeSettings,
    GoBack,
    End((u64, u64)),
}

impl World {
    fn start() -> Self {
        let (steppers, moves) = ([None, None], [None, None]);
        let (jobs, is_paused) = (BTreeMap::new(), false);
        Self { published: 0, pass: 1, cursor: 0, revision: 1, is_paused, changes: 0, jobs, steppers, moves }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend((self.published < EVENTS).then_some(Step::Publish));
        for stepper in 0..2 {
            let is_free = self.steppers[stepper].is_none() && self.moves[stepper].is_none();
            let may_read = is_free && !self.is_paused && self.cursor < self.published;
            steps.extend(may_read.then_some(Step::Read(stepper)));
            steps.extend(self.steppers[stepper].as_ref().map(|_| Step::Commit(stepper)));
            steps.extend(self.moves[stepper].as_ref().map(|_| Step::Move(stepper)));
        }
        let is_busy = self.steppers.iter().chain(&self.moves).any(Option::is_some);
        steps.extend(is_busy.then_some(Step::Crash));
        if self.changes < CHANGES_MAX {
            steps.extend([Step::TogglePause, Step::ChangeSettings, Step::GoBack]);
        }
        let open = self.jobs.iter().filter(|(_, is_open)| **is_open);
        steps.extend(open.map(|(key, _)| Step::End(*key)));
        steps
    }

    /// The world after a step; or what is wrong with it.
    fn after(&self, step: Step, broken: Broken) -> Result<Self, String> {
        let mut next = self.clone();
        match step {
            Step::Publish => next.published += 1,
            Step::Read(stepper) => {
                let Self { pass, revision, cursor, published, .. } = *self;
                next.steppers[stepper] = Some(Read { pass, revision, from: cursor, to: published });
            }
            Step::Commit(stepper) => {
                let read = next.steppers[stepper].take().unwrap();
                next.commit(&read, stepper, broken)?;
            }
            Step::Move(stepper) => {
                let read = next.moves[stepper].take().unwrap();
                if read.pass == next.pass {
                    next.cursor = next.cursor.max(read.to);
                }
            }
            Step::Crash => (next.steppers, next.moves) = ([None, None], [None, None]),
            Step::TogglePause => (next.is_paused, next.changes) = (!self.is_paused, self.changes + 1),
            Step::ChangeSettings => {
                (next.revision, next.changes) = (self.revision + 1, self.changes + 1);
            }
            Step::GoBack => {
                (next.pass, next.cursor, next.changes) = (self.pass + 1, 0, self.changes + 1);
                next.revision += 1;
            }
            Step::End(key) => drop(next.jobs.insert(key, false)),
        }
        next.holds(broken)?;
        Ok(next)
    }

    /// The real decision, upon the consumer as the store has it.
    fn commit(&mut self, read: &Read, stepper: usize, broken: Broken) -> Result<(), String> {
        let mut consumer = self.consumer();
        if broken == Broken::Fence {
            (consumer.pass, consumer.cursor) = (Pass(read.pass), Sequence(read.from));
            (consumer.revision, consumer.pause) = (read.revision, None);
        }
        let writes = decide(consumer, self.open(), read);
        let mut made_up_to = None;
        for row in &writes.inserts {
            let made_of = row.cause.as_ref().unwrap().made_of().unwrap();
            let key = (made_of.pass.0, made_of.sequence.0);
            made_up_to = Some(key.1);
            if self.jobs.insert(key, true).is_some() {
                return Err(format!("the key of (pass, event) refuses a second job of {key:?}"));
            }
        }
        for write in &writes.consumers {
            let ConsumerWrite::Advanced { consumer, pass } = write else { continue };
            if broken == Broken::OneTransaction {
                let to = consumer.cursor.0.max(made_up_to.unwrap_or_default());
                self.moves[stepper] = Some(Read { to, ..read.clone() });
            } else if pass.0 == self.pass {
                self.cursor = consumer.cursor.0;
            }
        }
        Ok(())
    }

    fn consumer(&self) -> Consumer {
        let at = Timestamp::from_millis(0);
        let job = Submission { job_type: "a".to_owned(), ..Submission::default() };
        let subjects = vec!["x".parse().unwrap()];
        let then = Then::Job(Box::new(job));
        let settings = ConsumerSettings { subjects, condition: None, then, in_flight_max: IN_FLIGHT_MAX };
        Consumer {
            name: "c".parse().unwrap(),
            settings: Arc::new(settings),
            start: Start::Oldest,
            cursor: Sequence(self.cursor),
            first_pass: Pass(1),
            pass: Pass(self.pass),
            pause: self.is_paused.then(|| Pause { by: "somebody".to_owned(), reason: None, at }),
            in_flight: 0,
            replays: Vec::new(),
            created_at: at,
            changed_at: at,
            revision: self.revision,
        }
    }

    /// The unfinished jobs.
    fn open(&self) -> Vec<(JobId, Cause)> {
        let open = self.jobs.iter().filter(|(_, is_open)| **is_open);
        open.map(|((pass, event), _)| (id(*pass, *event), cause(*pass, *event))).collect()
    }

    fn holds(&self, broken: Broken) -> Result<(), String> {
        for event in 1..=EVENTS {
            let is_made = self.jobs.contains_key(&(self.pass, event));
            let is_behind = event <= self.cursor;
            if is_behind && is_selected(event) && !is_made {
                return Err(format!("event {event} is behind the cursor and has no job"));
            }
            // In the middle of two transactions it cannot be otherwise.
            if is_made && !is_behind && broken != Broken::OneTransaction {
                return Err(format!("event {event} has a job and is not behind the cursor"));
            }
        }
        let open = self.jobs.values().filter(|is_open| **is_open).count();
        if open > IN_FLIGHT_MAX as usize {
            return Err(format!("{open} jobs are unfinished"));
        }
        Ok(())
    }

    /// Whether all of the log is gone through if only the consumer may go on.
    fn comes_to_its_end(&self) -> bool {
        let mut world = Self { is_paused: false, steppers: [None, None], ..self.clone() };
        for _ in 0..2 * EVENTS {
            world.jobs.values_mut().for_each(|is_open| *is_open = false);
            if world.cursor < world.published {
                world = world.after(Step::Read(0), Broken::Nothing).unwrap();
                world = world.after(Step::Commit(0), Broken::Nothing).unwrap();
            }
        }
        world.cursor == world.published
    }
}

fn id(pass: u64, event: u64) -> JobId {
    JobId::from_uuid(uuid::Uuid::from_u128(u128::from(pass) << 64 | u128::from(event)))
}

fn cause(pass: u64, event: u64) -> Cause {
    let (sequence, root) = (Sequence(event), Root::Event(Sequence(event)));
    let made_of = MadeOf { consumer: "c".parse().unwrap(), pass: Pass(pass), sequence };
    Cause { by: CausedBy::Consumer(made_of), root, depth: 1 }
}

/// What the real rules decide, when this was read and the store has the consumer and its unfinished jobs so.
fn decide(consumer: Consumer, open: Vec<(JobId, Cause)>, read: &Read) -> Writes {
    let clock = Arc::new(SystemClock::start());
    let now = clock.now();
    let matched = |event: u64| {
        let Then::Job(job) = &consumer.settings.then else { unreachable!("it makes jobs") };
        let job = job.as_ref().clone().validate(now).unwrap().accept(id(read.pass, event), now);
        let made = Made::Job(Box::new(Accepted { job, window: 0, idempotency: None, after: None }));
        MatchedEvent { made, cause: cause(read.pass, event) }
    };
    let step = ConsumerStep {
        consumer: consumer.name.clone(),
        pass: Pass(read.pass),
        revision: read.revision,
        from: Sequence(read.from),
        to: Sequence(read.to),
        matches: (read.from + 1..=read.to).filter(|event| is_selected(*event)).map(matched).collect(),
    };
    let passes = consumer.pass;
    let consumers = Consumers::new([consumer], open, passes);
    let mut rules = Rules { consumers, ..Rules::empty(clock) };
    Consume::new(step).unwrap().decide(Loaded::default(), &mut rules).unwrap().writes
}

/// Looks at every state. Returns how many there are, or the shortest way to one that must not be.
fn explore(broken: Broken) -> Result<usize, (Vec<Step>, String)> {
    let start = World::start();
    let mut seen = HashSet::from([start.clone()]);
    let mut waiting = VecDeque::from([(start, Vec::new())]);
    while let Some((world, way)) = waiting.pop_front() {
        assert!(seen.len() < STATES_MAX, "the world has grown too large");
        for step in world.steps() {
            let mut way: Vec<Step> = way.clone();
            way.push(step);
            match world.after(step, broken) {
                Err(wrong) => return Err((way, wrong)),
                Ok(next) => {
                    if broken == Broken::Nothing && !next.comes_to_its_end() {
                        return Err((way, "it does not come to its end".to_owned()));
                    }
                    if seen.insert(next.clone()) {
                        waiting.push_back((next, way));
                    }
                }
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn every_order_makes_one_job_of_each_event() {
    let states = explore(Broken::Nothing).unwrap();
    assert!(states > 1_000, "only {states} states were looked at");
}

#[test]
fn without_the_comparison_an_event_is_made_a_job_twice() {
    let (way, wrong) = explore(Broken::Fence).unwrap_err();
    assert!(wrong.contains("second job"), "{wrong}: {way:?}");
}

#[test]
fn with_a_cursor_that_moves_by_itself_an_event_is_made_a_job_twice() {
    let (way, wrong) = explore(Broken::OneTransaction).unwrap_err();
    assert!(wrong.contains("second job"), "{wrong}: {way:?}");
    assert!(way.iter().any(|step| matches!(step, Step::Crash | Step::Read(_))), "{way:?}");
}
