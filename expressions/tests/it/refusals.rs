use crate::{parse, refusal};

#[test]
fn a_mistake_is_refused_where_it_is() {
    for (text, offset, said) in [
        ("", 0, "there is no expression"),
        (" \n ", 0, "there is no expression"),
        ("1 +", 3, "this is no expression"),
        ("event.name ==\n  == 1", 16, "this is no expression"),
        ("\"ü\" + )", 7, "this is no expression"),
        ("event.name = 1", 11, "this is no expression"),
        ("\"open", 0, "unterminated string"),
        ("1 + evnt.name", 4, "nothing is called `evnt`; did you mean `event`?"),
        ("event.width + zebra", 14, "nothing is called `zebra`; there is `event`, `job`"),
        ("event.zebra + zebra", 14, "nothing is called `zebra`"),
        ("event.items.map(i, itm.n)", 19, "nothing is called `itm`"),
        ("event.items.map(i, i.n) + i", 16, "nothing is called `i`"),
        ("1 + sizeof(event)", 4, "there is no function `sizeof`; did you mean `size(value)`?"),
        ("event.name.startswith(\"a\")", 11, "did you mean `text.startsWith(text)`?"),
        ("event.name.matches(\"a\")", 11, "there are no regular expressions"),
        ("quux(1)", 0, "there is no function `quux`; there is `all`, `bool`"),
        ("size(1, 2)", 0, "`size` is written `size(value)`"),
        ("event.items.map(i)", 12, "`map` is written `list.map(name, value)`"),
        ("contains(event.name)", 0, "`contains` is written `text.contains(text)`"),
        ("timestamp(event.at)", 0, "there is no function `timestamp`"),
        ("duration(\"1s\")", 0, "there is no function `duration`"),
        ("optional.of(1)", 9, "there is no function `of`"),
        ("dyn(1)", 0, "there is no function `dyn`"),
        ("bytes(\"a\")", 0, "there is no function `bytes`"),
        ("b\"a\"", 0, "JSON has no bytes"),
        ("Thing{a: 1}", 0, "there are no types to make values of"),
        ("event.?name", 5, "this is no expression"),
        ("has(event)", 4, "invalid argument to has() macro"),
        ("event.items.map(event, 1)", 0, "`event` is something else already"),
        ("event.items.map(int, 1)", 16, "`int` is something else already"),
        ("event.items.map(i, event.tags.map(t, t))", 34, "a macro cannot stand in the body of another"),
        ("event.items.exists(i, event.tags.exists(t, t == i))", 40, "a macro cannot stand in the body"),
        ("`event`", 0, "this is no expression"),
        ("@result", 0, "this is no expression"),
    ] {
        let problem = refusal(text);
        assert!(problem.message.contains(said), "{text}: {problem}");
        assert_eq!(problem.offset, offset, "{text}: {problem}");
        assert_eq!(problem.to_string(), format!("at byte {offset}: {}", problem.message));
    }
}

#[test]
fn macros_follow_each_other() {
    assert!(parse("event.items.filter(i, i.n > 1).map(i, i.n).exists(n, n == 3)").is_ok());
    assert!(parse("event.tags.map(t, t) + event.items.map(i, i.kind)").is_ok());
}

#[test]
fn without_names_nothing_is_known() {
    let problem = crewcall_expressions::Expression::parse("event", &[]).unwrap_err();
    assert_eq!(problem.message, "nothing is called `event`; there are no names here");
}
