//! A run moves: by the end of a job, by what was made ready for it, by what somebody does.

use std::sync::Arc;

use crewcall_proto::RunId;

use super::events::RunEnded;
use crate::{
    domain::{
        State,
        workflow::{
            concurrency::Admission,
            definition::{Concurrency, Since, StepIndex, Work, WorkflowName},
            facts::{Command, Happened, Item, Outcome, Stale},
            known::{ItemKey, OpenWait, ParentStep, Role, StartedBy, StoredRun},
            machine::advance,
            run::RunState,
        },
    },
    engine::{
        ports::{JournalEntry, RunChanged, WorkflowWrite},
        rules::{Decision, Rules, fires::FireEnded},
    },
    mutant::mutant,
};

/// Something happened to a run that is open.
pub(super) fn happen<T>(
    id: RunId,
    happened: Happened,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) -> Result<Arc<StoredRun>, Stale> {
    let run = rules.runs.get(id).map(Arc::clone).ok_or(Stale::State)?;
    move_run(&run, happened, rules, decision)
}

/// Something happened to a run: it is as the machine says from now on, and what has to follow at once does.
pub(super) fn move_run<T>(
    run: &Arc<StoredRun>,
    happened: Happened,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) -> Result<Arc<StoredRun>, Stale> {
    let now = rules.now();
    let said = happened.is_journaled().then(|| JournalEntry::Happened(happened.clone()));
    let advance = advance(run.info.workflow(), &run.run, happened, now)?;
    let mut moved = StoredRun { info: Arc::clone(&run.info), run: advance.run, waits: run.waits.clone() };
    let (mut journal, mut ended) = (Vec::from_iter(said), None);
    for command in advance.commands {
        match command {
            Command::OpenWait { step, .. } => open_wait(&mut moved, step, rules),
            Command::CloseWait { step, .. } => drop(moved.waits.remove(&step)),
            Command::Journal(entry) => journal.push(JournalEntry::Decided(entry)),
            Command::Ended(state) => ended = Some(state),
            // The state of the run says so as well, for whoever does it later.
            Command::Evaluate { .. }
            | Command::MakeItems { .. }
            | Command::StartChild { .. }
            | Command::CancelJobs { .. }
            | Command::CancelChild { .. }
            | Command::Compensate { .. }
            | Command::CancelCompensations { .. } => {}
        }
    }
    let moved = keep(moved, advance.changed, journal, run.run.state, rules, decision);
    if let Some(state) = ended {
        end(&moved, state, rules, decision);
    }
    Ok(moved)
}

/// Only waits for events look at the log.
fn open_wait(run: &mut StoredRun, step: StepIndex, rules: &Rules) {
    let Some(Work::Event(wait)) = run.info.workflow().step(step).map(|step| &step.work) else { return };
    let since = match wait.since {
        Since::Run => run.info.log_from,
        Since::Step => rules.counts.sequence(),
    };
    run.waits.insert(step, OpenWait { since, caught_up: false });
}

/// A run is like this from now on: so many of its steps are others.
pub(super) fn keep<T>(
    run: StoredRun,
    changed: Vec<StepIndex>,
    journal: Vec<JournalEntry>,
    was: RunState,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) -> Arc<StoredRun> {
    let run = Arc::new(run);
    rules.runs.set_run(&run);
    decision.runs.push(RunChanged { run: Arc::clone(&run), was: Some(was) });
    let at = rules.now();
    let lines = journal.into_iter().map(|entry| (at, run.run.version, entry));
    // One row for all that happens to it here.
    let so_far = decision.writes.workflows.iter_mut().rev().find_map(|write| match write {
        WorkflowWrite::Moved { run: known, steps, journal } if known.id() == run.id() => {
            Some((known, steps, journal))
        }
        _ => None,
    });
    if let Some((known, steps, journal)) = so_far {
        *known = Arc::clone(&run);
        steps.extend(changed.into_iter().filter(|step| !steps.contains(step)).collect::<Vec<_>>());
        journal.extend(lines);
    } else {
        let (run, journal) = (Arc::clone(&run), lines.collect());
        decision.writes.workflows.push(WorkflowWrite::Moved { run, steps: changed, journal });
    }
    run
}

/// A run is over: who hears of it does, its place is free, and the step whose work it is ends.
fn end<T>(run: &Arc<StoredRun>, state: RunState, rules: &mut Rules, decision: &mut Decision<T>) {
    decision.record(RunEnded { run }.record(rules));
    match &run.info.started_by {
        StartedBy::Event(made_of) => rules.consumers.count_made(made_of, -1),
        StartedBy::Step(parent) => child_ended(*parent, state, rules, decision),
        StartedBy::Schedule(by) => decision.ended_fires.push(FireEnded::of_run(by.clone(), state)),
        StartedBy::Person(_) => {}
    }
    admit(run.info.version.name(), run.info.key.as_deref(), rules, decision);
}

fn child_ended<T>(parent: ParentStep, state: RunState, rules: &mut Rules, decision: &mut Decision<T>) {
    let ParentStep { run, step, generation } = parent;
    let outcome = match state {
        RunState::Completed => Outcome::Completed,
        RunState::Cancelled => Outcome::Cancelled,
        RunState::Failed
        | RunState::Queued
        | RunState::Running
        | RunState::Stopping
        | RunState::Compensating => Outcome::Failed,
    };
    let key = ItemKey { run, step, role: Role::Work, index: 0, generation };
    let moved = happen(run, Happened::ChildEnded { step, generation, outcome }, rules, decision);
    item_ended(key, moved.ok().map(|run| run.run.version), rules, decision);
}

/// What follows from the ends of jobs that are items of runs.
pub(in crate::engine::rules) fn follow<T>(rules: &mut Rules, decision: &mut Decision<T>) {
    for (key, state) in std::mem::take(&mut decision.ended_items) {
        job_ended(key, state, rules, decision);
    }
}

/// A job that is an item of a run is over.
fn job_ended<T>(key: ItemKey, state: State, rules: &mut Rules, decision: &mut Decision<T>) {
    let outcome = match state {
        State::Completed => Outcome::Completed,
        State::Cancelled => Outcome::Cancelled,
        State::Failed
        | State::Blocked
        | State::Scheduled
        | State::Ready
        | State::Unroutable
        | State::Dispatched
        | State::Running => Outcome::Failed,
    };
    if mutant("item_end_unheard") {
        return;
    }
    let ItemKey { run, step, role, index, generation } = key;
    let item = Item { index, generation, is_open: true };
    let happened = match role {
        Role::Work => Happened::JobEnded { step, item, outcome },
        Role::Undo => Happened::CompensationEnded { step, item, outcome },
    };
    let moved = happen(run, happened, rules, decision);
    item_ended(key, moved.ok().map(|run| run.run.version), rules, decision);
}

/// Closes the row of an item, whether or not its end means anything any more.
fn item_ended<T>(key: ItemKey, version: Option<u64>, rules: &Rules, decision: &mut Decision<T>) {
    let version = version.or_else(|| rules.runs.get(key.run).map(|run| run.run.version));
    let version = version.unwrap_or_default();
    decision.writes.workflows.push(WorkflowWrite::ItemEnded { key, version });
}

/// Starts the runs that wait for a place, as far as there is room.
pub(super) fn admit<T>(
    workflow: &WorkflowName,
    key: Option<&str>,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) {
    loop {
        let Some(crowd) = rules.runs.crowd(workflow, key).filter(|crowd| !crowd.queued.is_empty()) else {
            return;
        };
        let known = rules.runs.workflow(workflow);
        if known.is_some_and(|known| known.pause.is_some()) {
            return;
        }
        let limit = known.and_then(|known| known.newest.workflow.concurrency.as_ref());
        let room = limit.is_none_or(|limit| limit.room(under_way(crowd.under_way.len())) > 0);
        let may_start =
            |id: &&RunId| rules.runs.get(**id).is_some_and(|run: &Arc<StoredRun>| !run.run.is_paused);
        let Some(next) = crowd.queued.iter().find(may_start).copied().filter(|_| room) else { return };
        if happen(next, Happened::Started, rules, decision).is_err() {
            return;
        }
    }
}

/// What becomes of a new run by how many of its kind are open.
pub(super) fn admission(
    workflow: &WorkflowName,
    key: Option<&str>,
    limit: Option<&Concurrency>,
    rules: &Rules,
) -> Admission {
    let (running, some_wait) = rules
        .runs
        .crowd(workflow, key)
        .map_or((0, false), |crowd| (under_way(crowd.under_way.len()), !crowd.queued.is_empty()));
    limit.map_or(Admission::Start, |limit| limit.admit(running, some_wait))
}

fn under_way(runs: usize) -> u32 {
    u32::try_from(runs).unwrap_or(u32::MAX)
}
