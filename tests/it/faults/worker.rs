//! Workers: killed, frozen, cut off, repeating themselves (F25–F35), busy (F96), restarted and told late (F104–F108), with orders that came together (F113–F115).

use e2e::{
    failpoints::{WorkerFailpoint, dies_at},
    process::Process,
    stack::Stack,
};

mod killed;

mod crash_loop;

mod bundled;

mod zombie;

mod redelivered;

mod repeated;

mod long_job;

mod blocking;

mod overtaken;

mod rolling_restart;

mod unwanted;

mod given_back;

/// A worker with one slot that dies at a named point.
async fn doomed_worker(stack: &mut Stack, job_type: &str, failpoint: WorkerFailpoint) -> Process {
    stack.worker_setting("FAILPOINTS", &dies_at(failpoint.name(), 0));
    let worker = stack.worker(&[job_type], 1).await.unwrap();
    stack.worker_setting("FAILPOINTS", "");
    worker
}

/// Parameters of a `test.sleep` that writes the journal.
fn sleep_parameters(stack: &Stack, steps: u64, step_ms: u64) -> serde_json::Value {
    serde_json::json!({"steps": steps, "step_ms": step_ms, "journal": stack.journal()})
}
