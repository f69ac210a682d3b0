//! Orders that are committed as dispatched and never leave the backend (F20).

use std::time::Duration;

use e2e::{
    broker,
    process::PATIENCE,
    proxy::{FaultProxy, Mode},
    stack::{RESUMES_WITHIN, Stack},
    wait::until,
};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::sent_again;

/// More than one, so that a mark could rise to some of them.
const UNSENT: usize = 5;

/// For how long the mark is watched: it is kept four times a second.
const WATCHED_FOR: Duration = Duration::from_secs(2);

/// The backend's line to the broker is dead, and not yet known to be, when orders are to be sent. The mark of confirmed
/// orders does not rise, and the next process sends all of them at once: it does not take 45 s to miss them.
#[tokio::test]
async fn f20_orders_that_never_left_are_not_taken_for_confirmed() {
    let direct = broker::vhost("f20-unsent").await.unwrap().url;
    let (line, through) = FaultProxy::before(&direct, &TaskTracker::new()).await.unwrap();
    let mut stack = Stack::start_on(through.clone()).await.unwrap();
    stack.api.ready().await.unwrap();
    stack.amqp_url = direct; // for the worker
    let _worker = stack.worker(&["test.echo"], 2).await.unwrap();
    stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let open = |stack: &Stack| {
        let above = "SELECT max(value) - min(value) FROM counters WHERE name LIKE 'dispatches_%'";
        usize::try_from(stack.query(above).unwrap()).unwrap()
    };
    until("all is confirmed", PATIENCE, async || open(&stack) == 0).await.unwrap();
    line.set(Mode::FreezeToServer);
    let mut ids = Vec::new();
    for number in 0..UNSENT {
        ids.push(stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap());
    }
    for id in &ids {
        assert_eq!(stack.api.job(id).await.unwrap()["state"], "dispatched");
    }
    let sent = Instant::now();
    while sent.elapsed() < WATCHED_FOR {
        assert_eq!(open(&stack), UNSENT, "none of them was confirmed");
        sleep(Duration::from_millis(50)).await;
    }
    stack.backend.kill().await.unwrap();
    // What is in the line must not arrive after all.
    line.reset_all();
    until("the line is empty", PATIENCE, async || line.open_connections() == 0).await.unwrap();
    line.set(Mode::Pass);
    stack.amqp_url = through;
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    assert_eq!(sent_again(&stack), UNSENT, "they are above the mark:\n{}", stack.backend.log());
    let mut found = stack.settle_within(RESUMES_WITHIN).await.unwrap();
    found.hold("I9", format_args!("{UNSENT} orders that never left were sent by the next start"));
    found.print("F20 the backend dies with orders that never left");
}
