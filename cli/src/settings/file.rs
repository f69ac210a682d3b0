//! `crewcall.toml`: one key per setting, all optional. All that is wrong with it is collected, to be told at once.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{KEYS, SettingsError};
use crate::nearest::nearest;

/// The settings file, read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct SettingsFile {
    /// What is set, as it would be written in a variable.
    pub(super) values: BTreeMap<String, String>,
    /// What cannot be used.
    pub(super) mistakes: Vec<String>,
}

impl SettingsFile {
    /// Reads the text of a settings file.
    ///
    /// # Errors
    ///
    /// [`SettingsError::File`] for what is not TOML. Keys and values are judged with all other settings.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, SettingsError> {
        let line_of = |position: usize| text[..position].matches('\n').count() + 1;
        // The parser's own report draws the line with an arrow: it is for terminals, so it goes below.
        let table = DeTable::parse(text).map_err(|error| SettingsError::File {
            path: path.to_owned(),
            reason: match error.span() {
                Some(span) => format!("line {}: {}", line_of(span.start), error.message()),
                None => error.message().to_owned(),
            },
        })?;
        let mut file = Self::default();
        for (key, value) in table.get_ref() {
            let place = format!("'{}' in line {} of {path}", key.get_ref(), line_of(key.span().start));
            match setting(key.get_ref(), value) {
                Ok(text) => {
                    file.values.insert(key.get_ref().to_string(), text);
                }
                Err(reason) => file.mistakes.push(format!("{place}: {reason}")),
            }
        }
        Ok(file)
    }
}

/// A value as it would be written in a variable, if the key is one of ours.
fn setting(key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    if !KEYS.contains(&key) {
        return Err(match nearest(key, KEYS) {
            Some(meant) => format!("there is no such setting; did you mean {meant}?"),
            None => format!("there is no such setting; there are {}", KEYS.join(", ")),
        });
    }
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if key != "http_hosts" => Ok(number.to_string()),
        DeValue::Boolean(is_so) => Ok(is_so.to_string()),
        DeValue::Array(names) if key == "http_hosts" => {
            let names = names.iter().map(|name| match name.get_ref() {
                DeValue::String(name) => Ok(name.to_string()),
                _ => Err("each of the names has to be a text in quotes".to_owned()),
            });
            Ok(names.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        _ => Err("write its value as a text in quotes".to_owned()),
    }
}
