//! A job goes in over HTTP and comes back done, with progress on the way.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn a_job_is_done_and_its_progress_is_seen() {
    let mut stack = Stack::start("progress").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 2).await.unwrap();
    let id = stack.submit("test.sleep", json!({"steps": 20, "step_ms": 100})).await.unwrap();
    let running =
        stack.api.job_when(&id, |job| job["progress"]["percent"].as_u64() >= Some(10)).await.unwrap();
    assert_eq!((&running["state"], &running["worker_id"]), (&json!("running"), &json!("worker-0")));
    assert_eq!(running["waiting_for"]["reason"], "response");
    let (_, waited) = stack.api.get(&format!("/v1/jobs/{id}?wait=30")).await.unwrap();
    let job: serde_json::Value = serde_json::from_str(&waited).unwrap();
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(job["result"], json!({"steps": 20, "worker": "worker-0", "attempt": 1}));
    assert_eq!(job["progress"]["percent"], 100);
    assert_eq!((&job["attempts"][0]["outcome"], &job["waiting_for"]), (&json!("completed"), &json!(null)));
    assert_eq!(stack.api.metric("crewcall_jobs_finished_total", "outcome=\"completed\"").await.unwrap(), 1.0);
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_short_job_needs_no_report_of_its_start() {
    let mut stack = Stack::start("short").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 2).await.unwrap();
    let id = stack.submit("test.echo", json!({"text": "Grüße, 世界"})).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(job["result"]["text"], "Grüße, 世界");
    assert!(job["started_at"].is_string() && job["finished_at"].is_string(), "{job}");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn our_own_workers_do_the_work_they_ship_for() {
    let mut stack = Stack::start("workers").await.unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../workers/samples/mountains.jpg");
    let destination = stack.folder().join("small.png");
    let command = stack.worker_command("crewcall-workers", "shipped", 2).unwrap();
    let folder = stack.folder().to_owned();
    let _workers = e2e::process::Process::start("workers", &folder, command).unwrap();
    stack.api.served_by("image.thumbnail", 1).await.unwrap();
    let thumbnail = json!({"source": source, "destination": destination, "width": 320});
    let checksum = json!({"source": source});
    let thumbnail = stack.submit("image.thumbnail", thumbnail).await.unwrap();
    let checksum = stack.submit("file.checksum", checksum).await.unwrap();
    let made = stack.api.wait_for_end(&thumbnail).await.unwrap();
    assert_eq!((&made["state"], &made["result"]["width"]), (&json!("completed"), &json!(320)), "{made}");
    assert!(std::fs::read(&destination).unwrap().starts_with(b"\x89PNG"));
    let summed = stack.api.wait_for_end(&checksum).await.unwrap();
    assert_eq!(summed["result"]["bytes"], std::fs::metadata(source).unwrap().len(), "{summed}");
    stack.settle().await.unwrap();
}
