//! Texts that parsers get lost in. That they are refused, or parsed, is the test: a parser that gets lost takes gigabytes, or
//! the stack.

use crewcall_expressions::{EXPRESSION_BYTES_MAX, Expression, Scope};
use serde_json::json;

use crate::NAMES;

fn texts() -> Vec<String> {
    let mut texts = Vec::new();
    for length in (60..=300).step_by(8) {
        texts.push("!(".repeat(length / 2));
        texts.push("(!".repeat(length / 2));
        texts.push("!".repeat(length) + &"(".repeat(length));
        texts.push("-(".repeat(length / 2));
        // Without any order, and the same each time.
        let mut state = length;
        texts.push(
            (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if state >> 40 & 1 == 0 { '!' } else { '(' }
                })
                .collect(),
        );
    }
    for times in [10, 30, 100, 300, 500] {
        texts.push("(".repeat(times) + "1" + &")".repeat(times));
        texts.push("[".repeat(times) + &"]".repeat(times));
        texts.push("[".repeat(times));
        texts.push("{1:".repeat(times) + "1" + &"}".repeat(times));
        texts.push("{".repeat(times));
        texts.push("event[".repeat(times) + "0" + &"]".repeat(times));
        texts.push("event".to_owned() + &".a".repeat(times));
        texts.push("event".to_owned() + &"[0]".repeat(times));
        texts.push("event".to_owned() + &".size()".repeat(times));
        texts.push("event".to_owned() + &"+event".repeat(times));
        texts.push("event".to_owned() + &"&&event".repeat(times));
        texts.push("true?".repeat(times) + "1" + &":1".repeat(times));
        texts.push("[1].map(i,".repeat(times) + "1" + &")".repeat(times));
        texts.push("[1]".to_owned() + &".map(i,i)".repeat(times));
        texts.push("size(".repeat(times) + "1" + &")".repeat(times));
        texts.push("A{a:".repeat(times));
        texts.push("'".repeat(times));
        texts.push("\"\"\"".repeat(times));
        texts.push("\\".repeat(times));
        texts.push(".".repeat(times));
        texts.push("é".repeat(times));
        texts.push("has(".repeat(times));
        texts.push("//".repeat(times));
    }
    texts.push("(".repeat(10_000) + &")".repeat(10_000));
    texts.push("9".repeat(400));
    texts.push("1e999999999".to_owned());
    texts.push("'\\U0010FFFF\\UFFFFFFFF\\x'".to_owned());
    texts.push("-9223372036854775808 / -1".to_owned());
    texts.push("-9223372036854775808 % -1".to_owned());
    texts.push("-(-9223372036854775807 - 1)".to_owned());
    texts
}

/// Parses all, and evaluates those that parse.
fn try_all() {
    let data = json!({ "a": 1 });
    let scope = Scope::new([("event", &data)]).unwrap();
    for text in texts() {
        match Expression::parse(&text, &NAMES) {
            Ok(expression) => {
                assert!(text.len() <= EXPRESSION_BYTES_MAX);
                if let Err(failed) = expression.value(&scope) {
                    assert!(!failed.message.contains("cannot be evaluated"), "{text} panics");
                }
            }
            Err(problem) => {
                assert!(!problem.message.contains("cannot be read"), "{text} panics");
                assert!(problem.offset <= text.len());
            }
        }
    }
}

#[test]
fn hostile_texts_are_refused_or_parsed() {
    try_all();
}

/// In a process of its own, because the others here take memory as well.
#[cfg(target_os = "linux")]
#[test]
fn hostile_texts_take_little_memory() {
    const CHILD: &str = "CREWCALL_TEST_HOSTILE_CHILD";
    /// Far more than they take, and far less than a parser that gets lost.
    const KIB_MAX: u64 = 40 * 1024;

    if std::env::var_os(CHILD).is_some() {
        let before = peak_kib();
        try_all();
        let more = peak_kib() - before;
        assert!(more < KIB_MAX, "{more} KiB");
        println!("hostile texts took {more} KiB");
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile::hostile_texts_take_little_memory", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("hostile texts took"), "{said}");
}

/// The most memory that this process had so far.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
