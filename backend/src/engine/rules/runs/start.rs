//! A run comes.

use std::{collections::BTreeMap, sync::Arc};

use super::movement::{admission, happen};
use crate::{
    domain::workflow::{
        concurrency::Admission,
        facts::Happened,
        known::{KnownWorkflow, RunInfo, StartedBy, StoredRun},
        run::{Run, RunState},
    },
    engine::{
        ports::{IdempotencyKey, NewRun, RUNS_OPEN_MAX, RunChanged, RunStarted, WorkflowWrite},
        rules::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted},
    },
};

/// Who asked that a run be cancelled that has to make room.
const MAKES_ROOM: &str = "the next run, which takes its place";

/// Makes a run that somebody asked for.
pub struct StartRun(pub NewRun);

impl Decide for StartRun {
    type Value = RunStarted;

    fn wants(&self, _: &Rules) -> Wanted {
        self.0.idempotency.as_ref().map_or(Wanted::Nothing, |key| Wanted::RunKey(key.key.clone()))
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<RunStarted>, Inconsistent> {
        let earlier = loaded.run_key.filter(|_| self.0.idempotency.is_some());
        if let (Some((body_hash, run)), Some(IdempotencyKey { body_hash: now, .. })) =
            (earlier, &self.0.idempotency)
        {
            let same = body_hash == *now;
            return Ok(Decision::nothing(if same {
                RunStarted::Replayed(run)
            } else {
                RunStarted::KeyReused
            }));
        }
        let mut decision = Decision::nothing(RunStarted::Unknown);
        decision.value = start(self.0, rules, &mut decision);
        Ok(decision)
    }
}

/// What keeps a run from being made, if anything does; and what becomes of it.
pub(super) fn may_start(new: &NewRun, rules: &Rules) -> Result<(Arc<KnownWorkflow>, Admission), RunStarted> {
    let known = rules.runs.workflow(&new.workflow).ok_or(RunStarted::Unknown)?;
    if known.newest.number != new.version {
        return Err(RunStarted::OtherVersion);
    }
    let is_child = matches!(new.started_by, StartedBy::Step(_));
    if let Some(pause) = known.pause.as_ref().filter(|_| !is_child) {
        return Err(RunStarted::Paused(pause.clone()));
    }
    if rules.runs.count() >= RUNS_OPEN_MAX {
        return Err(RunStarted::TooMany);
    }
    let limit = known.newest.workflow.concurrency.as_ref();
    match admission(&new.workflow, new.key.as_deref(), limit, rules) {
        Admission::Skip => Err(RunStarted::Skipped),
        Admission::Start if known.pause.is_some() => Ok((Arc::clone(known), Admission::Queue)),
        admission => Ok((Arc::clone(known), admission)),
    }
}

/// Makes a run, unless something speaks against it.
pub(in crate::engine::rules) fn start<T>(
    new: NewRun,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) -> RunStarted {
    let (known, admission) = match may_start(&new, rules) {
        Ok(may) => may,
        Err(why) => return why,
    };
    let NewRun { id, workflow, data, started_by, key, labels, root, depth, idempotency, .. } = new;
    if let StartedBy::Event(made_of) = &started_by {
        rules.consumers.count_made(made_of, 1);
    }
    let info = RunInfo {
        id,
        version: Arc::clone(&known.newest),
        started_by,
        key,
        labels,
        root,
        depth,
        log_from: rules.counts.sequence(),
        created_at: rules.now(),
    };
    let run = Run::new(&known.newest.workflow);
    let run = Arc::new(StoredRun { info: Arc::new(info), run, waits: BTreeMap::new() });
    rules.runs.set_run(&run);
    decision.runs.push(RunChanged { run: Arc::clone(&run), was: None });
    decision.writes.workflows.push(WorkflowWrite::Run { run: Arc::clone(&run), data, idempotency });
    match admission {
        Admission::Start => {
            // A run that is new and not paused starts.
            if let Ok(started) = happen(id, Happened::Started, rules, decision) {
                return RunStarted::Started(started);
            }
        }
        Admission::CancelOldest => {
            let oldest = rules.runs.crowd(&workflow, run.info.key.as_deref()).and_then(|crowd| {
                let stops = |id: &&crewcall_proto::RunId| {
                    rules.runs.get(**id).is_some_and(|run| run.run.state == RunState::Running)
                };
                crowd.under_way.iter().find(stops).copied()
            });
            if let Some(oldest) = oldest {
                let happened = Happened::CancelRequested { by: MAKES_ROOM.to_owned(), force: false };
                // One that cannot be cancelled any more is about to make room by itself.
                drop(happen(oldest, happened, rules, decision));
            }
        }
        Admission::Queue | Admission::Skip => {}
    }
    // It may have got a place by now.
    let now = rules.runs.get(id).map_or(run, Arc::clone);
    RunStarted::Started(now)
}
