//! `crewcall bench`, with as little as it takes.

use std::process::Stdio;

use e2e::{
    broker,
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
    let picture = folder.path().join("picture.svg");
    bench.arg("--picture").arg(&picture);
    bench.args(["--waiting", "600", "--types", "20", "--idle-workers", "20", "--progress", "3000"]);
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
    let mut backend_us = 0.0;
    for load in loads.iter().chain(growth.iter().map(|grown| &grown["batches"])) {
        let (rate, ratio) = (load["jobs_per_second"]["median"].as_f64(), load["ratio"]["median"].as_f64());
        assert!(rate.unwrap() > 1.0 && ratio.unwrap() > 0.0 && ratio.unwrap() < 5.0, "{load}");
        let programs = load["programs"].as_array().unwrap();
        assert_eq!(programs.len(), 4, "{load}");
        backend_us += programs[0]["processor_us_per_job"].as_f64().unwrap();
    }
    // The system counts processor time in hundredths of a second, of which a fast machine needs none for so few jobs of one load.
    assert!(backend_us > 0.0, "{report}");
    for times in ["idle_ms", "idle_limit_ms", "paced_start_ms", "paced_cancel_ms"] {
        assert!(report[times]["p50"].as_f64().unwrap() > 0.0, "{times}: {report}");
    }
    let flood = &report["flood"];
    assert_eq!((flood["wanted"].as_u64(), flood["sent"].as_u64()), (Some(3000), Some(3000)), "{flood}");
    for figure in ["per_second", "behind_seconds", "jobs"] {
        assert!(flood[figure].as_f64().unwrap() > 0.0, "{figure}: {flood}");
    }
    let over = flood["ms"]["p99"].as_f64().unwrap() - report["idle_ms"]["p99"].as_f64().unwrap();
    assert!((flood["p99_over_idle_ms"].as_f64().unwrap() - over).abs() < 0.001, "{report}");
    assert!(report["idle_workers_cores"].as_f64().unwrap() < 1.0, "{report}");
    assert_eq!(report["pages"].as_array().map(Vec::len), Some(4), "{report}");
    let picture = std::fs::read_to_string(picture).unwrap();
    for part in ["<svg ", "\ndrain\n", "\n20 types\n", "\nbackend crewcall-store\n", "\nbroker\n"] {
        assert!(picture.contains(part), "{part}: {picture}");
    }
    assert!(!folder.path().join(".crewcall/bench").exists(), "it removes what it wrote");
    until("nothing of it runs", PATIENCE, async || running_in(folder.path()) == 0).await.unwrap();
}

/// What follows from events, ends of steps and ticks, as little of it as may be: each part, with these many figures.
async fn follow_ups(parts: &[(&str, usize)]) {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<&str> = parts.iter().map(|(part, _)| *part).collect();
    let mut bench = command("crewcall", folder.path()).unwrap();
    bench.args(["bench", "--what", &names.join(","), "--follow-ups", "100"]);
    bench.args(["--jobs", "100", "--rounds", "1", "-o", "json"]);
    let ended = timeout(PATIENCE * 5, bench.output()).await.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let figures = report["figures"].as_array().unwrap();
    for (part, count) in parts {
        assert!(told.contains(&format!("round 1 of 1: {part}")), "{told}");
        let of_part = figures.iter().filter(|figure| figure["part"] == *part);
        assert_eq!(of_part.count(), *count, "{part}: {report:#}");
    }
    for figure in figures {
        let measured = figure["measured"]["median"].as_f64().unwrap();
        assert!(measured.is_finite(), "{figure}");
        // Memory and shares may be nothing, or less than before; all else was counted or took time.
        if !["megabytes", "percent", "microseconds_each"].contains(&figure["unit"].as_str().unwrap()) {
            assert!(measured > 0.0, "{figure}");
        }
        let (limit, ratio) = (&figure["limit"], figure["ratio"]["median"].as_f64());
        let held = match (limit.get("figure"), limit.get("ratio")) {
            (Some(bound), _) => Some(is_within(bound, measured)),
            (_, Some(bound)) => Some(ratio.is_some_and(|ratio| is_within(bound, ratio))),
            (None, None) => None,
        };
        assert_eq!(figure["is_held"].as_bool(), held, "{figure}");
    }
    assert!(!folder.path().join(".crewcall/bench").exists(), "it removes what it wrote");
    until("nothing of it runs", PATIENCE, async || running_in(folder.path()) == 0).await.unwrap();
}

fn is_within(bound: &Value, figure: f64) -> bool {
    match (bound["at_least"].as_f64(), bound["at_most"].as_f64()) {
        (Some(least), None) => figure >= least,
        (None, Some(most)) => figure <= most,
        _ => panic!("a bound has one side: {bound}"),
    }
}

#[tokio::test]
async fn what_follows_from_events_and_steps_is_measured() {
    follow_ups(&[("consumers", 2), ("events", 6), ("chains", 6), ("fan-out", 8)]).await;
}

#[tokio::test]
async fn what_waits_and_what_ticks_is_measured() {
    follow_ups(&[("waiting", 11), ("ticks", 4)]).await;
}

#[tokio::test]
async fn a_picture_that_cannot_be_written_is_refused_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = command("crewcall", folder.path()).unwrap();
    let bench = bench.args(["bench", "--picture", "nowhere/picture.svg"]).output();
    let ended = timeout(PATIENCE, bench).await.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot write the picture nowhere/picture.svg: No such file"), "{told}");
    assert!(!folder.path().join(".crewcall").exists(), "nothing was begun");
}

#[tokio::test]
async fn a_bench_that_is_interrupted_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = command("crewcall", folder.path()).unwrap();
    let mut bench = bench
        .args(["bench", "--picture", "picture.svg"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
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
    assert!(!folder.path().join("picture.svg").exists(), "there is nothing to draw");
    assert!(!folder.path().join(".crewcall/bench").exists(), "it removes what it wrote");
    until("nothing of it runs", PATIENCE, async || running_in(folder.path()) == 0).await.unwrap();
}

/// What a measurement on somebody's RabbitMQ makes there has names of its own, and is gone in the end, whichever it is.
#[tokio::test]
async fn a_bench_on_a_broker_of_others_leaves_nothing_there() {
    let vhost = broker::vhost("bench").await.unwrap();
    let node = broker::shared_broker().await.unwrap();
    let all = async || {
        let mut all = Vec::new();
        for what in ["list_queues", "list_exchanges"] {
            all.push(node.ctl(&[what, "-p", &vhost.name, "--no-table-headers", "name"]).await.unwrap());
        }
        all
    };
    let (folder, before) = (tempfile::tempdir().unwrap(), all().await);
    let bench = |arguments: &str| {
        let mut bench = command("crewcall", folder.path()).unwrap();
        bench
            .args(["bench", "--amqp-url", &vhost.url])
            .args(arguments.split_whitespace())
            .stdin(Stdio::null());
        bench
    };
    let refused = bench("").output().await.unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(2) && told.contains("say --yes if nobody needs it meanwhile"),
        "{told}"
    );

    let short =
        "--yes --jobs 200 --rounds 1 --rate 50 --waiting 0 --progress 1000 --types 10 --idle-workers 10";
    let ended = timeout(PATIENCE * 3, bench(short).output()).await.expect("it ends").unwrap();
    let (report, told) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && told.contains("crewcall-bench-"), "{told}");
    for part in ["amid 1000 progress messages", "10 types", "10 idle workers"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert_eq!(all().await, before);

    let ended = bench("--yes --what ticks --follow-ups 100 --jobs 100 --rounds 1").output();
    let ended = timeout(PATIENCE * 3, ended).await.expect("it ends").unwrap();
    let (report, told) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && told.contains("crewcall-bench-"), "{told}");
    assert!(report.contains("10 ticks of one moment"), "{report}");
    assert_eq!(all().await, before);

    let mut interrupted = bench("--yes").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(interrupted.stderr.take().unwrap()).lines();
    let warming_up = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("warming up") {
                return;
            }
        }
    };
    timeout(PATIENCE, warming_up).await.expect("it starts");
    assert_ne!(all().await, before, "now there is something");
    let pid = Pid::from_raw(i32::try_from(interrupted.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(timeout(PATIENCE, interrupted.wait()).await.expect("it ends").unwrap().code(), Some(130));
    assert_eq!(all().await, before);
    until("nothing of it runs", PATIENCE, async || running_in(folder.path()) == 0).await.unwrap();
}
