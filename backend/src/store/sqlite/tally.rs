//! How many jobs there are of each type in each state, kept in memory by the writer: what decides about
//! room in a dispatch window without a query, and what is counted without a scan.
//!
//! The tally moves with the transaction: each step can be taken back until the transaction is committed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crewcall_proto::JobType;

use crate::{
    dispatch::ports::DispatchNumber,
    domain::{Life, State},
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

/// The committed counts, for readers.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedCounts(Arc<Mutex<BTreeMap<JobType, StateCounts>>>);

impl SharedCounts {
    /// Every type that has jobs, by name.
    pub(super) fn all(&self) -> Vec<(JobType, StateCounts)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(job_type, counts)| (job_type.clone(), *counts)).collect()
    }
}

/// Where a job counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) state: State,
    pub(super) occupies_window: bool,
}

impl Place {
    pub(super) fn of(life: &Life) -> Self {
        Self { state: life.state, occupies_window: life.occupies_window() }
    }
}

/// One job that came (`from` is `None`), moved, or went (`to` is `None`).
#[derive(Debug)]
struct Step {
    job_type: JobType,
    from: Option<Place>,
    to: Option<Place>,
}

#[derive(Debug, Clone, Copy, Default)]
struct TypeTally {
    counts: StateCounts,
    occupying: u64,
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
    /// The last dispatch number that was given out.
    number: DispatchNumber,
    /// What the open transaction did, in order.
    steps: Vec<Step>,
    shared: SharedCounts,
}

impl Tally {
    pub(super) fn new(number: DispatchNumber) -> Self {
        Self { types: HashMap::new(), number, steps: Vec::new(), shared: SharedCounts::default() }
    }

    /// Adds what the database held when it was opened.
    pub(super) fn load(&mut self, job_type: &JobType, state: State, jobs: u64, occupying: u64) {
        let tally = self.types.entry(job_type.clone()).or_default();
        tally.counts.add(state, jobs);
        tally.occupying += occupying;
        let mut shared = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.entry(job_type.clone()).or_default().add(state, jobs);
    }

    pub(super) fn shared(&self) -> SharedCounts {
        self.shared.clone()
    }

    /// How many attempts of the type are with the broker.
    pub(super) fn occupying(&self, job_type: &JobType) -> usize {
        let occupying = self.types.get(job_type).map_or(0, |tally| tally.occupying);
        usize::try_from(occupying).unwrap_or(usize::MAX)
    }

    /// Whether a new job of the type can go to the broker without overtaking anybody.
    pub(super) fn has_room(&self, job_type: &JobType, window: usize) -> bool {
        let waiting = self.types.get(job_type).map_or(0, |tally| tally.counts.get(State::Ready));
        waiting == 0 && self.occupying(job_type) < window
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
        self.steps.push(Step { job_type: job_type.clone(), from, to });
    }

    pub(super) const fn point(&self) -> Point {
        Point { steps: self.steps.len(), number: self.number }
    }

    /// Takes back every step since `point`.
    pub(super) fn go_back(&mut self, point: Point) {
        while self.steps.len() > point.steps
            && let Some(step) = self.steps.pop()
        {
            self.place(&step.job_type, step.to, step.from);
        }
        self.number = point.number;
    }

    /// The transaction was committed: its steps are final, and readers may see them.
    pub(super) fn commit(&mut self) {
        let mut shared = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        for step in self.steps.drain(..) {
            let counts = shared.entry(step.job_type.clone()).or_default();
            if let Some(from) = step.from {
                counts.subtract(from.state, 1);
            }
            match step.to {
                Some(to) => counts.add(to.state, 1),
                None if counts.is_empty() => drop(shared.remove(&step.job_type)),
                None => {}
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
        if tally.counts.is_empty() {
            self.types.remove(job_type);
        }
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
        assert_eq!((tally.occupying(&job_type()), tally.number()), (1, DispatchNumber(7)));
        assert!(tally.has_room(&job_type(), 2) && !tally.has_room(&job_type(), 1));

        tally.step(&job_type(), Some(DISPATCHED), Some(READY));
        tally.commit();
        assert_eq!((shared.all()[0].1.get(State::Ready), tally.occupying(&job_type())), (1, 0));

        tally.step(&job_type(), Some(READY), None);
        assert_eq!(shared.all().len(), 1, "it is not committed");
        tally.commit();
        assert!(shared.all().is_empty() && tally.types.is_empty(), "a type without jobs costs nothing");
    }

    #[test]
    fn the_index_of_a_state_is_its_place_in_the_list() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
    }
}
