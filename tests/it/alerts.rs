//! The alerts: each has a page that says what to do, is tried both ways, and asks for what there is. That the rules are right is
//! for promtool to say (`./dev test deploy`); some fire on a live installation in `boards`.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::boards::deploy;

/// How bad an alert may be.
const SEVERITIES: [&str; 2] = ["page", "ticket"];

fn read(file: &str) -> String {
    fs::read_to_string(deploy().join(file)).unwrap()
}

/// The parts of a text that begin with a line `start NAME`, each by its name.
fn parts<'a>(text: &'a str, start: &str) -> Vec<(&'a str, &'a str)> {
    let parts = text.split(start).skip(1);
    parts.map(|part| (part.lines().next().unwrap().trim(), part)).collect()
}

fn runbooks() -> BTreeSet<PathBuf> {
    fs::read_dir(deploy().join("runbooks")).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let rules = read("prometheus/rules/alerts.yml");
    let mut pages = BTreeSet::new();
    for (alert, rule) in parts(&rules, "- alert: ") {
        let page = format!("deploy/runbooks/{alert}.md");
        assert!(rule.contains(&format!("runbook_url: {page}\n")), "{alert} names another page");
        let severity = rule.split_once("severity: ").unwrap().1.lines().next().unwrap();
        assert!(SEVERITIES.contains(&severity), "{alert} is {severity}");
        assert!(rule.contains("summary: \"") && rule.contains("description: \""), "{alert} says nothing");
        let page = deploy().join("runbooks").join(format!("{alert}.md"));
        let text = fs::read_to_string(&page).unwrap();
        for heading in ["## What it means\n", "## How to see it\n", "## What to do\n"] {
            assert!(text.contains(heading), "{alert}: its page has no {heading:?}");
        }
        pages.insert(page);
    }
    assert!(pages.len() > 10, "alerts.yml is written in another way now");
    assert_eq!(pages, runbooks());
}

#[test]
fn every_alert_is_tried_both_ways() {
    let (rules, tests) = (read("prometheus/rules/alerts.yml"), read("prometheus/tests/alerts_test.yml"));
    let cases = parts(&tests, "- alertname: ");
    for (alert, _) in parts(&rules, "- alert: ") {
        let is_tried = |quiet| {
            cases.iter().any(|(name, case)| *name == alert && case.contains("exp_alerts: []") == quiet)
        };
        assert!(is_tried(true) && is_tried(false), "{alert} is not tried both ways");
    }
}

#[test]
fn rules_ask_for_metrics_that_there_are() {
    let documented = read("../docs/metrics.md");
    let (rules, recorded) = (read("prometheus/rules/alerts.yml"), read("prometheus/rules/recording.yml"));
    let records: BTreeSet<&str> = parts(&recorded, "- record: ").into_iter().map(|(name, _)| name).collect();
    let mut asked = 0;
    for line in rules.lines().chain(recorded.lines()).filter(|line| !line.contains("- record:")) {
        let words =
            line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':');
        for word in words.filter(|word| word.starts_with("crewcall_") || word.starts_with("crewcall:")) {
            let metric = word.strip_suffix("_bucket").unwrap_or(word);
            let is_there = records.contains(word) || documented.contains(&format!("| `{metric}` |"));
            assert!(is_there, "there is no {word}:\n{line}");
            asked += 1;
        }
    }
    assert!(asked > 20, "the rules are written in another way now");
}
