//! `crewcall bench`, with as little as it takes.

use std::process::Stdio;

use e2e::{
    process::{PATIENCE, command, running_in},
    wait::until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

#[tokio::test]
async fn a_bench_measures_everything_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = command("crewcall", folder.path()).unwrap();
    bench.args(["bench", "--jobs", "200", "--rounds", "1", "--rate", "50", "-o", "json"]);
    bench.args(["--waiting", "600", "--types", "20", "--idle-workers", "20"]);
    let ended = timeout(PATIENCE * 3, bench.output()).await.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && told.contains("round 1 of 1: singles"), "{told}");
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let loads = report["loads"].as_array().unwrap();
    assert_eq!(
        loads.iter().map(|load| load["load"].as_str().unwrap()).collect::<Vec<_>>(),
        ["batches", "singles", "drain"]
    );
    let growth = report["growth"].as_array().unwrap();
    let grown: Vec<_> =
        growth.iter().map(|grown| (grown["many"].as_str(), grown["number"].as_u64())).collect();
    let expected = [
        ("types", 2),
        ("types", 20),
        ("idle_workers", 2),
        ("idle_workers", 20),
        ("unserved", 6),
        ("unserved", 60),
        ("waiting", 60),
        ("waiting", 600),
        ("over", 600),
    ];
    assert_eq!(grown, expected.map(|(many, number)| (Some(many), Some(number))));
    for load in loads.iter().chain(growth.iter().map(|grown| &grown["batches"])) {
        let (rate, ratio) = (load["jobs_per_second"]["median"].as_f64(), load["ratio"]["median"].as_f64());
        assert!(rate.unwrap() > 1.0 && ratio.unwrap() > 0.0 && ratio.unwrap() < 1.5, "{load}");
        let programs = load["programs"].as_array().unwrap();
        assert_eq!(programs.len(), 4, "{load}");
        assert!(programs[0]["processor_us_per_job"].as_f64().unwrap() > 0.0, "{load}");
    }
    for times in ["idle_ms", "idle_limit_ms", "paced_start_ms", "paced_cancel_ms"] {
        assert!(report[times]["p50"].as_f64().unwrap() > 0.0, "{times}: {report}");
    }
    assert!(report["idle_workers_cores"].as_f64().unwrap() < 1.0, "{report}");
    assert_eq!(report["pages"].as_array().map(Vec::len), Some(4), "{report}");
    assert!(!folder.path().join(".crewcall/bench").exists(), "it removes what it wrote");
    until("nothing of it runs", PATIENCE, async || running_in(folder.path()) == 0).await.unwrap();
}

#[tokio::test]
async fn a_bench_that_is_interrupted_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = command("crewcall", folder.path()).unwrap();
    let mut bench = bench.arg("bench").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(bench.stderr.take().unwrap()).lines();
    let mut told = Vec::new();
    let measuring = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            told.push(line);
            if told.last().is_some_and(|line| line.contains("warming up")) {
                return;
            }
        }
        panic!("it ended: {told:?}");
    };
    timeout(PATIENCE, measuring).await.expect("it starts");
    let pid = Pid::from_raw(i32::try_from(bench.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = timeout(PATIENCE, bench.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(!folder.path().join(".crewcall/bench").exists(), "it removes what it wrote");
    until("nothing of it runs", PATIENCE, async || running_in(folder.path()) == 0).await.unwrap();
}
