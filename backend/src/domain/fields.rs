//! Reading the fields of a JSON object by hand: every problem is told, with a pointer to its place.

use std::time::Duration;

use crewcall_expressions::Json;
use crewcall_proto::JsonObject;

use super::{Problem, escaped, excerpt, nearest::nearest, problem::PROBLEMS_MAX};

/// The fields of an object, which of them were asked for, and what is wrong. As everywhere, a field that is null is one that
/// is left out.
pub(super) struct Fields<'a> {
    /// What the object is, with its article.
    what: &'static str,
    /// The pointer to the object.
    pointer: String,
    object: &'a JsonObject,
    /// The names that were asked for. Any other has no place here.
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(what: &'static str, pointer: impl Into<String>, object: &'a JsonObject) -> Self {
        Self { what, pointer: pointer.into(), object, known: Vec::new(), problems: Vec::new() }
    }

    /// The pointer to the object.
    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The pointer to a field.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, escaped(name))
    }

    /// Whether the field is there, and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// Anything but null.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Json> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        self.take(name, "a string", Json::as_str)
    }

    /// What `read` makes of a text, unless it says what is wrong with it.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        read(text).map_err(|message| self.wrong(name, message)).ok()
    }

    /// One of a closed set of words.
    pub(super) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.read(name, |text| {
            let meant = words.iter().find(|(word, _)| *word == text);
            meant.map(|(_, meaning)| *meaning).ok_or_else(|| {
                let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                match nearest(text, all.iter().copied()) {
                    Some(word) => format!("{name} is not {:?}: did you mean {word:?}?", excerpt(text)),
                    None => format!("{name} is one of {}, not {:?}", all.join(", "), excerpt(text)),
                }
            })
        })
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Option<i64> {
        self.take(name, "a whole number", Json::as_i64)
    }

    /// A whole number from 1 to `most`.
    pub(super) fn count(&mut self, name: &'static str, most: u32) -> Option<u32> {
        let number = self.integer(name)?;
        let count = u32::try_from(number).ok().filter(|count| (1..=most).contains(count));
        if count.is_none() {
            self.wrong(name, format!("{name} is a whole number from 1 to {most}, not {number}"));
        }
        count
    }

    pub(super) fn number(&mut self, name: &'static str) -> Option<f64> {
        self.take(name, "a number", Json::as_f64)
    }

    /// A number of seconds within a range.
    pub(super) fn seconds(
        &mut self,
        name: &'static str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        let seconds = self.number(name)?;
        let duration = Duration::try_from_secs_f64(seconds).ok();
        let within = duration.filter(|duration| (least..=most).contains(duration));
        if within.is_none() {
            let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
            self.wrong(name, format!("{name} is a number of seconds from {least} to {most}, not {seconds}"));
        }
        within
    }

    pub(super) fn array(&mut self, name: &'static str) -> Option<&'a [Json]> {
        self.take(name, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    pub(super) fn object(&mut self, name: &'static str) -> Option<&'a JsonObject> {
        self.take(name, "an object", Json::as_object)
    }

    /// The fields of an object within this one. Once they are read, [`Fields::within`] takes over what is wrong.
    pub(super) fn inner(&mut self, name: &'static str, what: &'static str) -> Option<Self> {
        let object = self.object(name)?;
        Some(Self::new(what, self.at(name), object))
    }

    /// Takes over what is wrong with an object within this one.
    pub(super) fn within(&mut self, inner: Self) {
        self.problems.extend(inner.finish());
    }

    /// Something is wrong with a field.
    pub(super) fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(self.at(name), message));
    }

    /// Whether something is wrong at this pointer.
    pub(super) fn is_wrong_at(&self, pointer: &str) -> bool {
        self.problems.iter().any(|problem| problem.pointer == pointer)
    }

    /// Something is wrong with the object as a whole.
    pub(super) fn wrong_as_a_whole(&mut self, message: impl Into<String>) {
        self.problems.push(Problem::new(self.pointer.clone(), message));
    }

    /// Takes over problems that somebody else found.
    pub(super) fn add(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems);
    }

    /// Says more precisely what the object is.
    pub(super) fn call(&mut self, what: &'static str) {
        self.what = what;
    }

    /// The list of what is wrong, for others to add to.
    pub(super) fn problems(&mut self) -> &mut Vec<Problem> {
        &mut self.problems
    }

    /// What is wrong. Whatever was not asked for has no place here.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let there = self.object.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name);
        for name in there.filter(|name| !self.known.contains(&name.as_str())).take(PROBLEMS_MAX) {
            let hint = match nearest(name, self.known.iter().copied()) {
                Some(known) => format!("did you mean {known:?}?"),
                None => format!("{} has {}", self.what, self.known.join(", ")),
            };
            let shown = excerpt(name);
            let pointer = format!("{}/{}", self.pointer, escaped(&shown));
            self.problems.push(Problem::new(pointer, format!("there is no field {shown:?}: {hint}")));
        }
        self.problems
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let taken = read(value);
        if taken.is_none() {
            self.wrong(name, format!("{name} is {expected}, not {}", kind(value)));
        }
        taken
    }
}

/// What a value is, with its article.
pub(super) fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(number) if number.is_f64() => "a fraction",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
