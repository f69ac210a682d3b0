//! What runs wait for is gone: all queues and messages, or the backend amid a cancel or a compensation.

use std::os::unix::process::ExitStatusExt;

use crewcall_dev_broker::DevBroker;
use e2e::{
    broker,
    failpoints::{BackendFailpoint, dies_at},
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::{RUNS_WITHIN, are, kill_and_restart, publish, put, trigger, trigger_all};

/// How many items the steps have that are told to stop, or undone.
const ITEMS: usize = 150;

/// Numbers for the items of a step.
fn items(count: usize) -> Vec<usize> {
    (0..count).collect()
}

/// How many messages with orders the broker has, delivered ones included.
async fn orders_in(node: &DevBroker) -> u32 {
    let queues = node.ctl(&["list_queues", "name", "messages"]).await.unwrap();
    let line = queues.lines().find_map(|line| line.strip_prefix("crewcall.jobs.test.echo"));
    line.map_or(0, |orders| orders.trim().parse().unwrap())
}

/// The broker is killed and comes back without a queue and without a message, while a few hundred runs are open: some have orders
/// there, which nobody takes meanwhile, some wait for an event. It is published while the broker is away.
#[tokio::test]
async fn f132_the_broker_is_wiped_amid_open_runs() {
    const RUNS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    stack.worker_setting("TEST_WORKER_JOURNAL", stack.journal().to_str().unwrap());
    let worker = stack.worker(&["test.echo"], 8).await.unwrap();
    let echo = |text: &str| json!({"job": "test.echo", "parameters": {"text": text}});
    let mut both = echo("${{ trigger.data.number }} ${{ item }}");
    both["each"] = json!(["left", "right"]);
    both["needs"] = json!(["first"]);
    let mut last = echo("${{ size(steps.both.results) }} ${{ steps.wait.event.data.who }}");
    last["needs"] = json!(["both", "wait"]);
    let document = json!({
        "steps": {"first": echo("begin"), "both": both, "wait": {"wait": {"event": "go"}}, "last": last},
        "outputs": {"text": "${{ steps.last.result.text }}"},
    });
    put(&stack, "/v1/workflows/film", &document).await;
    let began = Instant::now();
    let runs = trigger_all(&stack.api, "film", RUNS).await;
    let done = "SELECT count(*) FROM run_items WHERE ended_version IS NOT NULL";
    until("some items are done", RUNS_WITHIN, async || stack.query(done).unwrap() > 100).await.unwrap();
    worker.signal(Signal::STOP).unwrap();
    until("the broker has orders", RUNS_WITHIN, async || orders_in(&node).await > 0).await.unwrap();
    let lost = orders_in(&node).await;
    node.kill().await.unwrap();
    node.wipe().unwrap();
    worker.signal(Signal::CONT).unwrap();
    let done = stack.query(done).unwrap();
    publish(&stack.api, "go", json!({"who": "Ann"})).await;
    node.restart().await.unwrap();
    stack.api.ready().await.unwrap();
    are(&stack, "completed", RUNS).await;
    let took = began.elapsed();
    for run in &runs {
        let run = stack.api.json(run).await.unwrap();
        assert_eq!(run["outputs"]["text"], "2 Ann", "{run:#}");
    }
    let jobs = i64::try_from(RUNS * 4).unwrap();
    assert_eq!(stack.query("SELECT count(*) FROM jobs WHERE state = 'completed'").unwrap(), jobs);
    assert_eq!(stack.query("SELECT count(*) FROM run_items").unwrap(), jobs, "each item has one job");
    let mut found = stack.settle_within(RUNS_WITHIN).await.unwrap();
    let executions = stack.executions();
    let sent_again = stack.api.metric("crewcall_orders_sent_again_total", "").await.unwrap();
    found.hold(
        "E4",
        format_args!("{RUNS} runs made {jobs} jobs, {done} of which were done when the broker lost {lost} messages with orders and whatever else it had; {executions} executions, {sent_again} orders sent again"),
    );
    found.hold("E6", format_args!("all were completed {took:.1?} after the first began"));
    found.print("F132 the broker is wiped amid open runs");
    node.stop().await.unwrap();
}

/// The backend dies when a cancel is committed and nobody has been told, and when the jobs of the first of two steps are told to stop and
/// those of the second are not. The run stops all the same, and cleans up once.
#[tokio::test]
async fn f135_the_backend_dies_half_way_through_a_cancel() {
    for point in [BackendFailpoint::RunTold, BackendFailpoint::RunJobsStopped] {
        let vhost = broker::vhost("f135").await.unwrap();
        let dying = dies_at(point.name(), 0);
        let dying = ProcessEnvironment::variables(&[("FAILPOINTS", &dying)]);
        let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, dying).await.unwrap();
        let _worker = stack.worker(&["test.sleep", "test.echo"], 8).await.unwrap();
        let long = json!({
            "job": "test.sleep", "each": items(ITEMS), "parallel": ITEMS,
            "parameters": {"steps": 6_000, "step_ms": 100},
        });
        let tidy = json!({"needs": ["one", "two"], "run_if": "finished", "job": "test.echo", "parameters": {"text": "tidy"}});
        let never = json!({"needs": ["one"], "job": "test.echo", "parameters": {"text": "never"}});
        let document = json!({"steps": {"one": long, "two": long, "tidy": tidy, "never": never}});
        put(&stack, "/v1/workflows/film", &document).await;
        let run = trigger(&stack.api, "film", json!({})).await;
        let made = async || {
            stack.query("SELECT count(*) FROM run_items").unwrap() == 2 * i64::try_from(ITEMS).unwrap()
                && stack.query("SELECT count(*) FROM jobs WHERE state = 'running'").unwrap() == 8
        };
        until("all jobs are made, and some run", RUNS_WITHIN, made).await.unwrap();
        let answer = stack.api.post(&format!("{run}/cancel"), json!({"by": "Ann"})).await;
        let status = stack.backend.wait().await.unwrap();
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}: {answer:?}");
        let cancelled = stack.query("SELECT count(*) FROM jobs WHERE state = 'cancelled'").unwrap();
        let is_half = cancelled > 0 && cancelled <= i64::try_from(ITEMS).unwrap();
        assert!(is_half || point == BackendFailpoint::RunTold, "{cancelled} jobs are cancelled");
        assert_eq!(stack.query("SELECT count(*) FROM runs WHERE state = 'stopping'").unwrap(), 1);
        stack.set_environment(ProcessEnvironment::default());
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
        are(&stack, "cancelled", 1).await;
        let ended = stack.api.json(&run).await.unwrap();
        assert_eq!(ended["reason"], "somebody cancelled it", "{ended:#}");
        let states: Vec<_> = ended["steps"].as_array().unwrap().iter().map(|step| &step["state"]).collect();
        assert_eq!(states, ["cancelled", "cancelled", "completed", "skipped"], "{ended:#}");
        let jobs = "SELECT count(*) FROM jobs WHERE state = 'completed'";
        assert_eq!(stack.query(jobs).unwrap(), 1, "only the one that cleans up");
        let mut found = stack.settle().await.unwrap();
        found.hold("E5", format_args!("{cancelled} of {} jobs were cancelled when it died", 2 * ITEMS));
        found.print(&format!("F135 the backend dies half-way through a cancel, at {}", point.name()));
    }
}

/// The backend is killed three times while the completed items of a run are undone, from the last step to the first: each is undone once.
#[tokio::test]
async fn f136_the_backend_is_killed_half_way_through_a_compensation() {
    let mut stack = Stack::start("f136").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 4).await.unwrap();
    let work = |needs: &[&str]| {
        json!({
            "needs": needs, "job": "test.echo", "each": items(ITEMS), "parameters": {"text": "item ${{ item }}"},
            "compensate": {"job": "test.echo", "parameters": {"text": "undo ${{ step.result.text }}"}},
        })
    };
    let boom =
        json!({"needs": ["two"], "job": "test.fail", "parameters": {"message": "no", "permanent": true}});
    let steps = json!({"one": work(&[]), "two": work(&["one"]), "boom": boom});
    put(&stack, "/v1/workflows/film", &json!({"on_failure": "compensate", "steps": steps})).await;
    let run = trigger(&stack.api, "film", json!({})).await;
    let undone = "SELECT count(*) FROM run_items WHERE role = 'undo' AND ended_version IS NOT NULL";
    let all = i64::try_from(ITEMS).unwrap();
    let mut seen = Vec::new();
    for at_least in [1, all / 2, all + 1] {
        until("some are undone", RUNS_WITHIN, async || stack.query(undone).unwrap() >= at_least)
            .await
            .unwrap();
        stack.backend.kill().await.unwrap();
        seen.push(stack.query(undone).unwrap());
        assert_eq!(stack.query("SELECT count(*) FROM runs WHERE state = 'compensating'").unwrap(), 1);
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
    }
    are(&stack, "failed", 1).await;
    let ended = stack.api.json(&run).await.unwrap();
    assert!(!ended["reason"].as_str().unwrap().contains("not undone"), "{ended:#}");
    let jobs = "SELECT count(DISTINCT of_item || step) FROM run_items JOIN jobs ON seq = job_seq
        WHERE role = 'undo' AND jobs.state = 'completed'";
    assert_eq!(stack.query(jobs).unwrap(), 2 * all, "each item is undone");
    assert_eq!(stack.query("SELECT count(*) FROM run_items WHERE role = 'undo'").unwrap(), 2 * all, "once");
    let early =
        "SELECT count(*) FROM run_items AS late JOIN run_items AS early ON early.run_seq = late.run_seq
        WHERE late.role = 'undo' AND early.role = 'undo' AND late.step = 'two' AND early.step = 'one'
            AND early.made_version <= late.ended_version";
    assert_eq!(
        stack.query(early).unwrap(),
        0,
        "the later step is undone before the earlier one begins to be"
    );
    kill_and_restart(&mut stack).await;
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "E4",
        format_args!("{} items are undone, each once; {seen:?} were when it was killed", 2 * ITEMS),
    );
    found.print("F136 the backend is killed half-way through a compensation");
}
