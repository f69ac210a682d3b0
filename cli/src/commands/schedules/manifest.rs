//! Files of schedules.

use std::{io::Read, path::PathBuf};

use serde_json::Value;

use crate::{
    arguments::ScheduleName,
    commands::manifests::{
        files::{files, text_of},
        yaml::{self, Mistake, Places, Written},
    },
    exit::Failure,
};

/// One document of a file: a schedule.
#[derive(Debug)]
pub(super) struct Document {
    /// Its name.
    pub(super) name: ScheduleName,
    /// All of it, as the API reads it.
    pub(super) json: Value,
    /// Where each value stands.
    pub(super) places: Places,
}

/// What stands in a file: a document, or why it is none.
pub(super) type Found = (PathBuf, Result<Document, Mistake>);

/// Reads all that was named before anything is done with it.
///
/// # Errors
///
/// When a file cannot be read, or there is nothing in them.
pub(super) fn read(named: &[PathBuf], stdin: &mut impl Read) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    for file in files(named)? {
        let text = text_of(&file, stdin)?;
        found.extend(documents(&text).into_iter().map(|document| (file.clone(), document)));
    }
    if found.is_empty() {
        return Err(Failure::Usage("there is no schedule in what was named".to_owned()));
    }
    Ok(found)
}

fn documents(text: &str) -> Vec<Result<Document, Mistake>> {
    match yaml::read(text) {
        Ok(written) => written.into_iter().map(document).collect(),
        Err(mistake) => vec![Err(mistake)],
    }
}

/// The document, if it has a name.
fn document(Written { value, places }: Written) -> Result<Document, Mistake> {
    let refuse = |pointer: &str, message: String| Err(Mistake { place: places.of(pointer), message });
    let name = match &value {
        Value::Object(fields) => fields.get("name"),
        _ => {
            let message = "a schedule is an object with name, cron or every_seconds, and what it makes";
            return refuse("", message.to_owned());
        }
    };
    match name {
        Some(Value::String(name)) => match name.parse() {
            Ok(name) => Ok(Document { name, json: value, places }),
            Err(message) => refuse("/name", format!("name {name:?}: {message}")),
        },
        Some(other) => refuse("/name", format!("name is not a text: {other}")),
        None => refuse("", "it has no name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::commands::manifests::files::told;

    #[test]
    fn what_is_no_schedule_is_said_with_its_place() {
        let refusals = [
            "- name: a\n",
            "cron: '* * * * *'\n",
            "cron: x\nname: 7\n",
            "name: Nightly\n",
            "name: a\ncron: x\ncron: y\n",
        ];
        let lines = refusals.map(|text| {
            let mistake = documents(text).remove(0).unwrap_err();
            told(Path::new("schedules.yaml"), &mistake)
        });
        insta::assert_snapshot!(lines.join("\n"));
        let several = documents("name: a\n---\n{\"name\": \"b.c\"}\n");
        let names: Vec<String> =
            several.into_iter().map(|document| document.unwrap().name.to_string()).collect();
        assert_eq!(names, ["a", "b.c"]);
    }
}
