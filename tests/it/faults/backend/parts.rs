//! A part of the backend falls (F73): the process ends with a sentence that names it, instead of living on without it.

use e2e::{
    failpoints::{BackendFailpoint, LinkFailpoint},
    stack::{ProcessEnvironment, Stack},
};
use serde_json::json;

use super::{dying_at, short_job};

/// A reader, an order on its way and a link panic, one after the other. What they had not done is done by the next
/// process.
#[tokio::test]
async fn f73_a_part_of_the_backend_panics() {
    const PARTS: [(&str, &str); 3] = [
        (BackendFailpoint::ResponsesRecorded.name(), "the reader of results panicked"),
        (BackendFailpoint::OrderConfirmed.name(), "the publication of orders panicked"),
        // That for orders, or that for control: whichever is the first to send something.
        (LinkFailpoint::MessageUnconfirmed.name(), "ended by itself"),
    ];
    let mut stack = Stack::start("f73").await.unwrap();
    stack.expect_error("panicked at");
    // What waits for a link that fell takes the time that it has.
    stack.expect_error("Some tasks did not end in time");
    let _worker = stack.worker(&["test.sleep"], 2).await.unwrap();
    let mut said = Vec::new();
    for (failpoint, sentence) in PARTS {
        stack.backend.kill().await.unwrap();
        stack.set_environment(dying_at(&format!("{failpoint}=panic")));
        stack.restart_backend().await.unwrap();
        match stack.api.submit(short_job(stack.folder())).await {
            Ok(id) => stack.remember_accepted(id),
            Err(_) => stack.count_unanswered(), // it was quicker
        }
        let status = stack.backend.wait().await.unwrap();
        let why = stack.backend.why_it_ended();
        assert!(status.code().is_some_and(|code| code != 0), "{status}: {why}");
        assert!(why.contains(sentence), "{why}");
        said.push(why);
    }
    stack.set_environment(ProcessEnvironment::default());
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let took = stack.check_resumes("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    for sentence in said {
        found.hold("I15", format_args!("{sentence:?}"));
    }
    found.hold("I14", format_args!("work resumed {took:?} after the backend was back"));
    found.print("F73 a part of the backend panics");
}
