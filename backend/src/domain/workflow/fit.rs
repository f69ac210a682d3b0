//! Whether what a document fills in can fit where it goes, as far as announced schemas tell: what a schema leaves open fits.
//!
//! Only whole strings of one plain path (`${{ steps.probe.result.duration }}`) are followed, and texts with expressions among
//! other characters, which are strings for certain. Everything else is held against the schema when it is filled in.

use std::collections::BTreeMap;

use crewcall_expressions::Json;
use crewcall_proto::JsonObject;

use super::references::{OPENING, is_whole_expression};
use crate::domain::{Problem, escaped, nearest::nearest};

/// What ends an expression in a text.
const CLOSING: &str = "}}";

/// How many references are followed from one place of a schema: more are a circle.
const REFERENCES_MAX: usize = 16;

/// The schema of a value.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'s> {
    /// Where its references begin.
    root: &'s Json,
    here: &'s Json,
}

/// What a schema says of a field.
enum Field<'s> {
    /// It is of this shape, if it is there.
    Known(Shape<'s>),
    /// It says nothing.
    Open,
    /// There is none: it has these, or no fields at all.
    None(Vec<&'s str>),
}

impl<'s> Shape<'s> {
    /// Of what a whole schema describes.
    #[must_use]
    pub fn of(schema: &'s Json) -> Self {
        Self { root: schema, here: schema }
    }

    /// The same, behind its references.
    fn resolved(mut self) -> Self {
        for _ in 0..REFERENCES_MAX {
            let reference = self.here.get("$ref").and_then(Json::as_str);
            let Some(found) = reference.and_then(|reference| self.root.pointer(reference.strip_prefix('#')?))
            else {
                return self;
            };
            self.here = found;
        }
        self
    }

    /// The kinds of JSON that it can be; `None` when it says nothing of that.
    fn kinds(self) -> Option<Vec<&'s str>> {
        let Self { root, here } = self.resolved();
        match here.get("type") {
            Some(Json::String(kind)) => Some(vec![kind]),
            Some(Json::Array(kinds)) => kinds.iter().map(Json::as_str).collect(),
            _ => {
                let choices = here.get("anyOf").or_else(|| here.get("oneOf"))?.as_array()?;
                let kinds: Option<Vec<_>> =
                    choices.iter().map(|choice| Self { root, here: choice }.kinds()).collect();
                kinds.map(|kinds| kinds.concat())
            }
        }
    }

    /// Each of a list.
    fn items(self) -> Option<Self> {
        let Self { root, here } = self.resolved();
        here.get("items").filter(|items| items.is_object()).map(|here| Self { root, here })
    }

    fn field(self, name: &str) -> Field<'s> {
        let shape = self.resolved();
        let Self { root, here } = shape;
        if ["anyOf", "oneOf", "allOf", "patternProperties", "$ref"]
            .iter()
            .any(|word| here.get(word).is_some())
        {
            return Field::Open;
        }
        if let Some(kinds) = shape.kinds()
            && !kinds.contains(&"object")
        {
            return Field::None(Vec::new());
        }
        let known = here.get("properties").and_then(Json::as_object);
        if let Some(here) = known.and_then(|known| known.get(name)) {
            return Field::Known(Self { root, here });
        }
        match here.get("additionalProperties") {
            Some(Json::Bool(false)) => {
                Field::None(known.into_iter().flatten().map(|(name, _)| name.as_str()).collect())
            }
            Some(here @ Json::Object(_)) => Field::Known(Self { root, here }),
            _ => Field::Open,
        }
    }
}

/// Where the paths of a step begin, as far as something is known of it.
#[derive(Debug, Default)]
pub struct Sources<'s> {
    roots: BTreeMap<String, Shape<'s>>,
}

impl<'s> Sources<'s> {
    /// From here on, `path` is of this shape.
    pub fn add(&mut self, path: impl Into<String>, shape: Shape<'s>) {
        self.roots.insert(path.into(), shape);
    }

    /// Each item of the list that `each` names is called `item`.
    pub fn add_items(&mut self, each: &str) {
        let items = plain_path(each).and_then(|path| self.find(path).ok().flatten()).and_then(Shape::items);
        if let Some(items) = items {
            self.add("item", items);
        }
    }

    /// The shape of what a path names; nothing, when nothing is known of it.
    ///
    /// # Errors
    ///
    /// A sentence, when there is no such thing.
    fn find(&self, path: &str) -> Result<Option<Shape<'s>>, String> {
        let begins = |root: &&String| {
            path == **root || path.strip_prefix(root.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let Some(root) = self.roots.keys().filter(begins).max_by_key(|root| root.len()) else {
            return Ok(None);
        };
        let (mut shape, mut at) = (self.roots[root], root.clone());
        for name in path[root.len()..].split('.').skip(1) {
            match shape.field(name) {
                Field::Known(known) => shape = known,
                Field::Open => return Ok(None),
                Field::None(known) => {
                    let meant = nearest(name, known)
                        .map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
                    return Err(format!("{at} has no field {name:?}, as its schema says{meant}"));
                }
            }
            at = format!("{at}.{name}");
        }
        Ok(Some(shape))
    }
}

/// What cannot fit of the parameters of a job of this type, whose schema is `wanted`: of those that have expressions in them. `at` is the
/// pointer to the parameters.
#[must_use]
pub fn misfits(parameters: &JsonObject, wanted: Shape<'_>, sources: &Sources<'_>, at: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in parameters.iter().filter(|(_, value)| has_expression(value)) {
        field(name, value, wanted, (sources, at), &mut problems);
    }
    problems
}

fn field(
    name: &str,
    value: &Json,
    wanted: Shape<'_>,
    (sources, at): (&Sources<'_>, &str),
    problems: &mut Vec<Problem>,
) {
    let pointer = format!("{at}/{}", escaped(name));
    match wanted.field(name) {
        Field::Known(wanted) => judge(value, Some(wanted), (sources, &pointer), problems),
        Field::Open => judge(value, None, (sources, &pointer), problems),
        Field::None(known) => {
            let meant =
                nearest(name, known).map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
            problems.push(Problem::new(pointer, format!("the type takes no {name:?}{meant}")));
        }
    }
}

fn judge(
    value: &Json,
    wanted: Option<Shape<'_>>,
    (sources, at): (&Sources<'_>, &str),
    problems: &mut Vec<Problem>,
) {
    match value {
        Json::String(text) if text.contains(OPENING) => {
            let given = match plain_path(text) {
                Some(path) => sources.find(path).map(|shape| (path, shape.and_then(Shape::kinds))),
                // Among other characters an expression becomes text; what a whole one becomes is not known.
                None if is_whole_expression(text) => Ok(("", None)),
                None => Ok(("a text", Some(vec!["string"]))),
            };
            match given {
                Err(message) => problems.push(Problem::new(at, message)),
                Ok((what, Some(given))) => {
                    let wanted = wanted.and_then(Shape::kinds);
                    if let Some(wanted) = wanted.filter(|wanted| !can_fit(&given, wanted)) {
                        let message =
                            format!("{what} is {}, and the type takes {}", told(&given), told(&wanted));
                        problems.push(Problem::new(at, message));
                    }
                }
                Ok((_, None)) => {}
            }
        }
        Json::Array(items) => {
            let wanted = wanted.and_then(Shape::items);
            for (index, item) in items.iter().enumerate().filter(|(_, item)| has_expression(item)) {
                judge(item, wanted, (sources, &format!("{at}/{index}")), problems);
            }
        }
        Json::Object(fields) => {
            for (name, value) in fields.iter().filter(|(_, value)| has_expression(value)) {
                match wanted {
                    Some(wanted) => field(name, value, wanted, (sources, at), problems),
                    None => judge(value, None, (sources, &format!("{at}/{}", escaped(name))), problems),
                }
            }
        }
        _ => {}
    }
}

fn can_fit(given: &[&str], wanted: &[&str]) -> bool {
    let fits = |given: &str| {
        // A number may happen to be whole.
        wanted.contains(&given)
            || matches!(given, "integer" | "number")
                && (wanted.contains(&"number") || wanted.contains(&"integer"))
    };
    given.iter().any(|given| fits(given))
}

fn told(kinds: &[&str]) -> String {
    let one = |kind: &&str| match *kind {
        "integer" => "a whole number".to_owned(),
        "array" => "a list".to_owned(),
        "object" => "an object".to_owned(),
        "null" => "null".to_owned(),
        kind => format!("a {kind}"),
    };
    let mut told: Vec<String> = kinds.iter().map(one).collect();
    told.dedup();
    told.join(" or ")
}

/// The path, if the text is one plain path and nothing else.
fn plain_path(text: &str) -> Option<&str> {
    let path = text.strip_prefix(OPENING)?.strip_suffix(CLOSING)?.trim();
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    path.split('.').all(is_name).then_some(path)
}

/// Whether there is an expression in any of its strings.
#[must_use]
pub fn has_expression(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains(OPENING),
        Json::Array(items) => items.iter().any(has_expression),
        Json::Object(fields) => fields.values().any(has_expression),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        text.parse().unwrap()
    }

    fn probe() -> Json {
        json(
            r##"{
            "type": "object",
            "properties": {
                "duration": {"type": "number"},
                "title": {"type": ["string", "null"]},
                "size": {"$ref": "#/$defs/Size"},
                "renditions": {"type": "array", "items": {"$ref": "#/$defs/Size"}},
                "either": {"anyOf": [{"$ref": "#/$defs/Size"}, {"type": "null"}]},
                "anything": {}
            },
            "additionalProperties": false,
            "$defs": {"Size": {"type": "object", "properties": {"height": {"type": "integer"}}}}
        }"##,
        )
    }

    fn transcode() -> Json {
        json(
            r##"{
            "type": "object",
            "properties": {
                "height": {"type": "integer"},
                "name": {"type": "string"},
                "names": {"type": "array", "items": {"type": "string"}},
                "size": {"$ref": "#/$defs/Size"},
                "free": {}
            },
            "additionalProperties": false,
            "$defs": {"Size": {"type": "object", "properties": {"height": {"type": "integer"}}, "additionalProperties": false}}
        }"##,
        )
    }

    fn told_of(parameters: Json) -> Vec<String> {
        let (probe, transcode) = (probe(), transcode());
        let mut sources = Sources::default();
        sources.add("steps.probe.result", Shape::of(&probe));
        sources.add_items("${{ steps.probe.result.renditions }}");
        let Json::Object(parameters) = parameters else { panic!("parameters are an object") };
        let found = misfits(&parameters, Shape::of(&transcode), &sources, "/p");
        found.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect()
    }

    #[test]
    fn what_can_fit_or_is_left_open_is_no_mistake() {
        let fits = json(
            r##"{
            "height": "${{ item.height }}",
            "name": "${{ steps.probe.result.title }}",
            "names": ["a ${{ steps.probe.result.duration }}", "${{ steps.probe.result.anything }}"],
            "size": {"height": "${{ steps.probe.result.duration }}"},
            "free": {"any": ["${{ steps.probe.result.size }}"]}
        }"##,
        );
        assert_eq!(told_of(fits), [""; 0]);
        for open in [
            "${{ steps.probe.result.either.height }}",
            "${{ steps.probe.result.anything.of.it }}",
            "${{ steps.other.result.x }}",
            "${{ item.unannounced }}",
            "${{ size(steps.probe.result.title) }}",
            "${{ steps.probe.result[\"title\"] }}",
            "${{ steps.probe.resultant }}",
        ] {
            assert_eq!(told_of(json(&format!(r#"{{"height": {}}}"#, Json::from(open)))), [""; 0], "{open}");
        }
    }

    #[test]
    fn what_cannot_fit_is_told_with_its_place() {
        for (parameters, expected) in [
            (
                json(r##"{"height": "${{ steps.probe.result.title }}"}"##),
                "/p/height: steps.probe.result.title is a string or null, and the type takes a whole number",
            ),
            (
                json(r##"{"height": "${{steps.probe.result.either}}"}"##),
                "/p/height: steps.probe.result.either is an object or null, and the type takes a whole number",
            ),
            (
                json(r##"{"height": "about ${{ item.height }}"}"##),
                "/p/height: a text is a string, and the type takes a whole number",
            ),
            (
                json(r##"{"names": ["${{ item.height }}"]}"##),
                "/p/names/0: item.height is a whole number, and the type takes a string",
            ),
            (
                json(r##"{"names": "${{ steps.probe.result.title }}"}"##),
                "/p/names: steps.probe.result.title is a string or null, and the type takes a list",
            ),
            (
                json(r##"{"size": {"hieght": "${{ item.height }}"}}"##),
                "/p/size/hieght: the type takes no \"hieght\"; did you mean \"height\"?",
            ),
            (
                json(r##"{"heigth": "${{ item.height }}"}"##),
                "/p/heigth: the type takes no \"heigth\"; did you mean \"height\"?",
            ),
            (
                json(r##"{"free": "${{ steps.probe.result.duraton }}"}"##),
                "/p/free: steps.probe.result has no field \"duraton\", as its schema says; did you mean \"duration\"?",
            ),
            (
                json(r##"{"free": "${{ steps.probe.result.duration.x }}"}"##),
                "/p/free: steps.probe.result.duration has no field \"x\", as its schema says",
            ),
        ] {
            assert_eq!(told_of(parameters), [expected]);
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_left_open() {
        let round = json(r##"{"$ref": "#"}"##);
        let mut sources = Sources::default();
        sources.add("trigger.data", Shape::of(&round));
        let parameters = JsonObject::from_iter([("a".to_owned(), json(r##""${{ trigger.data.x.y }}""##))]);
        assert!(misfits(&parameters, Shape::of(&json(r##"{}"##)), &sources, "").is_empty());
    }
}
