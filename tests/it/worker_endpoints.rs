//! What a worker shows of itself: each figure moves when that happens which it is about, it is what docs/metrics.md says, and
//! a worker that takes no orders says why.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
};

use e2e::{
    api::Api,
    process::{ENDPOINTS_SAID, PATIENCE, Process, command},
    proxy::{FaultProxy, Mode},
    stack::Stack,
    wait::until,
};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::boards::deploy;

/// Any free port.
const LISTEN: (&str, &str) = ("CREWCALL_WORKER_LISTEN", "127.0.0.1:0");

/// So that one handler blocks all others.
const ONE_THREAD: (&str, &str) = ("TOKIO_WORKER_THREADS", "1");

/// More than are served at once.
const SILENT_CONNECTIONS: usize = 20;

/// Where the worker's part of the document begins.
const WORKERS_PART: &str = "\n## What a worker shows itself\n";

async fn endpoints(worker: &Process) -> Api {
    Api::new(format!("http://{}", worker.logged_after(ENDPOINTS_SAID).await.unwrap())).unwrap()
}

/// Waits until a figure is as wanted.
async fn shows(worker: &Api, name: &str, labels: &str, wanted: impl Fn(f64) -> bool) {
    let is_so = async || worker.metric(name, labels).await.is_ok_and(&wanted);
    until(&format!("{name} {labels} as wanted"), PATIENCE, is_so).await.unwrap();
}

/// Waits until the worker is ready, or is not and says why.
async fn is_ready(worker: &Api, wanted: Result<(), &str>) {
    let is_so = async || match (worker.get("/readyz").await, wanted) {
        (Ok((StatusCode::OK, body)), Ok(())) => body == r#"{"status":"ready"}"#,
        (Ok((StatusCode::SERVICE_UNAVAILABLE, body)), Err(reason)) => serde_json::from_str::<Value>(&body)
            .is_ok_and(|body| body["reason"].as_str().unwrap().contains(reason)),
        _ => false,
    };
    until(&format!("/readyz says {wanted:?}"), PATIENCE, is_so).await.unwrap();
}

#[tokio::test]
async fn every_figure_of_a_worker_moves() {
    let mut stack = Stack::start("worker-endpoints").await.unwrap();
    let (line, through) = FaultProxy::before(&stack.amqp_url, &TaskTracker::new()).await.unwrap();
    for (variable, value) in [LISTEN, ONE_THREAD, ("CREWCALL_AMQP_URL", &through)] {
        stack.worker_setting(variable, value);
    }
    let types = ["test.echo", "test.fail", "test.panic", "test.sleep", "test.block"];
    let process = stack.worker(&types, 2).await.unwrap();
    let worker = endpoints(&process).await;
    is_ready(&worker, Ok(())).await;
    is_documented(&worker.get("/metrics").await.unwrap().1);

    let (attempts, seconds) = ("crewcall_sdk_attempts_total", "crewcall_sdk_attempt_seconds_count");
    let ended = async |job_type: &str, outcome: &str, times: f64| {
        let labels = format!("outcome=\"{outcome}\",type=\"{job_type}\"");
        shows(&worker, attempts, &labels, |value| value == times).await;
        shows(&worker, seconds, &labels, |value| value == times).await;
    };
    shows(&worker, "crewcall_sdk_slots", "", |slots| slots == 2.0).await;
    shows(&worker, "crewcall_sdk_slots_busy", "", |slots| slots == 0.0).await;
    ended("test.echo", "completed", 0.0).await;
    stack.submit("test.echo", json!({"text": "hello"})).await.unwrap();
    ended("test.echo", "completed", 1.0).await;
    stack.submit("test.fail", json!({"message": "no", "permanent": true})).await.unwrap();
    ended("test.fail", "handler", 1.0).await;
    stack.submit_job(json!({"type": "test.panic", "max_attempts": 1})).await.unwrap();
    ended("test.panic", "panic", 1.0).await;
    let long = json!({"steps": 1_000, "step_ms": 100});
    let late = json!({"type": "test.sleep", "parameters": long, "timeout_seconds": 1, "max_attempts": 1});
    stack.submit_job(late).await.unwrap();
    shows(&worker, "crewcall_sdk_slots_busy", "", |slots| slots == 1.0).await;
    ended("test.sleep", "timeout", 1.0).await;
    let sum = worker.metric("crewcall_sdk_attempt_seconds_sum", "outcome=\"timeout\"").await.unwrap();
    assert!((1.0..60.0).contains(&sum), "{sum}");
    let cancelled = stack.submit("test.sleep", long.clone()).await.unwrap();
    shows(&worker, "crewcall_sdk_slots_busy", "", |slots| slots == 1.0).await;
    stack.api.post(&format!("/v1/jobs/{cancelled}/cancel"), json!({})).await.unwrap();
    ended("test.sleep", "cancelled", 1.0).await;
    shows(&worker, "crewcall_sdk_slots_busy", "", |slots| slots == 0.0).await;

    // Handlers that block their runtime do not keep the worker from saying so.
    let journal = stack.journal();
    stack.submit("test.block", json!({"ms": 3_000, "journal": journal})).await.unwrap();
    shows(&worker, "crewcall_sdk_runtime_delay_now_seconds", "", |delay| delay > 1.0).await;
    assert_eq!(worker.get("/livez").await.unwrap(), (StatusCode::OK, r#"{"status":"ok"}"#.to_owned()));
    ended("test.block", "completed", 1.0).await;
    shows(&worker, "crewcall_sdk_runtime_delay_now_seconds", "", |delay| delay < 1.0).await;
    let late = worker.metric("crewcall_sdk_runtime_delay_seconds_sum", "").await.unwrap();
    assert!(late > 1.0, "{late}");

    for link in ["consumer", "publisher"] {
        let link = format!("link=\"{link}\"");
        shows(&worker, "crewcall_sdk_amqp_connected", &link, |up| up == 1.0).await;
        shows(&worker, "crewcall_sdk_amqp_reconnects_total", &link, |times| times == 0.0).await;
    }
    line.set(Mode::Refuse);
    line.reset_all();
    shows(&worker, "crewcall_sdk_amqp_connected", "", |up| up == 0.0).await;
    is_ready(&worker, Err("no session with the broker")).await;
    line.set(Mode::Pass);
    for link in ["consumer", "publisher"] {
        shows(&worker, "crewcall_sdk_amqp_reconnects_total", &format!("link=\"{link}\""), |times| {
            times == 1.0
        })
        .await;
    }
    is_ready(&worker, Ok(())).await;
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_takes_no_orders_says_why() {
    let mut stack = Stack::start("worker-ready").await.unwrap();
    let (line, through) = FaultProxy::before(&stack.amqp_url, &TaskTracker::new()).await.unwrap();
    stack.worker_setting(LISTEN.0, LISTEN.1);
    stack.worker_setting("CREWCALL_AMQP_URL", &through);
    let mut process = stack.worker(&["test.sleep"], 2).await.unwrap();
    let worker = endpoints(&process).await;
    is_ready(&worker, Ok(())).await;

    stack.api.post("/v1/workers/worker-0/drain", json!({})).await.unwrap();
    is_ready(&worker, Err("an operator drained the worker")).await;
    stack.api.post("/v1/workers/worker-0/resume", json!({})).await.unwrap();
    is_ready(&worker, Ok(())).await;

    // A session that nobody welcomes it in.
    stack.backend.kill().await.unwrap();
    line.reset_all();
    is_ready(&worker, Err("the backend has not welcomed the worker")).await;
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    is_ready(&worker, Ok(())).await;

    // Those who connect and say nothing hold up others for a moment, and the worker not at all.
    let address = worker_address(&process).await;
    let mut silent = Vec::new();
    for _ in 0..SILENT_CONNECTIONS {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let quick = stack.submit("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    stack.api.wait_for_end(&quick).await.unwrap();
    is_ready(&worker, Ok(())).await;
    drop(silent);
    assert_eq!(worker.get("/").await.unwrap().0, StatusCode::NOT_FOUND);
    assert_eq!(worker.post("/metrics", json!({})).await.unwrap().0, StatusCode::METHOD_NOT_ALLOWED);

    let last = stack.submit("test.sleep", json!({"steps": 30, "step_ms": 100})).await.unwrap();
    stack.api.job_when(&last, |job| job["state"] == "running").await.unwrap();
    process.signal(Signal::TERM).unwrap();
    is_ready(&worker, Err("the worker shuts down")).await;
    assert_eq!(worker.get("/livez").await.unwrap().0, StatusCode::OK);
    assert!(process.wait().await.unwrap().success());
    stack.settle().await.unwrap();
}

async fn worker_address(process: &Process) -> String {
    process.logged_after(ENDPOINTS_SAID).await.unwrap()
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (address, sentence) in [
        (
            "9464",
            "CREWCALL_WORKER_LISTEN cannot be used: \"9464\" is not an IP address with a port, such as 127.0.0.1:9464",
        ),
        (&taken, "as CREWCALL_WORKER_LISTEN says: Address already in use"),
    ] {
        let mut worker = command("test-worker", folder.path()).unwrap();
        worker.env("CREWCALL_WORKER_LISTEN", address);
        let ended = worker.output().await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && said.contains(sentence), "{said}");
    }
}

/// Holds a scrape against the worker's part of docs/metrics.md, both ways.
fn is_documented(scrape: &str) {
    let document = fs::read_to_string(deploy().join("../docs/metrics.md")).unwrap();
    let (_, part) = document.split_once(WORKERS_PART).expect("the document has a part about workers");
    let part = part.split("\n## ").next().unwrap();
    let written: BTreeSet<String> =
        part.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    let (mut helps, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in scrape.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            helps.insert(name, help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            kinds.insert(name, kind);
        } else {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, its) = series.split_once('{').unwrap_or((series, ""));
            let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
            let name = parts.chain([name]).find(|name| kinds.contains_key(name)).unwrap();
            let its = its.split(',').filter_map(|label| Some(label.split_once('=')?.0));
            labels.entry(name).or_default().extend(its.filter(|label| *label != "le"));
        }
    }
    let row = |(name, help): (&&str, &&str)| {
        let base = name.strip_suffix("_total").unwrap_or(name);
        let unit = if base.ends_with("_seconds") { "seconds" } else { "" };
        let labels: Vec<String> = labels[name].iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {} | {unit} | {} | {help} |", kinds[name], labels.join(", ")).replace("  ", " ")
    };
    let exported: BTreeSet<String> = helps.iter().map(row).collect();
    assert_eq!(exported, written);
}
