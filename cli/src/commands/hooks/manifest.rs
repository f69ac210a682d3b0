//! Files of hooks.

use serde_json::Value;

use crate::{
    arguments::HookName,
    commands::manifests::{
        documents,
        yaml::{Mistake, Places, Written},
    },
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

/// Reads one.
pub(super) fn document(written: Written) -> Result<Document, Mistake> {
    let (name, settings, places) = documents::settings(written, "a hook is an object with name and verify")?;
    Ok(Document { name, settings, places })
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
            let Err(mistake) = documents::read(text, document).remove(0) else { panic!("{text} is a hook") };
            told(Path::new("hooks.yaml"), &mistake)
        });
        insta::assert_snapshot!(lines.join("\n"));
        let several =
            documents::read("name: a\nverify: {standard: {}}\n---\n{\"name\": \"b.c\"}\n", document);
        let read = several.into_iter().flatten().map(|found| format!("{} {}", found.name, found.settings));
        assert_eq!(read.collect::<Vec<_>>(), ["a {\"verify\":{\"standard\":{}}}", "b.c {}"]);
    }
}
