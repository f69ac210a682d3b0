use crewcall_expressions::{Expression, Scope};

use crate::{NAMES, event};

#[test]
fn a_condition_is_true_or_false() {
    let event = event();
    let scope = Scope::new([("event", &event)]).unwrap();
    for (text, expected) in [
        ("event.ok", true),
        ("!event.ok", false),
        ("event.width > 100 && event.name.endsWith(\".jpg\")", true),
        ("\"sea\" in event.tags", true),
        ("event.items.exists(i, i.n == 3)", true),
        ("event.items.all(i, i.n < 3)", false),
        ("event.items.exists_one(i, i.kind == \"y\")", true),
        ("has(event.nothing) && event.nothing > 1", false),
        ("event.whole == 2", true),
        ("event.none == null", true),
        ("event.ok ? false : 1", false),
    ] {
        let condition = Expression::parse_condition(text, &NAMES).unwrap();
        assert_eq!(condition.boolean(&scope), Ok(expected), "{text}");
    }
}

#[test]
fn nothing_else_is_taken_for_true_or_false() {
    let event = event();
    let scope = Scope::new([("event", &event)]).unwrap();
    for (text, kind) in [
        ("event.name", "a text"),
        ("event.width", "a number"),
        ("event.none", "null"),
        ("event.tags", "a list"),
        ("event.size", "an object"),
    ] {
        let failed = Expression::parse_condition(text, &NAMES).unwrap().boolean(&scope).unwrap_err();
        assert_eq!(failed.message, format!("a condition must be true or false, and it is {kind}"));
    }
}

#[test]
fn what_cannot_be_true_or_false_is_no_condition() {
    for (text, kind) in [
        ("\"true\"", "a text"),
        ("1", "a number"),
        ("null", "null"),
        ("[true]", "a list"),
        ("{\"a\": true}", "an object"),
        ("event.a + event.b", "a number, text or list"),
        ("event.a * 2", "a number"),
        ("-event.a", "a number"),
        ("size(event.a)", "a number"),
        ("event.a.size()", "a number"),
        ("string(event.a)", "a text"),
        ("event.a.filter(i, true)", "a list"),
        ("event.a ? 1 : 2", "a number"),
    ] {
        let problem = Expression::parse_condition(text, &NAMES).unwrap_err();
        assert!(problem.message.contains(&format!("this is {kind};")), "{text}: {problem}");
        assert!(Expression::parse(text, &NAMES).is_ok(), "{text} is a value");
    }
}
