//! A job whose parameters and labels are templates, as documents of workflows and schedules have it.

use std::collections::BTreeMap;

use crewcall_expressions::{Failed, Json, Scope, Template};
use crewcall_proto::{JsonObject, Timestamp};

use super::{
    Problem, Submission, escaped,
    fields::{Fields, kind},
    problem::PROBLEMS_MAX,
    times::{BackoffRequest, Times},
};

/// Makes a template of a value at a pointer; what is wrong with it is added to the problems.
pub(super) type MakeTemplate<'f> = &'f mut dyn FnMut(&str, &Json, &mut Vec<Problem>) -> Option<Template>;

/// A job whose parameters and labels are templates.
#[derive(Debug, Clone)]
pub struct JobTemplate {
    /// The job without parameters and labels.
    bare: Submission,
    parameters: Template,
    /// An object of texts.
    labels: Template,
}

impl JobTemplate {
    /// The job without what has to be filled in.
    #[must_use]
    pub fn bare(&self) -> &Submission {
        &self.bare
    }

    /// The job.
    ///
    /// # Errors
    ///
    /// An expression has no value for the data that there is.
    pub fn fill(&self, scope: &Scope<'_>) -> Result<Submission, Failed> {
        let parameters = match self.parameters.fill(scope)? {
            Json::Object(parameters) => parameters,
            // An object stays one: only texts are templates.
            other => JsonObject::from_iter([("value".to_owned(), other)]),
        };
        let labels = match self.labels.fill(scope)? {
            Json::Object(labels) => labels.into_iter().map(|(name, label)| (name, text_of(label))).collect(),
            _ => BTreeMap::new(),
        };
        Ok(Submission { parameters, labels, ..self.bare.clone() })
    }
}

/// A label is a text, whatever was filled in.
fn text_of(value: Json) -> String {
    match value {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// Reads the job that an object has: its type in the field `type_field`, and the others beside it.
pub(super) fn read(
    fields: &mut Fields<'_>,
    type_field: &'static str,
    template: MakeTemplate<'_>,
) -> Option<JobTemplate> {
    let job_type = fields.text(type_field);
    let parameters = fields.object("parameters").cloned().unwrap_or_default();
    let texts = read_labels(fields);
    let bare = Submission {
        job_type: job_type.unwrap_or_default().to_owned(),
        parameters: JsonObject::new(),
        priority: fields.integer("priority"),
        max_attempts: fields.integer("max_attempts"),
        labels: texts.keys().map(|name| (name.clone(), String::new())).collect(),
        times: Times {
            run_at: None,
            delay_seconds: fields.number("delay_seconds"),
            expires_at: None,
            timeout_seconds: fields.number("timeout_seconds"),
            backoff: read_backoff(fields),
        },
        ..Submission::default()
    };
    // None of its times is one of the calendar, so it is the same at every moment.
    let problems = bare.clone().validate(Timestamp::from_millis(0)).err().unwrap_or_default();
    for Problem { pointer, message } in problems.into_iter().take(PROBLEMS_MAX) {
        let pointer =
            if pointer == "/type" { fields.at(type_field) } else { fields.pointer().to_owned() + &pointer };
        // A field of the wrong shape was left empty: what is said of that would be noise.
        if !fields.is_wrong_at(&pointer) {
            fields.add([Problem::new(pointer, message)]);
        }
    }
    let at = fields.at("parameters");
    let parameters = template(&at, &Json::Object(parameters), fields.problems());
    let at = fields.at("labels");
    let labels = texts.into_iter().map(|(name, text)| (name, Json::String(text))).collect();
    let labels = template(&at, &Json::Object(labels), fields.problems());
    let bare = Submission { labels: BTreeMap::new(), ..bare };
    Some(JobTemplate { bare, parameters: parameters?, labels: labels? })
}

fn read_labels(fields: &mut Fields<'_>) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (name, value) in fields.object("labels").into_iter().flatten() {
        if let Json::String(text) = value {
            texts.insert(name.clone(), text.clone());
        } else {
            let pointer = fields.at("labels") + "/" + &escaped(name);
            let message = format!("a label's value is a string, not {}", kind(value));
            fields.add([Problem::new(pointer, message)]);
        }
    }
    texts
}

fn read_backoff(fields: &mut Fields<'_>) -> Option<BackoffRequest> {
    let mut inner = fields.inner("backoff", "a back-off")?;
    let backoff = BackoffRequest {
        initial_seconds: inner.number("initial_seconds"),
        factor: inner.number("factor"),
        max_seconds: inner.number("max_seconds"),
        jitter: inner.number("jitter"),
    };
    fields.within(inner);
    Some(backoff)
}
