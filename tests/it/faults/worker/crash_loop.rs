//! A job that ends its worker's process.

use e2e::{process::Process, stack::Stack};
use serde_json::json;

/// More than this many crashes would be an order that is delivered without end. The broker gives it up after five
/// returns, and the job has two attempts.
const CRASHES_MAX: usize = 20;

/// Every worker that takes the job aborts, and is started again each time, as an operator's service manager does. Each
/// of the job's attempts ends after a bounded number of deliveries, and so does the job; jobs of the same workers and of
/// another one go on meanwhile.
#[tokio::test]
async fn f35_a_job_kills_its_worker() {
    let mut stack = Stack::start("f35").await.unwrap();
    let _steady = stack.worker(&["test.other"], 1).await.unwrap();
    let deadly = json!({"type": "test.abort", "parameters": {}, "max_attempts": 2,
        "backoff": {"initial_seconds": 1, "factor": 1}});
    let id = stack.submit_job(deadly).await.unwrap();
    let (mut crashes, mut others) = (0, Vec::new());
    let failed = loop {
        let worker = stack.worker_process(&["test.abort", "test.echo"], 1).unwrap();
        tokio::select! {
            () = crashed(worker) => {
                crashes += 1;
                assert!(crashes <= CRASHES_MAX, "the job is delivered without end");
                for job_type in ["test.echo", "test.other"] {
                    let other = stack.submit(job_type, json!({"text": crashes.to_string()})).await.unwrap();
                    if job_type == "test.other" {
                        assert_eq!(stack.api.finished(&other).await.unwrap()["state"], "completed");
                    }
                    others.push(other);
                }
            }
            failed = stack.api.finished(&id) => break failed.unwrap(),
        }
    };
    assert_eq!(
        (&failed["state"], &failed["error"]["kind"]),
        (&json!("failed"), &json!("crash_loop")),
        "{failed}"
    );
    let outcomes: Vec<_> = failed["attempts"].as_array().unwrap().iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["crash_loop", "crash_loop"], "{failed}");
    assert!(crashes >= 4, "each attempt was delivered more than once: {crashes}");
    let _worker = stack.worker_process(&["test.echo"], 1).unwrap();
    for other in &others {
        assert_eq!(stack.api.finished(other).await.unwrap()["state"], "completed");
    }
    let mut found = stack.settled().await.unwrap();
    found.hold("I1", format_args!("{} other jobs were done, half of them between the crashes", others.len()));
    found.hold("I4", format_args!("{crashes} crashes, 2 attempts charged: {outcomes:?}"));
    found.print("F35 a job that kills its worker");
}

async fn crashed(mut worker: Process) {
    assert!(!worker.wait().await.unwrap().success());
}
