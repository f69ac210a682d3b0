//! The language, from outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod conditions;
mod hostile;
mod limits;
mod properties;
mod refusals;
mod templates;
mod values;

use crewcall_expressions::{Expression, Failed, Invalid, Scope};
use serde_json::{Value, json};

/// What the expressions of these tests may name.
const NAMES: [&str; 2] = ["event", "job"];

fn event() -> Value {
    json!({
        "name": "beach.jpg", "width": 4000, "share": 0.25, "whole": 2.0, "ok": true, "none": null,
        "exact": 9_007_199_254_740_993_i64, "least": i64::MIN, "most": u64::MAX, "negative": -1,
        "tags": ["sea", "sand"], "size": { "b": 1, "a": [true, null] },
        "items": [{ "n": 1, "kind": "x" }, { "n": 2, "kind": "y" }, { "n": 3, "kind": "x" }],
        "key with ~ and /": "odd", "evil": "${{ event.name }}", "text": "}}' + \"",
    })
}

fn parse(text: &str) -> Result<Expression, Invalid> {
    Expression::parse(text, &NAMES)
}

fn value(text: &str) -> Result<Value, Failed> {
    let event = event();
    let expression = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
    expression.value(&Scope::new([("event", &event)]).unwrap())
}

fn refusal(text: &str) -> Invalid {
    parse(text).err().unwrap_or_else(|| panic!("{text} was accepted"))
}
