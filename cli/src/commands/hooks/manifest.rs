//! Files of hooks.

use std::{io::Read, path::PathBuf};

use serde_json::Value;

use crate::{
    arguments::HookName,
    commands::manifests::{
        files::{files, text_of},
        yaml::{self, Mistake, Places, Written},
    },
    exit::Failure,
};

/// One document of a file: a hook. It may have a secret, so it is never shown as a whole.
pub(super) struct Document {
    /// Its name.
    pub(super) name: HookName,
    /// The other fields, as the API reads them.
    pub(super) settings: Value,
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
        return Err(Failure::Usage("there is no hook in what was named".to_owned()));
    }
    Ok(found)
}

fn documents(text: &str) -> Vec<Result<Document, Mistake>> {
    match yaml::read(text) {
        Ok(written) => written.into_iter().map(document).collect(),
        Err(mistake) => vec![Err(mistake)],
    }
}

fn document(Written { value, places }: Written) -> Result<Document, Mistake> {
    let refuse = |pointer: &str, message: String| Err(Mistake { place: places.of(pointer), message });
    let Value::Object(mut settings) = value else {
        return refuse("", "a hook is an object with name and verify".to_owned());
    };
    // In the order of the file: `remove` would move the last field to the place of the name.
    let name = match settings.shift_remove("name") {
        Some(Value::String(name)) => name,
        Some(other) => return refuse("/name", format!("name is not a text: {other}")),
        None => return refuse("", "it has no name".to_owned()),
    };
    match name.parse() {
        Ok(name) => Ok(Document { name, settings: Value::Object(settings), places }),
        Err(message) => refuse("/name", format!("name {name:?}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::commands::manifests::files::told;

    #[test]
    fn what_is_no_hook_is_said_with_its_place() {
        let refusals = ["- name: a\n", "verify: {standard: {}}\n", "verify: {}\nname: 7\n", "name: GitHub\n"];
        let lines = refusals.map(|text| {
            let Err(mistake) = documents(text).remove(0) else { panic!("{text} is a hook") };
            told(Path::new("hooks.yaml"), &mistake)
        });
        insta::assert_snapshot!(lines.join("\n"));
        let several = documents("name: a\nverify: {standard: {}}\n---\n{\"name\": \"b.c\"}\n");
        let read = several.into_iter().flatten().map(|found| format!("{} {}", found.name, found.settings));
        assert_eq!(read.collect::<Vec<_>>(), ["a {\"verify\":{\"standard\":{}}}", "b.c {}"]);
    }
}
