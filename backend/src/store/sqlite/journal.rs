//! Lines of the journal of a run, as JSON. What was written once has to be readable for as long as its run is kept: a field that
//! comes later needs a default.

use crewcall_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::values::{from_json, to_json};
use crate::{
    domain::{
        Sequence,
        workflow::{
            definition::StepIndex,
            facts::{Entry, Evaluation, Happened, Item, Outcome},
            run::Generation,
        },
    },
    engine::ports::JournalEntry,
};

/// The outcomes, in words.
const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Completed, "completed"), (Outcome::Failed, "failed"), (Outcome::Cancelled, "cancelled")];

/// A line as it is written.
#[derive(Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
enum Line {
    Started,
    Evaluated { step: usize, generation: u32, evaluation: Evaluated },
    ItemsMade(Made),
    JobEnded(Ended),
    ChildEnded { step: usize, generation: u32, outcome: String },
    WaitAnswered { step: usize, generation: u32, event: u64 },
    WaitTimedOut { step: usize, generation: u32 },
    Decided { step: usize, approved: bool, by: String, comment: Option<String> },
    TimedOut,
    CancelRequested { by: String, force: bool },
    RetryRequested { by: String, from: Option<usize> },
    Paused { by: String },
    Resumed { by: String },
    CompensationsMade(Made),
    CompensationEnded(Ended),

    StepBegan { step: usize, items: u32 },
    StepEnded { step: usize, state: String },
    Stopping,
    StepCompensated { step: usize, not_undone: u32 },
    Ended { state: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Evaluated {
    Skip,
    Fail { message: String },
    Begin { items: u32, until: Option<i64> },
}

#[derive(Serialize, Deserialize)]
struct Made {
    step: usize,
    generation: u32,
    from: u32,
    count: u32,
    born_failed: u32,
}

#[derive(Serialize, Deserialize)]
struct Ended {
    step: usize,
    item: u32,
    generation: u32,
    is_open: bool,
    outcome: String,
}

/// The text of a line.
pub(super) fn text(entry: &JournalEntry) -> String {
    to_json(&match entry {
        JournalEntry::Happened(happened) => happened_line(happened),
        JournalEntry::Decided(entry) => decided_line(entry),
    })
}

/// Reads what was written; or says what is wrong with it.
pub(super) fn read(text: &str) -> Result<JournalEntry, String> {
    let line: Line = from_json(text)?;
    let strange = || text.to_owned();
    let decided = match line {
        Line::StepBegan { step, items } => Entry::StepBegan { step: StepIndex(step), items },
        Line::StepEnded { step, state } => {
            Entry::StepEnded { step: StepIndex(step), state: state.parse().map_err(|_| strange())? }
        }
        Line::Stopping => Entry::Stopping,
        Line::StepCompensated { step, not_undone } => {
            Entry::StepCompensated { step: StepIndex(step), not_undone }
        }
        Line::Ended { state } => Entry::Ended(state.parse().map_err(|_| strange())?),
        happened => return happened_of(happened).map(JournalEntry::Happened).ok_or_else(strange),
    };
    Ok(JournalEntry::Decided(decided))
}

fn decided_line(entry: &Entry) -> Line {
    match entry {
        Entry::StepBegan { step, items } => Line::StepBegan { step: step.0, items: *items },
        Entry::StepEnded { step, state } => Line::StepEnded { step: step.0, state: state.to_string() },
        Entry::Stopping => Line::Stopping,
        Entry::StepCompensated { step, not_undone } => {
            Line::StepCompensated { step: step.0, not_undone: *not_undone }
        }
        Entry::Ended(state) => Line::Ended { state: state.to_string() },
    }
}

fn happened_line(happened: &Happened) -> Line {
    match happened.clone() {
        Happened::Started => Line::Started,
        Happened::Evaluated { step, generation, evaluation } => {
            let evaluation = match evaluation {
                Evaluation::Skip => Evaluated::Skip,
                Evaluation::Fail(message) => Evaluated::Fail { message },
                Evaluation::Begin { items, until } => {
                    Evaluated::Begin { items, until: until.map(Timestamp::as_millis) }
                }
            };
            Line::Evaluated { step: step.0, generation: generation.0, evaluation }
        }
        Happened::ItemsMade { step, generation, from, count, born_failed } => {
            Line::ItemsMade(Made { step: step.0, generation: generation.0, from, count, born_failed })
        }
        Happened::JobEnded { step, item, outcome } => Line::JobEnded(ended(step, item, outcome)),
        Happened::ChildEnded { step, generation, outcome } => {
            Line::ChildEnded { step: step.0, generation: generation.0, outcome: word(outcome) }
        }
        Happened::WaitAnswered { step, generation, event } => {
            Line::WaitAnswered { step: step.0, generation: generation.0, event: event.0 }
        }
        Happened::WaitTimedOut { step, generation } => {
            Line::WaitTimedOut { step: step.0, generation: generation.0 }
        }
        Happened::Decided { step, approved, by, comment } => {
            Line::Decided { step: step.0, approved, by, comment }
        }
        Happened::TimedOut => Line::TimedOut,
        Happened::CancelRequested { by, force } => Line::CancelRequested { by, force },
        Happened::RetryRequested { by, from } => {
            Line::RetryRequested { by, from: from.map(|StepIndex(step)| step) }
        }
        Happened::Paused { by } => Line::Paused { by },
        Happened::Resumed { by } => Line::Resumed { by },
        Happened::CompensationsMade { step, generation, from, count, born_failed } => {
            Line::CompensationsMade(Made { step: step.0, generation: generation.0, from, count, born_failed })
        }
        Happened::CompensationEnded { step, item, outcome } => {
            Line::CompensationEnded(ended(step, item, outcome))
        }
    }
}

/// What happened; `None` if the line says something else, or means nothing.
fn happened_of(line: Line) -> Option<Happened> {
    Some(match line {
        Line::Started => Happened::Started,
        Line::Evaluated { step, generation, evaluation } => {
            let evaluation = match evaluation {
                Evaluated::Skip => Evaluation::Skip,
                Evaluated::Fail { message } => Evaluation::Fail(message),
                Evaluated::Begin { items, until } => {
                    Evaluation::Begin { items, until: until.map(Timestamp::from_millis) }
                }
            };
            Happened::Evaluated { step: StepIndex(step), generation: Generation(generation), evaluation }
        }
        Line::ItemsMade(Made { step, generation, from, count, born_failed }) => {
            let (step, generation) = (StepIndex(step), Generation(generation));
            Happened::ItemsMade { step, generation, from, count, born_failed }
        }
        Line::JobEnded(ended) => {
            let (step, item, outcome) = ended_of(&ended)?;
            Happened::JobEnded { step, item, outcome }
        }
        Line::ChildEnded { step, generation, outcome } => {
            let (step, generation) = (StepIndex(step), Generation(generation));
            Happened::ChildEnded { step, generation, outcome: outcome_of(&outcome)? }
        }
        Line::WaitAnswered { step, generation, event } => {
            let (step, generation) = (StepIndex(step), Generation(generation));
            Happened::WaitAnswered { step, generation, event: Sequence(event) }
        }
        Line::WaitTimedOut { step, generation } => {
            Happened::WaitTimedOut { step: StepIndex(step), generation: Generation(generation) }
        }
        Line::Decided { step, approved, by, comment } => {
            Happened::Decided { step: StepIndex(step), approved, by, comment }
        }
        Line::TimedOut => Happened::TimedOut,
        Line::CancelRequested { by, force } => Happened::CancelRequested { by, force },
        Line::RetryRequested { by, from } => Happened::RetryRequested { by, from: from.map(StepIndex) },
        Line::Paused { by } => Happened::Paused { by },
        Line::Resumed { by } => Happened::Resumed { by },
        Line::CompensationsMade(Made { step, generation, from, count, born_failed }) => {
            let (step, generation) = (StepIndex(step), Generation(generation));
            Happened::CompensationsMade { step, generation, from, count, born_failed }
        }
        Line::CompensationEnded(ended) => {
            let (step, item, outcome) = ended_of(&ended)?;
            Happened::CompensationEnded { step, item, outcome }
        }
        Line::StepBegan { .. }
        | Line::StepEnded { .. }
        | Line::Stopping
        | Line::StepCompensated { .. }
        | Line::Ended { .. } => return None,
    })
}

fn ended(step: StepIndex, item: Item, outcome: Outcome) -> Ended {
    let Item { index, generation, is_open } = item;
    Ended { step: step.0, item: index, generation: generation.0, is_open, outcome: word(outcome) }
}

fn ended_of(ended: &Ended) -> Option<(StepIndex, Item, Outcome)> {
    let &Ended { step, item: index, generation, is_open, ref outcome } = ended;
    let item = Item { index, generation: Generation(generation), is_open };
    Some((StepIndex(step), item, outcome_of(outcome)?))
}

fn word(outcome: Outcome) -> String {
    OUTCOMES
        .iter()
        .find(|(known, _)| *known == outcome)
        .map_or_else(String::new, |(_, word)| (*word).to_owned())
}

fn outcome_of(word: &str) -> Option<Outcome> {
    OUTCOMES.iter().find(|(_, known)| *known == word).map(|(outcome, _)| *outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::run::{RunState, StepState};

    fn happened() -> Vec<Happened> {
        let (step, generation, outcome) = (StepIndex(3), Generation(2), Outcome::Cancelled);
        let item = Item { index: 7, generation, is_open: true };
        let by = || "ops@example".to_owned();
        let until = Some(Timestamp::from_millis(-5));
        let begin = Evaluation::Begin { items: 10_000, until };
        let evaluations = [Evaluation::Skip, Evaluation::Fail("no \"value\" ☃".to_owned()), begin];
        let mut all: Vec<Happened> =
            evaluations.map(|evaluation| Happened::Evaluated { step, generation, evaluation }).to_vec();
        all.extend([
            Happened::Started,
            Happened::ItemsMade { step, generation, from: 1, count: 2, born_failed: 1 },
            Happened::JobEnded { step, item, outcome },
            Happened::ChildEnded { step, generation, outcome: Outcome::Failed },
            Happened::WaitAnswered { step, generation, event: Sequence(17) },
            Happened::WaitTimedOut { step, generation },
            Happened::Decided { step, approved: true, by: by(), comment: None },
            Happened::Decided { step, approved: false, by: by(), comment: Some("no".to_owned()) },
            Happened::TimedOut,
            Happened::CancelRequested { by: by(), force: true },
            Happened::RetryRequested { by: by(), from: None },
            Happened::RetryRequested { by: by(), from: Some(step) },
            Happened::Paused { by: by() },
            Happened::Resumed { by: by() },
            Happened::CompensationsMade { step, generation, from: 1, count: 2, born_failed: 1 },
            Happened::CompensationEnded { step, item, outcome: Outcome::Completed },
        ]);
        all
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let step = StepIndex(3);
        let decided = [
            Entry::StepBegan { step, items: 3 },
            Entry::StepEnded { step, state: StepState::Skipped },
            Entry::Stopping,
            Entry::StepCompensated { step, not_undone: 1 },
            Entry::Ended(RunState::Failed),
        ];
        let happened = happened().into_iter().map(JournalEntry::Happened);
        for entry in happened.chain(decided.map(JournalEntry::Decided)) {
            let text = text(&entry);
            assert_eq!(read(&text), Ok(entry), "{text}");
        }
        for text in ["", "{}", r#"{"entry":"ended","state":"pending"}"#, r#"{"entry":"gone"}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
