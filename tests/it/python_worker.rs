//! A worker in another language, written from the wire document: it serves the real backend.

use std::path::{Path, PathBuf};

use e2e::{
    broker,
    process::{PATIENCE, Process},
    proxy::{FaultProxy, Mode},
    stack::Stack,
    wait::until,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

/// The interpreter of the virtual environment that `./dev test` makes.
fn python() -> PathBuf {
    let python = std::env::var_os("CREWCALL_TEST_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.crewcall/tools/python/bin/python"),
        PathBuf::from,
    );
    assert!(python.exists(), "{} is missing: `./dev test` makes it", python.display());
    python
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workers/python/worker.py");

fn start(stack: &Stack, script: &Path, amqp_url: &str) -> Process {
    let mut command = tokio::process::Command::new(python());
    command.arg("-u").arg(script).env("CREWCALL_AMQP_URL", amqp_url).kill_on_drop(true);
    Process::start("python", stack.folder(), command).unwrap()
}

async fn started(stack: &Stack, script: &Path) -> Process {
    let worker = start(stack, script, &stack.amqp_url);
    stack.api.served_by("text.statistics", 1).await.unwrap();
    worker
}

/// It does a job, and ends when it is asked to.
async fn works_and_ends(mut stack: Stack, mut worker: Process) {
    let id = stack.submit("text.statistics", json!({"text": "one"})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["state"], "completed");
    worker.signal(Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success(), "{}", worker.log());
    stack.settle().await.unwrap();
}

/// JSON has no word for "not a number", but Python writes one unless it is told not to.
#[tokio::test]
async fn a_python_worker_whose_handler_returns_no_number_says_so() {
    let mut stack = Stack::start("python-nan").await.unwrap();
    let script = stack.folder().join("nan.py");
    let honest = std::fs::read_to_string(SCRIPT).unwrap();
    let (count, no_number) = (r#""characters": len(text)"#, r#""characters": float("nan")"#);
    assert!(honest.contains(count), "the handler is another");
    std::fs::write(&script, honest.replace(count, no_number)).unwrap();
    std::fs::copy(Path::new(SCRIPT).with_file_name("session.py"), stack.folder().join("session.py")).unwrap();
    let mut worker = started(&stack, &script).await;
    let id = stack.submit("text.statistics", json!({"text": "one"})).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&job["state"], &job["error"]["kind"]), (&json!("failed"), &json!("handler")), "{job}");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("Out of range float values are not JSON compliant"), "{job}");
    worker.signal(Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success(), "{}", worker.log());
    stack.settle().await.unwrap();
}

/// A line that is dead when the worker connects: what its library raises then is not one of the errors of AMQP.
#[tokio::test]
async fn a_python_worker_tries_again_after_a_handshake_that_hangs() {
    let stack = Stack::start("python-handshake").await.unwrap();
    let tracker = TaskTracker::new();
    let (proxy, url) = FaultProxy::before(&stack.amqp_url, &tracker).await.unwrap();
    proxy.set(Mode::FreezeBoth);
    let worker = start(&stack, Path::new(SCRIPT), &format!("{url}?stack_timeout=1"));
    // Connections that were given up count for as long as the line is frozen.
    until("it tries again", PATIENCE, async || proxy.open_connections() >= 2).await.unwrap();
    proxy.set(Mode::Pass);
    works_and_ends(stack, worker).await;
}

/// A broker that takes what is sent and answers nothing, while its connection lives: its worker gives it up.
#[tokio::test]
async fn a_python_worker_gives_a_broker_up_that_does_not_answer() {
    let stack = Stack::start("python-silence").await.unwrap();
    let tracker = TaskTracker::new();
    let (proxy, url) = FaultProxy::before(&stack.amqp_url, &tracker).await.unwrap();
    let worker = start(&stack, Path::new(SCRIPT), &url);
    stack.api.served_by("text.statistics", 1).await.unwrap();
    proxy.set(Mode::FreezeToClient);
    until("it gives up", PATIENCE, async || worker.log().contains("no session with the broker"))
        .await
        .unwrap();
    proxy.set(Mode::Pass);
    works_and_ends(stack, worker).await;
}

#[tokio::test]
async fn a_python_worker_does_a_job_and_says_goodbye() {
    let mut stack = Stack::start("python").await.unwrap();
    let mut worker = started(&stack, Path::new(SCRIPT)).await;
    let listed = stack.api.json("/v1/workers").await.unwrap();
    assert_eq!(listed["workers"][0]["sdk"]["language"], "python", "{listed}");
    let text = "eins zwei\ndrei – 四\n";
    let id = stack.submit("text.statistics", json!({"text": text})).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(job["result"], json!({"lines": 2, "words": 5, "characters": 19}), "{job}");
    let (status, _) = stack.api.post_job(json!({"type": "text.statistics"}).to_string()).await.unwrap();
    assert_eq!(status.as_u16(), 422, "its schema counts like any other");
    let long = stack.submit("text.statistics", json!({"text": "word ".repeat(10_000)})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&long).await.unwrap()["result"]["words"], 10_000);
    worker.signal(Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success(), "{}", worker.log());
    stack.api.json_when("/v1/workers", |answer| answer["workers"] == json!([])).await.unwrap();
    stack.settle().await.unwrap();
}

/// What the wire document asks of any worker: to take nothing while it is drained, and to go on when its queue was
/// deleted and the broker cancels its consumer.
#[tokio::test]
async fn a_python_worker_drains_and_outlives_its_queue() {
    let vhost = broker::vhost("python-queue").await.unwrap();
    let mut stack = Stack::start_on(vhost.url).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = started(&stack, Path::new(SCRIPT)).await;
    let workers = stack.api.json("/v1/workers").await.unwrap();
    let id = workers["workers"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/workers/{id}");
    let act =
        async |what: &str| stack.api.post(&format!("{path}/{what}"), json!(null)).await.unwrap().0.as_u16();
    assert_eq!(act("drain").await, 202);
    stack.api.json_when(&path, |worker| worker["status"] == "draining").await.unwrap();
    let job = json!({"type": "text.statistics", "parameters": {"text": "one"}});
    let waiting = stack.api.submit(job).await.unwrap();
    let drained = |job: &Value| job["waiting_for"]["reason"] == "draining";
    stack.api.job_when(&waiting, drained).await.unwrap();
    assert_eq!(act("resume").await, 202);
    assert_eq!(stack.api.wait_for_end(&waiting).await.unwrap()["state"], "completed");
    stack.remember_accepted(waiting);
    let node = broker::shared_broker().await.unwrap();
    for round in 1..=3 {
        node.ctl(&["delete_queue", "-p", &vhost.name, "crewcall.jobs.text.statistics"]).await.unwrap();
        let next = stack.submit("text.statistics", json!({"text": "two words"})).await.unwrap();
        let job = stack.api.wait_for_end(&next).await.unwrap();
        assert_eq!(
            (&job["state"], &job["attempt"]),
            (&json!("completed"), &json!(1)),
            "round {round}: {job}"
        );
    }
    stack.settle().await.unwrap();
}
