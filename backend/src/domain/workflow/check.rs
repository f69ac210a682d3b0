//! What an expression may name at its place, and which steps it names.

use std::{cell::Cell, collections::BTreeSet};

use crewcall_expressions::{Expression, Json, Template};

use super::{
    definition::StepIndex,
    limits::PROBLEMS_MAX,
    references::{self, Reference},
};
use crate::domain::{Problem, escaped, excerpt, nearest::nearest};

/// The names of all steps, in the order of the document.
pub(super) struct StepNames<'d> {
    names: Vec<&'d str>,
    /// How often more somebody is told which name they meant: looking for it takes time, and a document may be full of wrong ones.
    hints_left: Cell<usize>,
}

impl<'d> StepNames<'d> {
    pub(super) fn new(names: Vec<&'d str>) -> Self {
        Self { names, hints_left: Cell::new(PROBLEMS_MAX) }
    }

    pub(super) fn name(&self, step: StepIndex) -> &'d str {
        self.names[step.0]
    }

    pub(super) fn find(&self, name: &str) -> Option<StepIndex> {
        self.names.iter().position(|step| *step == name).map(StepIndex)
    }

    /// That there is no step of this name, and which of those for which it `may` stand was meant.
    pub(super) fn unknown(&self, name: &str, may: impl Fn(StepIndex) -> bool) -> String {
        let shown = excerpt(name);
        let hints_left = self.hints_left.get();
        self.hints_left.set(hints_left.saturating_sub(1));
        let may = self.names.iter().enumerate().filter(|(step, _)| hints_left > 0 && may(StepIndex(*step)));
        match nearest(name, may.map(|(_, name)| *name)) {
            Some(nearest) => format!("there is no step {shown:?}; did you mean {nearest:?}?"),
            None => format!("there is no step {shown:?}"),
        }
    }
}

/// What is certainly known at a place of a document.
pub(super) struct Place<'d> {
    /// The names that expressions know there.
    names: Vec<&'static str>,
    steps: &'d StepNames<'d>,
    /// Those that are certainly over.
    over: BTreeSet<StepIndex>,
    /// The step that the place is in.
    own: Option<StepIndex>,
    /// The steps whose data is read, so far.
    reads: BTreeSet<StepIndex>,
}

impl<'d> Place<'d> {
    pub(super) fn new(
        names: &[&'static str],
        steps: &'d StepNames<'d>,
        over: impl IntoIterator<Item = StepIndex>,
    ) -> Self {
        let over = over.into_iter().collect();
        Self { names: names.to_vec(), steps, over, own: None, reads: BTreeSet::new() }
    }

    /// The same, in a step.
    pub(super) fn of(self, own: StepIndex) -> Self {
        Self { own: Some(own), ..self }
    }

    /// The steps whose data is read by what was looked at.
    pub(super) fn reads(&self) -> Vec<StepIndex> {
        self.reads.iter().copied().collect()
    }

    /// A condition at this place, where `more` names are known besides.
    pub(super) fn condition(
        &mut self,
        pointer: &str,
        text: &str,
        more: &[&'static str],
        problems: &mut Vec<Problem>,
    ) -> Option<Expression> {
        match Expression::parse_condition(text, &self.known(more)) {
            Ok(expression) => {
                let wrong = self.wrong_references(references::of_expression(text));
                problems.extend(wrong.into_iter().map(|message| Problem::new(pointer, message)));
                Some(expression)
            }
            Err(invalid) => {
                problems.push(Problem::new(pointer, invalid.to_string()));
                None
            }
        }
    }

    /// A template at this place, where `more` names are known besides.
    pub(super) fn template(
        &mut self,
        pointer: &str,
        value: &Json,
        more: &[&'static str],
        problems: &mut Vec<Problem>,
    ) -> Option<Template> {
        match Template::parse(value, &self.known(more)) {
            Ok(template) => {
                self.references_in(pointer, value, problems);
                Some(template)
            }
            Err(invalid) => {
                let told = |(within, invalid): (String, crewcall_expressions::Invalid)| {
                    Problem::new(format!("{pointer}{within}"), invalid.to_string())
                };
                problems.extend(invalid.into_iter().map(told));
                None
            }
        }
    }

    fn known(&self, more: &[&'static str]) -> Vec<&'static str> {
        let mut known = self.names.clone();
        known.extend(more.iter().filter(|name| !self.names.contains(name)));
        known
    }

    /// Recursive, but no deeper than a template, which has a limit.
    fn references_in(&mut self, pointer: &str, value: &Json, problems: &mut Vec<Problem>) {
        match value {
            Json::String(text) => {
                let wrong = self.wrong_references(references::of_template(text));
                problems.extend(wrong.into_iter().map(|message| Problem::new(pointer, message)));
            }
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.references_in(&format!("{pointer}/{index}"), item, problems);
                }
            }
            Json::Object(fields) => {
                for (name, field) in fields {
                    self.references_in(&format!("{pointer}/{}", escaped(name)), field, problems);
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn wrong_references(&mut self, found: Vec<Reference<'_>>) -> Vec<String> {
        let wrong = found.into_iter().filter_map(|Reference { offset, step }| {
            let message = match step {
                None => "`steps` is followed by the name of a step, as in `steps.probe.result`".to_owned(),
                Some(name) => self.read(name).err()?,
            };
            Some(format!("at byte {offset}: {message}"))
        });
        wrong.collect()
    }

    /// The expression reads a step of this name.
    fn read(&mut self, name: &str) -> Result<(), String> {
        let Some(step) = self.steps.find(name) else {
            return Err(self.steps.unknown(name, |step| self.over.contains(&step)));
        };
        if self.over.contains(&step) {
            self.reads.insert(step);
            return Ok(());
        }
        Err(if self.own == Some(step) {
            format!("nothing is known of step {name:?} itself here")
        } else {
            format!("step {name:?} is not certainly over here; add it to the needs")
        })
    }
}
