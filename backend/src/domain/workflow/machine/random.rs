//! Random workflows, and what is to become of their steps.

use crewcall_expressions::Json;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::{definition::Workflow, facts::Outcome},
    naive::Definition,
};

/// The most steps of a random workflow, and the most items of a step.
pub(super) const STEPS: usize = 12;
pub(super) const ITEMS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Job,
    Each,
    Event,
    Until,
    Approval,
    Child,
}

/// A step, and what is going to become of it: that is certain from the beginning, so that only the order is left to chance.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) kind: Kind,
    /// Of the steps before it in the list: those whose bit is set.
    pub(super) needs: u16,
    /// Where it stands in the document.
    pub(super) place: u16,
    pub(super) run_if: &'static str,
    pub(super) has_condition: bool,
    pub(super) continues: bool,
    pub(super) compensates: bool,
    pub(super) parallel: u32,
    pub(super) tolerate: u32,
    pub(super) evaluation: u8,
    pub(super) outcomes: Vec<Outcome>,
    /// How many of the first items are born failed.
    pub(super) born_failed: u32,
    pub(super) is_answered: bool,
}

pub(super) fn spec() -> impl Strategy<Value = Spec> {
    use Outcome::{Cancelled, Completed, Failed};
    let kinds = vec![
        Kind::Job,
        Kind::Job,
        Kind::Each,
        Kind::Each,
        Kind::Event,
        Kind::Until,
        Kind::Approval,
        Kind::Child,
    ];
    let run_ifs = vec!["completed", "completed", "completed", "any_completed", "failed", "finished"];
    let outcomes = [vec![Completed; 12], vec![Failed, Cancelled]].concat();
    (
        (select(kinds), any::<u16>(), any::<u16>(), any::<u16>(), select(run_ifs)),
        (any::<bool>(), 0..4_u8, any::<bool>(), 1..4_u32, 0..3_u32),
        (0..24_u8, vec(select(outcomes), ITEMS), 0..16_u32, 0..8_u8),
    )
        .prop_map(
            |(
                (kind, one, other, place, run_if),
                (condition, continues, compensates, parallel, tolerate),
                fate,
            )| Spec {
                kind,
                needs: one & other,
                place,
                run_if,
                has_condition: condition,
                continues: continues == 0,
                compensates,
                parallel,
                tolerate,
                evaluation: fate.0,
                outcomes: fate.1,
                born_failed: u32::from(fate.2 == 0),
                is_answered: fate.3 > 0,
            },
        )
}

/// The document of these steps. The name of a step is its place in the list.
fn document(specs: &[Spec], on_failure: &str) -> String {
    let mut steps: Vec<(u16, String)> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let needs: Vec<String> = (0..index)
            .filter(|need| spec.needs >> need & 1 == 1)
            .map(|need| format!("\"s{need}\""))
            .collect();
        let run_if = if needs.is_empty() { "completed" } else { spec.run_if };
        let work = match spec.kind {
            Kind::Job => r#""job": "j""#.to_owned(),
            Kind::Each => format!(
                r#""job": "j", "each": "${{{{ trigger.l }}}}", "parallel": {}, "tolerate": {}"#,
                spec.parallel, spec.tolerate
            ),
            Kind::Event => r#""wait": {"event": "a", "timeout_seconds": 1}"#.to_owned(),
            Kind::Until => r#""wait": {"until": "2026-11-20T16:07:00Z"}"#.to_owned(),
            Kind::Approval => r#""approval": {}"#.to_owned(),
            Kind::Child => r#""workflow": {"name": "w"}"#.to_owned(),
        };
        let when = if spec.has_condition { r#", "when": "trigger.x""# } else { "" };
        let continues = if spec.continues { r#", "on_failure": "continue""# } else { "" };
        let can_undo = spec.compensates && matches!(spec.kind, Kind::Job | Kind::Each | Kind::Child);
        let compensate = if can_undo { r#", "compensate": {"job": "undo"}"# } else { "" };
        let step = format!(
            r#""s{index}": {{"needs": [{}], "run_if": "{run_if}", {work}{when}{continues}{compensate}}}"#,
            needs.join(", ")
        );
        steps.push((spec.place, step));
    }
    steps.sort();
    let steps: Vec<String> = steps.into_iter().map(|(_, step)| step).collect();
    format!(
        r#"{{"name": "w", "on_failure": "{on_failure}", "timeout_seconds": 1, "steps": {{{}}}}}"#,
        steps.join(",\n")
    )
}

/// The workflow of these steps.
pub(super) fn read(specs: &[Spec], on_failure: &str) -> Result<Definition, TestCaseError> {
    let text = document(specs, on_failure);
    let document: Json = text.parse().map_err(|_| TestCaseError::fail(text.clone()))?;
    let read = Workflow::read(&document);
    read.map(Definition).map_err(|problems| TestCaseError::fail(format!("{text}: {problems:#?}")))
}
