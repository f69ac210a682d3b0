//! Up to three faults at once, at random (F60).

use std::{collections::BTreeSet, time::Duration};

use e2e::{
    chaos::plan::{FAULTS_AT_ONCE_MAX, plan},
    process::command,
};
use tokio::time::timeout;

/// A minute of faults, and what it takes to start, to heal, and to wait for the last job on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// Long enough that every fault is chosen.
const LONG: Duration = Duration::from_secs(1_800);

/// The program `chaos` lets the faults of a fixed seed strike for a minute, while jobs come in and are
/// cancelled. It fails when a job is lost, doubled, stuck or unexpected, or when a program ends or logs an
/// error without a reason.
#[tokio::test]
async fn f60_a_minute_of_chaos() {
    let folder = tempfile::tempdir().unwrap();
    let mut chaos = command("chaos", folder.path()).unwrap();
    chaos.args(["--seed", "60", "--minutes", "1"]);
    let ended = timeout(PATIENCE, chaos.output()).await.expect("chaos ends").unwrap();
    let (report, plan) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{plan}\n{report}");
    println!("F60 three faults at random\n    {}", report.trim_end());
}

#[test]
fn f60_a_seed_chooses_the_faults() {
    let (short, long) = (plan(7, LONG / 10), plan(7, LONG));
    assert_eq!(long, plan(7, LONG), "the same faults");
    assert!(long.starts_with(&short), "a longer run begins as a shorter one");
    assert_ne!(long, plan(8, LONG), "another seed, other faults");
    for strike in &long {
        let running: Vec<_> = long
            .iter()
            .filter(|other| other.at <= strike.at && strike.at <= other.at + other.lasts)
            .collect();
        assert!(running.len() <= FAULTS_AT_ONCE_MAX, "{running:?}");
        let alike = running.iter().filter(|other| other.fault.subject() == strike.fault.subject());
        assert_eq!(alike.count(), 1, "{running:?}");
    }
    let kinds: BTreeSet<_> = long.iter().map(|strike| strike.fault.kind()).collect();
    assert_eq!(kinds.len(), 21, "each fault strikes: {kinds:?}");
}

#[tokio::test]
async fn f60_arguments_that_mean_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, advice) in [
        (["--minutes", "0"], "1..=1440"),
        (["--minutes", "soon"], "invalid digit"),
        (["--seed", "-1"], "--seed"),
        (["--hours", "1"], "--help"),
    ] {
        let refused = command("chaos", folder.path()).unwrap().args(arguments).output().await.unwrap();
        let text = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.contains(advice), "{text}");
    }
}
