//! What is said beside a submission: what was probably meant.

use serde_json::{Map, Value};

use crate::{
    api::{Document, JobType, Mistake, Problem},
    client::{Client, ClientError},
    nearest::nearest,
    parameters::{Form, ParameterSource},
};

/// What keywords of a schema can allow parameters that it does not list among its properties.
const OPEN_KEYWORDS: [&str; 6] =
    ["$ref", "allOf", "anyOf", "oneOf", "patternProperties", "unevaluatedProperties"];

/// `no worker ever announced file.checksm; did you mean file.checksum?`
pub(crate) async fn unknown_type(client: &Client, name: &str) -> String {
    let types = client.types().await.unwrap_or_default();
    let announced = types.iter().filter(|found| found.announced).map(|found| found.name.as_str());
    match nearest(name, announced) {
        Some(meant) => format!("no worker ever announced {name}; did you mean {meant}?"),
        None => format!("no worker ever announced {name}; crewcall types ls shows what is served"),
    }
}

/// The parameters that the type does not have, although its schema takes them: its handler will not look at them.
pub(crate) fn unknown_parameters(found: &JobType, parameters: &Map<String, Value>) -> Vec<String> {
    let Some(properties) = properties(&found.parameters_schema) else { return Vec::new() };
    let unknown = parameters.keys().filter(|name| !properties.contains_key(*name));
    unknown
        .map(|name| {
            let meant = match nearest(name, properties.keys().map(String::as_str)) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("it has {}", properties.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            format!("{} has no parameter {name}; {meant}", found.name)
        })
        .collect()
}

/// The parameters that a schema lists, if it means to list them all.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    let schema = schema.as_object()?;
    let is_open = OPEN_KEYWORDS.iter().any(|keyword| schema.contains_key(*keyword))
        || schema
            .get("additionalProperties")
            .is_some_and(|rule| rule.is_object() || *rule == Value::Bool(true));
    let properties = schema.get("properties")?.as_object()?;
    (!is_open && !properties.is_empty()).then_some(properties)
}

/// A refusal with what was probably meant: `width=640` where a number is wanted, `sorce` where there is a `source`.
pub(crate) fn with_hints(
    error: ClientError,
    source: &ParameterSource<'_>,
    found: Option<&Document<JobType>>,
) -> ClientError {
    let ClientError::Problem(problem) = error else { return error };
    let schema = found.and_then(|found| found.parameters_schema["properties"].as_object());
    let errors = problem.errors.iter().map(|mistake| with_hint(mistake, source, schema)).collect();
    ClientError::Problem(Box::new(Problem { errors, ..*problem }))
}

fn with_hint(
    mistake: &Mistake,
    source: &ParameterSource<'_>,
    schema: Option<&Map<String, Value>>,
) -> Mistake {
    let mut hinted = mistake.clone();
    let Some(key) = mistake.parameter() else {
        if let (Some(properties), true) = (schema, mistake.pointer == "/parameters") {
            for (written, meant) in slips(source, properties) {
                let is_about = [format!("'{written}'"), format!("\"{meant}\" is a required")];
                if is_about.iter().any(|part| mistake.message.contains(part)) {
                    hinted.message.push_str(&format!("; did you mean {meant}, not {written}?"));
                }
            }
        }
        return hinted;
    };
    let word = source.words.iter().find_map(|word| word.strip_prefix(&format!("{key}=")));
    let (Some(Form::Text), Some(value)) = (source.form_of(&key), word) else { return hinted };
    let is_json = serde_json::from_str::<Value>(value).is_ok_and(|value| !value.is_string());
    if is_json {
        hinted.message.push_str(&format!(" (key=value is always text; write {key}:={value})"));
    }
    hinted
}

/// The parameters that were written and that there are not, each with the one that was probably meant.
fn slips<'a>(source: &'a ParameterSource<'_>, properties: &'a Map<String, Value>) -> Vec<(&'a str, &'a str)> {
    let names = source.words.iter().filter_map(|word| Some(word.split_once('=')?.0.trim_end_matches(':')));
    let unknown = names.filter(|name| !properties.contains_key(*name));
    let free = || properties.keys().map(String::as_str).filter(|name| source.form_of(name).is_none());
    unknown.filter_map(|written| Some((written, nearest(written, free())?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checksum(schema: &Value) -> Document<JobType> {
        serde_json::from_value(json!({"type": "file.checksum", "parameters_schema": schema})).unwrap()
    }

    #[test]
    fn parameters_that_nobody_reads_are_named() {
        let schema = json!({"type": "object", "properties": {"source": {}, "algorithm": {}}});
        let given = json!({"sorce": 1, "algorithm": 2, "priority": 3});
        let unknown = |schema: Value| unknown_parameters(&checksum(&schema), given.as_object().unwrap());
        assert_eq!(
            unknown(schema.clone()),
            [
                "file.checksum has no parameter sorce; did you mean source?",
                "file.checksum has no parameter priority; it has source, algorithm"
            ]
        );
        for (keyword, value) in [
            ("additionalProperties", json!(true)),
            ("patternProperties", json!({})),
            ("properties", json!({})),
        ] {
            let mut open = schema.clone();
            open[keyword] = value;
            assert_eq!(unknown(open), Vec::<String>::new(), "{keyword}");
        }
        assert_eq!(unknown(json!({})), Vec::<String>::new());
    }

    #[test]
    fn refusals_say_what_was_probably_meant() {
        let found = checksum(&json!({"properties": {"source": {}, "width": {}}}));
        let words = ["sorce=a".to_owned(), "width=640".to_owned()];
        let source = ParameterSource { words: &words, ..ParameterSource::default() };
        let mistake = |pointer: &str, message: &str| Mistake {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        };
        let errors = vec![
            mistake("/parameters", "Additional properties are not allowed ('sorce' was unexpected)"),
            mistake("/parameters", "\"source\" is a required property"),
            mistake("/parameters/width", "\"640\" is not of type \"integer\""),
        ];
        let problem = ClientError::Problem(Box::new(Problem { errors, status: 422, ..Problem::default() }));
        insta::assert_snapshot!(with_hints(problem, &source, Some(&found)));
    }
}
