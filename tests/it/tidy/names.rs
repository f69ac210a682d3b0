//! The names that Rust code mentions.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Every path that the code mentions, as text such as `tokio::time::sleep`, with the trees of `use` written out.
/// Comments and texts mention nothing. Names in macros count.
pub(super) fn paths(code: &str) -> Vec<String> {
    paths_in(tokens(code))
}

pub(super) fn paths_in(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    walk(tokens, "", &mut found);
    found
}

pub(super) fn tokens(code: &str) -> TokenStream {
    code.parse().unwrap_or_else(|error| panic!("not Rust: {error}"))
}

fn walk(tokens: TokenStream, prefix: &str, found: &mut Vec<String>) {
    let mut path = prefix.to_owned();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Ident(name) => {
                let continues = colons == 2 || (path == prefix && !prefix.is_empty());
                if !continues {
                    end(&mut path, found);
                }
                if !path.is_empty() {
                    path.push_str("::");
                }
                path.push_str(&name.to_string());
                colons = 0;
            }
            TokenTree::Group(group) => {
                if colons == 2 && group.delimiter() == Delimiter::Brace {
                    walk(group.stream(), &path, found);
                    path.clear();
                } else {
                    end(&mut path, found);
                    walk(group.stream(), "", found);
                }
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                end(&mut path, found);
                prefix.clone_into(&mut path);
                colons = 0;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {
                end(&mut path, found);
                colons = 0;
            }
        }
    }
    end(&mut path, found);
}

fn end(path: &mut String, found: &mut Vec<String>) {
    if !path.is_empty() {
        found.push(std::mem::take(path));
    }
}

/// The paths that the code's own modules import, at its top level.
pub(super) fn imports(tokens: TokenStream) -> Vec<String> {
    let (mut found, mut import) = (Vec::new(), None::<TokenStream>);
    for token in tokens {
        match (&token, &mut import) {
            (TokenTree::Ident(name), None) if name == "use" => import = Some(TokenStream::new()),
            (TokenTree::Punct(punct), Some(_)) if punct.as_char() == ';' => {
                walk(import.take().unwrap_or_default(), "", &mut found);
            }
            (_, Some(tokens)) => tokens.extend([token]),
            (_, None) => {}
        }
    }
    found
}

/// The code without what is only there for tests: items behind `#[cfg(test)]`.
pub(super) fn without_tests(tokens: TokenStream) -> TokenStream {
    let (mut kept, mut in_test, mut after_hash) = (TokenStream::new(), false, false);
    for token in tokens {
        let is_cfg_test = matches!(&token, TokenTree::Group(group)
            if after_hash && group.stream().to_string().replace(' ', "") == "cfg(test)");
        let ends_item = match &token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        };
        after_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        if in_test || is_cfg_test {
            in_test = !ends_item || is_cfg_test;
        } else {
            kept.extend([token]);
        }
    }
    // The `#` of each attribute that was cut is left over, and is no path.
    kept
}

/// The attributes of the code, by name: `test`, `derive`.
pub(super) fn attributes(code: &str) -> Vec<String> {
    fn collect(tokens: TokenStream, found: &mut Vec<String>) {
        let mut after_hash = false;
        for token in tokens {
            if let TokenTree::Group(group) = &token {
                if after_hash && group.delimiter() == Delimiter::Bracket {
                    found.extend(group.stream().into_iter().next().map(|name| name.to_string()));
                }
                collect(group.stream(), found);
            }
            after_hash = matches!(&token, TokenTree::Punct(punct) if matches!(punct.as_char(), '#' | '!'));
        }
    }
    let mut found = Vec::new();
    collect(tokens(code), &mut found);
    found
}

/// A path with `self` and `super` replaced by where the file stands: `super::broker` in `store/rows.rs` is
/// `crate::store::broker`. In a module inside the file it is taken one level too high, which hides nothing: the
/// module itself is at home there.
pub(super) fn absolute(path: &str, file: &str) -> String {
    let mut module = module_of(file);
    let mut rest = path;
    while let Some((first, after)) = rest.split_once("::") {
        match first {
            "super" => {
                module.pop();
            }
            "self" => {}
            _ => break,
        }
        rest = after;
    }
    if rest == path {
        return path.to_owned();
    }
    let mut whole = vec!["crate"];
    whole.extend(module);
    whole.push(rest);
    whole.join("::")
}

/// `["store", "rows"]` for `backend/src/store/rows.rs`.
pub(super) fn module_of(file: &str) -> Vec<&str> {
    let Some((_, inside)) = file.split_once("src/") else { return Vec::new() };
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    inside.split('/').filter(|name| !matches!(*name, "mod" | "lib" | "main")).collect()
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let code = r##"
        //! A comment may say lapin::Connection.
        use std::{collections::BTreeMap, time::{Duration, SystemTime as Wall}};
        use crate::{broker, store::{self, SqliteStore}};
        #[derive(serde::Serialize)]
        struct Job { id: axum::Json<u8> }
        fn run() -> Result<(), http::Error> { select! { _ = tokio::time::sleep(x) => "lapin::Channel" } }
        const TEXT: &str = r#"use axum;"#;
    "##;
    let found = paths(code);
    for expected in [
        "std::collections::BTreeMap",
        "std::time::Duration",
        "std::time::SystemTime",
        "crate::broker",
        "crate::store::self",
        "crate::store::SqliteStore",
        "serde::Serialize",
        "axum::Json",
        "http::Error",
        "tokio::time::sleep",
    ] {
        assert!(found.iter().any(|path| path == expected), "{expected} is not among {found:?}");
    }
    assert!(!found.iter().any(|path| path.starts_with("lapin")), "{found:?}");
}

#[test]
fn paths_are_made_absolute() {
    assert_eq!(absolute("super::broker::Link", "backend/src/store/rows.rs"), "crate::store::broker::Link");
    assert_eq!(absolute("super::super::http", "backend/src/store/rows.rs"), "crate::http");
    assert_eq!(absolute("self::open", "backend/src/store/mod.rs"), "crate::store::open");
    assert_eq!(absolute("super::http::x", "backend/src/store/mod.rs"), "crate::http::x");
    assert_eq!(absolute("tokio::spawn", "backend/src/store/mod.rs"), "tokio::spawn");
}

#[test]
fn attributes_are_found_in_modules_too() {
    let found = attributes("#![expect(x)] mod tests { #[tokio::test] #[ignore = \"slow\"] fn a() {} }");
    assert_eq!(found, ["expect", "tokio", "ignore"]);
}

/// How often `sleep(…)` is called outside a loop. In a loop it polls; outside, it hopes.
pub(super) fn hopeful_sleeps(code: &str) -> usize {
    fn count(tokens: TokenStream, in_loop: bool) -> usize {
        let mut sleeps = 0;
        let (mut loop_begins, mut after_sleep) = (false, false);
        for token in tokens {
            if let TokenTree::Group(group) = &token {
                let body = group.delimiter() == Delimiter::Brace && loop_begins;
                if after_sleep && group.delimiter() == Delimiter::Parenthesis && !in_loop {
                    sleeps += 1;
                }
                sleeps += count(group.stream(), in_loop || body);
                loop_begins &= !body;
            }
            let name = if let TokenTree::Ident(name) = &token { name.to_string() } else { String::new() };
            loop_begins |= matches!(name.as_str(), "loop" | "while");
            after_sleep = name == "sleep";
        }
        sleeps
    }
    count(tokens(code), false)
}

#[test]
fn only_sleeps_outside_loops_are_counted() {
    assert_eq!(
        hopeful_sleeps("use tokio::time::sleep; fn f() { loop { g(); sleep(x).await; } sleep(x); }"),
        1
    );
    assert_eq!(hopeful_sleeps("fn f() { while a.b(c) { std::thread::sleep(x); } }"), 0);
    assert_eq!(hopeful_sleeps("fn f() { select! { () = tokio::time::sleep(x) => {} } }"), 1);
}

#[test]
fn imports_are_found_and_tests_are_left_out() {
    let code =
        "pub use a::{b, c::D}; mod x; fn f() { g::h() } #[cfg(test)] mod tests { use e::F; } use i::J;";
    assert_eq!(imports(tokens(code)), ["a::b", "a::c::D", "i::J"]);
    let left = paths_in(without_tests(tokens(code)));
    assert!(left.contains(&"g::h".to_owned()) && !left.contains(&"e::F".to_owned()), "{left:?}");
}
