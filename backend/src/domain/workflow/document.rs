//! Reading the document of a workflow: every problem is told at once, each with a pointer to its place.

mod step;
mod trigger;

use std::{collections::BTreeSet, sync::Arc};

use crewcall_expressions::Json;
use crewcall_proto::JsonObject;

use super::{
    check::{Place, StepNames},
    definition::{Concurrency, OnFailure, Step, StepIndex, Trigger, WhenFull, Workflow, WorkflowName},
    graph::{self, Graph},
    limits::{
        CONCURRENCY_MAX, DOCUMENT_BYTES_MAX, DOCUMENT_LEVELS_MAX, PROBLEMS_MAX, STEP_NAME_LENGTH_MAX,
        STEPS_MAX, TIMEOUT_MAX, TIMEOUT_MIN,
    },
};
use crate::domain::{
    Problem, escaped, excerpt,
    fields::{Fields, kind},
};

/// Names that no step may have, because the language reads them as something else.
const WORDS_OF_THE_LANGUAGE: [&str; 4] = ["true", "false", "null", "in"];

/// What `steps` is.
const STEPS: &str = "a workflow has steps: {\"render\": {\"job\": \"invoice.render\", \"parameters\": …}}";

impl Workflow {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Every problem that it has, up to [`PROBLEMS_MAX`].
    pub fn read(document: &Json) -> Result<Self, Vec<Problem>> {
        let object = check_size(document).map_err(|problem| vec![problem])?;
        let mut fields = Fields::new("a workflow", "", object);
        let read = read_fields(&mut fields);
        let mut problems = fields.finish();
        match read {
            Some(workflow) if problems.is_empty() => Ok(workflow),
            _ => {
                problems.truncate(PROBLEMS_MAX);
                Err(problems)
            }
        }
    }
}

fn check_size(document: &Json) -> Result<&JsonObject, Problem> {
    let Json::Object(object) = document else {
        return Err(Problem::new("", format!("a workflow is an object, not {}", kind(document))));
    };
    if !has_levels_within(document, DOCUMENT_LEVELS_MAX) {
        let message = format!("a workflow is nested no deeper than {DOCUMENT_LEVELS_MAX} levels");
        return Err(Problem::new("", message));
    }
    let bytes = document.to_string().len();
    if bytes > DOCUMENT_BYTES_MAX {
        let message =
            format!("a workflow has at most {DOCUMENT_BYTES_MAX} bytes as JSON, and this has {bytes}");
        return Err(Problem::new("", message));
    }
    Ok(object)
}

/// Recursive, to a known depth.
fn has_levels_within(value: &Json, levels: usize) -> bool {
    match value {
        Json::Array(items) => levels > 0 && items.iter().all(|item| has_levels_within(item, levels - 1)),
        Json::Object(fields) => {
            levels > 0 && fields.values().all(|field| has_levels_within(field, levels - 1))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
    }
}

/// The workflow, unless something essential cannot be read. What else is wrong is left with the fields.
fn read_fields(fields: &mut Fields<'_>) -> Option<Workflow> {
    if !fields.has("name") {
        fields.wrong("name", "a workflow has a name, such as \"asset.publish\"");
    }
    let name = fields.read("name", |text| text.parse::<WorkflowName>().map_err(|error| error.to_string()));
    let triggers = trigger::read_all(fields);
    let mut names = vec!["trigger"];
    names.extend(triggers.iter().any(|trigger| matches!(trigger, Trigger::Event { .. })).then_some("event"));
    names
        .extend(triggers.iter().any(|trigger| matches!(trigger, Trigger::Schedule(_))).then_some("schedule"));
    let no_steps = StepNames::new(Vec::new());
    let concurrency = read_concurrency(fields, &mut Place::new(&names, &no_steps, []));
    names.extend(["run", "steps"]);
    let on_failure = fields.word(
        "on_failure",
        &[("cancel", OnFailure::Cancel), ("drain", OnFailure::Drain), ("compensate", OnFailure::Compensate)],
    );
    let timeout = fields.seconds("timeout_seconds", TIMEOUT_MIN, TIMEOUT_MAX);
    let parameters = fields.object("parameters").cloned();
    let (steps, graph, step_names) = read_steps(fields, &names);
    let everything = (0..step_names.len()).map(StepIndex);
    let step_names = StepNames::new(step_names);
    let mut place = Place::new(&names, &step_names, everything);
    let outputs = fields.object("outputs").cloned().map(Json::Object);
    let outputs = outputs.and_then(|outputs| place.template("/outputs", &outputs, &[], fields.problems()));
    Some(Workflow {
        name: name?,
        triggers,
        parameters,
        concurrency,
        on_failure: on_failure.unwrap_or_default(),
        timeout,
        steps,
        outputs,
        outputs_read: place.reads(),
        graph,
    })
}

fn read_concurrency(fields: &mut Fields<'_>, place: &mut Place<'_>) -> Option<Concurrency> {
    let mut inner = fields.inner("concurrency", "a concurrency")?;
    if !inner.has("max") {
        inner.wrong("max", "max says how many runs may be under way at once");
    }
    let max = inner.count("max", CONCURRENCY_MAX);
    let at = inner.at("key");
    let text = inner.text("key").map(Json::from);
    let key = text.and_then(|text| place.template(&at, &text, &[], inner.problems()));
    let when_full = inner.word(
        "when_full",
        &[("queue", WhenFull::Queue), ("skip", WhenFull::Skip), ("cancel_running", WhenFull::CancelRunning)],
    );
    fields.within(inner);
    Some(Concurrency { max: max?, key, when_full: when_full.unwrap_or_default() })
}

/// The steps as far as they can be read, how they need each other, and the names of all that the document has.
fn read_steps<'a>(fields: &mut Fields<'a>, names: &[&'static str]) -> (Vec<Step>, Graph, Vec<&'a str>) {
    let object = fields.object("steps");
    if object.is_none_or(JsonObject::is_empty) && !fields.is_wrong_at("/steps") {
        fields.wrong("steps", STEPS);
    }
    let entries: Vec<(&str, &Json)> =
        object.into_iter().flatten().map(|(name, step)| (&**name, step)).collect();
    if entries.len() > STEPS_MAX {
        let message = format!("a workflow has at most {STEPS_MAX} steps, and this has {}", entries.len());
        fields.wrong("steps", message);
        return (Vec::new(), Graph::new(&[]), Vec::new());
    }
    let step_names = StepNames::new(entries.iter().map(|(name, _)| *name).collect());
    let mut of_steps = Vec::new();
    for (name, value) in &entries {
        let pointer = format!("/steps/{}", escaped(&excerpt(name)));
        check_name(name, &pointer, fields);
        let Some(object) = value.as_object() else {
            fields.add([Problem::new(&pointer, format!("a step is an object, not {}", kind(value)))]);
            of_steps.push(None);
            continue;
        };
        of_steps.push(Some(Fields::new("a step", pointer, object)));
    }
    let needs: Vec<Vec<StepIndex>> = of_steps
        .iter_mut()
        .map(|step| step.as_mut().map(|step| step::read_needs(step, &step_names)).unwrap_or_default())
        .collect();
    for circle in graph::circles(&needs) {
        tell_circle(&circle, &step_names, fields);
    }
    let mut steps = Vec::new();
    for (index, mut step) in of_steps.into_iter().enumerate().filter_map(|(index, step)| Some((index, step?)))
    {
        let index = StepIndex(index);
        let place = Place::new(names, &step_names, graph::ancestors(index, &needs)).of(index);
        let name: Arc<str> = step_names.name(index).into();
        steps.extend(step::read(&mut step, name, needs[index.0].clone(), place));
        fields.within(step);
    }
    (steps, Graph::new(&needs), entries.into_iter().map(|(name, _)| name).collect())
}

fn check_name(name: &str, pointer: &str, fields: &mut Fields<'_>) {
    let fits = name.len() <= STEP_NAME_LENGTH_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let message = if WORDS_OF_THE_LANGUAGE.contains(&name) {
        format!("{name:?} is a word of the language of expressions; call the step differently")
    } else if !fits {
        format!(
            "the name of a step is 1 to {STEP_NAME_LENGTH_MAX} characters of a-z 0-9 _ and begins with a letter, \
             so that expressions can say `steps.name`"
        )
    } else {
        return;
    };
    fields.add([Problem::new(pointer, message)]);
}

fn tell_circle(circle: &[StepIndex], names: &StepNames<'_>, fields: &mut Fields<'_>) {
    let Some(first) = circle.first() else { return };
    let path: Vec<&str> = circle.iter().chain([first]).map(|step| names.name(*step)).collect();
    let message =
        format!("these steps need each other in a circle, so none of them could begin: {}", path.join(" → "));
    fields.add([Problem::new(format!("/steps/{}/needs", escaped(&excerpt(path[0]))), message)]);
}

/// Each of the items once, and whether one was there more than once.
fn distinct<T: Copy + Ord>(found: impl IntoIterator<Item = T>) -> (Vec<T>, bool) {
    let mut seen = BTreeSet::new();
    let mut has_twins = false;
    let kept = found.into_iter().filter(|item| {
        let is_new = seen.insert(*item);
        has_twins |= !is_new;
        is_new
    });
    (kept.collect(), has_twins)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz;
