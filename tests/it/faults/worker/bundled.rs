//! Orders that came together, and the worker that they came to.

use std::collections::BTreeMap;

use e2e::{
    stack::{RESUMES_WITHIN, Stack},
    wait::until,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    crash_loop::{DELIVERIES_MAX, crashed},
    sleep_parameters,
};

/// After so many short attempts a type is known as one of short attempts.
const WARM: usize = 40;

/// Lets the backend see short attempts, and then has so many jobs wait until they are all sent at once. Returns their ids.
async fn backlog(stack: &mut Stack, jobs: Vec<Value>) -> Vec<String> {
    for _short in 0..WARM {
        stack.submit("test.sleep", json!({"steps": 1, "step_ms": 0})).await.unwrap();
    }
    stack.settle().await.unwrap();
    paused(stack, true).await;
    let mut ids = Vec::new();
    for parameters in jobs {
        let job = json!({"type": "test.sleep", "parameters": parameters, "max_attempts": 3});
        ids.push(stack.submit_job(job).await.unwrap());
    }
    paused(stack, false).await;
    ids
}

async fn paused(stack: &Stack, paused: bool) {
    let path = if paused { "/v1/types/test.sleep/pause" } else { "/v1/types/test.sleep/resume" };
    let (status, answer) = stack.api.send(Method::POST, path, String::new(), &[]).await.unwrap();
    assert!(status.is_success(), "{path}: {status} {answer}");
}

/// How often each job began.
fn executions(stack: &Stack) -> BTreeMap<String, usize> {
    let mut executions = BTreeMap::new();
    for line in std::fs::read_to_string(stack.journal()).unwrap_or_default().lines() {
        *executions.entry(line.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    executions
}

async fn are_completed(stack: &Stack, ids: &[String]) {
    for id in ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!(job["state"], "completed", "{job}");
        assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "{job}");
    }
}

/// A worker is killed with orders that came to it together: what it answered counts, what it had begun begins once more, and
/// what it had not begun begins once. All of it as the same attempts, at once, on another worker.
#[tokio::test]
async fn f113_a_worker_is_killed_with_a_bundle() {
    let mut stack = Stack::start("f113").await.unwrap();
    let mut first = stack.worker(&["test.sleep"], 2).await.unwrap();
    let jobs = (0..120).map(|_| sleep_parameters(&stack, 1, 50)).collect();
    let ids = backlog(&mut stack, jobs).await;
    let bundled = async || stack.api.metric("crewcall_orders_bundled_total", "").await.unwrap_or(0.0) >= 50.0;
    until("orders travel together", RESUMES_WITHIN, bundled).await.unwrap();
    until("some are done", RESUMES_WITHIN, async || stack.executions() >= 10).await.unwrap();
    first.kill().await.unwrap();
    let began = stack.executions();
    let _second = stack.worker(&["test.sleep"], 8).await.unwrap();
    let all_began = async || executions(&stack).len() == ids.len();
    let resumed = until("what was left begins elsewhere", RESUMES_WITHIN, all_began).await.unwrap();
    are_completed(&stack, &ids).await;
    let executions = executions(&stack);
    let again = executions.values().filter(|times| **times > 1).count();
    assert!(executions.values().all(|times| *times <= 2), "{executions:?}");
    // What ran, and what was answered but not yet confirmed.
    assert!(again <= 8, "{again} of the {began} that had begun began again");
    let mut found = stack.settle().await.unwrap();
    found.hold("I1", format_args!("{} jobs of bundles are done, each by its first attempt", ids.len()));
    found.hold("I4", format_args!("{began} had begun when the worker was killed, {again} began again"));
    found.hold("I14", format_args!("all had begun {resumed:?} after another worker was there"));
    found.print("F113 a worker killed with a bundle");
}

/// One order of a bundle ends the process of every worker that runs it. It comes alone from then on, and is charged with
/// what it does; those that came together with it are done by their first attempts. (One slot: what runs beside such an order
/// when it strikes comes back with it, in a bundle or not.)
#[tokio::test]
async fn f114_an_order_of_a_bundle_kills_its_worker() {
    let mut stack = Stack::start("f114").await.unwrap();
    let mut worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let mut jobs: Vec<Value> = (0..60).map(|_| sleep_parameters(&stack, 1, 5)).collect();
    jobs[20]["aborts"] = json!(true);
    let mut ids = backlog(&mut stack, jobs).await;
    let deadly = ids.remove(20);
    let mut crashes = 0;
    let failed = loop {
        tokio::select! {
            () = crashed(worker) => {
                crashes += 1;
                // Once in company, and then alone as often as any order.
                assert!(crashes <= 1 + DELIVERIES_MAX, "the job is delivered too often");
                worker = stack.worker_process(&["test.sleep"], 1).unwrap();
            }
            failed = stack.api.wait_for_end(&deadly) => break failed.unwrap(),
        }
    };
    assert_eq!(
        (&failed["state"], &failed["error"]["kind"]),
        (&json!("failed"), &json!("crash_loop")),
        "{failed}"
    );
    assert_eq!(failed["attempts"].as_array().map(Vec::len), Some(1), "{failed}");
    let _worker = stack.worker_process(&["test.sleep"], 1).unwrap();
    are_completed(&stack, &ids).await;
    let bundled = stack.api.metric("crewcall_orders_bundled_total", "").await.unwrap();
    assert!(bundled >= 40.0, "{bundled} travelled together");
    let mut found = stack.settle().await.unwrap();
    found.hold("I1", format_args!("{} neighbours are done, each by its first attempt", ids.len()));
    found.hold("I4", format_args!("{crashes} crashes, all charged to the one that caused them"));
    found.print("F114 an order of a bundle that kills its worker");
}

/// One order of a bundle takes long, in the only slot of its worker. Those behind it go back after a moment and run elsewhere.
#[tokio::test]
async fn f115_an_order_of_a_bundle_takes_long() {
    let mut stack = Stack::start("f115").await.unwrap();
    let _first = stack.worker(&["test.sleep"], 1).await.unwrap();
    let mut jobs: Vec<Value> = (0..40).map(|_| sleep_parameters(&stack, 1, 1)).collect();
    jobs[5] = sleep_parameters(&stack, 40, 500);
    let mut ids = backlog(&mut stack, jobs).await;
    let slow = ids.remove(5);
    stack.api.job_when(&slow, |job| job["state"] == "running").await.unwrap();
    let _second = stack.worker(&["test.sleep"], 1).await.unwrap();
    are_completed(&stack, &ids).await;
    let job = stack.api.job(&slow).await.unwrap();
    assert_eq!(job["state"], "running", "the others did not wait for it: {job}");
    let (status, _) =
        stack.api.send(Method::POST, &format!("/v1/jobs/{slow}/cancel"), String::new(), &[]).await.unwrap();
    assert!(status.is_success());
    assert_eq!(stack.api.wait_for_end(&slow).await.unwrap()["state"], "cancelled");
    let mut found = stack.settle().await.unwrap();
    found.hold("I14", format_args!("{} orders did not wait behind one of 20 s", ids.len()));
    found.print("F115 an order of a bundle that takes long");
}
