//! Bytes that no honest sender writes: they are refused, and never end the process.

use crewcall_proto::{
    ContentType, DecodeError, EncodeError, MessageKind, Order,
    codec::{BODY_BYTES_MAX, DEPTH_MAX, json_depth_exceeds},
    decode, encode,
    response::Completed,
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{
    message::Message,
    samples,
    strategies::{content_type, message},
};

proptest! {
    #[test]
    fn random_bytes_are_refused_or_read(body in vec(any::<u8>(), 0..512), content_type in content_type()) {
        for kind in MessageKind::ALL {
            // Whatever it answers, it answers.
            let _ = Message::decode(kind, content_type, &body);
        }
    }

    #[test]
    fn damaged_messages_are_refused_or_read(
        message in message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        content_type in content_type(),
    ) {
        let mut body = message.encode(content_type);
        for (position, byte) in damage {
            let position = position.index(body.len());
            body[position] = byte;
        }
        if let Ok(read) = Message::decode(message.kind(), content_type, &body) {
            // What was read is a message like any other.
            let again = Message::decode(read.kind(), content_type, &read.encode(content_type));
            prop_assert_eq!(again, Ok(read));
        }
    }

    #[test]
    fn the_depth_of_json_text_is_that_of_its_value(message in message()) {
        let value = message.to_value();
        let depth = depth_of(&value);
        let text = message.encode(ContentType::Json);
        prop_assert!(!json_depth_exceeds(&text, depth));
        prop_assert!(json_depth_exceeds(&text, depth - 1));
    }
}

#[test]
fn brackets_inside_json_text_do_not_count_as_depth() {
    for text in [r#"{"a":"[[[["}"#, r#"{"a\"[[[[":"\\"}"#, r#"{"a":"\\\"[[[{{{"}"#] {
        assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
        assert!(!json_depth_exceeds(text.as_bytes(), 1), "{text}");
    }
    assert!(json_depth_exceeds(br#"{"a":"\\","b":[]}"#, 1));
}

#[test]
fn thirty_two_levels_are_read_and_thirty_three_are_not() {
    // The message is the first level, its parameters (or the unknown field) the second.
    for (levels, fits) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false)] {
        for (section, field) in
            [("order", "parameters"), ("order", "new_field"), ("control.drain", "new_field")]
        {
            let sample = samples::full().into_iter().find(|sample| sample.section == section).unwrap();
            let mut value = sample.message.to_value();
            value[field] = json!({"nested": nested(levels - 2)});
            assert_eq!(depth_of(&value), levels);
            for (content_type, body) in both(&value) {
                let read = Message::decode(sample.message.kind(), content_type, &body);
                match read {
                    Ok(_) => assert!(fits, "{section}.{field} of {levels} levels was read: {content_type}"),
                    Err(error) => {
                        assert!(!fits, "{section}.{field} of {levels} levels: {content_type}: {error}");
                        assert_eq!(error, DecodeError::TooDeep);
                    }
                }
            }
        }
    }
}

#[test]
fn what_no_reader_takes_is_not_written() {
    let Some(Message::Completed(completed)) =
        samples::full().into_iter().map(|sample| sample.message).find(|m| m.kind() == MessageKind::Completed)
    else {
        unreachable!("there is a sample of each kind")
    };
    for content_type in [ContentType::MessagePack, ContentType::Json] {
        let with = |result| encode(content_type, &Completed { result, ..completed.clone() });
        let deepest = with(nested(DEPTH_MAX - 1)).unwrap();
        assert!(decode::<Completed>(content_type, &deepest).is_ok());
        assert_eq!(with(nested(DEPTH_MAX)), Err(EncodeError::TooDeep));

        let overhead = with(json!("")).unwrap().len();
        // The string's length takes up to four more bytes in MessagePack.
        assert!(with(json!("x".repeat(BODY_BYTES_MAX - overhead - 4))).is_ok());
        let error = with(json!("x".repeat(BODY_BYTES_MAX))).unwrap_err();
        assert!(matches!(error, EncodeError::TooLarge { bytes } if bytes > BODY_BYTES_MAX), "{error}");
    }
}

#[test]
fn endless_nesting_is_refused_without_using_the_stack() {
    const LEVELS: usize = 100_000;
    let array_of_one = vec![0x91; LEVELS];
    let map_of_one: Vec<u8> = [0x81, 0xa1, b'a'].repeat(LEVELS);
    for kind in MessageKind::ALL {
        for body in [&array_of_one, &map_of_one] {
            assert!(Message::decode(kind, ContentType::MessagePack, body).is_err());
        }
        for opening in ["[", r#"{"a":"#, r#"{"kind":["#, r#"{"parameters":{"a":["#] {
            let mut body = opening.repeat(LEVELS).into_bytes();
            body.truncate(BODY_BYTES_MAX);
            let read = Message::decode(kind, ContentType::Json, &body);
            assert_eq!(read, Err(DecodeError::TooDeep), "{kind} {opening}");
        }
    }
    assert_eq!(decode::<Order>(ContentType::MessagePack, &map_of_one), Err(DecodeError::TooDeep));
}

#[test]
fn a_body_above_the_cap_is_refused_unread() {
    for (content_type, body) in both(&json!({"reason": "x".repeat(BODY_BYTES_MAX), "worker_id": "w"})) {
        let read = Message::decode(MessageKind::Goodbye, content_type, &body);
        assert_eq!(read, Err(DecodeError::TooLarge { bytes: body.len() }));
    }
}

#[test]
fn lengths_that_promise_more_than_there_is_are_refused() {
    // Arrays, maps, strings and binaries of four thousand million elements, in a few bytes.
    for marker in [0xdd, 0xdf, 0xdb, 0xc6] {
        let mut body = vec![0x81, 0xaa];
        body.extend(b"parameters");
        body.extend([marker, 0xff, 0xff, 0xff, 0xff]);
        for kind in MessageKind::ALL {
            assert!(Message::decode(kind, ContentType::MessagePack, &body).is_err(), "{kind} {marker:x}");
        }
    }
}

#[test]
fn only_maps_with_text_keys_are_messages() {
    for sample in samples::full() {
        let value = sample.message.to_value();
        let fields = value.as_object().unwrap();
        let in_order = Value::Array(fields.values().cloned().collect());
        for other in [in_order, json!([]), Value::Null, json!(7), json!("text")] {
            for (content_type, body) in both(&other) {
                let read = Message::decode(sample.message.kind(), content_type, &body);
                assert!(matches!(read, Err(DecodeError::Malformed(_))), "{} {other}: {read:?}", sample.name);
            }
        }
    }
    // {0: "w", 1: "drained"}: field numbers are no field names.
    let numbered = [b"\x82\x00\xa1w\x01\xa7".as_slice(), b"drained"].concat();
    let read = Message::decode(MessageKind::Goodbye, ContentType::MessagePack, &numbered);
    assert!(matches!(&read, Err(DecodeError::Malformed(why)) if why.contains("a field name")), "{read:?}");
}

#[test]
fn structs_inside_a_message_are_maps_too() {
    for (section, field, other) in [
        ("announce", "sdk", json!(["rust", "0.1.0"])),
        ("announce", "types", json!([["text.statistics", "", "", {}, {}]])),
        ("announce", "types", json!([{"job_type": "text.statistics", "emits": [["text.counted"]]}])),
        ("heartbeat", "orders", json!([["019b76da-a800-7000-8000-00000000002a", 1, false]])),
        ("completed", "events", json!([["text.counted", {}]])),
    ] {
        let sample = samples::full().into_iter().find(|sample| sample.section == section).unwrap();
        let mut value = sample.message.to_value();
        value[field] = other;
        for (content_type, body) in both(&value) {
            let read = Message::decode(sample.message.kind(), content_type, &body);
            assert!(matches!(read, Err(DecodeError::Malformed(_))), "{section}.{field}: {read:?}");
        }
    }
}

#[test]
fn a_field_that_comes_twice_is_refused() {
    let message_pack = [b"\x83\xa9worker_id\xa1w\xa9worker_id\xa1v\xa6reason\xa1r".as_slice()].concat();
    let json = br#"{"worker_id":"w","worker_id":"v","reason":"r"}"#;
    for (content_type, body) in
        [(ContentType::MessagePack, message_pack.as_slice()), (ContentType::Json, json)]
    {
        let read = Message::decode(MessageKind::Goodbye, content_type, body);
        assert!(matches!(&read, Err(DecodeError::Malformed(why)) if why.contains("duplicate")), "{read:?}");
    }
}

#[test]
fn a_parameter_that_comes_twice_has_the_last_value() {
    let order = order_with(b"\x82\xa1a\x01\xa1a\x02");
    assert_eq!(order.unwrap().parameters["a"], json!(2));
}

/// MessagePack can say things that JSON, in which parameters are stored and shown, cannot.
#[test]
fn parameters_outside_of_json_are_refused_or_null() {
    for (what, value) in [
        ("binary", b"\xc4\x02\x00\xff".as_slice()),
        ("extension", b"\xd4\x05\x00"),
        ("timestamp", b"\xd6\xff\x00\x00\x00\x00"),
        ("reserved marker", b"\xc1"),
        ("text that is not UTF-8", b"\xa2\xff\xfe"),
        ("map with a number as key", b"\x81\x01\x01"),
        ("map with binary as key", b"\x81\xc4\x01a\x01"),
        ("map with null as key", b"\x81\xc0\x01"),
    ] {
        let read = order_with(&[b"\x81\xa1a", value].concat());
        assert!(matches!(read, Err(DecodeError::Malformed(_))), "{what}: {read:?}");
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut parameters = b"\x81\xa1a\xcb".to_vec();
        parameters.extend(number.to_be_bytes());
        assert_eq!(order_with(&parameters).unwrap().parameters["a"], Value::Null, "{number}");
    }
    let mut single = b"\x81\xa1a\xca".to_vec();
    single.extend(0.5_f32.to_be_bytes());
    assert_eq!(order_with(&single).unwrap().parameters["a"], json!(0.5));
    let largest = order_with(b"\x81\xa1a\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(largest.unwrap().parameters["a"], json!(u64::MAX));
}

/// The sample order with these MessagePack bytes as its parameters.
fn order_with(parameters: &[u8]) -> Result<Order, DecodeError> {
    let sample = samples::minimal().into_iter().find(|sample| sample.section == "order").unwrap();
    let body = sample.message.encode(ContentType::MessagePack);
    // Text of ten bytes, then an empty map.
    let field = [b"\xaaparameters".as_slice(), b"\x80"].concat();
    let start = body.windows(field.len()).position(|window| window == field).unwrap();
    let end = start + field.len();
    decode(ContentType::MessagePack, &[&body[..end - 1], parameters, &body[end..]].concat())
}

/// A value in both encodings, past our own writer's limits.
fn both(value: &Value) -> [(ContentType, Vec<u8>); 2] {
    [
        (ContentType::MessagePack, rmp_serde::to_vec_named(value).unwrap()),
        (ContentType::Json, serde_json::to_vec(value).unwrap()),
    ]
}

/// Arrays in arrays.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth_of).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
