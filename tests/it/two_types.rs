//! Two types, two workers: each job reaches a worker of its type.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn each_job_goes_to_a_worker_of_its_type() {
    let mut stack = Stack::start("two-types").await.unwrap();
    let _first = stack.worker(&["test.echo"], 2).await.unwrap();
    let _second = stack.worker(&["test.other"], 2).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..20 {
        let (job_type, worker) = [("test.echo", "worker-0"), ("test.other", "worker-1")][number % 2];
        let id = stack.submit(job_type, json!({"text": number.to_string()})).await.unwrap();
        expected.push((id, number.to_string(), worker));
    }
    for (id, text, worker) in expected {
        let job = stack.api.finished(&id).await.unwrap();
        assert_eq!(job["result"], json!({"text": text, "worker": worker}));
    }
    let page = stack.api.json("/v1/jobs?type=test.o*&limit=100").await.unwrap();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 10);
    stack.settled().await.unwrap();
}
