//! Several ends of a run come at once.

use std::{collections::BTreeMap, time::Duration};

use e2e::stack::Stack;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{journal, publish, put, trigger};

/// How many runs there are, and how many of them at once.
const RUNS: u64 = 300;
const AT_ONCE: usize = 20;

/// When the wait of a run is over.
const LIMIT_SECONDS: u64 = 1;

/// From how long before that, and to how long after it, the other two come.
const EARLY_MS: u64 = 150;
const LATE_MS: u64 = 50;

/// What each word of the journal says, of those that may end a run here.
const ENDS: [(&str, &str); 3] =
    [("wait_answered", "completed"), ("wait_timed_out", "failed"), ("cancel_requested", "cancelled")];

/// A moment around the end of a wait that began at `began`, another for each seed.
fn around(began: Instant, seed: u64) -> Instant {
    let spread = EARLY_MS + LATE_MS;
    let offset = seed.wrapping_mul(2_654_435_761) % spread;
    began + Duration::from_secs(LIMIT_SECONDS) - Duration::from_millis(EARLY_MS)
        + Duration::from_millis(offset)
}

/// One run, whose answer and whose cancel come about when its time is over. Returns how it ended, after a look at everything that says so.
async fn race(stack: &Stack, number: u64) -> String {
    let run = trigger(&stack.api, "race", json!({"number": number})).await;
    let began = Instant::now();
    let answer = async {
        sleep_until(around(began, 2 * number + 1)).await;
        publish(&stack.api, "answer", json!({"number": number})).await;
    };
    let cancel = async {
        sleep_until(around(began, 2 * number)).await;
        stack.api.post(&format!("{run}/cancel"), json!({"by": "Ann"})).await.unwrap()
    };
    let ((), (status, told)) = tokio::join!(answer, cancel);
    let is_over = |run: &Value| run["ended_at"].is_string();
    let ended = stack.api.json_when(&run, is_over).await.unwrap();
    let state = ended["state"].as_str().unwrap().to_owned();
    let lines = journal(&stack.api, &run).await;
    let ends: Vec<&str> = lines
        .iter()
        .filter_map(|line| ENDS.iter().find(|(word, _)| word == line))
        .map(|(_, end)| *end)
        .collect();
    assert_eq!(ends, [state.as_str()], "one thing ended it: {lines:?}");
    assert_eq!(lines.iter().filter(|line| *line == "ended").count(), 1, "{lines:?}");
    let was_cancelled = state == "cancelled";
    assert_eq!(status.is_success(), was_cancelled, "who cancels is told how it is: {status} {told}");
    assert!(was_cancelled || told["code"] == "run-refused", "{told}");
    let step = &ended["steps"][0];
    let expected = match state.as_str() {
        "completed" => ("completed", Value::Null),
        "failed" => ("failed", json!("nobody answered in time")),
        _ => ("cancelled", json!("the run was stopped before")),
    };
    assert_eq!((step["state"].as_str().unwrap(), step["reason"].clone()), expected, "{ended:#}");
    assert_eq!(step["event"].is_u64(), state == "completed", "{ended:#}");
    let answered = ended["outputs"]["number"].as_u64();
    assert_eq!(answered, (state == "completed").then_some(number), "{ended:#}");
    state
}

/// The answer to a wait, its time limit and a cancel come at about the same time, in hundreds of runs: each ends in exactly one of
/// these ways, and its journal, its step, its outputs and the answer to the cancel say which.
#[tokio::test]
async fn f133_an_answer_races_a_wait_its_time_and_a_cancel() {
    let mut stack = Stack::start("f133").await.unwrap();
    let wait = json!({
        "event": "answer", "if": "event.data.number == trigger.data.number", "timeout_seconds": LIMIT_SECONDS,
    });
    let document = json!({
        "steps": {"wait": {"wait": wait}},
        "outputs": {"number": "${{ steps.wait.event.data.number }}"},
    });
    put(&stack, "/v1/workflows/race", &document).await;
    let races = (0..RUNS).map(|number| race(&stack, number));
    let ends: Vec<String> = stream::iter(races).buffer_unordered(AT_ONCE).collect().await;
    let mut counts = BTreeMap::<String, usize>::new();
    ends.into_iter().for_each(|end| *counts.entry(end).or_default() += 1);
    assert!(counts.len() == ENDS.len(), "each of them is first now and then: {counts:?}");
    assert_eq!(stack.query("SELECT count(*) FROM waits").unwrap(), 0, "nothing waits any more");
    let mut found = stack.settle().await.unwrap();
    found.hold("E5", format_args!("{RUNS} runs ended, each in one way: {counts:?}"));
    found.print("F133 an answer races a wait, its time and a cancel");
}
