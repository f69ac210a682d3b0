//! The search: every state that can be reached, in the order of its distance from the start.

use std::{collections::HashMap, fmt};

use super::{
    invariants::Violation,
    lives::{Lives, Transition},
    steps::{self, Protocol, Step},
    world::World,
};

/// More states than this mean that the world has grown beyond what a test should look at.
const STATES_MAX: usize = 3_000_000;

/// What a search that found no violation looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Explored {
    /// States of the world.
    pub(super) states: usize,
    /// Of these, states in which the job is over.
    pub(super) ends: usize,
    /// Steps from one state to another.
    pub(super) steps: usize,
    /// Questions to the state machine.
    pub(super) questions: usize,
}

/// The shortest way to a violation.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub(super) violation: Violation,
    /// Each step, and the state of the job after it.
    pub(super) steps: Vec<(Step, String)>,
}

/// Looks at every state.
pub(super) fn explore(transition: Transition, protocol: Protocol, faults_max: u8) -> Result<Explored, Trace> {
    Search::new(transition, protocol, faults_max).run()
}

struct Search {
    lives: Lives,
    protocol: Protocol,
    start: World,
    numbers: HashMap<World, u32>,
    /// How each state was reached first.
    origins: Vec<Option<(u32, Step)>>,
    is_end: Vec<bool>,
    /// From, to, and whether the step is owed; without those that are faults.
    steps: Vec<(u32, u32, bool)>,
    steps_count: usize,
}

impl Search {
    fn new(transition: Transition, protocol: Protocol, faults_max: u8) -> Self {
        let mut lives = Lives::new(transition);
        let start = World::new(lives.first(), faults_max);
        Self {
            lives,
            protocol,
            numbers: HashMap::from([(start.clone(), 0)]),
            start,
            origins: vec![None],
            is_end: vec![false],
            steps: Vec::new(),
            steps_count: 0,
        }
    }

    fn run(mut self) -> Result<Explored, Trace> {
        let mut level = vec![(0, self.start.clone())];
        let mut possible = Vec::new();
        while !level.is_empty() {
            let mut further = Vec::new();
            for (number, world) in level {
                let view = *self.lives.view(world.status);
                steps::possible(&world, &view, self.protocol, &mut possible);
                for &step in &possible {
                    let next = match steps::take(&world, step, self.protocol, &mut self.lives) {
                        Ok(next) => next,
                        Err(violation) => return Err(self.trace(number, Some(step), violation)),
                    };
                    if next != world {
                        self.reach(number, step, next, &mut further);
                    }
                }
            }
            level = further;
        }
        if let Some(stuck) = self.first_stuck() {
            return Err(self.trace(stuck, None, Violation::Stuck));
        }
        Ok(Explored {
            states: self.origins.len(),
            ends: self.is_end.iter().filter(|is_end| **is_end).count(),
            steps: self.steps_count,
            questions: self.lives.questions(),
        })
    }

    fn reach(&mut self, from: u32, step: Step, next: World, further: &mut Vec<(u32, World)>) {
        let number = match self.numbers.get(&next) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.origins.len()).expect("there are few states");
                assert!(self.origins.len() < STATES_MAX, "the world has more than {STATES_MAX} states");
                self.origins.push(Some((from, step)));
                self.is_end.push(self.lives.view(next.status).state.is_terminal());
                self.numbers.insert(next.clone(), number);
                further.push((number, next));
                number
            }
        };
        self.steps_count += 1;
        if !matches!(step, Step::Fault(_)) {
            self.steps.push((from, number, step.is_owed()));
        }
    }

    /// The nearest state from which the job may never end, if no further fault happens.
    ///
    /// A state leads to the end if something owed can happen in it, and whatever happens in it, owed or not,
    /// leads to a state that does. So there is no circle without an end, and no standstill.
    fn first_stuck(&self) -> Option<u32> {
        let count = self.origins.len();
        let mut open = vec![0_u32; count];
        let mut has_owed = vec![false; count];
        let mut first = vec![0_u32; count + 1];
        for &(from, to, is_owed) in &self.steps {
            open[from as usize] += 1;
            has_owed[from as usize] |= is_owed;
            first[to as usize + 1] += 1;
        }
        for number in 0..count {
            first[number + 1] += first[number];
        }
        let mut filled = first.clone();
        let mut before = vec![0_u32; self.steps.len()];
        for &(from, to, _) in &self.steps {
            before[filled[to as usize] as usize] = from;
            filled[to as usize] += 1;
        }
        let mut ends = self.is_end.clone();
        let mut news: Vec<usize> = (0..count).filter(|number| ends[*number]).collect();
        while let Some(number) = news.pop() {
            for &from in &before[first[number] as usize..first[number + 1] as usize] {
                let from = from as usize;
                open[from] -= 1;
                if open[from] == 0 && has_owed[from] && !ends[from] {
                    ends[from] = true;
                    news.push(from);
                }
            }
        }
        ends.iter().position(|ends| !ends).map(|number| u32::try_from(number).expect("it was one before"))
    }

    fn trace(mut self, number: u32, last: Option<Step>, violation: Violation) -> Trace {
        let mut way: Vec<Step> = last.into_iter().collect();
        let mut number = number;
        while let Some((from, step)) = self.origins[number as usize] {
            way.push(step);
            number = from;
        }
        way.reverse();
        let mut world = self.start.clone();
        let steps = way.into_iter().map(|step| {
            let after = match steps::take(&world, step, self.protocol, &mut self.lives) {
                Ok(next) => {
                    world = next;
                    let view = self.lives.view(world.status);
                    format!("{}, attempt {}", view.state, view.attempt)
                }
                Err(violation) => violation.to_string(),
            };
            (step, after)
        });
        Trace { violation, steps: steps.collect() }
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, ends, steps, questions } = self;
        write!(
            f,
            "{states} states, {ends} of them ends; {steps} steps; {questions} questions to the state machine"
        )
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.violation)?;
        for (number, (step, after)) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}. {step}  [{after}]", number + 1)?;
        }
        Ok(())
    }
}
