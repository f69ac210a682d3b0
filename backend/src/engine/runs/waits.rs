//! Steps that wait for events: the log is read once for all of them.
//!
//! A wait looks at the log from its own place, until it has caught up with the others: from then on it goes with them. How far those
//! got is kept once a second, so that a restart looks at little twice. That a wait was answered is the run's own state, so that nothing is
//! answered twice.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use crewcall_expressions::Scope;
use crewcall_proto::RunId;

use super::{Begun, knowledge::Knowledge, locked};
use crate::{
    domain::{
        PublishedEvent, Sequence,
        workflow::{
            definition::{EventWait, StepIndex, Work},
            known::{StoredRun, WorkflowVersion},
            run::StepState,
        },
    },
    engine::{
        Engine,
        blocking::blocking,
        consumers::known_of,
        ports::{StoreError, WaitAnswers},
    },
};

/// How many events one step looks at.
const STEP_EVENTS: usize = 256;

/// How much data the events of one step may have, in bytes, the last aside.
const STEP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many waits have what they know kept, so that it is not read for each event.
const KNOWLEDGE_KEPT_MAX: usize = 20_000;

/// How much a wait may know to have it kept, in bytes of JSON.
const KNOWLEDGE_BYTES_MAX: usize = 4 * 1024;

/// How far waits looked.
#[derive(Default)]
pub(super) struct Waits {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Everything up to here was looked at for those that have caught up.
    place: Sequence,
    /// What is kept of it.
    kept: Sequence,
    /// The open waits: how far each looked, if it has not caught up.
    open: HashMap<Begun, Option<Sequence>>,
    /// What conditions know, where it is little.
    knowledge: HashMap<Begun, Arc<Knowledge>>,
}

/// A wait that has something to look at.
struct Look {
    begun: Begun,
    run: Arc<StoredRun>,
}

impl Waits {
    /// Where an earlier process got to.
    pub(super) async fn restore(&self, engine: &Engine) -> Result<(), StoreError> {
        let place = engine.store.waits_looked_to().await?;
        let mut inner = locked(&self.inner);
        (inner.place, inner.kept) = (place, place);
        Ok(())
    }

    /// Forgets a run that is over.
    pub(super) fn forget(&self, id: RunId) {
        let mut inner = locked(&self.inner);
        inner.open.retain(|(run, _, _), _| *run != id);
        inner.knowledge.retain(|(run, _, _), _| *run != id);
    }

    /// Learns of the waits that were opened and closed in runs that changed.
    pub(super) fn notice(&self, engine: &Engine, moved: &[RunId]) {
        if moved.is_empty() {
            return;
        }
        let runs: HashMap<RunId, Option<Arc<StoredRun>>> =
            moved.iter().map(|id| (*id, engine.store.open_run(*id))).collect();
        let mut inner = locked(&self.inner);
        // Once for all of them: after a start, every run that waits is among them.
        inner.open.retain(|begun, _| match runs.get(&begun.0) {
            Some(run) => run.as_ref().is_some_and(|run| is_open(run, *begun)),
            None => true,
        });
        for (id, run) in runs {
            let Some(run) = run else { continue };
            for (step, wait) in &run.waits {
                let Some(generation) = run.run.step(*step).map(|step| step.generation) else { continue };
                let place = (!wait.caught_up).then_some(wait.since);
                inner.open.entry((id, *step, generation)).or_insert(place);
            }
        }
    }

    /// Looks at what is new for everybody who waits.
    pub(super) async fn go_on(&self, engine: &Engine) -> Result<(), StoreError> {
        while !engine.tasks.stop().is_cancelled() && self.round(engine).await? {}
        Ok(())
    }

    /// Reads one part of the log for everybody who stands at its beginning. Returns whether there may be more to do.
    async fn round(&self, engine: &Engine) -> Result<bool, StoreError> {
        let head = *engine.changes.log_head().borrow();
        let by_place = self.by_place(head);
        let mut more = false;
        for (place, waits) in by_place {
            let looks: Vec<Look> = waits
                .into_iter()
                .filter_map(|begun| {
                    let run = engine.store.open_run(begun.0).filter(|run| is_open(run, begun))?;
                    Some(Look { begun, run })
                })
                .collect();
            let mut events = engine.store.events_after(place, STEP_EVENTS, STEP_BYTES_MAX).await?;
            // What is recorded after the head was read is looked at in the next round: who caught up is told by the head.
            events.retain(|event| event.sequence <= head);
            let to = events.last().map_or(head, |event| event.sequence);
            let answers = self.answers(engine, looks, events).await?;
            self.looked(engine, place, to, answers).await?;
            more = true;
        }
        Ok(more)
    }

    /// Who has something to look at, by where they stand.
    fn by_place(&self, head: Sequence) -> BTreeMap<Sequence, Vec<Begun>> {
        let mut inner = locked(&self.inner);
        let mut by_place = BTreeMap::<Sequence, Vec<Begun>>::new();
        if inner.open.is_empty() {
            inner.place = head;
            return by_place;
        }
        for (begun, place) in &inner.open {
            by_place.entry(place.unwrap_or(inner.place)).or_default().push(*begun);
        }
        if inner.place < head {
            by_place.entry(inner.place).or_default();
        }
        // Who is at the head and has not caught up, does by that.
        by_place.retain(|place, waits| {
            *place < head || waits.iter().any(|begun| inner.open.get(begun).is_some_and(Option::is_some))
        });
        by_place
    }

    /// A part of the log was looked at: that is kept first, and then counts.
    async fn looked(
        &self,
        engine: &Engine,
        from: Sequence,
        to: Sequence,
        answers: Vec<(Begun, Sequence)>,
    ) -> Result<(), StoreError> {
        let (shared, went_on) = {
            let inner = locked(&self.inner);
            let went_on = inner.open.iter().filter(|(_, place)| **place == Some(from));
            let went_on: Vec<Begun> = went_on.map(|(begun, _)| *begun).collect();
            (if inner.place == from { to } else { inner.place }, went_on)
        };
        // Somebody who is ahead of the others waits for them: they have looked at what does not concern it.
        let caught_up = if to == shared { went_on.clone() } else { Vec::new() };
        if !caught_up.is_empty() || !answers.is_empty() {
            let told =
                |((run, step, generation), event): &(Begun, Sequence)| (*run, *step, *generation, *event);
            let told = answers.iter().map(told).collect();
            let looked_to = (!caught_up.is_empty()).then_some(shared);
            let answers = WaitAnswers { looked_to, caught_up: caught_up.clone(), answers: told };
            engine.changes.answer_waits(answers).await?;
        }
        let mut inner = locked(&self.inner);
        inner.place = shared;
        for (begun, _) in &answers {
            inner.open.remove(begun);
            inner.knowledge.remove(begun);
        }
        for begun in went_on {
            if let Some(place) = inner.open.get_mut(&begun) {
                *place = (to != shared).then_some(to);
            }
        }
        if !caught_up.is_empty() {
            inner.kept = shared;
        }
        Ok(())
    }

    /// Keeps how far was looked.
    pub(super) async fn keep(&self, engine: &Engine) -> Result<(), StoreError> {
        let (place, kept, any) = {
            let inner = locked(&self.inner);
            (inner.place, inner.kept, !inner.open.is_empty())
        };
        if place == kept || !any {
            return Ok(());
        }
        engine.changes.answer_waits(WaitAnswers { looked_to: Some(place), ..WaitAnswers::default() }).await?;
        locked(&self.inner).kept = place;
        Ok(())
    }

    /// The first event for each wait, of those that there are.
    async fn answers(
        &self,
        engine: &Engine,
        looks: Vec<Look>,
        events: Vec<PublishedEvent>,
    ) -> Result<Vec<(Begun, Sequence)>, StoreError> {
        let mut answers = Vec::new();
        let mut conditional = Vec::new();
        // Runs of one version wait for the same subject: it is looked for once. The version is held, so that none gets its address.
        let mut firsts = HashMap::<(usize, StepIndex), (Arc<WorkflowVersion>, Option<Sequence>)>::new();
        for Look { begun, run } in looks {
            let Some(wait) = wait_of(&run, begun.1) else { continue };
            let version = &run.info.version;
            let (_, first) = firsts.entry((Arc::as_ptr(version).addr(), begun.1)).or_insert_with(|| {
                let first = events.iter().find(|event| wait.subject.selects(&event.subject));
                (Arc::clone(version), first.map(|event| event.sequence))
            });
            let Some(first) = *first else { continue };
            if wait.condition.is_none() {
                answers.push((begun, first));
            } else {
                let knowledge = self.knowledge(engine, begun, &run).await?;
                conditional.push((begun, run, knowledge));
            }
        }
        if conditional.is_empty() {
            return Ok(answers);
        }
        let met = move || {
            let first = |(begun, run, knowledge): (Begun, Arc<StoredRun>, Arc<Knowledge>)| {
                Some((begun, first_that_meets(&run, begun.1, &knowledge, &events)?))
            };
            conditional.into_iter().filter_map(first).collect::<Vec<_>>()
        };
        answers.extend(blocking(met).await?);
        Ok(answers)
    }

    /// What the condition of a wait knows.
    async fn knowledge(
        &self,
        engine: &Engine,
        begun: Begun,
        run: &StoredRun,
    ) -> Result<Arc<Knowledge>, StoreError> {
        if let Some(known) = locked(&self.inner).knowledge.get(&begun) {
            return Ok(Arc::clone(known));
        }
        let reads = run.info.workflow().step(begun.1).map_or(&[][..], |step| &step.reads);
        let knowledge = Arc::new(engine.knowledge(run, &run.run, reads).await?);
        let mut inner = locked(&self.inner);
        if inner.knowledge.len() < KNOWLEDGE_KEPT_MAX && knowledge.is_within(KNOWLEDGE_BYTES_MAX) {
            inner.knowledge.insert(begun, Arc::clone(&knowledge));
        }
        Ok(knowledge)
    }
}

fn is_open(run: &StoredRun, (_, step, generation): Begun) -> bool {
    let state = run.run.step(step);
    let is_it = state.is_some_and(|step| step.generation == generation && step.state == StepState::Waiting);
    is_it && run.waits.contains_key(&step)
}

fn wait_of(run: &StoredRun, step: StepIndex) -> Option<&EventWait> {
    match &run.info.workflow().step(step)?.work {
        Work::Event(wait) => Some(wait),
        Work::Job { .. } | Work::Until(_) | Work::Approval(_) | Work::Child { .. } => None,
    }
}

/// The first event that meets the condition of a wait. One of which that cannot be said does not.
fn first_that_meets(
    run: &StoredRun,
    step: StepIndex,
    knowledge: &Knowledge,
    events: &[PublishedEvent],
) -> Option<Sequence> {
    let wait = wait_of(run, step)?;
    let scope = knowledge.scope().ok()?;
    let meets = |event: &&PublishedEvent| {
        let known = known_of(event);
        let met = |scope: &Scope<'_>| match wait.condition.as_ref().map(|condition| condition.boolean(scope))
        {
            None => true,
            Some(Ok(met)) => met,
            Some(Err(failed)) => {
                tracing::debug!(run.id = %run.id(), event.sequence = event.sequence.0, %failed, "A wait cannot say whether this is its event.");
                false
            }
        };
        scope.with([("event", &known)]).is_ok_and(|scope| met(&scope))
    };
    let mut selected = events.iter().filter(|event| wait.subject.selects(&event.subject));
    selected.find(meets).map(|event| event.sequence)
}
