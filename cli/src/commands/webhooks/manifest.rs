//! Files of webhooks.

use serde_json::Value;

use crate::{
    arguments::WebhookName,
    commands::manifests::{
        documents,
        yaml::{Mistake, Places, Written},
    },
};

/// One document of a file: a webhook.
#[derive(Debug)]
pub(super) struct Document {
    /// Its name.
    pub(super) name: WebhookName,
    /// The other fields, as the API reads them.
    pub(super) settings: Value,
    /// Where each value stands.
    pub(super) places: Places,
}

/// Reads one.
pub(super) fn document(written: Written) -> Result<Document, Mistake> {
    let (name, settings, places) =
        documents::settings(written, "a webhook is an object with name, url and subjects")?;
    Ok(Document { name, settings, places })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::commands::manifests::files::told;

    #[test]
    fn what_is_no_webhook_is_said_with_its_place() {
        let refusals =
            ["- name: a\n", "url: https://a.example/\n", "url: x\nname: 7\n", "name: Shop\n", "name: [\n"];
        let lines = refusals.map(|text| {
            told(Path::new("webhooks.yaml"), &documents::read(text, document).remove(0).unwrap_err())
        });
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn all_but_the_name_is_what_the_api_reads() {
        let text = "url: https://a.example/\nname: a\nsubjects: [order.*]\nif: event.data.total > 100\n---\n{\"name\": \"b.c\"}\n";
        let read = documents::read(text, document).into_iter().map(Result::unwrap);
        let read = read.map(|found| format!("{} {}", found.name, found.settings));
        let first = r#"a {"url":"https://a.example/","subjects":["order.*"],"if":"event.data.total > 100"}"#;
        assert_eq!(read.collect::<Vec<_>>(), [first, "b.c {}"]);
    }
}
