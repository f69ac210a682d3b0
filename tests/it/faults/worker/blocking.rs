//! Handlers that keep the threads of their runtime to themselves.

use std::time::Duration;

use e2e::{stack::Stack, wait::until};
use rustix::process::Signal;
use serde_json::json;

/// How long the handlers block: longer than a lease (15 s), and than it takes to give up a silent link.
const BLOCKED_MS: u64 = 22_000;

/// How soon the worker says so. Generous: the machine may be busy.
const SAID_WITHIN: Duration = Duration::from_secs(15);

/// Two workers run as many blocking handlers as their runtimes have threads, for longer than a lease. One of them hands
/// its attempts over meanwhile, and is told to leave. Neither falls silent, and each job runs once.
#[tokio::test]
async fn f96_handlers_block_their_runtime() {
    let mut stack = Stack::start("f96").await.unwrap();
    stack.worker_setting("TOKIO_WORKER_THREADS", "2");
    let _keeping = stack.worker(&["test.block"], 2).await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let mut leaving = stack.worker(&["test.block"], 2).await.unwrap();
    let mut ids = Vec::new();
    for _thread in 0..4 {
        let parameters = json!({"ms": BLOCKED_MS, "journal": stack.journal()});
        let job = json!({"type": "test.block", "parameters": parameters, "max_attempts": 1});
        ids.push(stack.submit_job(job).await.unwrap());
    }
    let said = async |words: &str| {
        until(words, SAID_WITHIN, async || leaving.log().contains(words)).await.unwrap();
    };
    said("The handlers block their runtime").await;
    said("The attempt is held").await;
    leaving.signal(Signal::TERM).unwrap();
    said("The worker drains").await;
    for id in &ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    assert_eq!(stack.executions(), 4, "each job ran once");
    let status = leaving.wait().await.unwrap();
    assert!(status.success(), "{status}: {}", leaving.log());
    let mut found = stack.settle().await.unwrap();
    assert!(!stack.backend.log().contains("fell silent"), "{}", stack.backend.log());
    found.hold("I1", format_args!("4 handlers blocked 2 runtimes for {BLOCKED_MS} ms; each job ran once"));
    found.hold("I10", "no worker fell silent; one said why, held its attempt, and left when it was told to");
    found.print("F96 handlers that block their runtime");
}
