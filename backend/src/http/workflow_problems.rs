//! Why something was not done to a workflow or a run, as the caller is told.

use crewcall_proto::RunId;

use super::problem::{Problem, ProblemCode};
use crate::{
    domain::{Pause, workflow::facts::Stale},
    engine::{RunError, RunView, WorkflowError, rfc3339::rfc3339},
};

/// What somebody asked of a run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    Cancel,
    Retry { from: Option<&'a str> },
    Decide { step: &'a str },
}

impl From<WorkflowError> for Problem {
    fn from(error: WorkflowError) -> Self {
        let code = match &error {
            WorkflowError::Unknown => ProblemCode::WorkflowNotFound,
            WorkflowError::TooMany => ProblemCode::TooManyWorkflows,
            WorkflowError::TooManyRuns => ProblemCode::TooManyRuns,
            WorkflowError::NoPlace => ProblemCode::NoPlace,
            WorkflowError::CheckBusy => ProblemCode::TooManyChecks,
            WorkflowError::OtherVersion(_) => ProblemCode::WorkflowChanged,
            WorkflowError::HasOpenRuns { .. } => ProblemCode::WorkflowHasOpenRuns,
            WorkflowError::Paused(_) => ProblemCode::WorkflowPaused,
            WorkflowError::Invalid(_) => ProblemCode::InvalidWorkflow,
            WorkflowError::InvalidData(_) => ProblemCode::InvalidData,
            WorkflowError::KeyReused => ProblemCode::IdempotencyKeyReused,
            WorkflowError::Store(_) => ProblemCode::StoreUnavailable,
        };
        let detail = match error {
            WorkflowError::Store(error) => return error.into(),
            WorkflowError::Invalid(problems) | WorkflowError::InvalidData(problems) => {
                return Self::with_errors(code, problems);
            }
            WorkflowError::OtherVersion(Some(version)) => {
                format!("its version is {version} now: read it again, and decide anew")
            }
            WorkflowError::OtherVersion(None) => {
                "there is no such workflow: leave If-Match out to make it".to_owned()
            }
            WorkflowError::HasOpenRuns { count: 1, one } => {
                format!("run {one} is not over: wait for it, or cancel it")
            }
            WorkflowError::HasOpenRuns { count, one } => {
                format!("{count} of its runs are not over, such as {one}: wait for them, or cancel them")
            }
            WorkflowError::Paused(pause) => paused(&pause),
            WorkflowError::KeyReused => {
                "this Idempotency-Key was used for another request: use a new key for another run".to_owned()
            }
            other => other.to_string(),
        };
        Self::new(code, detail)
    }
}

/// `anna paused the workflow at 2026-11-20T16:07:00.000Z: the printer burns`
fn paused(Pause { by, reason, at }: &Pause) -> String {
    let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{by} paused the workflow at {}{why}", rfc3339(*at))
}

/// There is no run of this id.
pub(super) fn no_run(id: RunId) -> Problem {
    Problem::new(ProblemCode::RunNotFound, format!("there is no run {id}"))
}

/// The run has no such step, but those with these names.
pub(super) fn no_step(id: RunId, step: &str, names: &[impl AsRef<str>]) -> Problem {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let detail = match names.as_slice() {
        [] => format!("run {id} has no such step {step:?}"),
        names => format!("run {id} has no such step {step:?}, but {}", names.join(", ")),
    };
    Problem::new(ProblemCode::StepNotFound, detail)
}

/// Why it was not done.
pub(super) fn refused(id: RunId, asked: Asked<'_>, error: RunError) -> Problem {
    match error {
        RunError::Unknown => no_run(id),
        RunError::NoStep { names } => {
            let step = match asked {
                Asked::Decide { step } | Asked::Retry { from: Some(step) } => step,
                Asked::Cancel | Asked::Retry { from: None } => "",
            };
            no_step(id, step, &names)
        }
        RunError::Refused { stale, run } => stale_request(asked, stale, &run),
        RunError::TooManyRuns => Problem::new(ProblemCode::TooManyRuns, error.to_string()),
        RunError::Store(error) => error.into(),
    }
}

fn stale_request(asked: Asked<'_>, stale: Stale, run: &RunView) -> Problem {
    let state = run.stored.run.state;
    let (code, detail) = match (stale, asked) {
        (Stale::Decided, Asked::Decide { step }) => (ProblemCode::AlreadyDecided, decided(run, step)),
        (Stale::Compensated, _) => (
            ProblemCode::RunCompensated,
            "what the run did was compensated for, so it cannot be tried again: start another one".to_owned(),
        ),
        (Stale::NothingToRetry, _) => (
            ProblemCode::NothingToRetry,
            format!("the run is {state}, and none of its steps would begin again: name one with from"),
        ),
        (_, Asked::Cancel) => {
            (ProblemCode::RunRefused, format!("the run is {state}, so it cannot be cancelled"))
        }
        (_, Asked::Retry { .. }) => {
            (ProblemCode::RunRefused, format!("the run is {state}; only one that is over can be tried again"))
        }
        (_, Asked::Decide { step }) => {
            let found = run.steps.iter().find(|found| &*found.name == step);
            let stands = found.map_or("not there", |found| found.state.as_str());
            let detail =
                format!("step {step:?} is {stands}; only while it waits can somebody decide about it");
            (ProblemCode::RunRefused, detail)
        }
    };
    Problem::new(code, detail).with_state(state.as_str())
}

/// `anna approved step "check" at 2026-11-20T16:07:00.000Z: looks good`
fn decided(run: &RunView, step: &str) -> String {
    let stored = &run.stored;
    let index = stored.info.workflow().find(step);
    let decision = index.and_then(|index| stored.run.step(index)?.decision.as_ref());
    match decision {
        Some(decision) => {
            let verb = if decision.approved { "approved" } else { "rejected" };
            let comment = decision.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
            format!("{} {verb} step {step:?} at {}{comment}", decision.by, rfc3339(decision.at))
        }
        None => format!("somebody decided about step {step:?} before"),
    }
}

#[cfg(test)]
mod tests {
    use crewcall_proto::Timestamp;

    use super::*;

    #[test]
    fn what_stands_in_the_way_of_a_workflow_is_named() {
        let pause = |reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            WorkflowError::Paused(Pause { by: "anna".to_owned(), reason, at: Timestamp::from_millis(0) })
        };
        let one = "0192e4a0-7c1a-7000-8000-000000000000".parse().unwrap();
        let errors = [
            pause(Some("the printer burns")),
            pause(None),
            WorkflowError::OtherVersion(Some(4)),
            WorkflowError::OtherVersion(None),
            WorkflowError::HasOpenRuns { count: 1, one },
            WorkflowError::HasOpenRuns { count: 7, one },
            WorkflowError::TooMany,
            WorkflowError::TooManyRuns,
            WorkflowError::NoPlace,
            WorkflowError::CheckBusy,
            WorkflowError::KeyReused,
            WorkflowError::Unknown,
        ];
        let told = errors.map(|error| {
            let body = Problem::from(error).body("r");
            format!("{} {} {}", body.status, body.code, body.detail)
        });
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn the_steps_that_there_are_are_named() {
        let id = "0192e4a0-7c1a-7000-8000-000000000000".parse().unwrap();
        let error = RunError::NoStep { names: vec!["check".to_owned(), "sign".to_owned()] };
        let problem = refused(id, Asked::Decide { step: "chek" }, error);
        let expected = format!("run {id} has no such step \"chek\", but check, sign");
        assert_eq!((problem.code(), problem.detail()), (ProblemCode::StepNotFound, expected));
        assert_eq!(refused(id, Asked::Cancel, RunError::Unknown).code(), ProblemCode::RunNotFound);
    }
}
