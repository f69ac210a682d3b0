use crewcall_expressions::{EXPRESSION_BYTES_MAX, Expression, OUTPUT_BYTES_MAX, Scope, Template};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{NAMES, event};

/// What expressions are made of.
const PIECES: [&str; 58] = [
    "event",
    ".name",
    ".width",
    ".tags",
    ".items",
    ".most",
    ".least",
    ".none",
    ".size",
    "[0]",
    "[\"a\"]",
    ".size()",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    " in ",
    "1",
    "0",
    "2u",
    "1.5",
    "\"a\"",
    "'",
    "null",
    "true",
    "false",
    ".map(i,",
    ".filter(i,",
    ".all(i,",
    ".exists_one(i,",
    "i",
    "i.n",
    "has(",
    "string(",
    "int(",
    "uint(",
    "double(",
    "type(",
    ".contains(",
    "ü",
    "9223372036854775807",
];

/// Characters that mean something in templates, and some that do not.
fn characters() -> impl Strategy<Value = String> {
    vec(select(vec!["$", "{", "}", "\"", "'", "\\", "a", " ", "é", "${{", "}}", "event"]), 0..24)
        .prop_map(|all| all.concat())
}

/// The same without the start of an expression.
fn literals() -> impl Strategy<Value = String> {
    characters().prop_map(|mut text| {
        while let Some(at) = text.find("${{") {
            text.remove(at);
        }
        text
    })
}

/// Parses `text`, and evaluates it if it is an expression, without a panic and within bounds.
fn try_out(text: &str) {
    match Expression::parse(text, &NAMES) {
        Ok(expression) => {
            assert!(text.len() <= EXPRESSION_BYTES_MAX);
            let event = event();
            let scope = Scope::new([("event", &event)]).unwrap();
            match expression.value(&scope) {
                Ok(value) => assert!(value.to_string().len() <= OUTPUT_BYTES_MAX),
                Err(failed) => {
                    assert_ne!(failed.message, "it cannot be evaluated; simplify it", "{text} panics");
                    assert_ne!(
                        failed.message, "it does not fit the data",
                        "{text} fails for a reason without a sentence"
                    );
                }
            }
        }
        Err(problem) => {
            assert_ne!(problem.message, "this cannot be read; simplify it", "{text} panics");
            assert!(text.is_char_boundary(problem.offset), "{text}: {problem}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        try_out(&text);
    }

    #[test]
    fn any_pieces_of_the_language_are_parsed_or_refused(pieces in vec(select(PIECES.to_vec()), 1..40)) {
        try_out(&pieces.concat());
    }

    #[test]
    fn any_small_expression_is_parsed_or_refused(pieces in vec(select(PIECES.to_vec()), 1..6)) {
        try_out(&pieces.concat());
    }

    #[test]
    fn any_template_is_parsed_or_refused(text in characters()) {
        let event = event();
        let scope = Scope::new([("event", &event)]).unwrap();
        match Template::parse(&json!([text]), &NAMES) {
            Ok(template) => { let _ = template.fill(&scope); }
            Err(problems) => {
                prop_assert_eq!(problems.len(), 1);
                prop_assert_eq!(problems[0].0.as_str(), "/0");
                prop_assert!(problems[0].1.offset <= text.len());
            }
        }
    }

    /// What does not open an expression comes out as it went in, and around one as well.
    #[test]
    fn literal_text_comes_out_unchanged(before in literals(), after in literals()) {
        let event = event();
        let scope = Scope::new([("event", &event)]).unwrap();
        let filled = |text: String| Template::parse(&json!({ "a": text }), &NAMES).unwrap().fill(&scope).unwrap();
        prop_assert_eq!(filled(before.clone()), json!({ "a": before }));
        let around = format!("{before}|${{{{ event.width }}}}|{after}");
        prop_assert_eq!(filled(around), json!({ "a": format!("{before}|4000|{after}") }));
        let escaped = format!("{before}$${{{{{after}");
        prop_assert_eq!(filled(escaped), json!({ "a": format!("{before}${{{{{after}") }));
    }

    /// Data is never read as an expression, whatever it says.
    #[test]
    fn data_is_never_evaluated(text in characters()) {
        let data = Value::String(text.clone());
        let scope = Scope::new([("event", &data)]).unwrap();
        let filled = |text: &str| Template::parse(&json!(text), &NAMES).unwrap().fill(&scope).unwrap();
        prop_assert_eq!(filled("${{ event }}"), json!(text));
        prop_assert_eq!(filled("<${{ event }}${{ event + event }}>"), json!(format!("<{text}{text}{text}>")));
        prop_assert_eq!(filled("${{ [event].map(e, e)[0] }}"), json!(text));
    }

    #[test]
    fn numbers_keep_their_value(integer in any::<i64>(), natural in any::<u64>(), double in any::<f64>()) {
        for number in [json!(integer), json!(natural), json!(double)] {
            let scope = Scope::new([("event", &number)]).unwrap();
            let value = |text: &str| Expression::parse(text, &NAMES).unwrap().value(&scope).unwrap();
            prop_assert_eq!(&value("event"), &number);
            prop_assert_eq!(&value("[event][0]"), &number);
        }
    }
}
