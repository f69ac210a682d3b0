use serde_json::json;

use super::*;

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is not an object"),
    }
}

fn compiled(schema: Value) -> Schema {
    Schema::compile(&object(schema)).unwrap().unwrap()
}

fn refusal(schema: Value) -> String {
    Schema::compile(&object(schema)).err().unwrap()
}

/// `levels` definitions, each of which refers twice to the next one; the last one is `leaf`.
fn doubled(levels: usize, leaf: Value) -> Value {
    let mut definitions = serde_json::Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/a{}", level + 1)});
        definitions.insert(format!("a{level}"), json!({"allOf": [next, next]}));
    }
    definitions.insert(format!("a{levels}"), leaf);
    json!({"$defs": definitions, "properties": {"x": {"$ref": "#/$defs/a0"}}})
}

/// A tree of operations, as parsers write it: each node is held against five schemas, each of which looks at both sides.
fn operations() -> Value {
    let of = |operation: &str| {
        let side = json!({"$ref": "#/$defs/operation"});
        json!({"type": "object", "properties": {"op": {"const": operation}, "left": side, "right": side}, "required": ["op"]})
    };
    let operations: Vec<Value> = ["add", "sub", "mul", "div", "pow"].map(of).into();
    json!({"$defs": {"operation": {"oneOf": operations}}, "properties": {"x": {"$ref": "#/$defs/operation"}}})
}

fn tree(depth: usize, leaf: Value) -> Value {
    (0..depth).fold(leaf, |inner, _| json!({"op": "pow", "left": inner.clone(), "right": {"op": "add"}}))
}

#[test]
fn references_that_multiply_are_refused() {
    for leaf in [json!({"type": "string"}), json!({}), json!(true)] {
        assert!(refusal(doubled(20, leaf)).contains("more than 10000 parts"));
    }
    let schema = compiled(doubled(8, json!({"type": "string"})));
    assert_eq!(schema.problems(&object(json!({"x": "text"})), IN_PLACE).unwrap(), []);
    let problems = schema.problems(&object(json!({"x": 7})), IN_PLACE).unwrap();
    assert_eq!(problems.len(), PROBLEMS_MAX);
    assert_eq!(problems[0].pointer, "/parameters/x");
}

#[test]
fn references_are_followed_by_every_name() {
    let twice = |reference: &str| json!({"allOf": [{"$ref": reference}, {"$ref": reference}]});
    let mut by_anchor = object(doubled(20, json!({})));
    let definitions = by_anchor["$defs"].as_object_mut().unwrap();
    for level in 0..20 {
        let mut schema = object(twice(&format!("#anchor{}", level + 1)));
        schema.insert("$anchor".to_owned(), json!(format!("anchor{level}")));
        definitions.insert(format!("a{level}"), Value::Object(schema));
    }
    definitions["a20"] = json!({"$anchor": "anchor20"});
    assert!(refusal(Value::Object(by_anchor)).contains("more than 10000 parts"));

    let mut by_id = object(doubled(20, json!({})));
    let definitions = by_id["$defs"].as_object_mut().unwrap();
    for level in 0..20 {
        let mut schema = object(twice(&format!("id{}", level + 1)));
        schema.insert("$id".to_owned(), json!(format!("id{level}")));
        definitions.insert(format!("a{level}"), Value::Object(schema));
    }
    definitions["a20"] = json!({"$id": "id20"});
    assert!(refusal(Value::Object(by_id)).contains("more than 10000 parts"));
}

#[test]
fn a_long_chain_of_references_is_refused() {
    let mut definitions = serde_json::Map::new();
    for level in 0..1_800 {
        definitions.insert(format!("a{level}"), json!({"$ref": format!("#/$defs/a{}", level + 1)}));
    }
    definitions.insert("a1800".to_owned(), json!({"type": "string"}));
    let reason = refusal(json!({"$defs": definitions, "$ref": "#/$defs/a0"}));
    assert!(reason.contains("deeper than 512 levels"), "{reason}");
}

#[test]
fn a_schema_that_refers_to_itself_ends_in_time() {
    let schema = compiled(operations());
    let valid = object(json!({"x": tree(3, json!({"op": "add"}))}));
    assert_eq!(schema.problems(&valid, IN_PLACE).unwrap(), []);
    let wrong = object(json!({"x": tree(14, json!({"op": "none"}))}));
    assert_eq!(
        schema.problems(&wrong, IN_PLACE),
        Err(Exhausted),
        "what is deep is not for the threads of others"
    );
    let problems = schema.problems(&wrong, APART).unwrap();
    assert!(!problems.is_empty(), "they are wrong, whatever is told of it");
    // Each of them refers to every other: the ways through are countless.
    let names = 0..20;
    let all: Vec<Value> = names.clone().map(|name| json!({"$ref": format!("#/$defs/a{name}")})).collect();
    let definitions: serde_json::Map<String, Value> =
        names.map(|name| (format!("a{name}"), json!({"allOf": all}))).collect();
    let graph = refusal(json!({"$defs": definitions, "properties": {"x": {"$ref": "#/$defs/a0"}}}));
    assert!(graph.contains("more than 10000 parts"), "{graph}");
}

#[test]
fn a_deep_check_leaves_the_stack_whole() {
    let mut definitions = serde_json::Map::new();
    for level in 0..400 {
        definitions.insert(format!("a{level}"), json!({"$ref": format!("#/$defs/a{}", level + 1)}));
    }
    definitions.insert("a400".to_owned(), json!({"items": {"$ref": "#/$defs/a0"}}));
    let schema = compiled(json!({"$defs": definitions, "properties": {"x": {"$ref": "#/$defs/a0"}}}));
    let deep = object(json!({"x": (0..1_500).fold(json!(1), |inner, _| Value::Array(vec![inner]))}));
    let checked = std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || (schema.problems(&deep, IN_PLACE), schema.problems(&deep, APART)));
    // How much stack a level takes is the compiler's business: what has more of it may come to the end. A stack that is used up
    // ends the whole process.
    let (in_place, _apart) = checked.unwrap().join().unwrap();
    assert_eq!(in_place, Err(Exhausted));
}

#[test]
fn patterns_run_in_linear_time_or_are_refused() {
    for pattern in
        ["^(?=.*a)(([a-z]+)*)+\\1$", "^\\w+\\Z", "(?<!a)b", "((a{1,100}){1,100}){1,100}", "^\\p{L}{0,400}$"]
    {
        let reason = refusal(json!({"properties": {"x": {"pattern": pattern}}}));
        assert!(reason.contains(&format!("{pattern:?}")), "{reason}");
        refusal(json!({"patternProperties": {pattern: {}}}));
    }
    let usual = [
        (
            "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
            "019b76da-a800-7000-8000-00000000002a",
        ),
        (
            "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?(Z|[+-]\\d{2}:\\d{2})$",
            "2026-11-21T16:00:00Z",
        ),
        ("^[\\w.+-]+@[\\w-]+(\\.[\\w-]+)+$", "someone@example.org"),
        ("^https?://[^\\s/$.?#].[^\\s]*$", "https://example.org/a?b=c"),
        ("^\\p{Lu}\\p{L}*$", "Ärger"),
        ("^[^\\u0000-\\u001f]{1,255}$", "a file's name"),
        ("^(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)(?:-[0-9A-Za-z.-]{1,100})?$", "1.20.3-rc.1"),
    ];
    for (pattern, text) in usual {
        let schema = compiled(json!({"properties": {"x": {"pattern": pattern}}}));
        assert_eq!(schema.problems(&object(json!({"x": text})), IN_PLACE).unwrap(), [], "{pattern}");
        assert_eq!(schema.problems(&object(json!({"x": "\u{0}!"})), IN_PLACE).unwrap().len(), 1, "{pattern}");
    }
}

#[test]
fn the_largest_parameters_are_checked_against_an_ordinary_schema() {
    let item = json!({
        "type": "object", "required": ["id", "kind", "size"], "additionalProperties": false,
        "properties": {
            "id": {"type": "integer", "minimum": 0}, "kind": {"enum": ["a", "b", "c"]},
            "size": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "maxItems": 3},
            "name": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[a-z]+$"},
        },
    });
    let schema = compiled(json!({
        "type": "object", "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "uniqueItems": true}},
        "$defs": {"item": item},
    }));
    let item = |id: usize| json!({"id": id, "kind": "b", "size": [1, 2.5, 3], "name": "thing"});
    let parameters = object(json!({"items": (0..4_720).map(item).collect::<Vec<_>>()}));
    let bytes = serde_json::to_vec(&parameters).unwrap().len();
    assert!((250 * 1024..=256 * 1024).contains(&bytes), "{bytes}");
    assert_eq!(schema.problems(&parameters, Limits { time: None, ..APART }).unwrap(), []);
}

#[test]
fn a_long_list_of_choices_is_a_schema_like_any_other() {
    let choices: Vec<String> = (0..7_000).map(|number| format!("n{number}")).collect();
    let schema = compiled(json!({"properties": {"x": {"enum": choices}}}));
    assert_eq!(schema.problems(&object(json!({"x": "n6999"})), IN_PLACE).unwrap(), []);
    assert_eq!(schema.problems(&object(json!({"x": "n7000"})), IN_PLACE).unwrap().len(), 1);
}

#[test]
fn problems_are_told_with_their_place() {
    let schema = compiled(json!({
        "type": "object", "required": ["source"], "additionalProperties": false,
        "properties": {"source": {"type": "string", "minLength": 1}, "width": {"type": "integer", "minimum": 1}},
        "propertyNames": {"maxLength": 10},
    }));
    let problems = schema
        .problems(&object(json!({"width": 0, "source": "", "a-very-long-name": null})), IN_PLACE)
        .unwrap();
    insta::assert_debug_snapshot!(problems);
    assert_eq!(schema.problems(&object(json!({})), IN_PLACE).unwrap()[0].pointer, "/parameters");
}

#[tokio::test]
async fn small_parameters_are_checked_where_they_are_asked_for() {
    let checker = Checker::default();
    let small = checker.compile(&object(json!({"required": ["x"]}))).await.unwrap().unwrap();
    let costly = checker.compile(&object(operations())).await.unwrap().unwrap();
    let deep = object(json!({"x": tree(14, json!({"op": "none"}))}));
    assert_ne!(checker.check(&costly, &deep).await.unwrap(), []);
    checker.checks.close();
    assert_eq!(checker.check(&small, &object(json!({"x": 1}))).await.unwrap(), []);
    assert_eq!(checker.check(&small, &object(json!({}))).await.unwrap().len(), 1);
    assert_eq!(checker.check(&costly, &deep).await, Err(CheckError::Busy));
}
