//! Jobs that come after others: they are blocked until those are over, and begin or are cancelled with the end of the last.

use e2e::stack::Stack;
use serde_json::{Value, json};

fn echo(text: &str, after: &[&String]) -> Value {
    json!({"type": "test.echo", "parameters": {"text": text}, "after": after})
}

async fn state(stack: &Stack, id: &str) -> String {
    stack.api.job(id).await.unwrap()["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_begins_when_everything_is_over_that_it_comes_after() {
    let mut stack = Stack::start("followers").await.unwrap();
    let first = stack.submit_job(echo("first", &[])).await.unwrap();
    let second = stack.submit_job(echo("second", &[])).await.unwrap();
    let last = stack.submit_job(echo("last", &[&first, &second])).await.unwrap();
    let waits = stack.api.job(&last).await.unwrap();
    assert_eq!((&waits["state"], &waits["waiting_for"]["reason"]), (&json!("blocked"), &json!("jobs")));
    let said = waits["waiting_for"]["message"].as_str().unwrap();
    assert_eq!(said, format!("waits for the end of 2 jobs, job {first} among them"));
    assert_eq!(waits["after"], json!([{"id": first, "end": null}, {"id": second, "end": null}]));
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let done = stack.api.wait_for_end(&last).await.unwrap();
    assert_eq!((&done["state"], &done["result"]["text"]), (&json!("completed"), &json!("last")));
    assert_eq!(done["after"][1], json!({"id": second, "end": "completed"}));
    for id in [&first, &second] {
        let before = stack.api.job(id).await.unwrap();
        let ended = before["attempts"][0]["finished_at"].as_str().unwrap();
        assert!(done["started_at"].as_str().unwrap() >= ended, "{done} began before the end of {before}");
    }
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_failure_cancels_those_behind_it_unless_they_run_all_the_same() {
    let mut stack = Stack::start("followers-failure").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 2).await.unwrap();
    let fails =
        json!({"type": "test.fail", "parameters": {"message": "no", "permanent": true}, "delay_seconds": 1});
    let first = stack.submit_job(fails).await.unwrap();
    let middle = stack.submit_job(echo("middle", &[&first])).await.unwrap();
    let end = stack.submit_job(echo("end", &[&middle])).await.unwrap();
    let mut cleanup = echo("cleanup", &[&first, &end]);
    cleanup["after_failure"] = json!("run");
    let cleanup = stack.submit_job(cleanup).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&cleanup).await.unwrap()["state"], "completed");
    assert_eq!(state(&stack, &first).await, "failed");
    let cancelled = stack.api.job(&middle).await.unwrap();
    assert_eq!(
        (&cancelled["state"], &cancelled["cancellation"]["by"]),
        (&json!("cancelled"), &json!("crewcall"))
    );
    let reason = format!("job {first}, which it comes after, failed");
    assert_eq!(cancelled["cancellation"]["reason"], json!(reason));
    assert_eq!(state(&stack, &end).await, "cancelled");

    let crewcall = |words: &[&str]| stack.crewcall(words).unwrap();
    let late =
        crewcall(&["submit", "test.echo", "text=late", "--after", &first, "--wait"]).output().await.unwrap();
    let said = String::from_utf8(late.stderr).unwrap();
    assert_eq!(late.status.code(), Some(3), "{said}");
    assert!(said.contains("was cancelled by crewcall") && said.contains(&reason), "{said}");
    let words = ["submit", "test.echo", "text=late", "--after", &first, "--after-failure", "run", "--wait"];
    let ran = crewcall(&words).output().await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let shown = crewcall(&["jobs", "get", "@last"]).output().await.unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&format!("{first} (failed); it runs whatever becomes of them")), "{shown}");
    let all = stack.api.json("/v1/jobs?limit=500").await.unwrap();
    for job in all["jobs"].as_array().unwrap() {
        stack.remember_accepted(job["id"].as_str().unwrap().to_owned());
    }
    stack.settle().await.unwrap();
}
