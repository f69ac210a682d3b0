//! Parameters and events that the backend would refuse, refused in `--run-once` and in tests as well.
//!
//! The backend holds parameters against the schema that the type was announced with, so a handler never meets others.
//! A running worker does not do it again. What is checked here is what is checked there, with the same library, set up
//! in the same way.

use crewcall_proto::{
    JsonObject,
    codec::{DEPTH_MAX, PAYLOAD_BYTES_MAX, json_depth_exceeds},
    discovery::EmittedSubject,
    response::ErrorKind,
};
use serde_json::Value;

use crate::{emit_error::EmitError, error::Failure};

/// Refuses what does not fit.
pub(crate) fn check(schema: &JsonObject, parameters: &JsonObject) -> Result<(), Failure> {
    let text = serde_json::to_vec(parameters)
        .map_err(|error| refusal(format!("the parameters have no form in JSON: {error}")))?;
    if text.len() > PAYLOAD_BYTES_MAX {
        return Err(refusal(format!(
            "the parameters are {} bytes of JSON; at most {PAYLOAD_BYTES_MAX} travel with a job: pass larger data by reference",
            text.len()
        )));
    }
    // The submission around them is one level itself.
    if json_depth_exceeds(&text, DEPTH_MAX - 1) {
        return Err(refusal(format!(
            "the parameters nest deeper than {} levels: pass deep data as text or by reference",
            DEPTH_MAX - 1
        )));
    }
    problems(schema, &Value::Object(parameters.clone()), "/parameters")
        .map_err(|error| refusal(format!("the schema of the parameters is not usable: {error}")))
        .and_then(|problems| if problems.is_empty() { Ok(()) } else { Err(refusal(problems)) })
}

/// Refuses data of an event that do not fit.
pub(crate) fn check_event(declared: &EmittedSubject, data: &Value) -> Result<(), EmitError> {
    let unfit = |problems| EmitError::Unfit { subject: declared.subject.clone(), problems };
    problems(&declared.schema, data, "/data")
        .map_err(|error| unfit(format!("the schema is not usable: {error}")))
        .and_then(|problems| if problems.is_empty() { Ok(()) } else { Err(unfit(problems)) })
}

fn refusal(message: String) -> Failure {
    Failure::new(ErrorKind::InvalidParameters, false, message)
}

/// What does not fit, each with its place; empty if everything does.
///
/// # Errors
///
/// What is wrong with the schema.
#[cfg(feature = "validate")]
fn problems(schema: &JsonObject, value: &Value, within: &str) -> Result<String, String> {
    use jsonschema::PatternOptions;

    use crate::limits::PROBLEMS_MAX;

    // As in the backend: a pattern runs in linear time, or is refused.
    let validator = jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&Value::Object(schema.clone()))
        .map_err(|error| error.to_string())?;
    let problems: Vec<String> = validator
        .iter_errors(value)
        .take(PROBLEMS_MAX)
        .map(|error| format!("{within}{}: {error}", error.instance_path()))
        .collect();
    Ok(problems.join("; "))
}

/// Without the feature `validate` only the handler's own types check.
#[cfg(not(feature = "validate"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it refuses")]
fn problems(_schema: &JsonObject, _value: &Value, _within: &str) -> Result<String, String> {
    Ok(String::new())
}

#[cfg(test)]
#[cfg(feature = "validate")]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> JsonObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_problem_is_named_by_its_place() {
        let schema = object(json!({
            "properties": {"width": {"minimum": 1}, "name": {"pattern": "^[a-z]+$"}},
            "required": ["source"],
        }));
        let refused = check(&schema, &object(json!({"width": 0, "name": "B"}))).unwrap_err();
        assert_eq!((refused.kind, refused.retryable), (ErrorKind::InvalidParameters, false));
        for problem in
            ["/parameters/width: 0 is less than the minimum of 1", "/parameters/name", "\"source\""]
        {
            assert!(refused.message.contains(problem), "{problem}: {refused}");
        }
        assert_eq!(check(&schema, &object(json!({"source": "a", "width": 1}))), Ok(()));
        assert_eq!(check(&JsonObject::new(), &object(json!({"anything": [1]}))), Ok(()));
    }

    #[test]
    fn a_schema_that_the_backend_refuses_is_refused() {
        let schema = object(json!({"properties": {"name": {"pattern": "(a)\\1"}}}));
        let refused = check(&schema, &JsonObject::new()).unwrap_err();
        assert!(refused.message.starts_with("the schema of the parameters is not usable"), "{refused}");
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_refused() {
        let large = object(json!({"text": "x".repeat(PAYLOAD_BYTES_MAX)}));
        assert!(check(&JsonObject::new(), &large).unwrap_err().message.contains("by reference"));
        let deep = (0..DEPTH_MAX).fold(json!(1), |inside, _| json!([inside]));
        let deep = object(json!({"deep": deep}));
        assert!(check(&JsonObject::new(), &deep).unwrap_err().message.contains("nest deeper"));
    }
}
