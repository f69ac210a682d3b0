//! The consumers there are and the unfinished jobs that they made, kept in memory by whoever writes: what decides whether
//! anything follows from an event or from the end of a job, without a query.
//!
//! It moves with the transaction: each step can be taken back until the transaction is committed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crewcall_proto::{JobId, Timestamp};

use crate::domain::{Cause, Consumer, ConsumerName, MadeOf, Pass, Sequence, Subject, SubjectPattern};

/// Something that the open transaction did, with what takes it back.
#[derive(Debug)]
enum Step {
    Consumer { name: ConsumerName, before: Option<Arc<Consumer>> },
    Open { job_id: JobId, before: Option<Arc<Cause>> },
}

/// What the table can be rolled back to.
#[derive(Debug, Clone, Copy)]
pub struct ConsumersSavepoint {
    steps: usize,
    passes: Pass,
}

/// A consumer that came or changed; `None` for one that went.
pub type ConsumerMoved = (ConsumerName, Option<Arc<Consumer>>);

/// The consumers, with what the open transaction changed.
#[derive(Debug, Default)]
pub struct Consumers {
    all: BTreeMap<ConsumerName, Arc<Consumer>>,
    /// Why the jobs were made that are not over.
    open: HashMap<JobId, Arc<Cause>>,
    /// Which of our own events anybody wants.
    hearing: Vec<SubjectPattern>,
    /// The last pass that was begun.
    passes: Pass,
    /// What the open transaction did, in order.
    steps: Vec<Step>,
}

impl Consumers {
    /// What the store held when it was opened: consumers that count none of their jobs yet, and why the jobs were made that
    /// are not over.
    pub fn new(
        consumers: impl IntoIterator<Item = Consumer>,
        open: impl IntoIterator<Item = (JobId, Cause)>,
        passes: Pass,
    ) -> Self {
        let named = |consumer: Consumer| (consumer.name.clone(), Arc::new(consumer));
        let mut consumers =
            Self { all: consumers.into_iter().map(named).collect(), passes, ..Self::default() };
        for (job_id, cause) in open {
            consumers.count_job(&cause, 1);
            consumers.open.insert(job_id, Arc::new(cause));
        }
        consumers.steps.clear();
        consumers.listen();
        consumers
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Consumer>> {
        self.all.values()
    }

    pub fn get(&self, name: &ConsumerName) -> Option<&Arc<Consumer>> {
        self.all.get(name)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The last pass that was begun.
    pub const fn passes(&self) -> Pass {
        self.passes
    }

    pub fn next_pass(&mut self) -> Pass {
        self.passes.0 += 1;
        self.passes
    }

    /// Whether anybody may want events of ours.
    pub fn listens(&self) -> bool {
        !self.hearing.is_empty()
    }

    /// Whether anybody may want this event of ours.
    pub fn hears(&self, subject: &Subject) -> bool {
        self.hearing.iter().any(|pattern| pattern.selects(subject))
    }

    /// What has to be kept of the log: everything after this place; `None` when there is nobody.
    pub fn need_after(&self) -> Option<Sequence> {
        self.all.values().map(|consumer| consumer.needs_after()).min()
    }

    /// Keeps a consumer as it is from now on; `None` removes it.
    pub fn set(&mut self, name: &ConsumerName, consumer: Option<Consumer>) -> Option<Arc<Consumer>> {
        let consumer = consumer.map(Arc::new);
        let before = self.put(name, consumer.clone());
        let patterns = |consumer: &Option<Arc<Consumer>>| {
            consumer.as_ref().map(|consumer| consumer.settings.subjects.clone())
        };
        let others = patterns(&before) != patterns(&consumer);
        self.steps.push(Step::Consumer { name: name.clone(), before });
        if others {
            self.listen();
        }
        consumer
    }

    /// A pass got to this place. Returns the consumer as it is now.
    pub fn advance(
        &mut self,
        name: &ConsumerName,
        pass: Pass,
        to: Sequence,
        now: Timestamp,
    ) -> Option<Arc<Consumer>> {
        let mut consumer = self.all.get(name)?.as_ref().clone();
        if consumer.pass == pass {
            consumer.cursor = to;
        } else {
            consumer.replays.iter_mut().find(|replay| replay.pass == pass)?.advance(to, now);
        }
        self.set(name, Some(consumer))
    }

    /// A consumer's job is not over: it was made, or is tried again.
    pub fn opened(&mut self, job_id: JobId, cause: Arc<Cause>) {
        self.count_job(&cause, 1);
        let before = self.open.insert(job_id, cause);
        self.steps.push(Step::Open { job_id, before });
    }

    /// Why a job was made that is not over, if a consumer made it.
    pub fn cause_of(&self, job_id: JobId) -> Option<&Arc<Cause>> {
        self.open.get(&job_id)
    }

    /// A job is over. Returns why it was made, if a consumer made it.
    pub fn closed(&mut self, job_id: JobId) -> Option<Arc<Cause>> {
        if self.open.is_empty() {
            return None;
        }
        let cause = self.open.remove(&job_id)?;
        self.count_job(&cause, -1);
        self.steps.push(Step::Open { job_id, before: Some(Arc::clone(&cause)) });
        Some(cause)
    }

    pub const fn savepoint(&self) -> ConsumersSavepoint {
        ConsumersSavepoint { steps: self.steps.len(), passes: self.passes }
    }

    /// Takes back every step since `savepoint`.
    pub fn roll_back_to(&mut self, savepoint: ConsumersSavepoint) {
        let mut others = false;
        while self.steps.len() > savepoint.steps
            && let Some(step) = self.steps.pop()
        {
            match step {
                Step::Consumer { name, before } => {
                    others = true;
                    self.put(&name, before);
                }
                Step::Open { job_id, before: Some(cause) } => drop(self.open.insert(job_id, cause)),
                Step::Open { job_id, before: None } => drop(self.open.remove(&job_id)),
            }
        }
        self.passes = savepoint.passes;
        if others {
            self.listen();
        }
    }

    /// The transaction was committed: its steps are final. Returns the consumers that came, changed and went.
    pub fn commit(&mut self) -> Vec<ConsumerMoved> {
        let mut moved = BTreeMap::new();
        for step in self.steps.drain(..) {
            if let Step::Consumer { name, .. } = step {
                let now = self.all.get(&name).cloned();
                moved.insert(name, now);
            }
        }
        moved.into_iter().collect()
    }

    fn put(&mut self, name: &ConsumerName, consumer: Option<Arc<Consumer>>) -> Option<Arc<Consumer>> {
        match consumer {
            Some(consumer) => self.all.insert(name.clone(), consumer),
            None => self.all.remove(name),
        }
    }

    /// Counts a job among those of its consumer, unless that is another of the same name.
    fn count_job(&mut self, cause: &Cause, by: i32) {
        if let Some(made_of) = cause.made_of() {
            self.count_made(made_of, by);
        }
    }

    /// Counts a job or a run among those of its consumer, unless that is another of the same name.
    pub fn count_made(&mut self, MadeOf { consumer: name, pass, .. }: &MadeOf, by: i32) {
        let Some(consumer) = self.all.get(name).filter(|known| *pass >= known.first_pass) else { return };
        let mut consumer = consumer.as_ref().clone();
        consumer.in_flight = consumer.in_flight.saturating_add_signed(by);
        let before = self.put(name, Some(Arc::new(consumer)));
        self.steps.push(Step::Consumer { name: name.clone(), before });
    }

    fn listen(&mut self) {
        let patterns = self.all.values().flat_map(|consumer| &consumer.settings.subjects);
        let mut hearing: Vec<SubjectPattern> =
            patterns.filter(|pattern| pattern.may_select_ours()).cloned().collect();
        hearing.sort_unstable();
        hearing.dedup();
        self.hearing = hearing;
    }
}
