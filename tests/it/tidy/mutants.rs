//! The list of mutants against the code.

use std::collections::BTreeSet;

use e2e::mutants::MUTANTS;

use super::sources;

/// The fewest that say something about the net.
const MUTANTS_MIN: usize = 17;

/// The fewest for every run of CI, and the most: each costs it some ten seconds.
const QUICK: std::ops::RangeInclusive<usize> = 5..=6;

#[test]
fn every_mutant_of_the_code_is_in_the_list_and_the_other_way_round() {
    let listed: Vec<String> = MUTANTS.iter().map(|mutant| mutant.name.to_owned()).collect();
    let mut in_code: Vec<String> = sources()
        .iter()
        .filter(|(file, _)| !file.starts_with("tests/"))
        .flat_map(|(_, code)| names_of_mutants(code))
        .collect();
    let (mut sorted, places) = (listed, in_code.len());
    sorted.sort_unstable();
    in_code.sort_unstable();
    assert_eq!(sorted, in_code, "each is at one place");
    assert!(places >= MUTANTS_MIN, "{places} mutants are too few");
    let quick = MUTANTS.iter().filter(|mutant| mutant.is_quick).count();
    assert!(QUICK.contains(&quick), "{quick} are quick");
}

#[test]
fn what_finds_a_mutant_is_a_test() {
    let tests: BTreeSet<String> = sources()
        .iter()
        .filter(|(file, _)| file.starts_with("tests/it/"))
        .flat_map(|(file, code)| names_of_tests(file, code))
        .collect();
    let missing: Vec<_> = MUTANTS.iter().filter(|mutant| !tests.contains(mutant.found_by)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

/// What the code asks for by `mutant("…")`.
fn names_of_mutants(code: &str) -> Vec<String> {
    let asked = code.split("mutant(\"").skip(1);
    asked.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// The whole names of the tests in a file.
fn names_of_tests(file: &str, code: &str) -> Vec<String> {
    let path = file.trim_start_matches("tests/it/").trim_end_matches(".rs").replace('/', "::");
    let tests = code.split("#[tokio::test").skip(1);
    tests
        .filter_map(|test| Some(format!("{path}::{}", test.split_once("fn ")?.1.split_once('(')?.0)))
        .collect()
}

#[test]
fn the_checks_of_mutants_fire() {
    assert_eq!(names_of_mutants("if mutant(\"a\") { } else if x || mutant(\"b_c\") {}"), ["a", "b_c"]);
    let code = "#[tokio::test]\nasync fn one() {}\n#[tokio::test(flavor = \"x\")]\nasync fn two() {}";
    assert_eq!(names_of_tests("tests/it/faults/a.rs", code), ["faults::a::one", "faults::a::two"]);
}
