//! Files of consumers: YAML 1.2 or JSON documents, which know where each of their values stands.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, NonFiniteFloatPolicy, Options, Spanned, UserMessageFormatter};

use crate::arguments::ConsumerName;

/// A place in a file: line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    line: u64,
    column: u64,
}

/// What is wrong with a file or one of its documents, and where, if it is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Where.
    pub(super) place: Option<Place>,
    /// A sentence.
    pub(super) message: String,
}

/// One document: the settings of a consumer.
#[derive(Debug)]
pub(super) struct Document {
    /// Its name.
    pub(super) name: ConsumerName,
    /// The other fields, as the API reads them.
    pub(super) settings: Value,
    /// Where each value stands, by its JSON pointer.
    places: BTreeMap<String, Place>,
}

/// A value, and those in it, with their places.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Document {
    /// Where a value stands; of one that is not there, what it is missing in.
    pub(super) fn place(&self, pointer: &str) -> Option<Place> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                return Some(*place);
            }
            pointer = pointer.rsplit_once('/')?.0;
        }
    }
}

/// Reads the documents of a file, each for itself.
///
/// # Errors
///
/// When the file is neither YAML nor JSON; then none of its documents is known.
pub(super) fn read(text: &str) -> Result<Vec<Result<Document, Mistake>>, Mistake> {
    let nodes: Vec<Spanned<Node>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| unreadable(&error))?;
    Ok(nodes.into_iter().map(document).collect())
}

/// The limits are those of the library: a million events, 250 000 nodes, 64 levels, and few repetitions by aliases.
fn options() -> Options {
    serde_saphyr::options! {
        // YAML 1.2: `on` and `no` are texts.
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        with_snippet: false,
    }
}

fn unreadable(error: &serde_saphyr::Error) -> Mistake {
    let place = error.location().and_then(known);
    let message = error.render_with_formatter(&UserMessageFormatter);
    Mistake { place, message: format!("it is neither YAML nor JSON: {message}") }
}

/// What the library knows of a place: nothing is line 0.
fn known(location: Location) -> Option<Place> {
    (location.line() > 0).then(|| Place { line: location.line(), column: location.column() })
}

fn document(node: Spanned<Node>) -> Result<Document, Mistake> {
    let mut places = BTreeMap::new();
    let value = value(node, String::new(), &mut places);
    let refuse = |pointer: &str, message: String| {
        let place = places.get(pointer).or_else(|| places.get("")).copied();
        Err(Mistake { place, message })
    };
    let Value::Object(mut settings) = value else {
        return refuse("", "a consumer is an object with name, subjects and then".to_owned());
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

/// The value without its places, which are noted. No deeper than the library reads.
fn value(node: Spanned<Node>, pointer: String, places: &mut BTreeMap<String, Place>) -> Value {
    let value = match node.value {
        Node::Scalar(value) => value,
        Node::List(items) => {
            let items = items.into_iter().enumerate();
            Value::Array(
                items.map(|(index, item)| value(item, format!("{pointer}/{index}"), places)).collect(),
            )
        }
        Node::Map(fields) => {
            let mut map = Map::new();
            for (key, field) in fields {
                let below = format!("{pointer}/{}", escape(&key));
                map.insert(key, value(field, below, places));
            }
            Value::Object(map)
        }
    };
    if let Some(place) = known(node.referenced) {
        places.insert(pointer, place);
    }
    value
}

/// A key as JSON pointers have it (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can express")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Node, E> {
        Ok(Node::Scalar(is.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Scalar(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Scalar(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Node, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("it is not a finite number"))?;
        Ok(Node::Scalar(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Scalar(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key()? {
            fields.push((key, access.next_value()?));
        }
        Ok(Node::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        assert_eq!(document.place("/subjects/0").unwrap().to_string(), "3:15");
    }

    #[test]
    fn each_value_knows_its_place() {
        let documents = read(TWO).unwrap();
        let first = documents[0].as_ref().unwrap();
        let second = documents[1].as_ref().unwrap();
        let place = |document: &Document, pointer: &str| document.place(pointer).unwrap().to_string();
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
