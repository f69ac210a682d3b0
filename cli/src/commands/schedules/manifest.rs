//! Files of schedules.

use serde_json::Value;

use crate::{
    arguments::ScheduleName,
    commands::manifests::{
        documents,
        yaml::{Mistake, Places, Written},
    },
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

/// Reads one.
pub(super) fn document(Written { value, places }: Written) -> Result<Document, Mistake> {
    let Value::Object(fields) = &value else {
        let message =
            "a schedule is an object with name, cron or every_seconds, and what it makes".to_owned();
        return Err(Mistake { place: places.of(""), message });
    };
    let name = documents::name(fields.get("name"), &places)?;
    Ok(Document { name, json: value, places })
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
            let mistake = documents::read(text, document).remove(0).unwrap_err();
            told(Path::new("schedules.yaml"), &mistake)
        });
        insta::assert_snapshot!(lines.join("\n"));
        let several = documents::read("name: a\n---\n{\"name\": \"b.c\"}\n", document);
        let names: Vec<String> =
            several.into_iter().map(|document| document.unwrap().name.to_string()).collect();
        assert_eq!(names, ["a", "b.c"]);
    }
}
