//! The document of a workflow or a schedule, as JSON text: what a parser would swallow is told. The domain says whether it is one.

use std::fmt;

use crewcall_expressions::Json;
use crewcall_proto::{
    codec::json_depth_exceeds,
    numbers::{ARRIVE, ChangedNumber, changed_numbers},
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number};

use super::problem::{Problem, ProblemCode, field};
use crate::domain::{
    Problem as FieldProblem, escaped, excerpt, schedules,
    workflow::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_LEVELS_MAX, PROBLEMS_MAX},
};

/// The steps of a workflow: what stands in them twice is two steps of one name.
const STEPS: &str = "/steps";

/// How many bytes of text a character takes that is written as `\u00e4`.
const ESCAPE_BYTES: usize = 6;

/// What a document is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Workflow,
    Schedule,
}

impl Kind {
    /// With its article.
    fn what(self) -> &'static str {
        match self {
            Self::Workflow => "a workflow",
            Self::Schedule => "a schedule",
        }
    }

    /// How large it may be, in bytes of JSON without white space.
    fn bytes_max(self) -> usize {
        match self {
            Self::Workflow => DOCUMENT_BYTES_MAX,
            Self::Schedule => schedules::limits::DOCUMENT_BYTES_MAX,
        }
    }
}

/// A document as far as it could be read.
#[derive(Debug)]
pub(super) struct Document {
    /// `None`, if it was not even looked at: it is too large, or nested too deeply.
    pub(super) json: Option<Json>,
    /// What is wrong with its text.
    pub(super) problems: Vec<FieldProblem>,
}

/// Reads JSON text. With code `invalid-json` it is refused if it is not JSON.
pub(super) fn read(kind: Kind, text: &[u8]) -> Result<Document, Problem> {
    let (what, bytes_max) = (kind.what(), kind.bytes_max());
    if json_depth_exceeds(text, DOCUMENT_LEVELS_MAX) {
        return Ok(unread(format!("{what} is nested no deeper than {DOCUMENT_LEVELS_MAX} levels")));
    }
    let bytes = bytes_at_least(text);
    if bytes > bytes_max {
        return Ok(unread(format!("{what} has at most {bytes_max} bytes as JSON, and this has {bytes}")));
    }
    let mut notes = Notes::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Value(&mut notes).deserialize(&mut deserializer);
    let read = read.and_then(|json| deserializer.end().map(|()| json));
    let json = read
        .map_err(|error| Problem::new(ProblemCode::InvalidJson, format!("the body is not JSON: {error}")))?;
    let mut problems = notes.problems;
    let changed = changed_numbers(text, "", PROBLEMS_MAX);
    problems.extend(changed.into_iter().map(|ChangedNumber { pointer, number }| {
        field(pointer, format!("the number {} would not arrive as it was sent: {ARRIVE}", excerpt(&number)))
    }));
    Ok(Document { json: Some(json), problems })
}

fn unread(message: String) -> Document {
    Document { json: None, problems: vec![field("", message)] }
}

/// How many bytes the text has at least when it is written without white space and escapes. Small values take many times
/// their text in memory, so that a large text is not read at all.
fn bytes_at_least(text: &[u8]) -> usize {
    let (mut bytes, mut in_string, mut at) = (0, false, 0);
    while let Some(byte) = text.get(at) {
        let length = match (byte, text.get(at + 1)) {
            (b'\\', Some(b'u')) if in_string => ESCAPE_BYTES,
            (b'\\', Some(_)) if in_string => 2,
            _ => 1,
        };
        in_string ^= *byte == b'"';
        bytes += usize::from(in_string || !byte.is_ascii_whitespace());
        at += length;
    }
    bytes
}

/// Where the reader is, and what it found.
#[derive(Default)]
struct Notes {
    /// The pointer to the value that is read.
    pointer: String,
    problems: Vec<FieldProblem>,
}

impl Notes {
    fn tell_twin(&mut self, name: &str) {
        if self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        let shown = excerpt(name);
        let message = if self.pointer == STEPS {
            format!("there are two steps {shown:?}: each has a name of its own")
        } else {
            format!("the field {shown:?} stands here more than once")
        };
        self.problems.push(field(format!("{}/{}", self.pointer, escaped(&shown)), message));
    }
}

/// Reads any value. Recursive, but no deeper than [`DOCUMENT_LEVELS_MAX`].
struct Value<'n>(&'n mut Notes);

impl Value<'_> {
    /// Reads what stands at this name or number within the value.
    fn within<T>(&mut self, name: &str, read: impl FnOnce(Value<'_>) -> T) -> T {
        let length = self.0.pointer.len();
        self.0.pointer.push('/');
        self.0.pointer.push_str(&escaped(name));
        let value = read(Value(self.0));
        self.0.pointer.truncate(length);
        value
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        loop {
            let index = items.len().to_string();
            match self.within(&index, |value| access.next_element_seed(value))? {
                Some(item) => items.push(item),
                None => return Ok(Json::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Json, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = self.within(&name, |value| access.next_value_seed(value))?;
            if fields.contains_key(&name) {
                self.0.tell_twin(&name);
            } else {
                fields.insert(name, value);
            }
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(text: &str) -> Vec<(String, String)> {
        let document = read(Kind::Workflow, text.as_bytes()).unwrap();
        document.problems.into_iter().map(|problem| (problem.pointer, problem.message)).collect()
    }

    fn pointers(text: &str) -> Vec<String> {
        told(text).into_iter().map(|(pointer, _)| pointer).collect()
    }

    #[test]
    fn a_document_is_read_in_its_order() {
        let text = r#" {"steps": {"b": [1, -2, 0.5, true, null, "\u00e4\n"], "a": {}}, "name": ""} "#;
        let document = read(Kind::Workflow, text.as_bytes()).unwrap();
        assert_eq!(document.problems, []);
        let json = document.json.unwrap();
        assert_eq!(json.to_string(), r#"{"steps":{"b":[1,-2,0.5,true,null,"ä\n"],"a":{}},"name":""}"#);
        assert_eq!(json, serde_json::from_str::<Json>(text).unwrap());
    }

    #[test]
    fn what_stands_twice_is_told_and_the_first_is_kept() {
        let text = r#"{"steps":{"a":{"job":"x","job":"y"},"b":{},"a":{}},"a/b":[{"c":1,"c":2}]}"#;
        assert_eq!(pointers(text), ["/steps/a/job", "/steps/a", "/a~1b/0/c"]);
        let (_, message) = &told(text)[1];
        assert_eq!(message, "there are two steps \"a\": each has a name of its own");
        let json = read(Kind::Workflow, text.as_bytes()).unwrap().json.unwrap();
        assert_eq!(json["steps"], json!({"a": {"job": "x"}, "b": {}}));
        let many = format!("{{{}\"a\":0}}", "\"a\":0,".repeat(1_000));
        assert_eq!(told(&many).len(), PROBLEMS_MAX);
    }

    #[test]
    fn numbers_arrive_or_are_told() {
        assert_eq!(pointers(r#"{"a":[1,18446744073709551616],"b":1.5}"#), ["/a/1"]);
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_not_read() {
        let deep = "[".repeat(10_000);
        assert_eq!(
            told(&deep),
            [(String::new(), "a workflow is nested no deeper than 36 levels".to_owned())]
        );
        let fits = format!("{}\"{}\"", " ".repeat(1_000), "x".repeat(DOCUMENT_BYTES_MAX - 2));
        assert!(read(Kind::Workflow, fits.as_bytes()).unwrap().json.is_some());
        let escaped = format!("\"{}\"", "\\u00e4\\\"".repeat(DOCUMENT_BYTES_MAX / 2 - 1));
        assert!(
            read(Kind::Workflow, escaped.as_bytes()).unwrap().json.is_some(),
            "the domain counts precisely"
        );
        for (kind, bytes_max) in [(Kind::Workflow, 262_144), (Kind::Schedule, 65_536)] {
            let text = format!("[{}0]", "0,".repeat(bytes_max / 2));
            let large = read(kind, text.as_bytes()).unwrap();
            assert!(large.json.is_none());
            let expected = format!(
                "{} has at most {bytes_max} bytes as JSON, and this has {}",
                kind.what(),
                bytes_max + 3
            );
            assert_eq!(large.problems[0].message, expected);
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{} x", "{'a':1}", "\u{1}"] {
            assert_eq!(
                read(Kind::Workflow, text.as_bytes()).unwrap_err().code(),
                ProblemCode::InvalidJson,
                "{text}"
            );
        }
    }
}
