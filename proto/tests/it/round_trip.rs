//! What is written is what is read, and what a later version adds does not disturb an older reader.

use crewcall_proto::{
    ContentType, DecodeError, MessageKind,
    control::Control,
    decode,
    discovery::{AnnouncedType, EmittedSubject, RunningOrder, WorkerStatus},
    response::{ErrorKind, ProgressionKind},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    message::Message,
    samples,
    strategies::{content_type, message},
};

const BOTH: [ContentType; 2] = [ContentType::MessagePack, ContentType::Json];

proptest! {
    #[test]
    fn every_message_survives_the_wire(message in message(), content_type in content_type()) {
        let body = message.encode(content_type);
        let read = Message::decode(message.kind(), content_type, &body);
        prop_assert_eq!(read, Ok(message));
    }

    #[test]
    fn a_message_cut_short_is_refused(message in message(), content_type in content_type()) {
        let body = message.encode(content_type);
        for length in 0..body.len() {
            let read = Message::decode(message.kind(), content_type, &body[..length]);
            prop_assert!(read.is_err(), "{} of {} bytes were read as {:?}", length, body.len(), read);
        }
    }

    #[test]
    fn a_message_with_something_after_it_is_refused(
        message in message(),
        byte in any::<u8>(),
        content_type in content_type(),
    ) {
        // JSON may end in white space.
        prop_assume!(content_type == ContentType::MessagePack || !byte.is_ascii_whitespace());
        let mut body = message.encode(content_type);
        body.push(byte);
        let read = Message::decode(message.kind(), content_type, &body);
        match content_type {
            ContentType::MessagePack => prop_assert_eq!(read, Err(DecodeError::TrailingBytes { bytes: 1 })),
            ContentType::Json => prop_assert!(matches!(read, Err(DecodeError::Malformed(_)))),
        }
    }

    #[test]
    fn unknown_fields_are_ignored(
        message in message(),
        name in "new_[a-z]{1,12}",
        position in any::<prop::sample::Index>(),
        content_type in content_type(),
    ) {
        let added = json!({"nested": [1, "two", null]});
        let Value::Object(fields) = message.to_value() else { unreachable!("messages are objects") };
        let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
        fields.insert(position.index(fields.len() + 1), (name, added));
        let body = map_of(content_type, &fields);
        prop_assert_eq!(Message::decode(message.kind(), content_type, &body), Ok(message));
    }
}

#[test]
fn unknown_fields_of_nested_maps_are_ignored() {
    for sample in samples::full() {
        let mut value = sample.message.to_value();
        for (field, nested) in value.as_object_mut().unwrap() {
            // What is the job's own is not ours to add to.
            if matches!(field.as_str(), "parameters" | "result" | "data") {
                continue;
            }
            let maps = match nested {
                Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).collect(),
                other => other.as_object_mut().into_iter().collect::<Vec<_>>(),
            };
            for map in maps {
                map.insert("new_field".to_owned(), json!([{}]));
            }
        }
        for content_type in BOTH {
            let body = encode_value(content_type, &value);
            let read = Message::decode(sample.message.kind(), content_type, &body);
            assert_eq!(read.as_ref(), Ok(&sample.message), "{}", sample.name);
        }
    }
}

#[test]
fn unknown_kinds_are_told_apart_from_malformed_messages() {
    for content_type in BOTH {
        let read = |kind: &str, message: &Value| {
            let kind = MessageKind::from_word(kind).unwrap();
            Message::decode(kind, content_type, &encode_value(content_type, message)).unwrap()
        };
        let changed = |section: &str, field: &str| {
            let mut value = sample(section);
            value[field] = json!("of_a_later_version");
            value
        };
        let control = json!({"kind": "of_a_later_version", "job_id": 7, "more": {"than": ["we", "know"]}});
        assert_eq!(read("control", &control), Message::Control(Control::Unknown));

        let Message::Progression(progression) = read("progression", &changed("progression", "kind")) else {
            unreachable!("decoded as its kind")
        };
        assert_eq!(progression.kind, ProgressionKind::Unknown);
        let Message::Error(failed) = read("error", &changed("error", "kind")) else {
            unreachable!("decoded as its kind")
        };
        assert_eq!(failed.kind, ErrorKind::Unknown);
        let Message::Heartbeat(heartbeat) = read("heartbeat", &changed("heartbeat", "status")) else {
            unreachable!("decoded as its kind")
        };
        assert_eq!(heartbeat.status, WorkerStatus::Unknown);
    }
}

#[test]
fn kinds_are_called_the_same_in_code_and_on_the_wire() {
    let kinds = ["handler", "panic", "timeout", "invalid_parameters", "worker_lost", "crash_loop"];
    for word in kinds.into_iter().chain(["malformed", "cancelled", "expired"]) {
        let kind = ErrorKind::from_word(word).unwrap();
        assert_eq!((kind.as_str(), serde_json::to_value(kind).unwrap()), (word, json!(word)));
    }
    for kind in MessageKind::ALL {
        assert_eq!(MessageKind::from_word(kind.as_str()), Some(kind));
    }
    for content_type in BOTH {
        assert_eq!(format!("{content_type}; charset=utf-8").parse(), Ok(content_type));
        assert_eq!(serde_json::to_value(content_type).unwrap(), json!(content_type.as_str()));
    }
    assert_eq!("text/plain".parse::<ContentType>().unwrap_err().code(), "content_type");
}

#[test]
fn absent_optional_fields_of_nested_maps_take_their_defaults() {
    for content_type in BOTH {
        let body = encode_value(content_type, &json!({"job_type": "text.statistics"}));
        let announced: AnnouncedType = decode(content_type, &body).unwrap();
        assert_eq!((announced.description.as_str(), announced.version.as_str()), ("", ""));
        assert!(announced.parameters_schema.is_empty() && announced.result_schema.is_empty());
        assert!(!announced.bundles && announced.emits.is_empty());
        let body = encode_value(content_type, &json!({"subject": "text.counted", "schema": null}));
        let emitted: EmittedSubject = decode(content_type, &body).unwrap();
        assert!(emitted.description.is_empty() && emitted.schema.is_empty());

        let body =
            encode_value(content_type, &json!({"job_id": sample("order")["job_id"].clone(), "attempt": 1}));
        let running: RunningOrder = decode(content_type, &body).unwrap();
        assert!(!running.held);
    }
}

#[test]
fn null_counts_as_absent_for_the_optional_fields_of_orders_and_responses() {
    for (section, fields) in [
        ("order", &["timeout_ms", "expires_at"][..]),
        ("progression", &["percent", "message"]),
        ("emitted", &["occurred_at"]),
        ("completed", &["events"]),
        ("error", &["code", "detail", "retry_after_ms", "started_at"]),
    ] {
        let mut value = sample(section);
        for field in fields {
            value[field] = Value::Null;
        }
        for content_type in BOTH {
            let body = encode_value(content_type, &value);
            let kind = MessageKind::from_word(section).unwrap();
            let read = Message::decode(kind, content_type, &body).unwrap().to_value();
            for field in fields {
                assert_eq!(read.get(field), None, "{section}.{field}");
            }
        }
    }
}

#[test]
fn null_counts_as_absent_for_what_welcomes_events_and_types_leave_out() {
    for content_type in BOTH {
        let read = |section: &str, pointer: &str| {
            let mut value = sample(section);
            *value.pointer_mut(pointer).unwrap() = Value::Null;
            let kind = MessageKind::from_word(section.split('.').next().unwrap()).unwrap();
            let read = Message::decode(kind, content_type, &encode_value(content_type, &value)).unwrap();
            assert_eq!(read.to_value().pointer(pointer), None, "{section} {pointer}");
        };
        read("control.welcome", "/features");
        read("completed", "/events/0/occurred_at");
        read("announce", "/types/0/emits");
        read("announce", "/types/0/emits/0/description");
        read("announce", "/types/0/emits/0/schema");
    }
}

fn sample(section: &str) -> Value {
    let sample = samples::full().into_iter().find(|sample| sample.section == section).unwrap();
    sample.message.to_value()
}

fn encode_value(content_type: ContentType, value: &Value) -> Vec<u8> {
    crewcall_proto::encode(content_type, value).unwrap()
}

/// A map with its fields in the given order.
fn map_of(content_type: ContentType, fields: &[(String, Value)]) -> Vec<u8> {
    match content_type {
        ContentType::Json => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}:{value}", Value::String(name.clone())))
                .collect();
            format!("{{{}}}", fields.join(",")).into_bytes()
        }
        ContentType::MessagePack => {
            // No message has 65 536 fields, so the 16-bit header is enough.
            let length = u16::try_from(fields.len()).unwrap();
            let mut body = vec![0xde];
            body.extend(length.to_be_bytes());
            for (name, value) in fields {
                body.extend(encode_value(content_type, &Value::String(name.clone())));
                body.extend(encode_value(content_type, value));
            }
            body
        }
    }
}
