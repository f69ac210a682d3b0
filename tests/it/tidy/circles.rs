//! Modules that know each other in a circle. Whoever wants to understand one of them has to understand all of them.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::TokenStream;

use super::names;

/// Modules below the same parent, each with those that it mentions.
type Mentions = BTreeMap<String, BTreeSet<String>>;

/// The crates whose modules are looked at.
const CRATES: [&str; 12] = [
    "amqp/src",
    "backend/src",
    "calendar/src",
    "cli/src",
    "dev-broker/src",
    "expressions/src",
    "outbound-http/src",
    "proto/src",
    "traces/src",
    "webhooks/src",
    "worker-sdk/src",
    "workers/src",
];

#[test]
fn modules_know_each_other_in_one_direction() {
    let sources = super::sources();
    let mut found = Vec::new();
    for folder in CRATES {
        let files = sources.iter().filter(|(file, _)| super::is_in(file, folder));
        let files: Vec<(&str, &str)> = files.map(|(file, code)| (file.as_str(), code.as_str())).collect();
        assert!(!files.is_empty(), "{folder} has no Rust files (any more?)");
        found.extend(circles(&files).into_iter().map(|circle| format!("{folder}: {}", circle.join(", "))));
    }
    assert!(found.is_empty(), "modules that know each other in a circle:\n{found:#?}");
}

/// The circles of one crate, each as its modules in the order of their names. Compared are the modules that
/// share a parent, each with everything below it. That a module and those below it know each other is no circle.
fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let files: Vec<_> =
        files.iter().map(|(file, code)| (*file, names::without_tests(names::tokens(code)))).collect();
    let modules: BTreeSet<Vec<&str>> = files.iter().map(|(file, _)| names::module_of(file)).collect();
    let exports: BTreeMap<Vec<&str>, Exports> =
        files.iter().map(|(file, tokens)| (names::module_of(file), exports(file, tokens))).collect();
    let mut parents: BTreeMap<String, Mentions> = BTreeMap::new();
    for (file, tokens) in &files {
        let from = names::module_of(file);
        for path in names::paths_in(tokens.clone()) {
            let Some(to) = target(&path, file, &from, &modules, &exports) else { continue };
            let shared = from.iter().zip(&to).take_while(|(one, other)| **one == other.as_str()).count();
            if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                let parent = parents.entry(from[..shared].join("::")).or_default();
                parent.entry((*one).to_owned()).or_default().insert(other.clone());
            }
        }
    }
    let named = |(parent, mentions): (&String, &Mentions)| {
        let within =
            |module: &str| if parent.is_empty() { module.to_owned() } else { format!("{parent}::{module}") };
        knots(mentions)
            .into_iter()
            .map(|knot| knot.iter().map(|module| within(module)).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    parents.iter().flat_map(named).collect()
}

/// What a module imports or passes on: by name, where it comes from.
type Exports = BTreeMap<String, String>;

/// The names that a module makes its own with `use`, with the absolute path of each.
fn exports(file: &str, tokens: &TokenStream) -> Exports {
    let used = names::imports(tokens.clone()).into_iter().map(|path| names::absolute(&path, file));
    used.filter_map(|path| Some((path.rsplit("::").next()?.to_owned(), path.clone()))).collect()
}

/// The module that a path leads to, if it is one of this crate.
fn target(
    path: &str,
    file: &str,
    from: &[&str],
    modules: &BTreeSet<Vec<&str>>,
    exports: &BTreeMap<Vec<&str>, Exports>,
) -> Option<Vec<String>> {
    let mut path = names::absolute(path, file);
    // A name can be passed on a few times; more than that would be a circle of its own.
    for _ in 0..4 {
        let parts: Vec<&str> = path.split("::").collect();
        let inside: Vec<&str> = match parts.split_first() {
            Some((&"crate", rest)) => rest.to_vec(),
            // A path of a module below the one that names it.
            Some((first, _)) if modules.contains(&[from, &[*first]].concat()) => [from, &parts].concat(),
            _ => return None,
        };
        let depth =
            (0..=inside.len()).rev().find(|depth| *depth == 0 || modules.contains(&inside[..*depth]))?;
        let (module, rest) = inside.split_at(depth);
        let passed_on = rest.first().and_then(|name| exports.get(module)?.get(*name));
        match passed_on {
            Some(origin) if module != from => {
                let origin = if origin.starts_with("crate::")
                    || !modules.contains(&[module, &[first(origin)]].concat())
                {
                    origin.clone()
                } else {
                    ["crate"]
                        .iter()
                        .chain(module)
                        .copied()
                        .chain([origin.as_str()])
                        .collect::<Vec<_>>()
                        .join("::")
                };
                if origin == path {
                    return Some(module.iter().map(|part| (*part).to_owned()).collect());
                }
                path = origin;
            }
            _ => return Some(module.iter().map(|part| (*part).to_owned()).collect()),
        }
    }
    None
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

/// Groups of more than one module that all reach each other.
fn knots(mentions: &Mentions) -> Vec<Vec<&str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        mentions.keys().map(|module| (module.as_str(), reachable(module, mentions))).collect();
    let mut knots: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (module, reach) in &reached {
        let knot: Vec<&str> = reach
            .iter()
            .copied()
            .filter(|other| other != module && reached.get(other).is_some_and(|back| back.contains(module)))
            .chain([*module])
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if knot.len() > 1 {
            knots.insert(knot);
        }
    }
    knots.into_iter().collect()
}

fn reachable<'a>(from: &str, mentions: &'a Mentions) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = mentions.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(mentions.get(module).into_iter().flatten().map(String::as_str));
        }
    }
    reached
}

#[test]
fn a_circle_is_found_wherever_it_goes() {
    let crate_of = |files: &[(&str, &str)]| {
        let mut all = vec![("a/src/lib.rs", "mod one; mod two; mod three;")];
        all.extend(files);
        circles(&all).iter().map(|circle| circle.join(", ")).collect::<Vec<_>>()
    };
    let (one, two, three) = ("a/src/one.rs", "a/src/two.rs", "a/src/three.rs");
    assert_eq!(crate_of(&[(one, "use crate::two::Two;"), (two, "")]), [""; 0]);
    assert_eq!(
        crate_of(&[(one, "use crate::two::Two;"), (two, "fn f(x: crate::one::One) {}")]),
        ["one, two"]
    );
    assert_eq!(crate_of(&[(one, "use super::two::Two;"), (two, "use super::one;")]), ["one, two"]);
    assert_eq!(
        crate_of(&[
            (one, "use crate::{two, x};"),
            (two, "use crate::three::T;"),
            (three, "use crate::one::O;")
        ]),
        ["one, three, two"]
    );
    // Below a module, and by way of what a module passes on.
    let (inner, other) = ("a/src/one/inner.rs", "a/src/one/other.rs");
    let within =
        [(one, "mod inner; mod other;"), (inner, "use super::other::O;"), (other, "use super::inner::I;")];
    assert_eq!(crate_of(&within), ["one::inner, one::other"]);
    let passed_on = [(one, "pub use inner::I;"), (inner, "use super::other::O;"), (other, "use super::I;")];
    assert_eq!(crate_of(&passed_on), ["one::inner, one::other"]);
    // A parent and its own, a comment, and a test are no circle.
    let family = [(one, "mod inner; use inner::I;"), (inner, "use super::One;")];
    assert_eq!(crate_of(&family), [""; 0]);
    let tested =
        [(one, "use crate::two::T;"), (two, "/// crate::one\n#[cfg(test)] mod tests { use crate::one::O; }")];
    assert_eq!(crate_of(&tested), [""; 0]);
}
