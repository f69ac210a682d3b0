//! JSON Schemas as people read them: a row for each field, and a command line to copy.

use serde_json::Value;

use super::yes_or_no;
use crate::text::printable;

/// How many references within a schema are followed before it is taken for endless.
const REFERENCES_MAX: usize = 8;
/// How many choices of an enumeration are shown.
const CHOICES_MAX: usize = 12;

/// The fields of an object schema: name, type, whether it is required, default, description.
pub(super) fn rows(schema: &Value) -> Vec<Vec<String>> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    properties
        .iter()
        .map(|(name, property)| {
            let resolved = resolve(property, schema);
            let description =
                [property, resolved].into_iter().find_map(|found| found["description"].as_str());
            vec![
                name.clone(),
                kind(property, schema, REFERENCES_MAX),
                yes_or_no(is_required(schema, name)).to_owned(),
                property.get("default").filter(|value| !value.is_null()).map(plain).unwrap_or_default(),
                description.unwrap_or_default().replace('\n', " "),
            ]
        })
        .collect()
}

/// `crewcall submit image.thumbnail source=TEXT width:=1 --wait`, with a value for every parameter that is required.
pub(super) fn example(job_type: &str, schema: &Value) -> String {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let required = properties.filter(|(name, _)| is_required(schema, name));
    let words = required.map(|(name, property)| match sample(property, schema) {
        Value::String(text) => quoted(&format!("{name}={text}")),
        value => quoted(&format!("{name}:={value}")),
    });
    let words: String = words.map(|word| format!(" {word}")).collect();
    printable(&format!("crewcall submit {job_type}{words} --wait"))
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
}

/// What a reference within the schema leads to; without one, the schema itself.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let mut found = schema;
    for _ in 0..REFERENCES_MAX {
        let Some(pointer) = found["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) else {
            break;
        };
        let Some(target) = root.pointer(pointer) else { break };
        found = target;
    }
    found
}

/// `integer, 1 to 8192`, `md5 or sha256`, `text like ^[a-z]+$`
fn kind(schema: &Value, root: &Value, depth: usize) -> String {
    let schema = resolve(schema, root);
    if let Some(choices) = choices(schema, root) {
        let more = if choices.len() > CHOICES_MAX { " or others" } else { "" };
        return format!("{}{more}", choices[..choices.len().min(CHOICES_MAX)].join(" or "));
    }
    for keyword in ["anyOf", "oneOf"] {
        if let (Some(parts), 1..) = (schema[keyword].as_array(), depth) {
            let kinds =
                parts.iter().filter(|part| part["type"] != "null").map(|part| kind(part, root, depth - 1));
            return kinds.collect::<Vec<_>>().join(" or ");
        }
    }
    let name = type_of(schema);
    let rules = [range(schema), lengths(schema), text_rule(schema)];
    let rules: Vec<String> = rules.into_iter().flatten().collect();
    let items = schema.get("items").filter(|_| depth > 0).map(|items| kind(items, root, depth - 1));
    let name =
        items.filter(|items| items != "any").map_or(name.clone(), |items| format!("{name} of {items}"));
    [vec![name], rules].concat().join(", ")
}

/// The values that a schema allows, if it lists them: `enum`, `const`, or alternatives that are only these.
fn choices(schema: &Value, root: &Value) -> Option<Vec<String>> {
    if let Some(value) = schema.get("const") {
        return Some(vec![plain(value)]);
    }
    if let Some(values) = schema["enum"].as_array() {
        return Some(values.iter().filter(|value| !value.is_null()).map(plain).collect());
    }
    let parts = schema["oneOf"].as_array()?;
    let parts = parts.iter().map(|part| resolve(part, root)).filter(|part| part["type"] != "null");
    let found: Option<Vec<Vec<String>>> = parts
        .map(|part| match (part.get("const"), part["enum"].as_array()) {
            (Some(value), _) => Some(vec![plain(value)]),
            (None, Some(values)) => Some(values.iter().map(plain).collect()),
            (None, None) => None,
        })
        .collect();
    found.map(|found| found.concat())
}

fn type_of(schema: &Value) -> String {
    match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.collect::<Vec<_>>().join(" or ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "any".to_owned(),
    }
}

fn range(schema: &Value) -> Option<String> {
    let bound = |keyword: &str| schema.get(keyword).filter(|bound| bound.is_number()).map(plain);
    let above = bound("exclusiveMinimum").map(|least| format!("more than {least}"));
    let below = bound("exclusiveMaximum").map(|most| format!("less than {most}"));
    match (bound("minimum"), bound("maximum"), above, below) {
        (Some(least), Some(most), ..) => Some(format!("{least} to {most}")),
        (Some(least), None, _, below) => Some(join(Some(format!("{least} or more")), below)),
        (None, Some(most), above, _) => Some(join(above, Some(format!("at most {most}")))),
        (None, None, None, None) => None,
        (None, None, above, below) => Some(join(above, below)),
    }
}

fn join(first: Option<String>, second: Option<String>) -> String {
    first.into_iter().chain(second).collect::<Vec<_>>().join(", ")
}

fn lengths(schema: &Value) -> Option<String> {
    let bounds = |least: &str, most: &str, what: &str| {
        let (least, most) = (schema[least].as_u64(), schema[most].as_u64());
        match (least.filter(|least| *least > 0), most) {
            (Some(least), Some(most)) => Some(format!("{least} to {most} {what}")),
            (Some(1), None) => Some("not empty".to_owned()),
            (Some(least), None) => Some(format!("{least} {what} or more")),
            (None, Some(most)) => Some(format!("at most {most} {what}")),
            (None, None) => None,
        }
    };
    bounds("minLength", "maxLength", "characters").or_else(|| bounds("minItems", "maxItems", "items"))
}

fn text_rule(schema: &Value) -> Option<String> {
    if let Some(pattern) = schema["pattern"].as_str() {
        return Some(format!("like {pattern}"));
    }
    // Formats of numbers say how many bits they have, which the range says better.
    let format = schema["format"].as_str().filter(|_| type_of(schema) == "string");
    format.map(|format| format!("a {format}"))
}

/// A value that fits: an example, the default, the first choice, or the simplest of its type.
fn sample(property: &Value, root: &Value) -> Value {
    let schema = resolve(property, root);
    let given = [property, schema].into_iter().find_map(|found| {
        let example = found["examples"].as_array().and_then(|examples| examples.first());
        example.or_else(|| found.get("default")).filter(|value| !value.is_null())
    });
    if let Some(value) = given {
        return value.clone();
    }
    let first = choices(schema, root).and_then(|choices| choices.into_iter().next());
    let is_text = |schema: &Value| matches!(type_of(schema).as_str(), "string" | "any");
    match (first, type_of(schema).as_str()) {
        (Some(choice), _) if is_text(schema) => Value::String(choice),
        (Some(choice), _) => serde_json::from_str(&choice).unwrap_or(Value::String(choice)),
        (None, "integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        (None, "boolean") => true.into(),
        (None, "array") => Value::Array(Vec::new()),
        (None, "object") => Value::Object(serde_json::Map::new()),
        (None, _) => Value::String("TEXT".to_owned()),
    }
}

/// A value without quotes where it is text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A text as a word of the shell.
fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+:=@%,".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_rows_and_an_example() {
        let schema = json!({
            "type": "object", "required": ["source", "width", "algorithm", "tags", "note", "whole"],
            "properties": {
                "source": {"type": "string", "description": "Path of\nthe picture.", "minLength": 1},
                "width": {"type": "integer", "minimum": 1, "maximum": 8192, "format": "uint32"},
                "ratio": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": 1.5},
                "height": {"type": "integer", "minimum": 1},
                "algorithm": {"$ref": "#/$defs/Algorithm"},
                "fallback": {"anyOf": [{"$ref": "#/$defs/Algorithm"}, {"type": "null"}], "default": null},
                "mode": {"oneOf": [{"const": "fast", "description": "quick"}, {"const": "good"}], "default": "good"},
                "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "maxItems": 4},
                "at": {"type": "string", "format": "date-time"},
                "note": {"type": "string", "examples": ["it's fine"]},
                "whole": {"type": "boolean"},
                "loop": {"$ref": "#/$defs/Loop"},
                "other": true
            },
            "$defs": {
                "Algorithm": {"type": "string", "enum": ["md5", "sha256"], "description": "How to sum."},
                "Loop": {"$ref": "#/$defs/Loop"}
            }
        });
        let shown: Vec<String> = rows(&schema).into_iter().map(|row| row.join(" | ")).collect();
        insta::assert_snapshot!(format!("{}\n\n{}", shown.join("\n"), example("t", &schema)));
        assert_eq!(example("a.b", &json!({})), "crewcall submit a.b --wait");
    }
}
