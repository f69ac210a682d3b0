//! The parameters of a submission, or the data of an event, from the words on the command line.
//!
//! | word | means |
//! | --- | --- |
//! | `key=value` | the text `value` |
//! | `key:=json` | any JSON value: `width:=640`, `tags:='["a","b"]'` |
//! | `key=@file` | the text in `file` |
//! | `key:=@file` | the JSON in `file` |
//! | `-` | all of them, a JSON object, from standard input |

use std::{
    fs::File,
    io::{self, Read},
};

use crewcall_proto::numbers::{ARRIVE, changed_numbers};
use serde_json::{Map, Value};

use crate::text::shorten;

/// The longest file or input that is read for them, in bytes. The backend takes 256 KiB of
/// either; this is only here so that `@/dev/zero` ends.
pub(crate) const INPUT_BYTES_MAX: u64 = 1024 * 1024;

/// How much of a refused number is repeated, in characters.
const NUMBER_CHARACTERS_MAX: usize = 64;

/// Where the parameters of one submission come from.
#[derive(Debug, Default)]
pub(crate) struct ParameterSource<'a> {
    /// The words after the job type.
    pub(crate) words: &'a [String],
    /// `--parameters`: JSON, `@file` or `-`. The words are added to it.
    pub(crate) base: Option<&'a str>,
    /// What they are.
    pub(crate) what: Wanted,
}

/// What is read, by which messages name it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The parameters of a job.
    #[default]
    Parameters,
    /// The data of an event.
    Data,
}

impl Wanted {
    /// The option for all of them.
    fn option(self) -> &'static str {
        match self {
            Self::Parameters => "--parameters",
            Self::Data => "--data",
        }
    }

    /// What one word gives.
    fn one(self) -> &'static str {
        match self {
            Self::Parameters => "parameter",
            Self::Data => "field",
        }
    }
}

/// How a parameter was written, so that a refusal can say how to write it instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `key=value`
    Text,
    /// `key:=json`
    Json,
}

/// A parameter that could not be read. Every message shows the right form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParameterError {
    /// Neither `key=value` nor `key:=json`.
    #[error(
        "'{word}' is not a {one}; write key=value for text or key:=json for numbers, lists and the like{hint}"
    )]
    Form {
        /// What was written.
        word: String,
        /// What should have been.
        one: &'static str,
        /// What may have been meant.
        hint: &'static str,
    },
    /// `=value` or `:=json`.
    #[error("'{word}' has no name before the '='; write key=value or key:=json")]
    NoKey {
        /// What was written.
        word: String,
    },
    /// `key==value`, which some programs take for something else.
    #[error(
        "'{word}' has two '='; write {key}={value}, or {key}:='\"={value}\"' for a text that begins with '='"
    )]
    TwoEquals {
        /// What was written.
        word: String,
        /// The key.
        key: String,
        /// What stands after both.
        value: String,
    },
    /// The same key twice.
    #[error("the {one} '{key}' is given twice; write it once")]
    Duplicate {
        /// What is.
        one: &'static str,
        /// The key.
        key: String,
    },
    /// A number that would not arrive as it was written.
    #[error("{origin}: the number {number} would be sent as another one: {ARRIVE}")]
    Number {
        /// The parameter, or the place that it was read from.
        origin: String,
        /// The number.
        number: String,
    },
    /// `key:=` with something that is no JSON.
    #[error(
        "'{word}' is not JSON after ':=' ({reason}); write {key}={value} for text, or JSON such as {key}:=640"
    )]
    Json {
        /// What was written.
        word: String,
        /// The key.
        key: String,
        /// What stands after `:=`.
        value: String,
        /// What the parser said.
        reason: String,
    },
    /// The whole parameters are not JSON, or not an object.
    #[error("{origin} {reason}; give a JSON object such as {{\"source\": \"a.jpg\", \"width\": 640}}")]
    Document {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or standard input could not be read.
    #[error("cannot read {origin}: {reason}{hint}")]
    Read {
        /// What was read.
        origin: String,
        /// Why not.
        reason: String,
        /// How to write a text that starts with '@', when that may have been meant.
        hint: String,
    },
    /// Standard input named twice.
    #[error("standard input can be read once only; use either a lone '-' or {option} -, one time")]
    InputTwice {
        /// The option for all of them.
        option: &'static str,
    },
}

impl ParameterSource<'_> {
    /// Reads the parameters: files from the disk, and `-` from `input`.
    ///
    /// # Errors
    ///
    /// [`ParameterError`], at the first word that is wrong.
    pub(crate) fn read(&self, input: impl Read) -> Result<Map<String, Value>, ParameterError> {
        let (option, one) = (self.what.option(), self.what.one());
        let lone_dash = self.words.iter().filter(|word| *word == "-").count();
        if lone_dash + usize::from(self.base == Some("-")) > 1 {
            return Err(ParameterError::InputTwice { option });
        }
        let mut parameters = match (self.base, lone_dash) {
            (Some(_), 1) => return Err(ParameterError::InputTwice { option }),
            (Some("-"), _) | (None, 1) => document("standard input", &read_text(input, "standard input")?)?,
            (Some(base), _) => match base.strip_prefix('@') {
                Some(path) => document(&format!("'{path}'"), &read_file(path, String::new)?)?,
                None => document(option, base)?,
            },
            (None, _) => Map::new(),
        };
        for word in self.words.iter().filter(|word| *word != "-") {
            let (key, value) = read_word(word, self.what)?;
            if parameters.contains_key(key) {
                return Err(ParameterError::Duplicate { one, key: key.to_owned() });
            }
            parameters.insert(key.to_owned(), value);
        }
        Ok(parameters)
    }

    /// How `key` was written, if it stands among the words.
    pub(crate) fn form_of(&self, key: &str) -> Option<Form> {
        self.words.iter().find_map(|word| match split(word, self.what) {
            Ok((name, form, _)) if name == key => Some(form),
            _ => None,
        })
    }
}

/// Splits a word at its first `=`, or at the `:=` that this is part of.
fn split(word: &str, what: Wanted) -> Result<(&str, Form, &str), ParameterError> {
    let Some((left, value)) = word.split_once('=') else {
        let is_wait = what == Wanted::Parameters && word.parse::<u64>().is_ok();
        let hint = if is_wait { "; a wait time is written --wait=SECONDS" } else { "" };
        return Err(ParameterError::Form { word: word.to_owned(), one: what.one(), hint });
    };
    let (key, form) = match left.strip_suffix(':') {
        Some(key) => (key, Form::Json),
        None => (left, Form::Text),
    };
    if key.is_empty() {
        return Err(ParameterError::NoKey { word: word.to_owned() });
    }
    if let (Form::Text, Some(value)) = (form, value.strip_prefix('=')) {
        return Err(ParameterError::TwoEquals {
            word: word.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }
    Ok((key, form, value))
}

fn read_word(word: &str, what: Wanted) -> Result<(&str, Value), ParameterError> {
    let (key, form, value) = split(word, what)?;
    match (form, value.strip_prefix('@')) {
        (Form::Text, None) => Ok((key, Value::String(value.to_owned()))),
        (Form::Text, Some(path)) => {
            let hint = || format!("; for the text itself write {key}:='\"{value}\"'");
            Ok((key, Value::String(read_file(path, hint)?)))
        }
        (Form::Json, file) => {
            let text = match file {
                Some(path) => read_file(path, String::new)?,
                None => value.to_owned(),
            };
            let parsed = serde_json::from_str(&text).map_err(|error| match file {
                Some(path) => ParameterError::Read {
                    origin: format!("'{path}'"),
                    reason: format!("it is not JSON ({error})"),
                    hint: format!("; for its text write {key}=@{path}"),
                },
                None => ParameterError::Json {
                    word: word.to_owned(),
                    key: key.to_owned(),
                    value: value.to_owned(),
                    reason: error.to_string(),
                },
            })?;
            match changed_number(&text) {
                Some(number) => Err(ParameterError::Number { origin: format!("'{key}'"), number }),
                None => Ok((key, parsed)),
            }
        }
    }
}

/// The first number that would be sent as another one.
fn changed_number(json: &str) -> Option<String> {
    changed_numbers(json.as_bytes(), "", 1)
        .pop()
        .map(|changed| shorten(&changed.number, NUMBER_CHARACTERS_MAX))
}

fn document(origin: &str, text: &str) -> Result<Map<String, Value>, ParameterError> {
    let refuse = |reason: String| ParameterError::Document { origin: origin.to_owned(), reason };
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => match changed_number(text) {
            Some(number) => Err(ParameterError::Number { origin: origin.to_owned(), number }),
            None => Ok(map),
        },
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(refuse("is JSON, but not an object".to_owned()))
        }
        Err(error) => Err(refuse(format!("is not JSON ({error})"))),
    }
}

fn read_file(path: &str, hint: impl Fn() -> String) -> Result<String, ParameterError> {
    let origin = format!("'{path}'");
    match File::open(path) {
        Ok(file) => read_text(file, &origin),
        Err(error) => Err(ParameterError::Read { origin, reason: error.to_string(), hint: hint() }),
    }
}

fn read_text(input: impl Read, origin: &str) -> Result<String, ParameterError> {
    let refuse =
        |reason: String| ParameterError::Read { origin: origin.to_owned(), reason, hint: String::new() };
    let mut text = String::new();
    let read = input.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        Ok(bytes) if bytes as u64 > INPUT_BYTES_MAX => Err(refuse(format!(
            "it is longer than {INPUT_BYTES_MAX} bytes; larger data travels by reference: put it where its reader finds it and pass its path or URL"
        ))),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(refuse("it is not UTF-8 text; pass its path instead".to_owned()))
        }
        Err(error) => Err(refuse(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(words: &[&str], base: Option<&str>, input: &str) -> Result<Value, ParameterError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        ParameterSource { words: &words, base, ..ParameterSource::default() }
            .read(input.as_bytes())
            .map(Value::Object)
    }

    #[test]
    fn text_and_json() {
        let parameters = read(
            &["source=a.jpg", "width:=640", "tags:=[\"a\"]", "empty=", "url=http://h/?q:=1", "n=5"],
            None,
            "",
        );
        assert_eq!(
            parameters.unwrap(),
            json!({"source": "a.jpg", "width": 640, "tags": ["a"], "empty": "", "url": "http://h/?q:=1", "n": "5"})
        );
    }

    #[test]
    fn nothing_is_an_empty_object() {
        assert_eq!(read(&[], None, "").unwrap(), json!({}));
    }

    #[test]
    fn files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.json");
        std::fs::write(&path, "{\"a\": [1, 2]}").unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(
            read(&[&format!("text=@{path}"), &format!("value:=@{path}")], None, "").unwrap(),
            json!({"text": "{\"a\": [1, 2]}", "value": {"a": [1, 2]}})
        );
        assert_eq!(read(&["b:=1"], Some(&format!("@{path}")), "").unwrap(), json!({"a": [1, 2], "b": 1}));
    }

    #[test]
    fn standard_input() {
        assert_eq!(read(&["-"], None, "{\"a\": 1}").unwrap(), json!({"a": 1}));
        assert_eq!(read(&["b=2"], Some("-"), "{\"a\": 1}").unwrap(), json!({"a": 1, "b": "2"}));
        for (words, base) in [(["-", "-"].as_slice(), None), (&["-"], Some("{}"))] {
            let error = read(words, base, "{}").unwrap_err();
            assert_eq!(error, ParameterError::InputTwice { option: "--parameters" });
        }
    }

    #[test]
    fn mistakes_show_the_right_form() {
        let messages: Vec<String> = [
            read(&["source"], None, ""),
            read(&["30"], None, ""),
            read(&["source==a.jpg"], None, ""),
            read(&["=a.jpg"], None, ""),
            read(&[":=1"], None, ""),
            read(&["a=1", "a:=2"], None, ""),
            read(&["a=1"], Some("{\"a\": 2}"), ""),
            read(&["width:=64O"], None, ""),
            read(&["user=@home"], None, ""),
            read(&[], Some("[1]"), ""),
            read(&[], Some("{"), ""),
            read(&["-"], None, "source=a"),
            read(&["n:=[1, 18446744073709551616]"], None, ""),
            read(&[], Some("{\"n\": -0}"), ""),
        ]
        .into_iter()
        .map(|result| result.unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn mistakes_in_the_data_of_an_event_do_not_speak_of_parameters() {
        let messages = [
            (vec!["amount"], None),
            (vec!["30"], None),
            (vec!["a=1", "a=2"], None),
            (vec!["-"], Some("-")),
            (vec![], Some("[1]")),
        ]
        .map(|(words, base): (Vec<&str>, _)| {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            let source = ParameterSource { words: &words, base, what: Wanted::Data };
            source.read(io::empty()).unwrap_err().to_string()
        });
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn an_endless_file_is_refused() {
        let error = read(&["a=@/dev/zero"], None, "").unwrap_err();
        assert!(error.to_string().contains("longer than 1048576 bytes"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let words = ["-".to_owned()];
        let error = ParameterSource { words: &words, ..ParameterSource::default() }
            .read(&b"\xff\xfe"[..])
            .unwrap_err();
        assert!(error.to_string().contains("not UTF-8"), "{error}");
    }

    #[test]
    fn the_form_of_a_key() {
        let words = ["source=a.jpg".to_owned(), "width:=640".to_owned()];
        let source = ParameterSource { words: &words, ..ParameterSource::default() };
        assert_eq!(source.form_of("source"), Some(Form::Text));
        assert_eq!(source.form_of("width"), Some(Form::Json));
        assert_eq!(source.form_of("height"), None);
    }
}
