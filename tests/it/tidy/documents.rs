//! What documents must agree with.

use std::{collections::BTreeSet, path::Path};

use super::{files, read, root};

/// The newcomer's page, as far as the end of the quick start, and as a whole.
const QUICK_START_WORDS_MAX: usize = 500;
const README_WORDS_MAX: usize = 1_000;

/// What a newcomer reads first.
const READING_ORDER_LINES_MAX: usize = 800;

/// Where the settings of programs are read. Variables of tests and between our own processes are not settings.
const SETTINGS: [&str; 5] = [
    "cli/src/settings.rs",
    "cli/src/arguments.rs",
    "dev-broker/src/home.rs",
    "worker-sdk/src/settings.rs",
    "workers/src/settings.rs",
];

#[test]
fn the_quick_start_is_quick() {
    let readme = read("README.md");
    let words = words_to_the_end_of("## Quick start", &readme);
    assert!(words <= QUICK_START_WORDS_MAX, "{words} words, more than {QUICK_START_WORDS_MAX}");
    let words = readme.split_whitespace().count();
    assert!(words <= README_WORDS_MAX, "{words} words, more than {README_WORDS_MAX}");
}

#[test]
fn the_worker_of_the_readme_is_the_one_that_is_compiled() {
    let readme = read("README.md");
    let example = readme.split_once("```rust\n").unwrap().1.split_once("```").unwrap().0;
    let commented: String =
        example.lines().map(|line| format!("//! {line}").trim_end().to_owned() + "\n").collect();
    assert!(
        read("worker-sdk/src/lib.rs").contains(&commented),
        "the crate's documentation has another example"
    );
}

#[test]
fn the_reading_order_is_short() {
    let architecture = read("ARCHITECTURE.md");
    let section = architecture.split_once("## Reading order").expect("there is a reading order").1;
    let files =
        section.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).flat_map(links);
    let lines: usize = files.map(|file| read(&file).lines().count()).sum();
    assert!(
        (1..=READING_ORDER_LINES_MAX).contains(&lines),
        "{lines} lines, not 1 to {READING_ORDER_LINES_MAX}"
    );
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for document in files().into_iter().filter(|file| file.ends_with(".md")) {
        let folder = Path::new(&document).parent().unwrap();
        for link in links(&read(&document)) {
            let target = link.split_once('#').map_or(link.as_str(), |(file, _)| file);
            let outside = link.contains("://") || target.is_empty();
            if !outside && !root().join(folder).join(target).exists() {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn metrics_that_documents_name_exist() {
    // The list itself is compared with what is exported by a test of the backend.
    let listed = words_with("crewcall_", &read("docs/metrics.md"));
    assert!(listed.len() > 10, "docs/metrics.md is written in another way now: {listed:?}");
    let named = words_with("crewcall_", &read("docs/operating.md"));
    assert!(named.len() > 2 && named.is_subset(&listed), "{:?}", named.difference(&listed));
}

#[test]
fn every_setting_is_documented() {
    let documents = read("docs/operating.md");
    let documented = words_with("CREWCALL_", &documents);
    let read_somewhere: BTreeSet<String> =
        SETTINGS.iter().flat_map(|file| words_with("CREWCALL_", &read(file))).collect();
    assert_eq!(documented, read_somewhere);
}

#[test]
fn workers_know_every_setting_by_name() {
    let files = ["worker-sdk/src/settings.rs", "worker-sdk/src/settings/environment.rs"];
    let known: BTreeSet<String> =
        files.iter().flat_map(|file| words_with("CREWCALL_", &read(file))).collect();
    let documented = words_with("CREWCALL_", &read("docs/operating.md"));
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(unknown.is_empty(), "a worker would say that these have no effect: {unknown:?}");
}

#[test]
fn every_fault_is_documented_and_tested() {
    let documented: BTreeSet<String> = read("docs/faults.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| F")?.split_once(' ')?.0.parse::<u32>().ok())
        .map(|number| format!("f{number:02}"))
        .collect();
    let tested: BTreeSet<String> = files()
        .into_iter()
        .filter(|file| file.starts_with("tests/it/faults/"))
        .flat_map(|file| numbers_of_tests(&read(&file)))
        .collect();
    assert_eq!(documented, tested);
}

// --- the checks, on text -------------------------------------------------------------------------------------------

fn words_to_the_end_of(heading: &str, text: &str) -> usize {
    let (before, rest) =
        text.split_once(heading).unwrap_or_else(|| panic!("there is no heading {heading:?}"));
    let section = rest.split_once("\n## ").map_or(rest, |(section, _)| section);
    [before, heading, section].iter().map(|part| part.split_whitespace().count()).sum()
}

/// What the Markdown links of the text point at.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The names in the text that begin with the prefix and go on with letters, digits and underscores.
fn words_with(prefix: &str, text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_part(letter))
        .filter(|word| word.len() > prefix.len() && word.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

/// The numbers with which the names of the tests begin, such as `f05`.
fn numbers_of_tests(code: &str) -> Vec<String> {
    let tests = code.split("#[tokio::test").skip(1);
    tests.filter_map(|test| Some(test.split_once("fn ")?.1.split_once('_')?.0.to_owned())).collect()
}

#[test]
fn words_are_counted_to_the_end_of_the_section() {
    assert_eq!(words_to_the_end_of("## Two", "# One\n\na b\n\n## Two\n\n### Three\nc d\n\n## Four\n\ne"), 10);
}

#[test]
fn links_and_names_are_found() {
    assert_eq!(numbers_of_tests("#[tokio::test]\nasync fn f05_it_freezes() {}"), ["f05"]);
    assert_eq!(links("a [b](c.md#d) and [e](https://f), (g)"), ["c.md#d", "https://f"]);
    assert_eq!(words_with("X_", "`X_A`,X_B_1 MAX_C X_").into_iter().collect::<Vec<_>>(), ["X_A", "X_B_1"]);
}
