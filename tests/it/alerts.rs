//! The alerts: each has a page that says what to do, is tried both ways, and asks for what there is. That the rules are right is
//! for promtool to say (`./dev test deploy`); that real faults make each fire, for the tests in `boards`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::boards::{self, deploy, firing, standstill};

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

/// The pages of alerts; the list of them is none.
fn runbooks() -> BTreeSet<PathBuf> {
    let files = fs::read_dir(deploy().join("runbooks")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| !file.ends_with("README.md")).collect()
}

/// The files that link to runbooks.
fn linking(deploy: &Path) -> Vec<PathBuf> {
    let boards = fs::read_dir(deploy.join("grafana/dashboards")).unwrap().map(|file| file.unwrap().path());
    let rules = ["prometheus/rules/alerts.yml", "prometheus/tests/alerts_test.yml"];
    rules.iter().map(|file| deploy.join(file)).chain(boards).collect()
}

/// Where a file links to, as base and page.
fn runbook_links(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap();
    let addresses = text.split("https://").skip(1).map(|rest| rest.split(['"', '\n']).next().unwrap());
    let parts = addresses.map(|address| address.rsplit_once('/').unwrap());
    parts.map(|(base, page)| (format!("https://{base}"), page.to_owned())).collect()
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let (rules, list) = (read("prometheus/rules/alerts.yml"), read("runbooks/README.md"));
    let mut pages = BTreeSet::new();
    for (alert, rule) in parts(&rules, "- alert: ") {
        assert!(rule.contains(&format!("/{alert}.md\n")), "{alert} names another page");
        let severity = rule.split_once("severity: ").unwrap().1.lines().next().unwrap();
        assert!(SEVERITIES.contains(&severity), "{alert} is {severity}");
        let wakes = if severity == "page" { "yes" } else { "no" };
        let listed = format!("| [{alert}]({alert}.md) | {wakes} |");
        assert!(list.contains(&listed), "the list of runbooks has no {listed}");
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
fn links_to_runbooks_begin_alike_and_lead_to_pages() {
    let mut bases = BTreeSet::new();
    for file in linking(&deploy()) {
        let links = runbook_links(&file);
        assert!(!links.is_empty(), "{} links to no runbook", file.display());
        for (base, page) in links {
            assert!(deploy().join("runbooks").join(&page).exists(), "{}: no page {page}", file.display());
            bases.insert(base);
        }
    }
    assert_eq!(bases.len(), 1, "{bases:?}");
}

#[test]
fn one_command_sets_where_the_runbooks_are() {
    let readme = read("prometheus/README.md");
    let command = readme.split("```sh\n").find(|part| part.starts_with("sed ")).unwrap();
    let command = command.split_once("```").unwrap().0;
    let [old, new] = [1, 2].map(|part| command.split('|').nth(part).unwrap());
    let copy = tempfile::tempdir().unwrap();
    for part in [["-c", "cp -r \"$0\" deploy"], ["-ec", command]] {
        let done = Command::new("sh").args(part).arg(deploy()).current_dir(&copy).status().unwrap();
        assert!(done.success(), "{part:?}");
    }
    for file in linking(&copy.path().join("deploy")) {
        for (base, page) in runbook_links(&file) {
            assert_ne!(base, old, "{}: the link to {page} is left", file.display());
        }
    }
    assert!(new.starts_with("https://") && new != old, "{command}");
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
fn every_alert_fires_for_a_real_fault() {
    let rules = read("prometheus/rules/alerts.yml");
    let alerts: BTreeSet<&str> = parts(&rules, "- alert: ").into_iter().map(|(alert, _)| alert).collect();
    let mixed = boards::FIRING.iter().map(|(alert, _)| *alert);
    let fired = mixed.chain(firing::FIRING).chain(standstill::FIRING);
    assert_eq!(alerts, fired.collect::<BTreeSet<_>>());
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
