use crewcall_expressions::{
    CALLERS_STACK_DEPTH_MAX, EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, Expression, JSON_LEVELS_MAX,
    OUTPUT_BYTES_MAX, SCOPE_BYTES_MAX, Scope, ScopeError, TEMPLATE_BYTES_MAX, TEMPLATE_EXPRESSIONS_MAX,
    TEMPLATE_PROBLEMS_MAX, Template,
};
use serde_json::{Value, json};

use crate::{NAMES, parse, refusal};

/// Lists within each other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn an_expression_has_a_length() {
    let longest = format!("\"{}\"", "x".repeat(EXPRESSION_BYTES_MAX - 2));
    assert!(parse(&longest).is_ok());
    let problem = refusal(&format!("{longest} "));
    assert!(problem.message.contains("at most 1024 bytes"), "{problem}");
    assert_eq!(problem.offset, EXPRESSION_BYTES_MAX);
}

#[test]
fn an_expression_has_a_depth() {
    let chain = |fields: usize| format!("event{}", ".a".repeat(fields));
    assert!(parse(&chain(EXPRESSION_DEPTH_MAX - 1)).is_ok());
    assert!(refusal(&chain(EXPRESSION_DEPTH_MAX)).message.contains("deeper than 32 levels"));
    for text in [
        "[".repeat(33) + &"]".repeat(33),
        "-(".repeat(40) + "1" + &")".repeat(40),
        "1".to_owned() + &"+1".repeat(40),
    ] {
        assert!(refusal(&text).message.contains("deeper than 32 levels"), "{text}: {}", refusal(&text));
    }
}

/// Half a megabyte of stack, as the limit says, and what the test itself takes.
#[test]
fn whoever_asks_needs_little_stack() {
    const STACK_BYTES: usize = 768 * 1024;

    let one = json!(1);
    let scope = Scope::new([("event", &one)]).unwrap();
    std::thread::scope(|threads| {
        let asking = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(threads, || {
            for levels in [CALLERS_STACK_DEPTH_MAX - 1, EXPRESSION_DEPTH_MAX - 2] {
                let deep = "1 + (".repeat(levels) + "event" + &")".repeat(levels);
                assert_eq!(parse(&deep).unwrap().value(&scope), Ok(json!(levels + 1)));
            }
        });
        asking.unwrap().join().unwrap();
    });
}

#[test]
fn parsing_takes_no_stack_of_whoever_asks() {
    std::thread::scope(|threads| {
        let asking = std::thread::Builder::new().stack_size(64 * 1024).spawn_scoped(threads, || {
            // What is refused has to be dropped, and may be deeper than what is not.
            assert!(parse(&("event".to_owned() + &".a".repeat(500))).is_err());
            assert!(parse(&("1".to_owned() + &"+1".repeat(500))).is_err());
        });
        asking.unwrap().join().unwrap();
    });
}

#[test]
fn an_expression_has_a_number_of_parts() {
    let list = |elements: usize| format!("[{}]", vec!["1"; elements].join(","));
    assert!(parse(&list(255)).is_ok());
    assert!(refusal(&list(256)).message.contains("at most 256 parts"));
    let macros = vec!["[].all(i,true)"; 40].join("||");
    assert!(refusal(&macros).message.contains("256"), "{}", refusal(&macros));
}

#[test]
fn a_scope_has_a_size() {
    let half = Value::String("x".repeat(SCOPE_BYTES_MAX / 2 - 2));
    let little = json!(1);
    assert!(Scope::new([("a", &half), ("b", &half)]).is_ok());
    let refused = Scope::new([("a", &half), ("b", &half), ("c", &little)]).unwrap_err();
    assert_eq!(refused, ScopeError::TooLarge);
    assert_eq!(refused.to_string(), "the data has more than 1048576 bytes, which no expression may read");
}

#[test]
fn a_scope_has_a_depth() {
    assert!(Scope::new([("a", &nested(JSON_LEVELS_MAX))]).is_ok());
    assert_eq!(Scope::new([("a", &nested(JSON_LEVELS_MAX + 1))]).unwrap_err(), ScopeError::TooDeep);
}

#[test]
fn what_comes_out_has_a_size() {
    let fits = Value::String("x".repeat(OUTPUT_BYTES_MAX - 2));
    let scope = Scope::new([("event", &fits)]).unwrap();
    for text in ["event", "event + \"\""] {
        assert!(parse(text).unwrap().value(&scope).is_ok(), "{text}");
    }
    for text in ["[event]", "event + \"y\"", "{\"a\": event}"] {
        let failed = parse(text).unwrap().value(&scope).unwrap_err();
        assert!(failed.message.contains("more than 262144 bytes"), "{failed}");
    }
    let too_large = Value::String("x".repeat(OUTPUT_BYTES_MAX - 1));
    let scope = Scope::new([("event", &too_large)]).unwrap();
    assert!(parse("event").unwrap().value(&scope).is_err());
    assert!(parse("event == \"y\"").unwrap().boolean(&scope).is_ok(), "it only reads");
}

#[test]
fn what_comes_out_of_a_template_has_a_size() {
    let half = Value::String("x".repeat(OUTPUT_BYTES_MAX / 2));
    let scope = Scope::new([("event", &half)]).unwrap();
    let fill = |template: Value| Template::parse(&template, &NAMES).unwrap().fill(&scope);
    assert!(fill(json!(["${{ event }}", 1])).is_ok());
    let failed = fill(json!(["${{ event }}", "${{ event }}"])).unwrap_err();
    assert_eq!((failed.pointer.as_deref(), failed.expression.as_str()), (Some("/1"), "event"));
    let failed = fill(json!(["${{ event }}", "y".repeat(OUTPUT_BYTES_MAX / 2)])).unwrap_err();
    assert_eq!(failed.to_string(), "what comes out has more than 262144 bytes; choose less of the data");
}

#[test]
fn a_template_has_a_size_a_depth_and_a_number_of_expressions() {
    let problem = |template: &Value| Template::parse(template, &NAMES).unwrap_err().remove(0);
    assert!(Template::parse(&Value::String("x".repeat(TEMPLATE_BYTES_MAX - 2)), &[]).is_ok());
    let (pointer, large) = problem(&Value::String("x".repeat(TEMPLATE_BYTES_MAX - 1)));
    assert!(pointer.is_empty() && large.message.contains("at most 262144 bytes"), "{large}");

    assert!(Template::parse(&nested(JSON_LEVELS_MAX), &[]).is_ok());
    assert!(problem(&nested(JSON_LEVELS_MAX + 1)).1.message.contains("at most 64 levels"));

    assert!(Template::parse(&json!("${{ 1 }}".repeat(TEMPLATE_EXPRESSIONS_MAX)), &[]).is_ok());
    let (pointer, many) = problem(&json!({ "a": vec!["${{ 1 }}"; TEMPLATE_EXPRESSIONS_MAX + 1] }));
    assert!(pointer == "/a/100" && many.message.contains("at most 100 expressions"), "{pointer}: {many}");
}

#[test]
fn a_template_tells_a_number_of_problems() {
    let problems = Template::parse(&json!(vec!["${{"; TEMPLATE_PROBLEMS_MAX + 1]), &[]).unwrap_err();
    assert_eq!(problems.len(), TEMPLATE_PROBLEMS_MAX);
}

/// What could take too long or too much memory with the data that there is does not begin.
#[test]
fn an_evaluation_has_a_budget() {
    let many = json!({
        "few": [1, 2, 3], "numbers": vec![7; 10_000], "text": "x".repeat(100_000), "title": "short",
        "lines": vec![json!({ "name": "n".repeat(20), "tags": ["a"] }); 2_000],
    });
    let scope = Scope::new([("event", &many)]).unwrap();
    for text in [
        "event.numbers.map(i, event.text).size() > 0",
        "event.numbers.map(i, event.text + \"y\").size() > 0",
        "event.numbers.map(i, [event.title, event.text]).size() > 0",
        "event.numbers.all(i, event.text.contains(\"abc\"))",
        "event.numbers.all(i, i in event.numbers)",
        "event.numbers.all(i, event.numbers == event.numbers)",
        "event.numbers.map(i, event.numbers).map(l, l[0]).size() > 0",
        "event.lines.map(i, i.name + event.text).exists(n, n == event.title)",
        "[event.numbers, event.lines].map(l, [l, l, l]).map(l, [l, l, l]).map(l, [l, l, l]).map(l, [l, l, l]).size() > 0",
    ] {
        let failed = parse(text).unwrap().boolean(&scope).unwrap_err();
        assert!(failed.message.contains("could take too long"), "{text}: {failed}");
    }
    for text in [
        "event.lines.map(i, i.name + event.title).size() == 2000",
        "event.numbers.all(i, i < size(event.lines))",
        "event.lines.filter(i, i.name.contains(\"n\") && \"a\" in i.tags).map(i, i.name).size() == 2000",
        "event.few.map(i, event.text).size() == 3",
        "event.numbers.exists(i, event.title == \"short\" && i == 7)",
    ] {
        assert_eq!(parse(text).unwrap().boolean(&scope), Ok(true), "{text}");
    }
}

#[test]
fn the_expressions_of_a_template_share_one_budget() {
    let many = json!({ "numbers": vec![7; 40_000] });
    let scope = Scope::new([("event", &many)]).unwrap();
    let count = "${{ event.numbers.filter(i, i == 7).size() }}";
    let fill = |times: usize| Template::parse(&json!(vec![count; times]), &NAMES).unwrap().fill(&scope);
    assert_eq!(fill(1), Ok(json!([40_000])));
    let failed = fill(20).unwrap_err();
    assert!(failed.message.contains("could take too long"), "{failed}");
}

#[test]
fn a_value_is_looked_up_by_the_names_that_it_was_parsed_with() {
    let one = json!(1);
    let expression = Expression::parse("a", &["a"]).unwrap();
    assert_eq!(expression.value(&Scope::new([("a", &one)]).unwrap()), Ok(json!(1)));
    assert!(expression.value(&Scope::new([("b", &one)]).unwrap()).is_err());
}
