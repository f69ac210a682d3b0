//! Workers that are restarted one after the other, as a deployment does.

use e2e::stack::Stack;
use rustix::process::Signal;
use serde_json::json;

use super::sleep_parameters;

/// More restarts than an order may come back to its queue.
const WORKERS: usize = 6;

/// Jobs that outlast the grace of every drain: one for each worker.
const LONG_JOBS: usize = WORKERS;

/// Jobs that wait at workers that drain, or run there, too short to be held.
const SHORT_JOBS: usize = 40;

/// Six workers are restarted in turn, each with a second to drain, while they hold long jobs and short ones wait. No job
/// may be tried a second time, and all are done: what a worker hands back is charged to nobody, is sent again at once, and
/// does not count as an order that ends its worker.
#[tokio::test]
async fn f104_workers_are_restarted_in_turn() {
    let mut stack = Stack::start("f104").await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    stack.worker_setting("CREWCALL_DRAIN_SECONDS", "1");
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(stack.worker(&["test.sleep"], 1).await.unwrap());
    }
    let once = |parameters| json!({"type": "test.sleep", "max_attempts": 1, "parameters": parameters});
    let mut ids = Vec::new();
    for _ in 0..LONG_JOBS {
        let parameters = sleep_parameters(&stack, 20, 250);
        ids.push(stack.submit_job(once(parameters)).await.unwrap());
    }
    for id in &ids {
        stack.api.job_when(id, |job| job["state"] == "running").await.unwrap();
    }
    for worker in &workers {
        let held = async || worker.log().contains("The attempt is held");
        e2e::wait::until("an attempt is held", e2e::process::PATIENCE, held).await.unwrap();
    }
    for _ in 0..SHORT_JOBS {
        let parameters = json!({"steps": 2, "step_ms": 100});
        ids.push(stack.submit_job(once(parameters)).await.unwrap());
    }
    let mut handed_back = 0;
    for worker in &mut workers {
        worker.signal(Signal::TERM).unwrap();
        worker.wait().await.unwrap();
        handed_back += usize::from(worker.log().contains(r#"reason="handed_back""#));
        *worker = stack.worker_process(&["test.sleep"], 1).unwrap();
    }
    for id in &ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    assert!(handed_back > 0, "no worker had to hand anything back");
    let mut found = stack.settle().await.unwrap();
    let log = stack.backend.log();
    assert!(!log.contains("lost with its worker"), "nobody fell silent:\n{log}");
    found.hold("I1", format_args!("{} jobs of one attempt each were done", ids.len()));
    found.hold("I4", format_args!("{handed_back} of {WORKERS} workers handed back, and nothing was charged"));
    found.print("F104 workers are restarted in turn");
}
