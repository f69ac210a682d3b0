//! `asyncapi.yaml` says what the code does. That it is valid AsyncAPI is checked by `asyncapi/validate`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crewcall_proto::{MessageKind, bundle::MESSAGES_MAX};
use serde_json::{Value, json};

use crate::{
    document::{Names, error_kinds, placeholders},
    fields::{self, Sections},
    message::Message,
    samples,
};

#[test]
fn the_schemas_have_the_fields_of_the_code() {
    let document = asyncapi();
    // Nor the one of the AMQP headers, which are no field of any message.
    let schemas = entries(&document, "/components/schemas").filter(|(name, _)| name.as_str() != "Headers");
    let documented: Sections = schemas
        .filter_map(|(name, schema)| {
            let required = schema.get("required").map(strings).unwrap_or_default();
            let fields = schema.get("properties")?.as_object()?;
            let fields = fields.keys().map(|field| (field.clone(), required.contains(field))).collect();
            Some((name.clone(), fields))
        })
        .collect();
    // Component names have no brackets.
    let expected: Sections =
        fields::of_the_code().into_iter().map(|(name, fields)| (name.replace("[]", ""), fields)).collect();
    assert_eq!(documented, expected, "left: asyncapi.yaml, right: the code");
}

#[test]
fn the_schemas_accept_the_messages_of_the_code() {
    let document = asyncapi();
    for sample in samples::full().into_iter().chain(samples::first()).chain(samples::minimal()) {
        let reference = format!("#/components/schemas/{}", sample.section);
        let schema = json!({"allOf": [{"$ref": reference}], "components": document["components"]});
        let validator = jsonschema::draft7::new(&schema).unwrap();
        let message = sample.message.to_value();
        let problems: Vec<String> = validator
            .iter_errors(&message)
            .map(|problem| format!("{} at {}", problem, problem.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{}: {problems:?}", sample.name);

        for field in message.as_object().unwrap().keys() {
            // Nothing of ours is a list of a list, and only results and data may be anything.
            let mut wrong = message.clone();
            wrong[field] = json!([[]]);
            let is_free = matches!(field.as_str(), "result" | "data");
            assert_eq!(validator.is_valid(&wrong), is_free, "{}.{field}", sample.name);
        }
    }
}

#[test]
fn the_messages_have_the_type_property_of_the_code() {
    let document = asyncapi();
    let documented: BTreeMap<String, String> = entries(&document, "/components/messages")
        .map(|(name, message)| {
            let payload = message.pointer("/payload/$ref").and_then(Value::as_str).unwrap();
            assert_eq!(payload, format!("#/components/schemas/{name}"));
            (name.clone(), text(message, "/bindings/amqp/messageType"))
        })
        .collect();
    let mut expected: BTreeMap<String, String> =
        samples::full().into_iter().map(|s| (s.section, s.message.kind().to_string())).collect();
    expected.extend(samples::bundles().into_iter().map(|b| (b.word.to_owned(), b.word.to_owned())));
    assert_eq!(documented, expected, "left: asyncapi.yaml, right: the code");
}

#[test]
fn the_schemas_of_bundles_accept_as_many_messages_as_the_code() {
    let document = asyncapi();
    for bundle in samples::bundles() {
        let reference = format!("#/components/schemas/{}", bundle.word);
        let schema = json!({"allOf": [{"$ref": reference}], "components": document["components"]});
        let validator = jsonschema::draft7::new(&schema).unwrap();
        let messages: Vec<Value> = bundle.messages.iter().map(Message::to_value).collect();
        assert!(validator.is_valid(&json!(messages)), "{}", bundle.word);
        let many = |count: usize| json!(vec![messages[0].clone(); count]);
        for (value, fits) in [
            (many(MESSAGES_MAX), true),
            (many(MESSAGES_MAX + 1), false),
            (many(0), false),
            (messages[0].clone(), false),
            (json!([messages]), false),
            (json!([messages[0], {}]), false),
        ] {
            assert_eq!(validator.is_valid(&value), fits, "{}: {value}", bundle.word);
        }
    }
}

#[test]
fn bundles_travel_wherever_their_messages_do() {
    let document = asyncapi();
    for bundle in samples::bundles() {
        let mut channels = 0;
        for (channel, description) in entries(&document, "/channels") {
            let reference = |name: &str| {
                let pointer = format!("/messages/{name}/$ref");
                description.pointer(&pointer).map(|_| text(description, &pointer))
            };
            let Some(message) = reference(bundle.kind.as_str()) else {
                assert_eq!(reference(bundle.word), None, "{channel}");
                continue;
            };
            assert_eq!(message, format!("#/components/messages/{}", bundle.kind), "{channel}");
            let expected = format!("#/components/messages/{}", bundle.word);
            assert_eq!(reference(bundle.word), Some(expected), "{channel}");
            channels += 1;
        }
        assert!(channels > 0, "{} travel nowhere", bundle.word);
    }
}

#[test]
fn the_channels_have_the_names_of_the_code() {
    let names = Names::default();
    let (topology, job_type, worker_id) = (&names.topology, &names.job_type, &names.worker_id);
    let responses = [
        MessageKind::Progression,
        MessageKind::Held,
        MessageKind::HandedBack,
        MessageKind::Emitted,
        MessageKind::Completed,
        MessageKind::Error,
    ];
    let discovery = [MessageKind::Announce, MessageKind::Heartbeat, MessageKind::Goodbye];
    let control = topology.control_exchange();
    let mut expected: BTreeSet<(String, String)> = [
        (topology.submit_exchange(), job_type.to_string()),
        (topology.response_exchange(), topology.start_key(job_type)),
        (String::new(), topology.jobs_queue(job_type)),
        (String::new(), topology.control_queue(worker_id, "the-session")),
        (control.clone(), topology.control_key_worker(worker_id)),
        (control.clone(), topology.control_key_type(job_type)),
        (control, topology.control_key_all().to_owned()),
    ]
    .into();
    expected
        .extend(responses.map(|kind| (topology.response_exchange(), topology.response_key(kind, job_type))));
    expected.extend(discovery.map(|kind| (topology.discovery_exchange(), kind.to_string())));
    let expected: BTreeSet<(String, String)> =
        expected.into_iter().map(|(exchange, address)| (exchange, placeholders(&address))).collect();

    let document = asyncapi();
    let documented: BTreeSet<(String, String)> = entries(&document, "/channels")
        .map(|(_, channel)| {
            let address = text(channel, "/address").replace('{', "<").replace('}', ">");
            let exchange = channel.pointer("/bindings/amqp/exchange/name").and_then(Value::as_str);
            (exchange.unwrap_or_default().to_owned(), address)
        })
        .collect();
    assert_eq!(documented, expected, "left: asyncapi.yaml, right: the code");
}

#[test]
fn the_error_kinds_are_those_of_the_code() {
    let documented: BTreeSet<String> =
        asyncapi().pointer("/components/schemas/ErrorKind/enum").map(strings).unwrap().into_iter().collect();
    assert_eq!(documented, error_kinds().into_iter().collect(), "left: asyncapi.yaml, right: the code");
}

fn asyncapi() -> Value {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn entries<'a>(document: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    document.pointer(pointer).and_then(Value::as_object).unwrap().iter()
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap().to_owned()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}
