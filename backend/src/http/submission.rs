//! Reading a submission by hand: so that every problem is told at once, each with a pointer to its field.

use std::collections::BTreeMap;

use crewcall_proto::codec::{DEPTH_MAX, json_depth_exceeds};
use serde_json::{Map, Value};

use super::problem::{Code, Problem, field};
use crate::domain::{Problem as FieldProblem, Submission};

/// The fields that a submission may have.
const FIELDS: [&str; 5] = ["type", "parameters", "priority", "max_attempts", "labels"];

/// How alike two names must be, from 0 to 1, for one to be meant when the other is written.
const ALIKE_MIN: f64 = 0.8;

/// How much of an unknown field's name is repeated, in characters.
const NAME_SHOWN_MAX: usize = 64;

/// Reads the JSON text of a submission.
///
/// # Errors
///
/// The [`Problem`] to answer. What is in the right shape but is still no job is found by the domain;
/// if anything is in the wrong shape, the domain's findings are told along with it.
pub(super) fn read(text: &[u8]) -> Result<Submission, Problem> {
    if json_depth_exceeds(text, DEPTH_MAX) {
        let message =
            format!("it nests deeper than {DEPTH_MAX} levels: pass deep data as text or by reference");
        return Err(Problem::with_errors(Code::InvalidSubmission, vec![field("", message)]));
    }
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| Problem::new(Code::InvalidJson, format!("the body is not JSON: {error}")))?;
    let Value::Object(fields) = value else {
        let message = format!("a submission is an object, not {}", a(&value));
        return Err(Problem::with_errors(Code::InvalidSubmission, vec![field("", message)]));
    };
    let (submission, mut problems) = from_fields(fields);
    if problems.is_empty() {
        return Ok(submission);
    }
    let more = submission.validate().err().unwrap_or_default();
    // A field of the wrong shape was left empty: what the domain says of it would be noise.
    let shapeless: Vec<String> = problems.iter().map(|problem| problem.pointer.clone()).collect();
    problems.extend(more.into_iter().filter(|problem| !shapeless.contains(&problem.pointer)));
    Err(Problem::with_errors(Code::InvalidSubmission, problems))
}

fn from_fields(fields: Map<String, Value>) -> (Submission, Vec<FieldProblem>) {
    let mut submission = Submission::default();
    let mut problems = Vec::new();
    if !fields.contains_key("type") {
        problems.push(field("/type", "a submission names the job's type, such as \"media.transcode\""));
    }
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("type", Value::String(text)) => submission.job_type = text,
            ("parameters", Value::Object(parameters)) => submission.parameters = parameters,
            ("labels", Value::Object(labels)) => submission.labels = read_labels(labels, &mut problems),
            // Some clients write what they leave out as null.
            ("priority" | "max_attempts" | "labels", Value::Null) => {}
            ("priority", Value::Number(number)) => match number.as_i64() {
                Some(number) => submission.priority = Some(number),
                None => problems.push(wrong("priority", "a whole number", &Value::Number(number))),
            },
            ("max_attempts", Value::Number(number)) => match number.as_i64() {
                Some(number) => submission.max_attempts = Some(number),
                None => problems.push(wrong("max_attempts", "a whole number", &Value::Number(number))),
            },
            ("type", other) => problems.push(wrong("type", "a string", &other)),
            ("parameters" | "labels", other) => problems.push(wrong(&name, "an object", &other)),
            ("priority" | "max_attempts", other) => problems.push(wrong(&name, "a whole number", &other)),
            _ => problems.push(unknown(&name)),
        }
    }
    (submission, problems)
}

fn read_labels(labels: Map<String, Value>, problems: &mut Vec<FieldProblem>) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for (name, value) in labels {
        if let Value::String(text) = value {
            read.insert(name, text);
        } else {
            let pointer = format!("/labels/{}", escaped(&name));
            problems.push(field(pointer, format!("a label's value is a string, not {}", a(&value))));
        }
    }
    read
}

fn wrong(name: &str, expected: &str, found: &Value) -> FieldProblem {
    field(format!("/{name}"), format!("{name} is {expected}, not {}", a(found)))
}

fn unknown(name: &str) -> FieldProblem {
    let alike = |known: &&str| strsim::jaro_winkler(name, known);
    let nearest = FIELDS.into_iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let nearest = nearest.filter(|known| alike(known) >= ALIKE_MIN);
    let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
    let hint = match nearest {
        Some(known) => format!("did you mean {known:?}?"),
        None => format!("a submission has {}", FIELDS.join(", ")),
    };
    field(format!("/{}", escaped(&shown)), format!("there is no field {shown:?}: {hint}"))
}

/// A name within a JSON pointer (RFC 6901, section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn a(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<(String, String)> {
        let body = read(text.as_bytes()).unwrap_err().body("r");
        body.errors.into_iter().map(|error| (error.pointer, error.message)).collect()
    }

    #[test]
    fn a_whole_submission_is_read() {
        let text = r#"{"type":"a.b","parameters":{"x":1},"priority":9,"max_attempts":1,"labels":{"k":"v"}}"#;
        let submission = read(text.as_bytes()).unwrap();
        assert_eq!((submission.priority, submission.max_attempts), (Some(9), Some(1)));
        assert_eq!(submission.labels["k"], "v");
        assert_eq!(read(br#"{"type":"a","priority":null,"labels":null}"#).unwrap().priority, None);
    }

    #[test]
    fn wrong_shapes_and_wrong_values_are_told_together() {
        let text = r#"{"type":7,"parameters":null,"priority":1.5,"max_attempts":0,"labels":{"a/b":1},"Priority":1,"~":0}"#;
        insta::assert_debug_snapshot!(errors(text));
    }

    #[test]
    fn what_is_no_object_or_too_deep_is_refused() {
        assert_eq!(errors("[]")[0].0, "");
        let deep =
            format!("{{\"type\":\"a\",\"parameters\":{{\"x\":{}{}}}}}", "[".repeat(31), "]".repeat(31));
        assert!(errors(&deep)[0].1.contains("deeper than 32"));
        assert_eq!(read(b"{").unwrap_err().code(), Code::InvalidJson);
        assert_eq!(read(b"{\"type\":\"a\"} x").unwrap_err().code(), Code::InvalidJson);
        assert_eq!(read(b"\xff").unwrap_err().code(), Code::InvalidJson);
    }
}
