//! Orders that the broker loses: the reconciler finds out and sends them again.

use e2e::{broker, stack::Stack};
use serde_json::json;

#[tokio::test]
async fn orders_of_a_purged_queue_are_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let mut worker = stack.worker(&["test.echo", "test.other"], 1).await.unwrap();
    worker.kill().await.unwrap();
    let mut ids = Vec::new();
    for number in 0..10 {
        let job_type = if number % 2 == 0 { "test.echo" } else { "test.other" };
        ids.push(stack.submit(job_type, json!({"text": number.to_string()})).await.unwrap());
    }
    for id in &ids {
        stack.api.job_when(id, |job| job["state"] == "dispatched").await.unwrap();
    }
    stack.api.json_when("/v1/types/test.echo", |answer| answer["jobs"]["dispatched"] == 5).await.unwrap();
    node.ctl(&["purge_queue", "crewcall.jobs.test.echo"]).await.unwrap();
    node.ctl(&["delete_queue", "crewcall.jobs.test.other"]).await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.other"], 1).await.unwrap();
    for (number, id) in ids.iter().enumerate() {
        let job = stack.api.finished(id).await.unwrap();
        assert_eq!(
            (&job["state"], &job["result"]["text"]),
            (&json!("completed"), &json!(number.to_string()))
        );
        assert_eq!(job["attempt"], 1, "a lost order costs no attempt");
    }
    stack.settled().await.unwrap();
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_loses_its_disk_loses_no_job() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let mut worker = stack.worker(&["test.echo"], 1).await.unwrap();
    worker.kill().await.unwrap();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap());
    }
    stack.api.json_when("/v1/types/test.echo", |answer| answer["jobs"]["dispatched"] == 20).await.unwrap();
    node.sync().await.unwrap();
    node.kill().await.unwrap();
    node.wipe().unwrap();
    node.restart().await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    for id in &ids {
        assert_eq!(stack.api.finished(id).await.unwrap()["state"], "completed");
    }
    stack.settled().await.unwrap();
    node.stop().await.unwrap();
}
