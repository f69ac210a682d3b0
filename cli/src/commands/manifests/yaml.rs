//! YAML 1.2 or JSON documents, which know where each of their values stands.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, NonFiniteFloatPolicy, Options, Spanned, UserMessageFormatter};

/// A place in a file: line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    line: u64,
    column: u64,
}

/// What is wrong with a file or one of its documents, and where, if it is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where.
    pub(crate) place: Option<Place>,
    /// A sentence.
    pub(crate) message: String,
}

/// Where each value of a document stands, by its JSON pointer.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<String, Place>);

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Written {
    /// What it says, as JSON.
    pub(crate) value: Value,
    /// Where.
    pub(crate) places: Places,
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

impl Places {
    /// Where a value stands; of one that is not there, what it is missing in.
    pub(crate) fn of(&self, pointer: &str) -> Option<Place> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.0.get(pointer) {
                return Some(*place);
            }
            pointer = pointer.rsplit_once('/')?.0;
        }
    }
}

/// Reads the documents of a file.
///
/// # Errors
///
/// When the file is neither YAML nor JSON; then none of its documents is known.
pub(crate) fn read(text: &str) -> Result<Vec<Written>, Mistake> {
    let nodes: Vec<Spanned<Node>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| unreadable(&error))?;
    let written = nodes.into_iter().map(|node| {
        let mut places = BTreeMap::new();
        let value = value(node, String::new(), &mut places);
        Written { value, places: Places(places) }
    });
    Ok(written.collect())
}

/// How much aliases may repeat, in events of the parser: some hundred times what a document usually has. A short file that repeats
/// itself over and over would otherwise take seconds and much memory.
const REPEATED_EVENTS_MAX: usize = 20_000;

/// The other limits are those of the library: a million events, 250 000 nodes, 64 levels.
fn options() -> Options {
    serde_saphyr::options! {
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: REPEATED_EVENTS_MAX },
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
