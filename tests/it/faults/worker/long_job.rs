//! A job that runs for longer than the broker waits for an acknowledgement.

use e2e::{broker, stack::Stack};
use serde_json::json;

use super::sleep_parameters;

/// The broker's acknowledgement timeout is half an hour; a test has not that long.
const SHORT_TIMEOUT: &str = "application:set_env(rabbit, consumer_timeout, 3000), \
    application:set_env(rabbit, channel_tick_interval, 1000).";

/// The broker takes an order back that was not acknowledged for 3 s, and is restarted besides. A job of 25 s, whose
/// worker holds it, is not concerned. A job of 12 s, whose worker was told to keep its order for longer than that,
/// loses it (so the timeout does strike) and goes on all the same. Each runs once and ends once.
#[tokio::test]
async fn f34_the_acknowledgement_timeout_strikes_a_long_job() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    node.ctl(&["eval", SHORT_TIMEOUT]).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let keeping = stack.worker(&["test.sleep"], 1).await.unwrap();
    let parameters = sleep_parameters(&stack, 48, 250);
    let kept = stack.submit("test.sleep", parameters).await.unwrap();
    stack.api.job_when(&kept, |job| job["state"] == "running").await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let holding = stack.worker(&["test.sleep"], 1).await.unwrap();
    let parameters = sleep_parameters(&stack, 100, 250);
    let long = stack.submit("test.sleep", parameters).await.unwrap();
    let kept_job = stack.api.wait_for_end(&kept).await.unwrap();
    let losses = keeping.log().matches("Lost the connection").count();
    assert!(losses > 0, "the timeout did not strike:\n{}", keeping.log());
    assert_eq!(holding.log().matches("Lost the connection").count(), 0, "its order was acknowledged");
    node.restart().await.unwrap();
    let long_job = stack.api.wait_for_end(&long).await.unwrap();
    for job in [&kept_job, &long_job] {
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    let executions = std::fs::read_to_string(stack.journal()).unwrap();
    assert_eq!(executions, format!("{kept} 1 worker-0\n{long} 1 worker-1\n"), "each ran once");
    let mut found = stack.settle().await.unwrap();
    found
        .hold("I1", format_args!("each job ran once; the worker that kept its order lost it {losses} times"));
    found.print("F34 the broker's acknowledgement timeout on a long job");
    node.stop().await.unwrap();
}
