//! Whose answer it was that cannot be read.

use crewcall_proto::{ContentType, MessageKind, codec::BODY_BYTES_MAX, response::Origin};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{
    message::Message,
    samples,
    strategies::{content_type, message},
};

fn origin_of(message: &Message) -> Option<Origin> {
    match message {
        Message::Completed(completed) => Some(completed.origin()),
        Message::Error(failed) => Some(failed.origin()),
        Message::Held(held) => Some(held.origin()),
        Message::Progression(news) => Some(news.origin()),
        Message::HandedBack(handed_back) => Some(handed_back.origin()),
        Message::Emitted(emitted) => Some(emitted.origin()),
        Message::Order(_)
        | Message::Announce(_)
        | Message::Heartbeat(_)
        | Message::Goodbye(_)
        | Message::Control(_) => None,
    }
}

/// An answer in JSON whose result is `result`, whatever that is, and its origin.
fn answer(result: &str) -> (String, Origin) {
    let sample = samples::full().into_iter().find(|sample| sample.section == "completed").unwrap();
    let origin = origin_of(&sample.message).unwrap();
    let mut value = sample.message.to_value();
    value["result"] = json!("RESULT");
    (value.to_string().replace("\"RESULT\"", result), origin)
}

/// The same in MessagePack, with the bytes of `result`.
fn packed(result: &[u8]) -> (Vec<u8>, Origin) {
    let (text, origin) = answer("\"RESULT\"");
    let body = rmp_serde::to_vec_named(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
    let at = body.windows(7).position(|window| window == b"\xa6RESULT").unwrap();
    ([&body[..at], result, &body[at + 7..]].concat(), origin)
}

fn is_refused(content_type: ContentType, body: &[u8]) -> bool {
    Message::decode(MessageKind::Completed, content_type, body).is_err()
}

#[test]
fn an_answer_that_no_reader_takes_still_says_whose_it_is() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let decoys = r#"{"mean": NaN, "job_id": "x", "text": "\\\"} \\\\", "worker_id": ["}", {"attempt": 7}]}"#;
    for result in [r#"{"mean": NaN}"#, "-Infinity", "undefined", "{'a': 1}", deep.as_str(), decoys] {
        let (text, origin) = answer(result);
        assert!(is_refused(ContentType::Json, text.as_bytes()), "{result:.40}");
        assert_eq!(Origin::salvage(text.as_bytes()), Some(origin), "{result:.40}");
    }
    let binary = b"\xc4\x03\xff\xfe\xfd".as_slice();
    let extension = b"\xc7\x02\x05ab".as_slice();
    let deep = [&b"\x91".repeat(100_000)[..], b"\xc0"].concat();
    let number_as_name = b"\x81\x01\xc3".as_slice();
    for result in [binary, extension, &deep, number_as_name] {
        let (body, origin) = packed(result);
        assert!(is_refused(ContentType::MessagePack, &body), "{:?}", &result[..3]);
        assert_eq!(Origin::salvage(&body), Some(origin), "{:?}", &result[..3]);
    }
}

#[test]
fn times_with_fractions_and_missing_fields_do_no_harm() {
    let (text, origin) = answer("1");
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["started_at"] = json!(1.5);
    value["attempt"] = json!(f64::from(origin.attempt.get()));
    value.as_object_mut().unwrap().remove("finished_at");
    for body in [value.to_string().into_bytes(), rmp_serde::to_vec_named(&value).unwrap()] {
        assert_eq!(Origin::salvage(&body), Some(origin.clone()));
    }
}

#[test]
fn a_wrong_content_type_a_byte_order_mark_or_an_end_that_is_missing_does_no_harm() {
    let (text, origin) = answer("1");
    assert!(is_refused(ContentType::MessagePack, text.as_bytes()));
    assert_eq!(Origin::salvage(format!("\u{feff}\r\n {text} and more").as_bytes()), Some(origin.clone()));
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !matches!(name.as_str(), "result" | "events" | "started_at" | "finished_at"));
    let cut_off = value.to_string().replace('}', r#", "result": [1, {"a": "b"#);
    assert_eq!(Origin::salvage(cut_off.as_bytes()), Some(origin));
}

#[test]
fn what_does_not_say_whose_it_is_is_nobodys() {
    let (text, _) = answer("1");
    for name in ["job_id", "attempt", "attempt_token", "execution_id", "worker_id"] {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        for wrong in [json!(null), json!(0), json!(1.5), json!(-1), json!("no id")] {
            value[name] = wrong;
            if name == "worker_id" {
                value[name] = json!("not a worker's");
            }
            assert_eq!(Origin::salvage(value.to_string().as_bytes()), None, "{name}: {}", value[name]);
            assert_eq!(Origin::salvage(&rmp_serde::to_vec_named(&value).unwrap()), None, "{name}");
        }
        // Within the result it is another matter.
        let hidden = json!({"result": value});
        assert_eq!(Origin::salvage(hidden.to_string().as_bytes()), None);
    }
    for body in [&b""[..], b"{", b"[]", b"\x80", b"\xc1", b"\xdf\xff\xff\xff\xff", b"{\"a\":", b"\"{"] {
        assert_eq!(Origin::salvage(body), None, "{body:?}");
    }
}

#[test]
fn an_answer_that_is_too_large_to_be_read_says_whose_it_is() {
    let (text, origin) = answer(&format!("\"{}\"", "x".repeat(BODY_BYTES_MAX)));
    assert!(is_refused(ContentType::Json, text.as_bytes()));
    assert_eq!(Origin::salvage(text.as_bytes()), Some(origin));
}

proptest! {
    #[test]
    fn what_can_be_read_says_the_same(message in message(), content_type in content_type()) {
        if let Some(origin) = origin_of(&message) {
            prop_assert_eq!(Origin::salvage(&message.encode(content_type)), Some(origin));
        }
    }

    #[test]
    fn any_bytes_are_looked_through(body in vec(any::<u8>(), 0..512)) {
        let _ = Origin::salvage(&body);
        let _ = Origin::salvage(&[b"{", body.as_slice()].concat());
        let _ = Origin::salvage(&[b"\xdf", body.as_slice()].concat());
    }

    #[test]
    fn damaged_messages_are_looked_through(
        message in message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        content_type in content_type(),
    ) {
        let mut body = message.encode(content_type);
        for (position, byte) in damage {
            let position = position.index(body.len());
            body[position] = byte;
        }
        let _ = Origin::salvage(&body);
    }
}
