//! Reading the fields of a JSON object by hand: every problem is told at once, each with a pointer to its field.

use std::collections::BTreeMap;

use crewcall_proto::{
    JsonObject, Timestamp,
    codec::{DEPTH_MAX, json_depth_exceeds},
};
use serde_json::{Map, Value};

use super::{
    problem::{Code, Problem, field},
    query::read_time,
};
use crate::domain::{Problem as FieldProblem, excerpt};

/// How alike two names must be, from 0 to 1, for one to be meant when the other is written.
const ALIKE_MIN: f64 = 0.8;

/// Which fields an object may have.
pub(super) struct Shape {
    /// What the object is, with its article.
    pub(super) what: &'static str,
    /// The pointer to it.
    pub(super) at: &'static str,
    /// The names of its fields.
    pub(super) names: &'static [&'static str],
}

/// The fields of an object that were not read yet, and what is wrong with those that were. Some clients write
/// what they leave out as null: unless told otherwise, both are the same here.
pub(super) struct Fields {
    shape: &'static Shape,
    fields: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    /// The fields of an object within another.
    pub(super) fn new(shape: &'static Shape, fields: Map<String, Value>) -> Self {
        Self { shape, fields, problems: Vec::new() }
    }

    /// The fields of the object that is written as JSON in `text`.
    ///
    /// # Errors
    ///
    /// The [`Problem`] to answer: no JSON; or, with `code`, no object or nested too deeply.
    pub(super) fn parse(shape: &'static Shape, text: &[u8], code: Code) -> Result<Self, Problem> {
        if json_depth_exceeds(text, DEPTH_MAX) {
            let message =
                format!("it nests deeper than {DEPTH_MAX} levels: pass deep data as text or by reference");
            return Err(Problem::with_errors(code, vec![field("", message)]));
        }
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| Problem::new(Code::InvalidJson, format!("the body is not JSON: {error}")))?;
        match value {
            Value::Object(fields) => Ok(Self::new(shape, fields)),
            other => {
                let message = format!("{} is an object, not {}", shape.what, a(&other));
                Err(Problem::with_errors(code, vec![field("", message)]))
            }
        }
    }

    /// Whether the field is there, even as null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, "a string", |value| match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
    }

    /// A text that cannot be null.
    pub(super) fn some_text(&mut self, name: &str) -> Option<String> {
        self.refuse_null(name, "a string");
        self.text(name)
    }

    /// A whole number.
    pub(super) fn integer(&mut self, name: &str) -> Option<i64> {
        self.take(name, "a whole number", |value| value.as_i64().ok_or(value))
    }

    /// A number.
    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        self.take(name, "a number", |value| value.as_f64().ok_or(value))
    }

    /// Yes or no.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.take(name, "true or false", |value| value.as_bool().ok_or(value))
    }

    /// A time.
    pub(super) fn time(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let time = read_time(&text);
        if time.is_none() {
            self.wrong(name, format!("{name} is a time such as 2026-11-20T16:07:00Z (RFC 3339)"));
        }
        time
    }

    /// An object of any fields.
    pub(super) fn object(&mut self, name: &str) -> Option<JsonObject> {
        self.take(name, "an object", |value| match value {
            Value::Object(fields) => Ok(fields),
            other => Err(other),
        })
    }

    /// An object of any fields that cannot be null.
    pub(super) fn some_object(&mut self, name: &str) -> Option<JsonObject> {
        self.refuse_null(name, "an object");
        self.object(name)
    }

    /// An array.
    pub(super) fn array(&mut self, name: &str) -> Option<Vec<Value>> {
        self.take(name, "an array", |value| match value {
            Value::Array(items) => Ok(items),
            other => Err(other),
        })
    }

    /// An object of texts.
    pub(super) fn labels(&mut self, name: &str) -> BTreeMap<String, String> {
        let mut read = BTreeMap::new();
        for (label, value) in self.object(name).unwrap_or_default() {
            if let Value::String(text) = value {
                read.insert(label, text);
            } else {
                let message = format!("a label's value is a string, not {}", a(&value));
                self.wrong(&format!("{name}/{}", escaped(&label)), message);
            }
        }
        read
    }

    /// Something is wrong with a field.
    pub(super) fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(field(format!("{}/{name}", self.shape.at), message));
    }

    /// Takes over what is wrong with an object within this one.
    pub(super) fn within(&mut self, fields: Self) {
        self.problems.extend(fields.finish());
    }

    /// What is wrong. Whatever was not read has no place here.
    pub(super) fn finish(mut self) -> Vec<FieldProblem> {
        for name in self.fields.keys() {
            self.problems.push(unknown(self.shape, name));
        }
        self.problems
    }

    fn take<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Option<T> {
        let value = self.fields.remove(name).filter(|value| !value.is_null())?;
        read(value).map_err(|other| self.wrong(name, format!("{name} is {expected}, not {}", a(&other)))).ok()
    }

    fn refuse_null(&mut self, name: &str, expected: &str) {
        if self.fields.get(name).is_some_and(Value::is_null) {
            self.wrong(name, format!("{name} is {expected}, not null"));
        }
    }
}

fn unknown(shape: &Shape, name: &str) -> FieldProblem {
    let alike = |known: &&str| strsim::jaro_winkler(name, known);
    let nearest = shape.names.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let nearest = nearest.filter(|known| alike(known) >= ALIKE_MIN);
    let shown = excerpt(name);
    let hint = match nearest {
        Some(known) => format!("did you mean {known:?}?"),
        None => format!("{} has {}", shape.what, shape.names.join(", ")),
    };
    field(format!("{}/{}", shape.at, escaped(&shown)), format!("there is no field {shown:?}: {hint}"))
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
