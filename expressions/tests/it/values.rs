use crewcall_expressions::{Expression, Scope};
use serde_json::{Value, json};

use crate::{event, value};

#[test]
fn values_keep_their_type() {
    for (text, expected) in [
        ("event.name", json!("beach.jpg")),
        ("event.exact", json!(9_007_199_254_740_993_i64)),
        ("event.exact + 0", json!(9_007_199_254_740_993_i64)),
        ("event.least", json!(i64::MIN)),
        ("event.most", json!(u64::MAX)),
        ("[event.most][0]", json!(u64::MAX)),
        ("event.negative", json!(-1)),
        ("event.share", json!(0.25)),
        ("event.whole", json!(2.0)),
        ("[event.whole]", json!([2.0])),
        ("event.none", json!(null)),
        ("event.tags", json!(["sea", "sand"])),
        ("event.size", json!({ "b": 1, "a": [true, null] })),
        ("{\"z\": event.size, \"a\": 1}", json!({ "a": 1, "z": { "a": [true, null], "b": 1 } })),
        ("event[\"key with ~ and /\"]", json!("odd")),
        ("event.tags[1]", json!("sand")),
        ("event.tags[event.items.size() - 2]", json!("sand")),
        ("event.width / 3", json!(1333)),
        ("event.width % 7", json!(3)),
        ("double(event.width) / 3.0 > 1333.3", json!(true)),
        ("event.name + \"!\"", json!("beach.jpg!")),
        ("event.tags + [\"sun\"]", json!(["sea", "sand", "sun"])),
        ("string(event.width) + \"px\"", json!("4000px")),
        ("int(\"12\") + 1", json!(13)),
        ("event.width > 100 ? \"large\" : \"small\"", json!("large")),
        ("event.items.map(i, i.n * 2)", json!([2, 4, 6])),
        ("event.items.map(i, i.kind == \"x\", i.n)", json!([1, 3])),
        ("event.items.filter(i, i.kind == \"x\").map(i, i.n)", json!([1, 3])),
        ("size(event.name)", json!(9)),
        ("type(event.width) == int", json!(true)),
        ("type(event.width)", json!("int")),
        ("has(event.nothing) ? event.nothing : \"none\"", json!("none")),
    ] {
        assert_eq!(value(text).unwrap_or_else(|failed| panic!("{failed}")), expected, "{text}");
    }
}

/// What docs/expressions.md says.
#[test]
fn numbers_and_texts_are_not_taken_for_each_other() {
    for (text, expected) in [
        ("4 / 3", Some(json!(1))),
        ("4.0 / 3.0 > 1.33", Some(json!(true))),
        ("4 / 3.0", None),
        ("double(4)", Some(json!(4.0))),
        ("int(1.5)", Some(json!(1))),
        ("3u + 1u", Some(json!(4))),
        ("3u + 1", None),
        ("\"1\" + 1", None),
        ("1 == \"1\"", Some(json!(false))),
        ("has(event.none)", Some(json!(true))),
        ("event.nothing == 1 || event.ok", Some(json!(true))),
        ("bool(\"true\")", Some(json!(true))),
        ("{\"wide\": event.width > 1000}", Some(json!({ "wide": true }))),
    ] {
        assert_eq!(value(text).ok(), expected, "{text}");
    }
}

#[test]
fn what_is_picked_out_keeps_the_order_of_its_fields_and_what_is_made_is_sorted() {
    // Over and over, because the library's maps have another order each time.
    for _ in 0..20 {
        assert_eq!(value("event.size").unwrap().to_string(), event()["size"].to_string());
        let made = value("[{\"c\": 1, \"a\": 2, \"b\": 3}]").unwrap();
        assert_eq!(made.to_string(), r#"[{"a":2,"b":3,"c":1}]"#);
    }
}

#[test]
fn what_does_not_fit_the_data_says_why() {
    for (text, said) in [
        ("event.nothing", "there is no field `nothing`; `has(…)` says whether there is"),
        ("event.size.c.d", "there is no field `c`"),
        ("job.id", "there is no data called `job` here"),
        ("event.name + 1", "there is no `+` for a text and an integer"),
        ("event.most + 1", "there is no `+` for an unsigned integer and an integer"),
        ("event.name > 1", "there is no `>` for a text and an integer"),
        ("-event.name", "there is no `-` for a text"),
        ("!event.name", "there is no `!` for a text"),
        ("event.name.contains(1)", "there is no `contains` for a text and an integer"),
        ("event.width / 0", "it divides by zero"),
        ("event.width % 0", "it takes a remainder of a division by zero"),
        ("event.exact * event.exact", "the result of `*` is no integer of 64 bits"),
        ("event.least - 1", "the result of `-` is no integer of 64 bits"),
        ("event.tags[7]", "the list has no element with this index"),
        ("event.width.map(i, i)", "it goes through an integer, which has no elements"),
        ("event.name ? 1 : 2", "a text stands where a boolean must stand"),
        ("1 in 2", "there is no `in` for an integer and an integer"),
        ("{\"a\": 1, \"a\": 2}", "two keys of an object are the same"),
        ("{1: 2}", "a key of an object is no text"),
        ("int(\"x\")", "`int` does not accept its argument"),
        ("1.0 / 0.0", "it is inf, which JSON cannot say"),
    ] {
        let failed = value(text).err().unwrap_or_else(|| panic!("{text} has a value"));
        assert!(failed.message.contains(said), "{text}: {failed}");
        assert_eq!(failed.to_string(), format!("`{text}` has no value: {}", failed.message));
        assert_eq!(failed.pointer, None);
    }
}

#[test]
fn one_scope_serves_many_expressions_on_any_thread() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    let event = event();
    let scope = Scope::new([("event", &event)]).unwrap();
    let expression = Expression::parse("event.width + 1", &["event"]).unwrap();
    is_shared(&scope);
    is_shared(&expression);
    std::thread::scope(|threads| {
        let all: Vec<_> = (0..4).map(|_| threads.spawn(|| expression.clone().value(&scope))).collect();
        for one in all {
            assert_eq!(one.join().unwrap(), Ok(Value::from(4001)));
        }
    });
    assert_eq!(expression.as_str(), "event.width + 1");
}
