//! What people do to a run, what its time does, and what it waited for.

use std::sync::Arc;

use crewcall_proto::RunId;

use super::movement::{admit, happen, keep, move_run};
use crate::{
    domain::{
        schedules::tick::TickWork,
        workflow::{
            facts::{Happened, Stale},
            known::{StartedBy, StoredRun},
            run::RunState,
        },
    },
    engine::{
        ports::{RUNS_OPEN_MAX, RunTold, WaitAnswers, WorkflowWrite},
        rules::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted, schedules},
    },
};

/// Moves a run by what somebody did to it, or by its time.
pub struct TellRun {
    pub id: RunId,
    pub happened: Happened,
}

impl Decide for TellRun {
    type Value = RunTold;

    fn wants(&self, rules: &Rules) -> Wanted {
        if rules.runs.get(self.id).is_some() { Wanted::Nothing } else { Wanted::Run(self.id) }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<RunTold>, Inconsistent> {
        let known = rules.runs.get(self.id).map(Arc::clone).or_else(|| loaded.run.map(Arc::new));
        let Some(known) = known else { return Ok(Decision::nothing(RunTold::Unknown)) };
        let is_over = known.run.state.is_terminal();
        if is_over && rules.runs.count() >= RUNS_OPEN_MAX {
            return Ok(Decision::nothing(RunTold::TooMany));
        }
        let mut decision = Decision::nothing(RunTold::Unknown);
        let moved = match move_run(&known, self.happened, rules, &mut decision) {
            Ok(moved) => moved,
            Err(stale) => return Ok(Decision::nothing(RunTold::Stale(stale, known))),
        };
        if is_over {
            reopened(&moved, rules, &mut decision);
        }
        if moved.run.state == RunState::Queued {
            admit(moved.info.version.name(), moved.info.key.as_deref(), rules, &mut decision);
        }
        let now = rules.runs.get(self.id).map_or(moved, Arc::clone);
        decision.value = RunTold::Changed(now);
        Ok(decision)
    }
}

/// Who made a run that is tried again counts it among what is open.
fn reopened<T>(run: &StoredRun, rules: &mut Rules, decision: &mut Decision<T>) {
    match &run.info.started_by {
        StartedBy::Event(made_of) => rules.consumers.count_made(made_of, 1),
        StartedBy::Schedule(by) => schedules::reopened(by, TickWork::Run(run.id()), rules, decision),
        StartedBy::Person(_) | StartedBy::Step(_) => {}
    }
}

/// Answers waits for events.
pub struct AnswerWaits(pub WaitAnswers);

impl Decide for AnswerWaits {
    type Value = ();

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, _: Loaded, rules: &mut Rules) -> Result<Decision<()>, Inconsistent> {
        let WaitAnswers { looked_to, caught_up, answers } = self.0;
        let mut decision = Decision::nothing(());
        for (id, step, generation, event) in answers {
            let happened = Happened::WaitAnswered { step, generation, event };
            match happen(id, happened, rules, &mut decision) {
                // One that is not open any more was answered, timed out or stopped before.
                Ok(_) | Err(Stale::State | Stale::Generation | Stale::Repeated | Stale::Unknown) => {}
                Err(Stale::NotDue | Stale::Decided | Stale::Compensated | Stale::NothingToRetry) => {
                    return Err(Inconsistent("a wait for an event answered like something else"));
                }
            }
        }
        for (id, step, generation) in caught_up {
            let Some(run) = rules.runs.get(id) else { continue };
            let is_it = run.run.step(step).is_some_and(|step| step.generation == generation);
            let mut now = StoredRun::clone(run);
            let Some(wait) = now.waits.get_mut(&step).filter(|wait| is_it && !wait.caught_up) else {
                continue;
            };
            wait.caught_up = true;
            let was = now.run.state;
            keep(now, vec![step], Vec::new(), was, rules, &mut decision);
        }
        decision.writes.workflows.extend(looked_to.map(WorkflowWrite::LookedTo));
        Ok(decision)
    }
}
