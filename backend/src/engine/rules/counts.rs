//! How many jobs there are of each type in each state, and what is set for the type, kept in memory by whoever writes: what
//! decides about room without a query, and what is counted without a scan.
//!
//! The counts move with the transaction: each step can be taken back until the transaction is committed.

use std::{collections::HashMap, time::Duration};

use crewcall_proto::{JobType, Timestamp};

use super::{
    super::ports::{Count, DispatchNumber, InFlight, UNANNOUNCED_TYPES_MAX},
    room::Room,
};
use crate::{
    domain::{JobStatus, Pace, Sequence, Slot, State, TypeSettings},
    mutant::mutant,
};

/// How many jobs of one type are in each state, and how many of them occupy its dispatch window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateCounts {
    states: [u64; State::ALL.len()],
    occupying: u64,
}

impl StateCounts {
    /// How many jobs are in this state.
    pub const fn get(&self, state: State) -> u64 {
        self.states[state as usize]
    }

    /// How many attempts are with the broker or run.
    pub fn in_flight(&self) -> InFlight {
        let all = self.get(State::Dispatched).saturating_add(self.get(State::Running));
        let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
        InFlight { with_broker: number(self.occupying), all: number(all) }
    }

    /// Adds what a store held when it was opened.
    fn load(&mut self, state: State, jobs: u64, occupying: u64) {
        let count = &mut self.states[state as usize];
        *count = count.saturating_add(jobs);
        self.occupying += occupying;
    }

    /// One job came (`from` is `None`), moved, or went (`to` is `None`).
    pub fn change(&mut self, from: Option<CountedAs>, to: Option<CountedAs>) {
        if let Some(CountedAs { state, occupies_window }) = from {
            let count = &mut self.states[state as usize];
            debug_assert!(*count > 0, "more jobs left the state {state} than were in it");
            *count = count.saturating_sub(1);
            self.occupying = self.occupying.saturating_sub(u64::from(occupies_window));
        }
        if let Some(CountedAs { state, occupies_window }) = to {
            self.load(state, 1, u64::from(occupies_window));
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.states.iter().all(|count| *count == 0)
    }
}

/// The states of a type that have jobs.
pub fn counted(job_type: &JobType, counts: StateCounts) -> impl Iterator<Item = Count> {
    let states = State::ALL.into_iter().filter(move |state| counts.get(*state) > 0);
    let job_type = job_type.clone();
    states.map(move |state| Count { job_type: job_type.clone(), state, jobs: counts.get(state) })
}

/// Where a job counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedAs {
    pub state: State,
    pub occupies_window: bool,
}

impl CountedAs {
    pub fn of(status: &JobStatus) -> Self {
        Self { state: status.state, occupies_window: status.occupies_window() }
    }
}

/// What is kept for a type, whatever jobs it has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Terms {
    /// Whether a worker ever announced it.
    pub announced: bool,
    /// What is set for it.
    pub settings: TypeSettings,
    /// The last slot of its rate limit that was taken.
    pub slot: Option<Slot>,
}

impl Terms {
    /// With other settings. What was taken of a rate limit stays taken, for as long as there is one.
    pub fn with(self, settings: TypeSettings) -> Self {
        Self { slot: self.slot.filter(|_| settings.rate_per_second.is_some()), settings, ..self }
    }
}

/// One job came (`from` is `None`), moved, or went (`to` is `None`).
#[derive(Debug)]
pub struct CountedChange {
    pub job_type: JobType,
    pub from: Option<CountedAs>,
    pub to: Option<CountedAs>,
}

/// Something that the open transaction did, with what takes it back.
#[derive(Debug)]
enum Step {
    Job(CountedChange),
    /// The terms of a type changed.
    Terms {
        job_type: JobType,
        before: Terms,
    },
}

#[derive(Debug, Default)]
struct TypeCounts {
    counts: StateCounts,
    terms: Terms,
}

impl TypeCounts {
    /// How many more attempts fit the window, and may be there by what is set; a rate limit aside.
    fn room(&self, window: usize) -> usize {
        // A limit counts held attempts, too.
        let InFlight { with_broker, all } = self.counts.in_flight();
        let window = window.saturating_sub(with_broker);
        match self.terms.settings {
            TypeSettings { pause: Some(_), .. } => 0,
            TypeSettings { running_max: Some(limit), .. } if !mutant("limit_ignored") => {
                window.min(usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(all))
            }
            TypeSettings { pause: None, .. } => window,
        }
    }

    fn is_unserved(&self) -> bool {
        !self.terms.announced && self.counts.get(State::Unroutable) > 0
    }

    fn pace(&self) -> Option<Pace> {
        self.terms.settings.rate_per_second.map(|per_second| Pace::new(per_second, self.terms.slot))
    }

    fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.terms == Terms::default()
    }
}

/// What the counts can be rolled back to.
#[derive(Debug, Clone, Copy)]
pub struct CountsSavepoint {
    steps: usize,
    number: DispatchNumber,
    sequence: Sequence,
}

/// The counts, with what the open transaction changed.
#[derive(Debug)]
pub struct JobCounts {
    types: HashMap<JobType, TypeCounts>,
    /// How many of the types were announced.
    announced: usize,
    /// The last dispatch number that was given out.
    number: DispatchNumber,
    /// The last event of the log.
    sequence: Sequence,
    /// What the open transaction did, in order.
    steps: Vec<Step>,
}

impl JobCounts {
    pub fn new(number: DispatchNumber, sequence: Sequence) -> Self {
        Self { types: HashMap::new(), announced: 0, number, sequence, steps: Vec::new() }
    }

    /// Adds what the store held when it was opened.
    pub fn load(&mut self, job_type: &JobType, state: State, jobs: u64, occupying: u64) {
        self.types.entry(job_type.clone()).or_default().counts.load(state, jobs, occupying);
    }

    /// How many jobs of each type there are.
    pub fn all(&self) -> impl Iterator<Item = (&JobType, StateCounts)> {
        self.types.iter().map(|(job_type, counts)| (job_type, counts.counts))
    }

    /// Adds what was kept for a type when the store was opened.
    pub fn load_terms(&mut self, job_type: &JobType, terms: Terms) {
        self.put_terms(job_type, terms);
    }

    /// Whether jobs and settings of the type are taken. They are not when it would be one more than
    /// [`UNANNOUNCED_TYPES_MAX`].
    pub fn takes(&self, job_type: &JobType) -> bool {
        self.types.contains_key(job_type) || self.types.len() - self.announced < UNANNOUNCED_TYPES_MAX
    }

    /// Whether there are jobs of the type, over or not.
    pub fn has_jobs(&self, job_type: &JobType) -> bool {
        self.types.get(job_type).is_some_and(|counts| !counts.counts.is_empty())
    }

    /// Whether orders of the type come back: one did, and nobody announced the type since.
    pub fn is_unserved(&self, job_type: &JobType) -> bool {
        self.types.get(job_type).is_some_and(TypeCounts::is_unserved)
    }

    /// How many attempts of the type may go to the broker, if `window` may be there at once.
    pub fn room(&self, job_type: &JobType, window: usize) -> Room {
        match self.types.get(job_type) {
            Some(counts) => Room { jobs: counts.room(window), pace: counts.pace() },
            None => Room { jobs: window, pace: None },
        }
    }

    /// Whether a new job of the type can go to the broker at once: without overtaking anybody, and without asking what
    /// is set for the type. The relay asks that.
    pub fn has_room(&self, job_type: &JobType, window: usize) -> bool {
        self.types.get(job_type).map_or(window > 0, |counts| {
            counts.counts.get(State::Ready) == 0
                && !counts.is_unserved()
                && counts.terms.settings == TypeSettings::default()
                && counts.room(window) > 0
        })
    }

    /// When `dispatched` jobs went of the room there was and only the rate limit keeps others: for how long.
    pub fn rate_wait(
        &self,
        job_type: &JobType,
        room: Room,
        dispatched: usize,
        now: Timestamp,
    ) -> Option<Duration> {
        let others_fit = dispatched < room.jobs && self.ready(job_type) > 0;
        let pace = self.types.get(job_type).and_then(TypeCounts::pace);
        pace.filter(|_| others_fit).map(|pace| pace.wait(now))
    }

    /// How many jobs of the type wait for their dispatch.
    pub fn ready(&self, job_type: &JobType) -> u64 {
        self.types.get(job_type).map_or(0, |counts| counts.counts.get(State::Ready))
    }

    /// What is kept for a type.
    pub fn terms(&self, job_type: &JobType) -> Terms {
        self.types.get(job_type).map(|counts| counts.terms.clone()).unwrap_or_default()
    }

    /// Changes what is kept for a type.
    pub fn set_terms(&mut self, job_type: &JobType, terms: Terms) {
        let before = self.put_terms(job_type, terms);
        self.steps.push(Step::Terms { job_type: job_type.clone(), before });
    }

    pub fn next_number(&mut self) -> DispatchNumber {
        self.number.0 += 1;
        self.number
    }

    /// The last dispatch number that was given out.
    pub const fn number(&self) -> DispatchNumber {
        self.number
    }

    pub fn next_sequence(&mut self) -> Sequence {
        self.sequence = self.sequence.next();
        self.sequence
    }

    /// The last event of the log.
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// A job came (`from` is `None`), moved, or went (`to` is `None`).
    pub fn step(&mut self, job_type: &JobType, from: Option<CountedAs>, to: Option<CountedAs>) {
        if from == to {
            return;
        }
        self.count(job_type, from, to);
        self.steps.push(Step::Job(CountedChange { job_type: job_type.clone(), from, to }));
    }

    pub const fn savepoint(&self) -> CountsSavepoint {
        CountsSavepoint { steps: self.steps.len(), number: self.number, sequence: self.sequence }
    }

    /// Takes back every step since `savepoint`.
    pub fn roll_back_to(&mut self, savepoint: CountsSavepoint) {
        while self.steps.len() > savepoint.steps
            && let Some(step) = self.steps.pop()
        {
            match step {
                Step::Job(CountedChange { job_type, from, to }) => self.count(&job_type, to, from),
                Step::Terms { job_type, before } => drop(self.put_terms(&job_type, before)),
            }
        }
        (self.number, self.sequence) = (savepoint.number, savepoint.sequence);
    }

    /// The transaction was committed: its steps are final. Returns the jobs that came, moved and went.
    pub fn commit(&mut self) -> impl Iterator<Item = CountedChange> {
        self.steps.drain(..).filter_map(|step| match step {
            Step::Job(change) => Some(change),
            Step::Terms { .. } => None,
        })
    }

    fn count(&mut self, job_type: &JobType, from: Option<CountedAs>, to: Option<CountedAs>) {
        // Looked up by reference first: the type is nearly always there.
        if !self.types.contains_key(job_type) {
            self.types.insert(job_type.clone(), TypeCounts::default());
        }
        let Some(counts) = self.types.get_mut(job_type) else { return };
        counts.counts.change(from, to);
        if counts.is_empty() {
            self.types.remove(job_type);
        }
    }

    /// Returns what was kept before.
    fn put_terms(&mut self, job_type: &JobType, terms: Terms) -> Terms {
        let counts = self.types.entry(job_type.clone()).or_default();
        self.announced += usize::from(terms.announced);
        let before = std::mem::replace(&mut counts.terms, terms);
        self.announced -= usize::from(before.announced);
        if counts.is_empty() {
            self.types.remove(job_type);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job_type() -> JobType {
        JobType::new("a.b").unwrap()
    }

    fn commit(counts: &mut JobCounts) -> Vec<(Option<CountedAs>, Option<CountedAs>)> {
        counts.commit().map(|change| (change.from, change.to)).collect()
    }

    const READY: CountedAs = CountedAs { state: State::Ready, occupies_window: false };
    const DISPATCHED: CountedAs = CountedAs { state: State::Dispatched, occupies_window: true };
    const HELD: CountedAs = CountedAs { state: State::Running, occupies_window: false };

    #[test]
    fn steps_are_taken_back_and_only_committed_ones_are_told() {
        let mut counts = JobCounts::new(DispatchNumber(7), Sequence(0));
        counts.step(&job_type(), None, Some(DISPATCHED));
        assert_eq!(commit(&mut counts), [(None, Some(DISPATCHED))]);

        let savepoint = counts.savepoint();
        counts.step(&job_type(), Some(DISPATCHED), Some(READY));
        assert_eq!(counts.next_number(), DispatchNumber(8));
        assert!(!counts.has_room(&job_type(), 5), "somebody waits");

        counts.roll_back_to(savepoint);
        assert_eq!((counts.room(&job_type(), 5).jobs, counts.number()), (4, DispatchNumber(7)));
        assert!(counts.has_room(&job_type(), 2) && !counts.has_room(&job_type(), 1));

        counts.step(&job_type(), Some(DISPATCHED), Some(READY));
        assert_eq!(commit(&mut counts), [(Some(DISPATCHED), Some(READY))], "what was taken back is not told");
        assert_eq!((counts.ready(&job_type()), counts.room(&job_type(), 5).jobs), (1, 5));

        counts.step(&job_type(), Some(READY), None);
        assert!(counts.types.is_empty(), "a type without jobs costs nothing");
    }

    #[test]
    fn a_limit_counts_held_attempts_and_what_is_set_is_taken_back_with_the_transaction() {
        let mut counts = JobCounts::new(DispatchNumber(0), Sequence(0));
        counts.step(&job_type(), None, Some(HELD));
        counts.step(&job_type(), None, Some(DISPATCHED));
        commit(&mut counts);
        let limited = Terms {
            settings: TypeSettings { running_max: Some(3), ..TypeSettings::default() },
            slot: Some(Slot(7)),
            ..Terms::default()
        };
        let savepoint = counts.savepoint();
        counts.set_terms(&job_type(), limited.clone());
        assert_eq!(
            counts.room(&job_type(), 64).jobs,
            1,
            "three, less one with the broker and one that is held"
        );
        assert_eq!(counts.room(&job_type(), 1).jobs, 0, "the window is full");
        assert!(!counts.has_room(&job_type(), 64), "the relay looks at what is set");
        counts.roll_back_to(savepoint);
        assert_eq!((counts.terms(&job_type()), counts.room(&job_type(), 64).jobs), (Terms::default(), 63));

        counts.set_terms(&job_type(), limited.clone());
        counts.step(&job_type(), Some(HELD), None);
        counts.step(&job_type(), Some(DISPATCHED), None);
        commit(&mut counts);
        assert_eq!((counts.terms(&job_type()), counts.types.len()), (limited, 1), "it outlives the jobs");
        counts.set_terms(&job_type(), Terms::default());
        assert!(counts.types.is_empty());
    }

    #[test]
    fn types_that_nobody_announced_are_limited_and_known_ones_are_not_refused() {
        let mut counts = JobCounts::new(DispatchNumber(0), Sequence(0));
        let (named, last) =
            (|number| JobType::new(&format!("type.{number}")).unwrap(), UNANNOUNCED_TYPES_MAX - 1);
        for number in 0..last {
            counts.step(&named(number), None, Some(READY));
        }
        let announced = Terms { announced: true, ..Terms::default() };
        counts.set_terms(&job_type(), announced.clone());
        assert!(counts.takes(&named(last)), "one that was announced does not count");
        counts.step(&named(last), None, Some(READY));
        assert!(!counts.takes(&named(last + 1)) && counts.takes(&named(0)) && counts.takes(&job_type()));

        let savepoint = counts.savepoint();
        counts.set_terms(&named(0), announced);
        assert!(counts.takes(&named(last + 1)));
        counts.roll_back_to(savepoint);
        assert!(!counts.takes(&named(last + 1)));
        counts.step(&named(7), Some(READY), None);
        assert!(counts.takes(&named(last + 1)));
    }

    #[test]
    fn the_index_of_a_state_is_its_place_in_the_list() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
    }
}
