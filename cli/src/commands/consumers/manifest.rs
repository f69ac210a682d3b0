//! Files of consumers.

use serde_json::Value;

use crate::{
    arguments::ConsumerName,
    commands::manifests::{
        documents,
        yaml::{Mistake, Places, Written},
    },
};

/// One document: the settings of a consumer.
#[derive(Debug)]
pub(super) struct Document {
    /// Its name.
    pub(super) name: ConsumerName,
    /// The other fields, as the API reads them.
    pub(super) settings: Value,
    /// Where each value stands.
    pub(super) places: Places,
}

/// Reads one.
pub(super) fn document(written: Written) -> Result<Document, Mistake> {
    let (name, settings, places) =
        documents::settings(written, "a consumer is an object with name, subjects and then")?;
    Ok(Document { name, settings, places })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::manifests::yaml;

    const TWO: &str = "\
# What happens when an order is paid.
name: invoices
subjects:
  - order.paid
  - order.*
if: event.data.total > 100
then:
  job:
    type: invoice.render
    parameters: {order: '${{ event.data.id }}', copies: 2, share: 12.5, on: yes}
    labels:
      a/b: ${{ event.data.id }}
in_flight_max: 1
---
name: failures
subjects: [job.failed.#]
";

    fn read(text: &str) -> Result<Vec<Result<Document, Mistake>>, Mistake> {
        Ok(yaml::read(text)?.into_iter().map(document).collect())
    }

    fn only(text: &str) -> Result<Document, Mistake> {
        let mut documents = read(text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    fn refused(text: &str) -> String {
        let mistake = match read(text) {
            Err(mistake) => mistake,
            Ok(documents) => documents.into_iter().find_map(Result::err).unwrap(),
        };
        let place = mistake.place.map(|place| place.to_string()).unwrap_or_default();
        format!("{place} {}", mistake.message)
    }

    #[test]
    fn yaml_becomes_what_the_api_reads() {
        let documents: Vec<Document> = read(TWO).unwrap().into_iter().map(Result::unwrap).collect();
        let names: Vec<&str> = documents.iter().map(|document| document.name.as_str()).collect();
        assert_eq!(names, ["invoices", "failures"]);
        let expected = json!({
            "subjects": ["order.paid", "order.*"], "if": "event.data.total > 100",
            "then": {"job": {
                "type": "invoice.render",
                "parameters": {"order": "${{ event.data.id }}", "copies": 2, "share": 12.5, "on": "yes"},
                "labels": {"a/b": "${{ event.data.id }}"},
            }},
            "in_flight_max": 1,
        });
        assert_eq!(documents[0].settings, expected);
        assert_eq!(documents[1].settings, json!({"subjects": ["job.failed.#"]}));
    }

    #[test]
    fn json_is_read_as_well() {
        let text =
            "{\n\t\"name\": \"invoices\",\n\t\"subjects\": [\"a\\u00e4\\/\"], \"then\": null, \"x\": -7\n}\n";
        let document = only(text).unwrap();
        assert_eq!(document.settings, json!({"subjects": ["aä/"], "then": null, "x": -7}));
        assert_eq!(document.places.of("/subjects/0").unwrap().to_string(), "3:15");
    }

    #[test]
    fn each_value_knows_its_place() {
        let documents = read(TWO).unwrap();
        let first = documents[0].as_ref().unwrap();
        let second = documents[1].as_ref().unwrap();
        let place = |document: &Document, pointer: &str| document.places.of(pointer).unwrap().to_string();
        assert_eq!(place(first, "/if"), "6:5");
        assert_eq!(place(first, "/subjects/1"), "5:5");
        assert_eq!(place(first, "/then/job/type"), "9:11");
        assert_eq!(place(first, "/then/job/labels/a~1b"), "12:12");
        assert_eq!(place(first, "/then/job/priority"), "9:5", "it is missing in the job");
        assert_eq!(place(first, ""), "2:1");
        assert_eq!(place(second, "/subjects/0"), "16:12");
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_place() {
        let deep = format!("name: {}", "[".repeat(100));
        let bomb: String =
            (1..30).map(|level| format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1)).collect();
        let bomb = format!("a0: &a0 [x, x]\n{bomb}");
        let refusals = [
            "name: [",
            "name: a\nname: b\n",
            "name: invoices\nthen: !Job {}\n",
            "name: invoices\nshare: .nan\n",
            "- name: invoices\n",
            "subjects: [a]\n",
            "name: 7\n",
            "name: Invoices\n",
            "just words\n",
            &deep,
            &bomb,
        ];
        insta::assert_snapshot!(refusals.map(refused).join("\n"));
    }

    #[test]
    fn a_file_of_nothing_has_no_documents() {
        assert!(read("").unwrap().is_empty());
        assert!(read("# later\n---\n").unwrap().is_empty());
    }
}
