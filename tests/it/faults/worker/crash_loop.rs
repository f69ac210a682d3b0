//! A job that ends its worker's process.

use crewcall_proto::JobType;
use e2e::{process::Process, raw_worker::RawWorker, stack::Stack};
use serde_json::json;

/// How often the broker delivers an order: once, and again after each of five returns.
pub(super) const DELIVERIES_MAX: usize = 6;

/// Every worker that takes the job aborts, and is started again each time, as an operator's service manager does. The job
/// ends after the deliveries of one attempt, although it has four more; jobs of the same workers and of another one go
/// on meanwhile.
#[tokio::test]
async fn f35_a_job_kills_its_worker() {
    let mut stack = Stack::start("f35").await.unwrap();
    let _steady = stack.worker(&["test.other"], 1).await.unwrap();
    let deadly = json!({"type": "test.abort", "parameters": {}, "max_attempts": 5,
        "backoff": {"initial_seconds": 1, "factor": 1}});
    let id = stack.submit_job(deadly).await.unwrap();
    let (mut crashes, mut others) = (0, Vec::new());
    let failed = loop {
        let worker = stack.worker_process(&["test.abort", "test.echo"], 1).unwrap();
        tokio::select! {
            () = crashed(worker) => {
                crashes += 1;
                assert!(crashes <= DELIVERIES_MAX, "the job is delivered too often");
                for job_type in ["test.echo", "test.other"] {
                    let other = stack.submit(job_type, json!({"text": crashes.to_string()})).await.unwrap();
                    if job_type == "test.other" {
                        assert_eq!(stack.api.wait_for_end(&other).await.unwrap()["state"], "completed");
                    }
                    others.push(other);
                }
            }
            failed = stack.api.wait_for_end(&id) => break failed.unwrap(),
        }
    };
    assert_eq!(
        (&failed["state"], &failed["error"]["kind"]),
        (&json!("failed"), &json!("crash_loop")),
        "{failed}"
    );
    let outcomes: Vec<_> = failed["attempts"].as_array().unwrap().iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["crash_loop"], "{failed}");
    assert_eq!(crashes, DELIVERIES_MAX);
    let _worker = stack.worker_process(&["test.echo"], 1).unwrap();
    for other in &others {
        assert_eq!(stack.api.wait_for_end(other).await.unwrap()["state"], "completed");
    }
    let mut found = stack.settle().await.unwrap();
    found.hold("I1", format_args!("{} other jobs were done, half of them between the crashes", others.len()));
    found.hold("I4", format_args!("{crashes} crashes, 1 attempt of 5 charged: {outcomes:?}"));
    found.print("F35 a job that kills its worker");
}

/// An order comes back from its workers as often as the broker delivers it, and none of them ever began it: lines broke, or
/// it waited at workers that were restarted. It is sent again, and done by the next worker, uncharged. One that comes back
/// as often a second time ends its job.
#[tokio::test]
async fn f78_an_order_comes_back_without_having_been_begun() {
    let mut stack = Stack::start("f78").await.unwrap();
    let job_type = JobType::new("test.echo").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by("test.echo", 1).await.unwrap();
    let hopeless = stack.submit("test.echo", json!({"text": "hopeless"})).await.unwrap();
    raw_worker.give_back(&job_type, 2 * DELIVERIES_MAX).await.unwrap();
    let failed = stack.api.wait_for_end(&hopeless).await.unwrap();
    assert_eq!(
        (&failed["state"], &failed["error"]["kind"]),
        (&json!("failed"), &json!("crash_loop")),
        "{failed}"
    );
    assert_eq!(failed["attempts"].as_array().map(Vec::len), Some(1), "{failed}");
    let unlucky = stack.submit("test.echo", json!({"text": "unlucky"})).await.unwrap();
    raw_worker.give_back(&job_type, DELIVERIES_MAX).await.unwrap();
    let _worker = stack.worker_process(&["test.echo"], 1).unwrap();
    let done = stack.api.wait_for_end(&unlucky).await.unwrap();
    assert_eq!(done["state"], "completed", "{done}");
    let mut found = stack.settle().await.unwrap();
    raw_worker.vanish().await;
    found.hold(
        "I1",
        format_args!("an order that came back {DELIVERIES_MAX} times was done, and its attempt not charged"),
    );
    found.hold("I4", format_args!("one that came back {} times ended its job", 2 * DELIVERIES_MAX));
    found.print("F78 an order comes back without having been begun");
}

pub(super) async fn crashed(mut worker: Process) {
    assert!(!worker.wait().await.unwrap().success());
}
