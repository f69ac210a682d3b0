//! How many jobs there are of each type in each state, and what is set for the type, kept in memory by the writer: what
//! decides about room without a query, and what is counted without a scan.
//!
//! The tally moves with the transaction: each step can be taken back until the transaction is committed.

use std::{collections::HashMap, sync::Arc};

use crewcall_proto::JobType;
use dashmap::DashMap;

use crate::{
    domain::{JobStatus, Pace, Slot, State, TypeSettings},
    engine::ports::{Count, DispatchNumber, InFlight, UNANNOUNCED_TYPES_MAX},
    mutant::mutant,
};

/// How many jobs of one type are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StateCounts([u64; State::ALL.len()]);

impl StateCounts {
    pub(super) const fn get(&self, state: State) -> u64 {
        self.0[state as usize]
    }

    fn add(&mut self, state: State, jobs: u64) {
        let count = &mut self.0[state as usize];
        *count = count.saturating_add(jobs);
    }

    fn subtract(&mut self, state: State, jobs: u64) {
        let count = &mut self.0[state as usize];
        debug_assert!(*count >= jobs, "more jobs left the state {state} than were in it");
        *count = count.saturating_sub(jobs);
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}

/// The committed counts of the types that have jobs, for readers. The writer waits for nobody who reads them: a reader
/// holds a few types at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedCounts(Arc<DashMap<JobType, Committed>>);

/// What was committed of one type.
#[derive(Debug, Clone, Copy, Default)]
struct Committed {
    counts: StateCounts,
    occupying: u64,
}

impl SharedCounts {
    /// Those of every type, by name.
    pub(super) fn all(&self) -> Vec<(JobType, StateCounts)> {
        self.some(|_, _| true)
    }

    /// How many attempts of one type are dispatched or run.
    pub(super) fn in_flight(&self, job_type: &JobType) -> InFlight {
        let Committed { counts, occupying } = self.0.get(job_type).map(|entry| *entry).unwrap_or_default();
        let all = counts.get(State::Dispatched).saturating_add(counts.get(State::Running));
        let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
        InFlight { with_broker: number(occupying), all: number(all) }
    }

    /// Those of the types that pass, by name.
    pub(super) fn some(
        &self,
        passes: impl Fn(&JobType, &StateCounts) -> bool,
    ) -> Vec<(JobType, StateCounts)> {
        let types = self.0.iter().filter(|entry| passes(entry.key(), &entry.value().counts));
        let mut types: Vec<_> = types.map(|entry| (entry.key().clone(), entry.value().counts)).collect();
        types.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        types
    }

    /// Those of one type.
    pub(super) fn of(&self, job_type: &JobType) -> StateCounts {
        self.0.get(job_type).map_or_else(StateCounts::default, |committed| committed.counts)
    }
}

/// The states of a type that have jobs.
pub(super) fn counted(job_type: &JobType, counts: StateCounts) -> impl Iterator<Item = Count> {
    let states = State::ALL.into_iter().filter(move |state| counts.get(*state) > 0);
    let job_type = job_type.clone();
    states.map(move |state| Count { job_type: job_type.clone(), state, jobs: counts.get(state) })
}

/// Where a job counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) state: State,
    pub(super) occupies_window: bool,
}

impl Place {
    pub(super) fn of(status: &JobStatus) -> Self {
        Self { state: status.state, occupies_window: status.occupies_window() }
    }
}

/// What is kept for a type, whatever jobs it has.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Terms {
    /// Whether a worker ever announced it.
    pub(super) announced: bool,
    /// What is set for it.
    pub(super) settings: TypeSettings,
    /// The last slot of its rate limit that was taken.
    pub(super) slot: Option<Slot>,
}

/// Something that the open transaction did, with what takes it back.
#[derive(Debug)]
enum Step {
    /// One job came (`from` is `None`), moved, or went (`to` is `None`).
    Job { job_type: JobType, from: Option<Place>, to: Option<Place> },
    /// The terms of a type changed.
    Terms { job_type: JobType, before: Terms },
}

#[derive(Debug, Default)]
struct TypeTally {
    counts: StateCounts,
    occupying: u64,
    terms: Terms,
}

impl TypeTally {
    /// How many attempts are with the broker or run, held ones included: what a limit counts.
    fn in_flight(&self) -> u64 {
        self.counts.get(State::Dispatched).saturating_add(self.counts.get(State::Running))
    }

    /// How many more attempts fit the window, and may be there by what is set; a rate limit aside.
    fn room(&self, window: usize) -> usize {
        let window = window.saturating_sub(usize::try_from(self.occupying).unwrap_or(usize::MAX));
        match self.terms.settings {
            TypeSettings { pause: Some(_), .. } => 0,
            TypeSettings { running_max: Some(limit), .. } if !mutant("limit_ignored") => {
                let limit = u64::from(limit).saturating_sub(self.in_flight());
                window.min(usize::try_from(limit).unwrap_or(usize::MAX))
            }
            TypeSettings { pause: None, .. } => window,
        }
    }

    fn pace(&self) -> Option<Pace> {
        self.terms.settings.rate_per_second.map(|per_second| Pace::new(per_second, self.terms.slot))
    }

    fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.terms == Terms::default()
    }
}

/// How many attempts of a type may go to the broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// By the window and by what is set.
    pub(super) jobs: usize,
    /// The rate limit, if there is one: it may allow fewer.
    pub(super) pace: Option<Pace>,
}

/// A point that the tally can go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    steps: usize,
    number: DispatchNumber,
}

/// The writer's own counts, with what the open transaction changed.
#[derive(Debug)]
pub(super) struct Tally {
    types: HashMap<JobType, TypeTally>,
    /// How many of the types were announced.
    announced: usize,
    /// The last dispatch number that was given out.
    number: DispatchNumber,
    /// What the open transaction did, in order.
    steps: Vec<Step>,
    shared: SharedCounts,
}

impl Tally {
    pub(super) fn new(number: DispatchNumber) -> Self {
        let shared = SharedCounts::default();
        Self { types: HashMap::new(), announced: 0, number, steps: Vec::new(), shared }
    }

    /// Adds what the database held when it was opened.
    pub(super) fn load(&mut self, job_type: &JobType, state: State, jobs: u64, occupying: u64) {
        let tally = self.types.entry(job_type.clone()).or_default();
        tally.counts.add(state, jobs);
        tally.occupying += occupying;
        let mut committed = self.shared.0.entry(job_type.clone()).or_default();
        committed.counts.add(state, jobs);
        committed.occupying += occupying;
    }

    pub(super) fn shared(&self) -> SharedCounts {
        self.shared.clone()
    }

    /// Adds what was kept for a type when the database was opened.
    pub(super) fn load_terms(&mut self, job_type: &JobType, terms: Terms) {
        self.put_terms(job_type, terms);
    }

    /// Whether jobs and settings of the type are taken. They are not when it would be one more than
    /// [`UNANNOUNCED_TYPES_MAX`].
    pub(super) fn takes(&self, job_type: &JobType) -> bool {
        self.types.contains_key(job_type) || self.types.len() - self.announced < UNANNOUNCED_TYPES_MAX
    }

    /// Whether there are jobs of the type, over or not.
    pub(super) fn has_jobs(&self, job_type: &JobType) -> bool {
        self.types.get(job_type).is_some_and(|tally| !tally.counts.is_empty())
    }

    /// How many attempts of the type may go to the broker, if `window` may be there at once.
    pub(super) fn room(&self, job_type: &JobType, window: usize) -> Room {
        match self.types.get(job_type) {
            Some(tally) => Room { jobs: tally.room(window), pace: tally.pace() },
            None => Room { jobs: window, pace: None },
        }
    }

    /// Whether a new job of the type can go to the broker at once: without overtaking anybody, and without asking what
    /// is set for the type. The relay asks that.
    pub(super) fn has_room(&self, job_type: &JobType, window: usize) -> bool {
        self.types.get(job_type).map_or(window > 0, |tally| {
            tally.counts.get(State::Ready) == 0
                && tally.terms.settings == TypeSettings::default()
                && tally.room(window) > 0
        })
    }

    /// How many jobs of the type wait for their dispatch.
    pub(super) fn ready(&self, job_type: &JobType) -> u64 {
        self.types.get(job_type).map_or(0, |tally| tally.counts.get(State::Ready))
    }

    /// What is kept for a type.
    pub(super) fn terms(&self, job_type: &JobType) -> Terms {
        self.types.get(job_type).map(|tally| tally.terms.clone()).unwrap_or_default()
    }

    /// Changes what is kept for a type.
    pub(super) fn set_terms(&mut self, job_type: &JobType, terms: Terms) {
        let before = self.put_terms(job_type, terms);
        self.steps.push(Step::Terms { job_type: job_type.clone(), before });
    }

    pub(super) fn next_number(&mut self) -> DispatchNumber {
        self.number.0 += 1;
        self.number
    }

    /// The last dispatch number that was given out.
    pub(super) const fn number(&self) -> DispatchNumber {
        self.number
    }

    /// A job came (`from` is `None`), moved, or went (`to` is `None`).
    pub(super) fn step(&mut self, job_type: &JobType, from: Option<Place>, to: Option<Place>) {
        if from == to {
            return;
        }
        self.place(job_type, from, to);
        self.steps.push(Step::Job { job_type: job_type.clone(), from, to });
    }

    pub(super) const fn point(&self) -> Point {
        Point { steps: self.steps.len(), number: self.number }
    }

    /// Takes back every step since `point`.
    pub(super) fn go_back(&mut self, point: Point) {
        while self.steps.len() > point.steps
            && let Some(step) = self.steps.pop()
        {
            match step {
                Step::Job { job_type, from, to } => self.place(&job_type, to, from),
                Step::Terms { job_type, before } => drop(self.put_terms(&job_type, before)),
            }
        }
        self.number = point.number;
    }

    /// The transaction was committed: its steps are final, and readers may see them.
    pub(super) fn commit(&mut self) {
        for step in self.steps.drain(..) {
            let Step::Job { job_type, from, to } = step else { continue };
            let mut committed = self.shared.0.entry(job_type.clone()).or_default();
            if let Some(from) = from {
                committed.counts.subtract(from.state, 1);
                committed.occupying = committed.occupying.saturating_sub(u64::from(from.occupies_window));
            }
            if let Some(to) = to {
                committed.counts.add(to.state, 1);
                committed.occupying += u64::from(to.occupies_window);
            }
            let gone = committed.counts.is_empty();
            drop(committed);
            if gone {
                self.shared.0.remove(&job_type);
            }
        }
    }

    fn place(&mut self, job_type: &JobType, from: Option<Place>, to: Option<Place>) {
        // Looked up by reference first: the type is nearly always there.
        if !self.types.contains_key(job_type) {
            self.types.insert(job_type.clone(), TypeTally::default());
        }
        let Some(tally) = self.types.get_mut(job_type) else { return };
        if let Some(from) = from {
            tally.counts.subtract(from.state, 1);
            tally.occupying = tally.occupying.saturating_sub(u64::from(from.occupies_window));
        }
        if let Some(to) = to {
            tally.counts.add(to.state, 1);
            tally.occupying += u64::from(to.occupies_window);
        }
        if tally.is_empty() {
            self.types.remove(job_type);
        }
    }

    /// Answers what was kept before.
    fn put_terms(&mut self, job_type: &JobType, terms: Terms) -> Terms {
        let tally = self.types.entry(job_type.clone()).or_default();
        self.announced += usize::from(terms.announced);
        let before = std::mem::replace(&mut tally.terms, terms);
        self.announced -= usize::from(before.announced);
        if tally.is_empty() {
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

    const READY: Place = Place { state: State::Ready, occupies_window: false };
    const DISPATCHED: Place = Place { state: State::Dispatched, occupies_window: true };
    const HELD: Place = Place { state: State::Running, occupies_window: false };

    #[test]
    fn steps_are_taken_back_and_readers_see_only_committed_ones() {
        let mut tally = Tally::new(DispatchNumber(7));
        let shared = tally.shared();
        tally.step(&job_type(), None, Some(DISPATCHED));
        tally.commit();

        let point = tally.point();
        tally.step(&job_type(), Some(DISPATCHED), Some(READY));
        assert_eq!(tally.next_number(), DispatchNumber(8));
        assert!(!tally.has_room(&job_type(), 5), "somebody waits");
        assert_eq!(shared.all()[0].1.get(State::Ready), 0);

        tally.go_back(point);
        assert_eq!((tally.room(&job_type(), 5).jobs, tally.number()), (4, DispatchNumber(7)));
        assert!(tally.has_room(&job_type(), 2) && !tally.has_room(&job_type(), 1));

        tally.step(&job_type(), Some(DISPATCHED), Some(READY));
        tally.commit();
        assert_eq!((shared.all()[0].1.get(State::Ready), tally.room(&job_type(), 5).jobs), (1, 5));

        tally.step(&job_type(), Some(READY), None);
        assert_eq!(shared.all().len(), 1, "it is not committed");
        tally.commit();
        assert!(shared.all().is_empty() && tally.types.is_empty(), "a type without jobs costs nothing");
    }

    #[test]
    fn a_limit_counts_held_attempts_and_what_is_set_is_taken_back_with_the_transaction() {
        let mut tally = Tally::new(DispatchNumber(0));
        tally.step(&job_type(), None, Some(HELD));
        tally.step(&job_type(), None, Some(DISPATCHED));
        tally.commit();
        let limited = Terms {
            settings: TypeSettings { running_max: Some(3), ..TypeSettings::default() },
            slot: Some(Slot(7)),
            ..Terms::default()
        };
        let point = tally.point();
        tally.set_terms(&job_type(), limited.clone());
        assert_eq!(
            tally.room(&job_type(), 64).jobs,
            1,
            "three, less one with the broker and one that is held"
        );
        assert_eq!(tally.room(&job_type(), 1).jobs, 0, "the window is full");
        assert!(!tally.has_room(&job_type(), 64), "the relay looks at what is set");
        tally.go_back(point);
        assert_eq!((tally.terms(&job_type()), tally.room(&job_type(), 64).jobs), (Terms::default(), 63));

        tally.set_terms(&job_type(), limited.clone());
        tally.step(&job_type(), Some(HELD), None);
        tally.step(&job_type(), Some(DISPATCHED), None);
        tally.commit();
        assert_eq!((tally.terms(&job_type()), tally.types.len()), (limited, 1), "it outlives the jobs");
        tally.set_terms(&job_type(), Terms::default());
        assert!(tally.types.is_empty());
    }

    #[test]
    fn types_that_nobody_announced_are_limited_and_known_ones_are_not_refused() {
        let mut tally = Tally::new(DispatchNumber(0));
        let (named, last) =
            (|number| JobType::new(&format!("type.{number}")).unwrap(), UNANNOUNCED_TYPES_MAX - 1);
        for number in 0..last {
            tally.step(&named(number), None, Some(READY));
        }
        let announced = Terms { announced: true, ..Terms::default() };
        tally.set_terms(&job_type(), announced.clone());
        assert!(tally.takes(&named(last)), "one that was announced does not count");
        tally.step(&named(last), None, Some(READY));
        assert!(!tally.takes(&named(last + 1)) && tally.takes(&named(0)) && tally.takes(&job_type()));

        let point = tally.point();
        tally.set_terms(&named(0), announced);
        assert!(tally.takes(&named(last + 1)));
        tally.go_back(point);
        assert!(!tally.takes(&named(last + 1)));
        tally.step(&named(7), Some(READY), None);
        assert!(tally.takes(&named(last + 1)));
    }

    #[test]
    fn the_index_of_a_state_is_its_place_in_the_list() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
    }
}
