//! The broker is away for a while: it is restarted, killed, or not there yet.

use std::time::Duration;

use e2e::{broker, stack::Stack};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{LOOK_EVERY, Load, Operator, SENT_AGAIN, charged, jobs_are, logged, metric_is, not_ready};

/// How many jobs are done before something breaks: the load is under way then.
const UNDER_WAY_JOBS: u64 = 40;

/// How many orders are on their way when the broker dies.
const ON_THEIR_WAY: f64 = 5.0;

/// The gauge of orders on their way.
const UNCONFIRMED: &str = "crewcall_dispatch_unconfirmed";

/// For how long the broker is absent at the start. The pauses between two tries to connect have grown to their
/// longest, 3 s, after about 6 s: more minutes would bring nothing new.
const ABSENT_FOR: Duration = Duration::from_secs(15);

/// A job that goes on throughout an outage.
const ACROSS_THE_OUTAGE: (u64, u64) = (60, 250);

/// The broker's application stops in order and starts again, while jobs go in and are worked on: the links are back
/// within 15 s, and nothing is lost.
#[tokio::test]
async fn f01_the_broker_restarts_while_publishing() {
    let folder = tempfile::tempdir().unwrap();
    let node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let _workers =
        [stack.worker(&["test.echo"], 4).await.unwrap(), stack.worker(&["test.echo"], 4).await.unwrap()];
    let load = Load::start(&stack);
    jobs_are(&stack.api, "test.echo", "completed", UNDER_WAY_JOBS).await.unwrap();
    node.ctl(&["stop_app"]).await.unwrap();
    let (reason, _) = not_ready(&stack.api).await.unwrap();
    let on_their_way = stack.api.metric(UNCONFIRMED, "").await.unwrap();
    node.ctl(&["start_app"]).await.unwrap();
    let back = Instant::now();
    stack.api.ready().await.unwrap();
    let connected = back.elapsed();
    let took = stack.check_resumes("test.echo", json!({"text": "resumed"})).await.unwrap();
    let submitted = load.end(&mut stack).await.unwrap();
    submitted.are_echoed(&stack.api).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "an outage of the broker costs no attempt");
    assert_eq!(logged(&stack, SENT_AGAIN), 0, "no order was lost");
    found.hold("I2", submitted.accepted());
    found.hold("I1", format_args!("{on_their_way} orders were unconfirmed when the broker had stopped"));
    found.hold(
        "I14",
        format_args!("ready {connected:.1?} after the broker was back, a job done {took:.1?} later"),
    );
    found.hold("I15", format_args!("meanwhile /readyz said: {reason}"));
    found.print("F1 the broker restarts while publishing");
    node.stop().await.unwrap();
}

/// The broker is killed while jobs go in and are worked on, and is started again: what it did not confirm is sent
/// again, and what was done twice counts once.
#[tokio::test]
async fn f02_the_broker_is_killed_while_publishing() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let _workers = [
        stack.worker(&["test.echo"], 4).await.unwrap(),
        stack.worker(&["test.echo", "test.sleep"], 4).await.unwrap(),
    ];
    let (steps, step_ms) = ACROSS_THE_OUTAGE;
    let across = stack.submit("test.sleep", json!({"steps": steps, "step_ms": step_ms})).await.unwrap();
    let load = Load::start(&stack);
    jobs_are(&stack.api, "test.echo", "completed", UNDER_WAY_JOBS).await.unwrap();
    stack.api.job_when(&across, |job| job["state"] == "running").await.unwrap();
    node.sync().await.unwrap();
    // A broker that is frozen first has surely not confirmed what is on its way when it dies.
    node.suspend().unwrap();
    metric_is(&stack.api, UNCONFIRMED, |orders| orders >= ON_THEIR_WAY).await.unwrap();
    let on_their_way = stack.api.metric(UNCONFIRMED, "").await.unwrap();
    node.kill().await.unwrap();
    not_ready(&stack.api).await.unwrap();
    node.restart().await.unwrap();
    let took = stack.check_resumes("test.echo", json!({"text": "resumed"})).await.unwrap();
    let submitted = load.end(&mut stack).await.unwrap();
    submitted.are_echoed(&stack.api).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&across).await.unwrap()["attempt"], 1);
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "an outage of the broker costs no attempt");
    assert_eq!(logged(&stack, SENT_AGAIN), 0, "no order was lost");
    let stale = stack.api.stale("").await.unwrap();
    found.hold("I2", submitted.accepted());
    found.hold("I1", format_args!("{on_their_way} orders were unconfirmed when the broker died"));
    found.hold("I3", format_args!("{} messages came twice or late and changed nothing", stale.abs()));
    found.hold("I14", format_args!("a job was done {took:.1?} after the broker was back"));
    found.print("F2 the broker is killed while publishing");
    node.stop().await.unwrap();
}

/// The backend and a worker are there before the broker is, which then is an empty one: submissions are accepted and
/// say what they wait for, and drain when it comes.
#[tokio::test]
async fn f04_the_broker_is_absent_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    node.kill().await.unwrap();
    node.wipe().unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    let _worker = stack.worker_process(&["test.echo"], 4).unwrap();
    let load = Load::start(&stack);
    let began = Instant::now();
    while began.elapsed() < ABSENT_FOR {
        assert_eq!(stack.api.get("/livez").await.unwrap().0.as_u16(), 200);
        sleep(LOOK_EVERY).await;
    }
    let waiting = stack.submit("test.echo", json!({"text": "patience"})).await.unwrap();
    let job = stack.api.job(&waiting).await.unwrap();
    assert_eq!((&job["state"], &job["waiting_for"]["reason"]), (&json!("ready"), &json!("broker")), "{job}");
    let (reason, _) = not_ready(&stack.api).await.unwrap();
    assert!(reason.contains("refused"), "it says why: {reason}");
    let tries = logged_tries(&stack);
    node.restart().await.unwrap();
    let took = stack.check_resumes("test.echo", json!({"text": "resumed"})).await.unwrap();
    let submitted = load.end(&mut stack).await.unwrap();
    submitted.are_echoed(&stack.api).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "waiting costs no attempt");
    assert_eq!(logged(&stack, SENT_AGAIN), 0, "no order was lost");
    let operator = Operator { node: &node, vhost: "/".to_owned() };
    let queues = operator.queues("crewcall.").await.unwrap().len();
    found.hold("I2", submitted.accepted());
    found.hold("I10", format_args!("{tries} lines about the missing broker in {ABSENT_FOR:.1?}"));
    found.hold(
        "I14",
        format_args!("{queues} queues were declared and a job done {took:.1?} after the broker came"),
    );
    found.print("F4 the broker is absent at the start");
    node.stop().await.unwrap();
}

/// How often the backend said that there is no broker: once for each link that looked for it, not for every try.
fn logged_tries(stack: &Stack) -> usize {
    let lines = logged(stack, "Not connected to the broker");
    assert!((1..=4).contains(&lines), "{lines} lines about the same trouble");
    lines
}
