use crewcall_expressions::{Failed, Invalid, Scope, Template};
use serde_json::{Value, json};

use crate::{NAMES, event};

fn parse(template: &Value) -> Result<Template, Vec<(String, Invalid)>> {
    Template::parse(template, &NAMES)
}

fn fill(template: &Value) -> Result<Value, Failed> {
    let event = event();
    parse(template)
        .unwrap_or_else(|problems| panic!("{template}: {problems:?}"))
        .fill(&Scope::new([("event", &event)]).unwrap())
}

#[test]
fn expressions_are_filled_in() {
    for (template, expected) in [
        // A whole string keeps the type.
        (json!("${{ event.exact }}"), json!(9_007_199_254_740_993_i64)),
        (json!("${{event.most}}"), json!(u64::MAX)),
        (json!("${{ event.share }}"), json!(0.25)),
        (json!("${{ event.none }}"), json!(null)),
        (json!("${{\n event.tags \n}}"), json!(["sea", "sand"])),
        (json!("${{ event.size }}"), json!({ "b": 1, "a": [true, null] })),
        // Among other characters it becomes text.
        (json!(" ${{ event.width }}"), json!(" 4000")),
        (json!("${{ event.name }}, ${{ event.whole }} ${{ event.ok }}!"), json!("beach.jpg, 2.0 true!")),
        (json!("${{ event.name }}${{ event.width }}"), json!("beach.jpg4000")),
        // What is no expression stays.
        (json!("$ { $$ ${ $}} {{ event }} }} ${"), json!("$ { $$ ${ $}} {{ event }} }} ${")),
        (json!("$${{ event.name }}"), json!("${{ event.name }}")),
        (json!("$$${{ x"), json!("$${{ x")),
        (json!("a $${{ b }} ${{ event.width }} $${{"), json!("a ${{ b }} 4000 ${{")),
        (json!(["$${{ x"]), json!(["${{ x"])),
        (json!({ "${{ event.name }}": [1, "a", null] }), json!({ "${{ event.name }}": [1, "a", null] })),
        // Braces of the language end nothing.
        (json!("${{ \"}}\" }}"), json!("}}")),
        (json!("${{ '}}' + r'\\}}' + \"\"\"}}\"\"\" }}"), json!("}}\\}}}}")),
        (json!("${{ {\"a\": {\"b\": 1}} }}"), json!({ "a": { "b": 1 } })),
        (json!("${{{\"a\": {\"b\": 1}}}}"), json!({ "a": { "b": 1 } })),
        (json!("<${{ {\"a\": \"}}\"}.a }}}}>"), json!("<}}}}>")),
        // What comes out is not read again.
        (json!("${{ event.evil }}"), json!("${{ event.name }}")),
        (json!("<${{ event.evil }}>${{ event.text }}"), json!("<${{ event.name }}>}}' + \"")),
        (json!("${{ \"${\" + \"{ event.name }}\" }}"), json!("${{ event.name }}")),
        (json!([{ "a": "${{ event.width }}" }, 1]), json!([{ "a": 4000 }, 1])),
        (json!(1.5), json!(1.5)),
    ] {
        let filled = fill(&template).unwrap_or_else(|failed| panic!("{template}: {failed}"));
        assert_eq!(filled, expected, "{template}");
    }
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let template = json!({
        "a": "${{ evnt.name }}", "b/c~": ["fine", "ü ${{ 1 + }}", "x ${{ \"open }}"], "d": "${{ }}", "e": "${{ event.name }}",
        "f": "${{ event.name }", "g": "${{ {\"a\": 1}",
    });
    let problems = parse(&template).unwrap_err();
    let places: Vec<(&str, usize)> =
        problems.iter().map(|(pointer, problem)| (pointer.as_str(), problem.offset)).collect();
    assert_eq!(places, [("/a", 4), ("/b~1c~0/1", 10), ("/b~1c~0/2", 2), ("/d", 0), ("/f", 0), ("/g", 0)]);
    let said = [
        "did you mean `event`",
        "no expression",
        "never closed",
        "nothing between",
        "never closed",
        "never closed",
    ];
    for ((_, problem), said) in problems.iter().zip(said) {
        assert!(problem.message.contains(said), "{problem}");
    }
}

#[test]
fn a_failure_names_the_place_and_the_expression() {
    let failed = fill(&json!({ "a": [0, "x ${{ event.nothing }}"] })).unwrap_err();
    assert_eq!(failed.pointer.as_deref(), Some("/a/1"));
    assert_eq!(failed.expression, "event.nothing");
    assert!(
        failed.to_string().starts_with("at \"/a/1\": `event.nothing` has no value: there is no field"),
        "{failed}"
    );
}

#[test]
fn what_has_no_text_cannot_stand_among_characters() {
    for (expression, kind) in [("event.none", "null"), ("event.tags", "a list"), ("event.size", "an object")]
    {
        let failed = fill(&json!(format!("<${{{{ {expression} }}}}>"))).unwrap_err();
        assert!(failed.message.starts_with(&format!("it is {kind}, which cannot stand among")), "{failed}");
        assert_eq!((failed.expression.as_str(), failed.pointer.as_deref()), (expression, Some("")));
    }
}
