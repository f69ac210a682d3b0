//! Reading a job whose parameters and labels are templates.

use std::collections::BTreeMap;

use crewcall_expressions::Json;
use crewcall_proto::{JsonObject, Timestamp};

use super::super::{
    check::Place,
    definition::JobTemplate,
    fields::{Fields, escaped, kind},
    limits::PROBLEMS_MAX,
};
use crate::domain::{
    Problem, Submission,
    schedule::{BackoffRequest, Times},
};

/// Reads the job that an object has in `job`, and the fields beside it. `names` are known to its templates besides.
pub(super) fn read(
    fields: &mut Fields<'_>,
    place: &mut Place<'_>,
    names: &[&'static str],
) -> Option<JobTemplate> {
    let job_type = fields.text("job");
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
    };
    // None of its times is one of the calendar, so it is the same at every moment.
    let problems = bare.clone().validate(Timestamp::from_millis(0)).err().unwrap_or_default();
    for Problem { pointer, message } in problems.into_iter().take(PROBLEMS_MAX) {
        let pointer =
            if pointer == "/type" { fields.at("job") } else { fields.pointer().to_owned() + &pointer };
        // A field of the wrong shape was left empty: what is said of that would be noise.
        if !fields.is_wrong_at(&pointer) {
            fields.add([Problem::new(pointer, message)]);
        }
    }
    let at = fields.at("parameters");
    let parameters = place.template(&at, &Json::Object(parameters), names, fields.problems());
    let at = fields.at("labels");
    let labels = texts.into_iter().map(|(name, text)| (name, Json::String(text))).collect();
    let labels = place.template(&at, &Json::Object(labels), names, fields.problems());
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
