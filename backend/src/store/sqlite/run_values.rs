//! The values of runs that stand in several columns. Where one names a step, it does so by the name: the place of a step means
//! nothing to whoever reads the file.

use super::{
    columns::{Columns, Parameters, Value, columns, names_of, unreadable},
    transaction_error::TransactionError,
    values::to_limit,
};
use crate::domain::{
    FiredBy, MadeOf, TickKey,
    workflow::{
        definition::{StepIndex, Workflow},
        known::{ParentStep, StartedBy},
        run::{Cleanup, Decision, ItemCounts, Reason, Stop, StopCause},
    },
};

/// A step of the workflow by its name.
pub(super) fn step_of(workflow: &Workflow, name: &str) -> Result<StepIndex, TransactionError> {
    workflow.find(name).ok_or_else(|| unreadable("step", name))
}

/// The name of a step of the workflow.
pub(super) fn name_of(workflow: &Workflow, step: StepIndex) -> Result<&str, TransactionError> {
    let found = workflow.step(step).map(|step| &*step.name);
    found.ok_or(TransactionError::Inconsistent("a run has a step that its workflow does not have"))
}

/// A person; or an event and a consumer; or a step of another run; or a tick of a schedule.
impl Value for StartedBy {
    fn names(_: &str) -> Vec<String> {
        let names = ["started_by", "consumer", "pass", "sequence"];
        let parent = ["parent_run_id", "parent_step", "parent_generation"];
        let tick = ["schedule", "schedule_id", "tick", "tick_origin"];
        names.into_iter().chain(parent).chain(tick).map(str::to_owned).collect()
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let person: Option<String> = columns.value()?;
        let made_of = match (columns.value()?, columns.value()?, columns.value()?) {
            (Some(consumer), Some(pass), Some(sequence)) => Some(MadeOf { consumer, pass, sequence }),
            _ => None,
        };
        let parent = match (columns.value()?, columns.value()?, columns.value()?) {
            (Some(run), Some(step), Some(generation)) => {
                Some(ParentStep { run, step: StepIndex(step), generation })
            }
            _ => None,
        };
        let fired_by = match (columns.value()?, columns.value()?, columns.value()?, columns.value()?) {
            (Some(schedule), Some(id), Some(at), Some(origin)) => {
                Some(FiredBy { schedule, id, tick: TickKey { at, origin } })
            }
            _ => None,
        };
        match (person, made_of, parent, fired_by) {
            (Some(person), None, None, None) => Ok(Self::Person(person)),
            (None, Some(made_of), None, None) => Ok(Self::Event(made_of)),
            (None, None, Some(parent), None) => Ok(Self::Step(parent)),
            (None, None, None, Some(by)) => Ok(Self::Schedule(by)),
            _ => Err(columns.unreadable("not one beginning of a run")),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let (person, made_of, parent, fired_by) = match self {
            Self::Person(person) => (Some(person), None, None, None),
            Self::Event(made_of) => (None, Some(made_of), None, None),
            Self::Step(parent) => (None, None, Some(parent), None),
            Self::Schedule(by) => (None, None, None, Some(by)),
        };
        parameters.raw(person)?;
        parameters.value(&made_of.map(|made_of| made_of.consumer.clone()))?;
        parameters.value(&made_of.map(|made_of| made_of.pass))?;
        parameters.value(&made_of.map(|made_of| made_of.sequence))?;
        parameters.value(&parent.map(|parent| parent.run))?;
        parameters.raw(parent.map(|parent| to_limit(parent.step.0)))?;
        parameters.value(&parent.map(|parent| parent.generation))?;
        parameters.value(&fired_by.map(|by| by.schedule.clone()))?;
        parameters.value(&fired_by.map(|by| by.id))?;
        parameters.value(&fired_by.map(|by| by.tick.at))?;
        parameters.value(&fired_by.map(|by| by.tick.origin))
    }
}

/// Why a run stops.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct StopText {
    cause: Option<String>,
    step: Option<String>,
    cleanup: Option<String>,
}

columns!(StopText { cause: "stop_cause", step: "stop_step", cleanup: "stop_cleanup" });

/// The words of what may clean up.
const CLEANUPS: [(Cleanup, &str); 3] = [
    (Cleanup::FailedAndFinished, "failed_and_finished"),
    (Cleanup::Finished, "finished"),
    (Cleanup::Nothing, "nothing"),
];

impl StopText {
    pub(super) fn of(workflow: &Workflow, stop: Option<&Stop>) -> Result<Self, TransactionError> {
        let Some(Stop { cause, cleanup }) = stop else { return Ok(Self::default()) };
        let (cause, step) = match cause {
            StopCause::StepFailed(step) => ("step_failed", Some(name_of(workflow, *step)?.to_owned())),
            StopCause::TimedOut => ("timed_out", None),
            StopCause::Cancelled => ("cancelled", None),
        };
        let cleanup = CLEANUPS.iter().find(|(known, _)| known == cleanup).map(|(_, word)| (*word).to_owned());
        Ok(Self { cause: Some(cause.to_owned()), step, cleanup })
    }

    pub(super) fn stop(self, workflow: &Workflow) -> Result<Option<Stop>, TransactionError> {
        let Some(cause) = self.cause else { return Ok(None) };
        let cause = match (cause.as_str(), self.step) {
            ("step_failed", Some(step)) => StopCause::StepFailed(step_of(workflow, &step)?),
            ("timed_out", None) => StopCause::TimedOut,
            ("cancelled", None) => StopCause::Cancelled,
            _ => return Err(unreadable("stop_cause", cause)),
        };
        let word = self.cleanup.unwrap_or_default();
        let cleanup = CLEANUPS.iter().find(|(_, known)| *known == word).map(|(cleanup, _)| *cleanup);
        let cleanup = cleanup.ok_or_else(|| unreadable("stop_cleanup", word))?;
        Ok(Some(Stop { cause, cleanup }))
    }
}

/// Why a step is as it is: a word, and what else there is to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ReasonText {
    word: Option<String>,
    detail: Option<String>,
}

columns!(ReasonText { word: "reason", detail: "reason_detail" });

impl ReasonText {
    pub(super) fn of(workflow: &Workflow, reason: Option<&Reason>) -> Result<Self, TransactionError> {
        let Some(reason) = reason else { return Ok(Self::default()) };
        let (word, detail) = match reason {
            Reason::Need { step, state } => ("need", Some(format!("{state} {}", name_of(workflow, *step)?))),
            Reason::NoneCompleted => ("none_completed", None),
            Reason::NoneFailed => ("none_failed", None),
            Reason::ConditionFalse => ("condition_false", None),
            Reason::InvalidParameters(message) => ("invalid_parameters", Some(message.clone())),
            Reason::ItemsFailed(items) => ("items_failed", Some(items.to_string())),
            Reason::Rejected => ("rejected", None),
            Reason::TimedOut => ("timed_out", None),
            Reason::RunStopped => ("run_stopped", None),
        };
        Ok(Self { word: Some(word.to_owned()), detail })
    }

    pub(super) fn reason(self, workflow: &Workflow) -> Result<Option<Reason>, TransactionError> {
        let Some(word) = self.word else { return Ok(None) };
        let strange = |detail: &str| unreadable("reason", format_args!("{word} {detail}"));
        let reason = match (word.as_str(), self.detail) {
            ("need", Some(detail)) => {
                let (state, step) = detail.split_once(' ').ok_or_else(|| strange(&detail))?;
                let state = state.parse().map_err(|_| strange(&detail))?;
                Reason::Need { step: step_of(workflow, step)?, state }
            }
            ("none_completed", None) => Reason::NoneCompleted,
            ("none_failed", None) => Reason::NoneFailed,
            ("condition_false", None) => Reason::ConditionFalse,
            ("invalid_parameters", Some(message)) => Reason::InvalidParameters(message),
            ("items_failed", Some(items)) => Reason::ItemsFailed(items.parse().map_err(|_| strange(&items))?),
            ("rejected", None) => Reason::Rejected,
            ("timed_out", None) => Reason::TimedOut,
            ("run_stopped", None) => Reason::RunStopped,
            (_, detail) => return Err(strange(&detail.unwrap_or_default())),
        };
        Ok(Some(reason))
    }
}

fn names_of_counts(name: &str) -> Vec<String> {
    let parts = ["total", "made", "making", "completed", "failed", "cancelled"];
    parts.map(|part| format!("{name}_{part}")).to_vec()
}

impl Value for ItemCounts {
    fn names(name: &str) -> Vec<String> {
        names_of_counts(name)
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let counts: Option<Self> = columns.value()?;
        counts.ok_or_else(|| columns.unreadable("no counts of items"))
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        parameters.value(&Some(*self))
    }
}

impl Value for Option<ItemCounts> {
    fn names(name: &str) -> Vec<String> {
        names_of_counts(name)
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let [total, made, making]: [Option<u32>; 3] = [columns.value()?, columns.value()?, columns.value()?];
        let rest: [Option<u32>; 3] = [columns.value()?, columns.value()?, columns.value()?];
        match ([total, made, making], rest) {
            ([Some(total), Some(made), Some(making)], [Some(completed), Some(failed), Some(cancelled)]) => {
                Ok(Some(ItemCounts { total, made, making, completed, failed, cancelled }))
            }
            ([None, None, None], [None, None, None]) => Ok(None),
            _ => Err(columns.unreadable("half the counts of items")),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        parameters.raw(self.map(|counts| counts.total))?;
        parameters.raw(self.map(|counts| counts.made))?;
        parameters.raw(self.map(|counts| counts.making))?;
        parameters.raw(self.map(|counts| counts.completed))?;
        parameters.raw(self.map(|counts| counts.failed))?;
        parameters.raw(self.map(|counts| counts.cancelled))
    }
}

/// What somebody decided: all but the comment, or none.
impl Value for Option<Decision> {
    fn names(name: &str) -> Vec<String> {
        ["approved", "by", "comment", "at"].map(|part| format!("{name}_{part}")).to_vec()
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        match (columns.value()?, columns.value()?, columns.value()?, columns.value()?) {
            (Some(approved), Some(by), comment, Some(at)) => Ok(Some(Decision { approved, by, comment, at })),
            (None, None, None, None) => Ok(None),
            _ => Err(columns.unreadable("half a decision")),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let decision = self.as_ref();
        parameters.raw(decision.map(|decision| decision.approved))?;
        parameters.raw(decision.map(|decision| decision.by.as_str()))?;
        parameters.raw(decision.and_then(|decision| decision.comment.as_deref()))?;
        parameters.raw(decision.map(|decision| decision.at.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::workflow::run::StepState;

    #[test]
    fn reasons_and_stops_are_read_as_they_are_written() {
        let document = json!({"name": "w", "steps": {"a": {"job": "j"}, "b": {"job": "j"}}});
        let workflow = Workflow::read(&document).unwrap();
        let step = StepIndex(1);
        let reasons = [
            Reason::Need { step, state: StepState::Failed },
            Reason::NoneCompleted,
            Reason::NoneFailed,
            Reason::ConditionFalse,
            Reason::InvalidParameters("a \"b\" ☃".to_owned()),
            Reason::ItemsFailed(17),
            Reason::Rejected,
            Reason::TimedOut,
            Reason::RunStopped,
        ];
        for reason in reasons.map(Some).into_iter().chain([None]) {
            let text = ReasonText::of(&workflow, reason.as_ref()).unwrap();
            assert_eq!(text.reason(&workflow).unwrap(), reason);
        }
        let causes = [StopCause::StepFailed(step), StopCause::TimedOut, StopCause::Cancelled];
        for (cause, (cleanup, _)) in causes.iter().flat_map(|cause| CLEANUPS.map(|cleanup| (cause, cleanup)))
        {
            let stop = Some(Stop { cause: cause.clone(), cleanup });
            let text = StopText::of(&workflow, stop.as_ref()).unwrap();
            assert_eq!(text.stop(&workflow).unwrap(), stop);
        }
        assert_eq!(StopText::of(&workflow, None).unwrap().stop(&workflow).unwrap(), None);
    }

    #[test]
    fn what_means_nothing_is_told() {
        let document = json!({"name": "w", "steps": {"a": {"job": "j"}}});
        let workflow = Workflow::read(&document).unwrap();
        for (word, detail) in
            [("need", "failed gone"), ("need", "asleep a"), ("items_failed", "x"), ("bored", "")]
        {
            let text = ReasonText { word: Some(word.to_owned()), detail: Some(detail.to_owned()) };
            assert!(text.reason(&workflow).is_err(), "{word} {detail}");
        }
        assert!(
            StopText::of(
                &workflow,
                Some(&Stop { cause: StopCause::StepFailed(StepIndex(9)), cleanup: Cleanup::Nothing })
            )
            .is_err()
        );
    }
}
