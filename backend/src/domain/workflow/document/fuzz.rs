//! Documents that nobody would write.

use crewcall_expressions::Json;
use crewcall_proto::JsonObject;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::definition::Workflow,
    tests::{WHOLE, json},
};

/// Names of fields, and some that are none.
const NAMES: &str = "\
    name triggers event if job type outcome schedule cron concurrency max key on_failure \
    steps needs run_if when each parallel tolerate parameters labels backoff compensate \
    wait until approval timeout_seconds workflow data outputs probe ü/~";

/// Any JSON, of words that stand in documents.
fn any_json() -> impl Strategy<Value = Json> {
    let words = vec![
        "",
        "probe",
        "encode",
        "true",
        "${{",
        "${{ }}",
        "${{ steps.probe.result }}",
        "${{ steps }}",
        "$${{ '}}' }}",
        "steps.a.b",
        "event.*",
        "job.#",
        "10%",
        "continue",
        "!(!(!(",
        "steps['",
        "\"\"\"",
        "ü${{ 'ü' + steps.ü }}",
        "media.probe",
        "/~",
        "\\",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        select(words).prop_map(Json::from),
    ];
    let names: Vec<&str> = NAMES.split(' ').chain([""]).collect();
    leaf.prop_recursive(4, 24, 6, move |inner| {
        let fields = vec((select(names.clone()), inner.clone()), 0..6);
        prop_oneof![
            vec(inner, 0..4).prop_map(Json::from),
            fields.prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

/// Puts something else into a place of a document, which the choices lead to.
fn put(document: &mut Json, choices: &[usize], other: Json) {
    let Some((choice, choices)) = choices.split_first() else {
        *document = other;
        return;
    };
    let length = document.as_object().map_or(0, JsonObject::len).max(document.as_array().map_or(0, Vec::len));
    let choice = choice % length.max(1);
    let place = match document {
        Json::Object(fields) => fields.values_mut().nth(choice),
        Json::Array(items) => items.get_mut(choice),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    };
    if let Some(place) = place {
        put(place, choices, other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_a_document_it_is_read_or_refused(
        changes in vec((vec(any::<usize>(), 0..6), any_json()), 0..4),
    ) {
        let mut document = json(WHOLE);
        for (choices, other) in changes {
            put(&mut document, &choices, other);
        }
        if let Err(problems) = Workflow::read(&document) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                // The pointer leads somewhere, or to what is missing in an object.
                let above = problem.pointer.rsplit_once('/').map_or("", |(above, _)| above);
                let leads = document.pointer(&problem.pointer).is_some() || document.pointer(above).is_some();
                prop_assert!(leads, "{}: {} in {document}", problem.pointer, problem.message);
            }
        }
    }
}
