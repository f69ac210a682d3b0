//! Reading the fields of a JSON object, or the parameters of a query string, by hand: every problem is told at once,
//! each with a pointer to its place.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use crewcall_proto::{
    JsonObject, Timestamp,
    codec::{DEPTH_MAX, json_depth_exceeds},
    numbers::{ARRIVE, ChangedNumber, changed_numbers},
};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::problem::{Problem, ProblemCode, field};
use crate::{
    domain::{Problem as FieldProblem, escaped, excerpt},
    engine::settings::schema::PROBLEMS_MAX,
};

/// How alike two names must be, from 0 to 1, for one to be meant when the other is written.
const ALIKE_MIN: f64 = 0.8;

/// What stands before the name of a label in a query string: `label.project=x`.
const LABEL_PREFIX: &str = "label.";

/// What stands before the name of a parameter in a pointer.
const QUERY: &str = "?";

/// The fields of an object that were not read yet, and what is wrong with those that were. Some clients write
/// what they leave out as null: unless told otherwise, both are the same here.
pub(super) struct Fields {
    /// What the object is, with its article.
    what: &'static str,
    /// What stands before the name of a field in a pointer.
    at: String,
    /// What it is when a field is wrong.
    code: ProblemCode,
    fields: Map<String, Value>,
    /// The names that were asked for. Any other has no place here.
    known: Vec<&'static str>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    fn new(what: &'static str, at: &str, code: ProblemCode, fields: Map<String, Value>) -> Self {
        Self { what, at: at.to_owned(), code, fields, known: Vec::new(), problems: Vec::new() }
    }

    /// The fields of the object that is written as JSON in `text`. With `code` it is refused if it is not an object, or
    /// is nested too deeply.
    pub(super) fn parse(what: &'static str, text: &[u8], code: ProblemCode) -> Result<Self, Problem> {
        let refused = |message| Err(Problem::with_errors(code, vec![field("", message)]));
        if json_depth_exceeds(text, DEPTH_MAX) {
            return refused(format!(
                "it nests deeper than {DEPTH_MAX} levels: pass deep data as text or by reference"
            ));
        }
        let value = serde_json::from_slice(text).map_err(|error| {
            Problem::new(ProblemCode::InvalidJson, format!("the body is not JSON: {error}"))
        })?;
        match value {
            Value::Object(fields) => Ok(Self::new(what, "/", code, fields)),
            other => refused(format!("{what} is an object, not {}", a(&other))),
        }
    }

    /// The numbers below the pointer `within`, in the text that was parsed, arrive as they were sent, or are wrong.
    pub(super) fn numbers_arrive(&mut self, text: &[u8], within: &str) {
        for ChangedNumber { pointer, number } in changed_numbers(text, within, PROBLEMS_MAX) {
            let message =
                format!("the number {} would not arrive as it was sent: {ARRIVE}", excerpt(&number));
            self.wrong(&pointer[1..], message);
        }
    }

    /// The parameters of a query string. It has each once, but for `state`.
    pub(super) fn query(raw: Option<&str>) -> Self {
        let mut query = Self::new("the query", QUERY, ProblemCode::InvalidQuery, Map::new());
        let mut states = Vec::new();
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if name == "state" {
                states.extend(value.split(',').map(|word| Value::from(word.trim())));
            } else if query.fields.insert(name.clone().into_owned(), Value::from(&*value)).is_some() {
                query.wrong(&name, "it is given more than once");
            }
        }
        if !states.is_empty() {
            query.fields.insert("state".to_owned(), states.into());
        }
        query
    }

    /// The fields of an object within this one. Once they are read, [`Fields::within`] takes over what is wrong.
    pub(super) fn inner(&mut self, name: &'static str, what: &'static str) -> Option<Self> {
        let fields = self.object(name)?;
        Some(Self::new(what, &format!("{}{name}/", self.at), self.code, fields))
    }

    /// Whether the field is there, even as null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.take(name, "a string", |value| value.as_str().map(str::to_owned).ok_or(value))
    }

    /// A text that cannot be null.
    pub(super) fn some_text(&mut self, name: &'static str) -> Option<String> {
        self.refuse_null(name, "a string");
        self.text(name)
    }

    /// What `read` makes of a text, unless it says what is wrong with it.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        read(&text).map_err(|message| self.wrong(name, message)).ok()
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Option<i64> {
        self.take(name, "a whole number", |value| value.as_i64().ok_or(value))
    }

    pub(super) fn number(&mut self, name: &'static str) -> Option<f64> {
        self.take(name, "a number", |value| value.as_f64().ok_or(value))
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.take(name, "true or false", |value| value.as_bool().ok_or(value))
    }

    /// A time by RFC 3339.
    pub(super) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let hint = if self.is_query() { "; write a plus sign as %2B" } else { "" };
        let wrong = |_| format!("{name} is a time such as 2026-11-20T16:07:00Z (RFC 3339{hint})");
        let time = self.read(name, |text| text.parse::<jiff::Timestamp>().map_err(wrong))?;
        Some(Timestamp::from_millis(time.as_millisecond()))
    }

    /// A time that cannot be null.
    pub(super) fn some_time(&mut self, name: &'static str) -> Option<Timestamp> {
        self.refuse_null(name, "a time");
        self.time(name)
    }

    /// Anything but null.
    pub(super) fn value(&mut self, name: &'static str) -> Option<Value> {
        self.take(name, "a value", Ok)
    }

    /// An array of any values; empty, if it is left out.
    pub(super) fn array(&mut self, name: &'static str) -> Vec<Value> {
        let array = self.take(name, "an array", |value| match value {
            Value::Array(values) => Ok(values),
            other => Err(other),
        });
        array.unwrap_or_default()
    }

    /// An object of any fields.
    pub(super) fn object(&mut self, name: &'static str) -> Option<JsonObject> {
        self.take(name, "an object", |value| match value {
            Value::Object(fields) => Ok(fields),
            other => Err(other),
        })
    }

    /// An object of any fields that cannot be null.
    pub(super) fn some_object(&mut self, name: &'static str) -> Option<JsonObject> {
        self.refuse_null(name, "an object");
        self.object(name)
    }

    /// States of jobs or runs: an array of words, or in a query string words with commas between them.
    pub(super) fn states<S: FromStr<Err: Display>>(&mut self) -> Vec<S> {
        let words = self.take("state", "an array", |value| value.as_array().cloned().ok_or(value));
        let mut states = Vec::new();
        for (index, word) in words.unwrap_or_default().iter().enumerate() {
            match word.as_str().unwrap_or_default().parse::<S>() {
                Ok(state) => states.push(state),
                Err(error) if self.is_query() => self.wrong("state", error.to_string()),
                Err(error) => self.wrong(&format!("state/{index}"), error.to_string()),
            }
        }
        states
    }

    /// Labels: an object of texts, or in a query string a parameter for each.
    pub(super) fn labels(&mut self) -> BTreeMap<String, String> {
        let given = if self.is_query() { self.label_parameters() } else { self.object("labels") };
        let mut labels = BTreeMap::new();
        for (label, value) in given.unwrap_or_default() {
            if let Value::String(text) = value {
                labels.insert(label, text);
            } else {
                let message = format!("a label's value is a string, not {}", a(&value));
                self.wrong(&format!("labels/{}", escaped(&label)), message);
            }
        }
        labels
    }

    fn label_parameters(&mut self) -> Option<JsonObject> {
        self.known.push("label.NAME");
        let label =
            |name: &str| name.strip_prefix(LABEL_PREFIX).filter(|label| !label.is_empty()).map(str::to_owned);
        let names: Vec<String> = self.fields.keys().filter(|name| label(name).is_some()).cloned().collect();
        names.iter().map(|name| Some((label(name)?, self.fields.remove(name)?))).collect()
    }

    /// Something is wrong with a field.
    pub(super) fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(field(format!("{}{name}", self.at), message));
    }

    /// Takes over what is wrong with an object within this one.
    pub(super) fn within(&mut self, fields: Self) {
        self.problems.extend(fields.finish());
    }

    /// What is wrong. Whatever was not read has no place here.
    pub(super) fn finish(mut self) -> Vec<FieldProblem> {
        for name in std::mem::take(&mut self.fields).keys() {
            let (shown, hint) = (excerpt(name), self.hint(name));
            let what = if self.is_query() { "parameter" } else { "field" };
            self.wrong(&escaped(&shown), format!("there is no {what} {shown:?}: {hint}"));
        }
        self.problems
    }

    /// What was made of the fields, or everything that is wrong with it and with them.
    pub(super) fn conclude<T>(self, made: Result<T, Vec<FieldProblem>>) -> Result<T, Problem> {
        let code = self.code;
        let mut problems = self.finish();
        match made {
            Ok(made) if problems.is_empty() => Ok(made),
            made => {
                problems.extend(made.err().unwrap_or_default());
                let only_cursor = problems.iter().all(|problem| problem.pointer == "?cursor");
                let code = if only_cursor { ProblemCode::InvalidCursor } else { code };
                Err(Problem::with_errors(code, problems))
            }
        }
    }

    fn is_query(&self) -> bool {
        self.at == QUERY
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.fields.remove(name).filter(|value| !value.is_null())?;
        read(value).map_err(|other| self.wrong(name, format!("{name} is {expected}, not {}", a(&other)))).ok()
    }

    fn refuse_null(&mut self, name: &str, expected: &str) {
        if self.fields.get(name).is_some_and(Value::is_null) {
            self.wrong(name, format!("{name} is {expected}, not null"));
        }
    }

    /// Which name was meant, or may be meant.
    fn hint(&self, name: &str) -> String {
        let alike = |known: &&str| strsim::jaro_winkler(name, known);
        let nearest = self.known.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b)));
        match nearest.filter(|known| alike(known) >= ALIKE_MIN) {
            Some(known) => format!("did you mean {known:?}?"),
            None => format!("{} has {}", self.what, self.known.join(", ")),
        }
    }
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
