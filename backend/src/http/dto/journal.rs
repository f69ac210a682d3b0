//! The journal of a run as the API shows it.

use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::{
    domain::workflow::{
        definition::{StepIndex, Workflow},
        facts::{Entry, Evaluation, Happened, Outcome},
    },
    engine::ports::{self, JournalEntry},
};

/// A part of the journal of a run, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Journal {
    /// Its lines.
    pub lines: Vec<JournalLine>,
    /// Pass it as `after` to go on; `null` on the last page.
    pub next_after: Option<u64>,
}

/// A line of the journal: what happened to the run, or what followed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JournalLine {
    /// Its number, from 1.
    pub number: u64,
    /// Counts the changes of the run: that to which the line belongs.
    pub change: u64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// What happened, as a stable word.
    #[schema(example = "step_ended")]
    pub what: &'static str,
    /// The step that it is about.
    #[schema(example = "probe")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The same in a sentence.
    pub message: String,
}

impl JournalLine {
    /// A line of a run of this version of a workflow, which names the steps.
    pub(crate) fn new(line: &ports::JournalLine, workflow: &Workflow) -> Self {
        let (what, step, message) = match &line.entry {
            JournalEntry::Happened(happened) => of_happened(happened, workflow),
            JournalEntry::Decided(entry) => of_entry(entry),
        };
        let named = step.map(|step| name_of(workflow, step));
        let message = match &named {
            Some(name) => format!("step {name:?} {message}"),
            None => message,
        };
        Self { number: line.number, change: line.version, at: rfc3339(line.at), what, step: named, message }
    }
}

/// A word, the step, and a sentence whose subject is that step, if there is one.
type Told = (&'static str, Option<StepIndex>, String);

fn of_happened(happened: &Happened, workflow: &Workflow) -> Told {
    match happened {
        Happened::Started => ("started", None, "there is a place for the run, and it begins".to_owned()),
        Happened::Evaluated { step, evaluation, .. } => ("evaluated", Some(*step), of_evaluation(evaluation)),
        Happened::ItemsMade { step, from, count, born_failed, .. } => {
            ("items_made", Some(*step), items("has items", *from, *count, *born_failed))
        }
        Happened::JobEnded { step, item, outcome } => {
            ("job_ended", Some(*step), format!("has an item that is {}: {}", word(*outcome), item.index))
        }
        Happened::ChildEnded { step, outcome, .. } => (
            "child_ended",
            Some(*step),
            format!("had a run of another workflow, which is {}", word(*outcome)),
        ),
        Happened::WaitAnswered { step, event, .. } => {
            ("wait_answered", Some(*step), format!("has what it waited for: event {event}"))
        }
        Happened::WaitTimedOut { step, .. } => {
            ("wait_timed_out", Some(*step), "waited until its limit".to_owned())
        }
        Happened::Decided { step, approved, by, comment } => {
            let verb = if *approved { "approved" } else { "rejected" };
            let comment = comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
            ("decided", Some(*step), format!("was {verb} by {by}{comment}"))
        }
        Happened::TimedOut => ("timed_out", None, "the time of the run is over".to_owned()),
        Happened::CancelRequested { by, force: false } => {
            ("cancel_requested", None, format!("{by} cancels the run"))
        }
        Happened::CancelRequested { by, force: true } => {
            ("cancel_requested", None, format!("{by} cancels the run, and nothing cleans up"))
        }
        Happened::RetryRequested { by, from: None } => {
            ("retry_requested", None, format!("{by} tries again what failed or was cancelled"))
        }
        Happened::RetryRequested { by, from: Some(step) } => {
            let name = name_of(workflow, *step);
            ("retry_requested", None, format!("{by} tries everything again from step {name:?} on"))
        }
        Happened::Paused { by } => ("paused", None, format!("{by} pauses the run")),
        Happened::Resumed { by } => ("resumed", None, format!("{by} ends the pause of the run")),
        Happened::CompensationsMade { step, from, count, born_failed, .. } => {
            ("compensations_made", Some(*step), items("is undone by items", *from, *count, *born_failed))
        }
        Happened::CompensationEnded { step, item, outcome } => {
            let message = format!("has a compensation that is {}: {}", word(*outcome), item.index);
            ("compensation_ended", Some(*step), message)
        }
    }
}

fn of_entry(entry: &Entry) -> Told {
    match entry {
        Entry::StepBegan { step, items: 0 | 1 } => ("step_began", Some(*step), "began".to_owned()),
        Entry::StepBegan { step, items } => ("step_began", Some(*step), format!("began with {items} items")),
        Entry::StepEnded { step, state } => ("step_ended", Some(*step), format!("is {state}")),
        Entry::Stopping => ("stopping", None, "the run stops: what runs is told so".to_owned()),
        Entry::StepCompensated { step, not_undone: 0 } => {
            ("step_compensated", Some(*step), "is undone".to_owned())
        }
        Entry::StepCompensated { step, not_undone } => {
            ("step_compensated", Some(*step), format!("is undone, but for {not_undone} items"))
        }
        Entry::Ended(state) => ("ended", None, format!("the run is {state}")),
    }
}

fn of_evaluation(evaluation: &Evaluation) -> String {
    match evaluation {
        Evaluation::Skip => "is skipped: its condition is false".to_owned(),
        Evaluation::Fail(reason) => format!("cannot begin: {reason}"),
        Evaluation::Begin { until: Some(until), .. } => format!("waits until {}", rfc3339(*until)),
        Evaluation::Begin { items: 0 | 1, until: None } => "may begin".to_owned(),
        Evaluation::Begin { items, until: None } => format!("may begin, with {items} items"),
    }
}

/// `has items 0 to 9, of which 2 could not be made`
fn items(what: &str, from: u32, count: u32, born_failed: u32) -> String {
    let last = from.saturating_add(count).saturating_sub(1);
    match born_failed {
        0 => format!("{what} {from} to {last}"),
        failed => format!("{what} {from} to {last}, of which {failed} could not be made"),
    }
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
    }
}

fn name_of(workflow: &Workflow, step: StepIndex) -> String {
    workflow.step(step).map(|step| step.name.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crewcall_proto::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::domain::{
        Sequence,
        workflow::{
            facts::Item,
            run::{Generation, RunState, StepState},
        },
    };

    #[test]
    fn every_line_is_a_sentence() {
        let document = json!({"name": "a", "steps": {"probe": {"job": "x"}, "check": {"approval": {}}}});
        let workflow = Workflow::read(&document).unwrap();
        let (step, generation) = (workflow.find("probe").unwrap(), Generation::FIRST);
        let check = workflow.find("check").unwrap();
        let item = Item { index: 3, generation, is_open: true };
        let until = Some(Timestamp::from_millis(0));
        let evaluated = |evaluation| Happened::Evaluated { step, generation, evaluation };
        let decided = |approved, comment: Option<&str>| Happened::Decided {
            step: check,
            approved,
            by: "anna".to_owned(),
            comment: comment.map(str::to_owned),
        };
        let by = || "ben".to_owned();
        let happened = [
            Happened::Started,
            evaluated(Evaluation::Skip),
            evaluated(Evaluation::Fail("there is no field".to_owned())),
            evaluated(Evaluation::Begin { items: 1, until: None }),
            evaluated(Evaluation::Begin { items: 7, until: None }),
            evaluated(Evaluation::Begin { items: 0, until }),
            Happened::ItemsMade { step, generation, from: 0, count: 10, born_failed: 2 },
            Happened::JobEnded { step, item, outcome: Outcome::Completed },
            Happened::ChildEnded { step, generation, outcome: Outcome::Failed },
            Happened::WaitAnswered { step, generation, event: Sequence(17) },
            Happened::WaitTimedOut { step, generation },
            decided(true, None),
            decided(false, Some("too dark")),
            Happened::TimedOut,
            Happened::CancelRequested { by: by(), force: false },
            Happened::CancelRequested { by: by(), force: true },
            Happened::RetryRequested { by: by(), from: None },
            Happened::RetryRequested { by: by(), from: Some(step) },
            Happened::Paused { by: by() },
            Happened::Resumed { by: by() },
            Happened::CompensationsMade { step, generation, from: 0, count: 3, born_failed: 0 },
            Happened::CompensationEnded { step, item, outcome: Outcome::Cancelled },
        ];
        let entries = [
            Entry::StepBegan { step, items: 1 },
            Entry::StepBegan { step, items: 9 },
            Entry::StepEnded { step, state: StepState::Failed },
            Entry::Stopping,
            Entry::StepCompensated { step, not_undone: 0 },
            Entry::StepCompensated { step, not_undone: 2 },
            Entry::Ended(RunState::Cancelled),
        ];
        let all = happened.map(JournalEntry::Happened).into_iter();
        let all = all.chain(entries.map(JournalEntry::Decided));
        let told = all.map(|entry| {
            let line = ports::JournalLine { number: 1, version: 2, at: Timestamp::from_millis(0), entry };
            let JournalLine { what, step, message, .. } = JournalLine::new(&line, &workflow);
            format!("{what} {}: {message}", step.unwrap_or_default())
        });
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
    }
}
