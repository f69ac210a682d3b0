//! The fields of every message: as the code has them, to be compared with what the documents say.

use std::collections::BTreeMap;

use crewcall_proto::{ContentType, MessageKind};
use serde_json::{Map, Value};

use crate::{
    message::Message,
    samples::{self, Sample},
};

/// The fields of each section, such as `order`, `announce.types[]` or `control.cancel`, and for each whether it is required.
pub(crate) type Sections = BTreeMap<String, BTreeMap<String, bool>>;

/// Fields whose content belongs to the jobs and not to the contract.
const FREE: [&str; 6] = ["parameters", "result", "data", "parameters_schema", "result_schema", "schema"];

/// What the code says: the fields are those of a message in which every optional field is set, and a
/// field is required when the message cannot be read without it.
pub(crate) fn of_the_code() -> Sections {
    let mut sections = Sections::new();
    for sample in samples::full() {
        let message = sample.message.to_value();
        add_map(&mut sections, &sample.section, &sample, &message, "");
    }
    sections
}

/// Adds the map at `pointer`, and the maps within it.
fn add_map(sections: &mut Sections, name: &str, sample: &Sample, message: &Value, pointer: &str) {
    sections.insert(name.to_owned(), fields_at(sample, message, pointer));
    for (field, value) in object(message.pointer(pointer).expect("the pointer was made from the message")) {
        let (within, suffix) = match value {
            _ if FREE.contains(&field.as_str()) => continue,
            Value::Object(_) => (format!("{pointer}/{field}"), ""),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                (format!("{pointer}/{field}/0"), "[]")
            }
            _ => continue,
        };
        add_map(sections, &format!("{name}.{field}{suffix}"), sample, message, &within);
    }
}

fn fields_at(sample: &Sample, message: &Value, pointer: &str) -> BTreeMap<String, bool> {
    let fields = object(message.pointer(pointer).expect("the pointer was made from the message"));
    fields
        .keys()
        .map(|field| {
            let mut without = message.clone();
            without.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap().remove(field);
            (field.clone(), !can_be_read(sample.message.kind(), &without))
        })
        .collect()
}

fn can_be_read(kind: MessageKind, message: &Value) -> bool {
    Message::decode(kind, ContentType::Json, message.to_string().as_bytes()).is_ok()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("messages are maps")
}

#[test]
fn the_code_has_the_sections_that_we_think_it_has() {
    let sections = of_the_code();
    assert_eq!(sections["order"].len(), 10);
    assert!(sections["order"]["parameters"] && !sections["order"]["timeout_ms"]);
    assert!(sections["completed"]["result"], "a completed without a result is told from one with null");
    assert!(!sections["announce.types[]"]["description"] && !sections["heartbeat.orders[]"]["held"]);
    assert!(!sections["announce.types[].emits[]"]["schema"] && sections["completed.events[]"]["data"]);
    assert_eq!(sections.len(), 10 + 8 + 9, "messages, kinds of control, nested maps: {:?}", sections.keys());
}
