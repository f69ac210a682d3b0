//! Jobs that belong together: what follows from each, by the public surface alone.

use std::time::Duration;

use e2e::{stack::Stack, wait::until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How long a run of short jobs may take.
const RUN_WITHIN: Duration = Duration::from_secs(20);

async fn put(stack: &Stack, name: &str, document: Value) -> Value {
    let path = format!("/v1/workflows/{name}");
    let (status, answer) = stack.api.send(Method::PUT, &path, document.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{status} {answer}");
    answer
}

async fn post(stack: &Stack, path: &str, body: Value) -> (StatusCode, Value) {
    stack.api.post(path, body).await.unwrap()
}

/// Starts a run. Returns its id.
async fn trigger(stack: &Stack, name: &str, data: Value) -> String {
    let (status, run) = post(stack, &format!("/v1/workflows/{name}/trigger"), json!({ "data": data })).await;
    assert!(status.is_success(), "{status} {run}");
    run["id"].as_str().unwrap().to_owned()
}

async fn run(stack: &Stack, id: &str) -> Value {
    stack.api.json(&format!("/v1/runs/{id}")).await.unwrap()
}

/// The run, as soon as it is in this state.
async fn run_in(stack: &Stack, id: &str, state: &str) -> Value {
    let is = async || run(stack, id).await["state"] == state;
    if let Err(error) = until(&format!("run {id} is {state}"), RUN_WITHIN, is).await {
        panic!("{error}: {:#}", run(stack, id).await);
    }
    run(stack, id).await
}

fn step<'a>(run: &'a Value, name: &str) -> &'a Value {
    run["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()
}

fn states(run: &Value) -> Vec<(&str, &str)> {
    let steps = run["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["name"].as_str().unwrap(), step["state"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_result_reaches_the_next_step_and_a_false_condition_is_shown() {
    let mut stack = Stack::start("workflow-chain").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let document = json!({
        "steps": {
            "first": {"job": "test.echo", "parameters": {"text": "${{ trigger.data.name }}"}},
            "second": {
                "needs": ["first"],
                "when": "steps.first.result.text == 'Grüße'",
                "job": "test.echo",
                "parameters": {"text": "${{ steps.first.result.text }}!"},
            },
            "never": {"needs": ["first"], "when": "steps.first.result.text == ''", "job": "test.echo", "parameters": {"text": ""}},
            "after": {"needs": ["never"], "job": "test.echo", "parameters": {"text": ""}},
        },
        "outputs": {"text": "${{ steps.second.result.text }}"},
    });
    let made = put(&stack, "chain", document.clone()).await;
    assert_eq!(made["version"], 1, "{made}");
    assert_eq!(put(&stack, "chain", document).await["version"], 1, "the same makes no version");
    let id = trigger(&stack, "chain", json!({"name": "Grüße"})).await;
    let ended = run_in(&stack, &id, "completed").await;
    let expected =
        [("first", "completed"), ("second", "completed"), ("never", "skipped"), ("after", "skipped")];
    assert_eq!(states(&ended), expected, "{ended:#}");
    assert_eq!(ended["outputs"], json!({"text": "Grüße!"}));
    assert_eq!(step(&ended, "never")["reason"], "its condition is false");
    let job = step(&ended, "second")["job"].as_str().unwrap();
    let cause = stack.api.job(job).await.unwrap()["cause"].clone();
    assert_eq!(
        (&cause["run"], &cause["step"], &cause["workflow"]),
        (&json!(id), &json!("second"), &json!("chain"))
    );
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn items_become_jobs_and_their_results_come_together() {
    let mut stack = Stack::start("workflow-items").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 8).await.unwrap();
    let document = json!({
        "steps": {
            "each": {
                "each": "${{ trigger.data.names }}",
                "parallel": 7,
                "job": "test.echo",
                "parameters": {"text": "${{ index }} ${{ item }}"},
            },
            "none": {"each": [], "job": "test.echo", "parameters": {"text": ""}},
            "some": {
                "each": [1, 2, 3],
                "tolerate": 3,
                "job": "test.fail",
                "max_attempts": 1,
                "parameters": {"message": "no ${{ item }}", "permanent": true},
            },
            "together": {
                "needs": ["each", "none", "some"],
                "job": "test.echo",
                "parameters": {"text": "${{ size(steps.each.results) }} ${{ size(steps.none.results) }} ${{ size(steps.some.failures) }} ${{ steps.each.results[299].text }}"},
            },
        },
        "outputs": {"text": "${{ steps.together.result.text }}"},
    });
    put(&stack, "items", document).await;
    let names: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    let id = trigger(&stack, "items", json!({ "names": names })).await;
    let ended = run_in(&stack, &id, "completed").await;
    assert_eq!(ended["outputs"]["text"], "300 0 3 299 n299", "{ended:#}");
    assert_eq!(step(&ended, "each")["items"]["completed"], 300);
    let page = stack.api.json(&format!("/v1/runs/{id}/steps/each/items?limit=2&after=297")).await.unwrap();
    let items = page["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["index"]), (2, &json!(298)), "{page}");
    assert_eq!(stack.query("SELECT count(*) FROM jobs").unwrap(), 304);
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn an_answer_before_the_question_counts_and_the_first_decision_stands() {
    let mut stack = Stack::start("workflow-waits").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let document = json!({
        "steps": {
            "ask": {"approval": {"timeout_seconds": 3600}},
            "paid": {
                "needs": ["ask"],
                "wait": {"event": "order.paid", "if": "event.data.id == trigger.data.id", "timeout_seconds": 3600},
            },
            "later": {"needs": ["ask"], "wait": {"event": "order.paid", "since": "step"}},
            "end": {
                "needs": ["paid"],
                "job": "test.echo",
                "parameters": {"text": "${{ steps.paid.event.data.who }} ${{ steps.ask.decision.by }}"},
            },
        },
        "outputs": {"text": "${{ steps.end.result.text }}"},
    });
    put(&stack, "waits", document).await;
    let id = trigger(&stack, "waits", json!({"id": 7})).await;
    let (status, _) =
        post(&stack, "/v1/events", json!({"subject": "order.paid", "data": {"id": 8, "who": "Bob"}})).await;
    assert_eq!(status, StatusCode::CREATED);
    post(&stack, "/v1/events", json!({"subject": "order.paid", "data": {"id": 7, "who": "Ann"}})).await;
    let asked = run(&stack, &id).await;
    assert_eq!(step(&asked, "ask")["state"], "waiting", "{asked:#}");
    let decide = format!("/v1/runs/{id}/steps/ask");
    let (status, _) =
        post(&stack, &format!("{decide}/approve"), json!({"by": "Eve", "comment": "fine"})).await;
    assert!(status.is_success());
    let (status, refused) = post(&stack, &format!("{decide}/reject"), json!({"by": "Mallory"})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("Eve"), "{refused}");
    let ended = async || step(&run(&stack, &id).await, "end")["state"] == "completed";
    until("the answer that came before counts", RUN_WITHIN, ended).await.unwrap();
    let now = run(&stack, &id).await;
    assert_eq!(
        step(&now, "later")["state"],
        "waiting",
        "what came before its question does not count: {now:#}"
    );
    post(&stack, "/v1/events", json!({"subject": "order.paid", "data": {}})).await;
    let ended = run_in(&stack, &id, "completed").await;
    assert_eq!(ended["outputs"]["text"], "Ann Eve");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn what_fails_stops_the_run_is_undone_and_can_be_tried_again() {
    let mut stack = Stack::start("workflow-failure").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail", "test.sleep"], 4).await.unwrap();
    let failing =
        json!({"job": "test.fail", "max_attempts": 1, "parameters": {"message": "no", "permanent": true}});
    let with = |fields: Value| {
        let mut step = failing.clone();
        step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        step
    };
    put(
        &stack,
        "undone",
        json!({
            "on_failure": "compensate",
            "steps": {
                "a": {"job": "test.echo", "parameters": {"text": "a"}, "compensate": {"job": "test.echo", "parameters": {"text": "undo ${{ step.result.text }}"}}},
                "b": {"needs": ["a"], "job": "test.echo", "parameters": {"text": "b"}, "compensate": {"job": "test.echo", "parameters": {"text": "undo ${{ step.result.text }}"}}},
                "c": with(json!({"needs": ["b"]})),
                "tidy": {"needs": ["c"], "run_if": "finished", "job": "test.echo", "parameters": {"text": "tidy"}},
            },
        }),
    )
    .await;
    let id = trigger(&stack, "undone", json!({})).await;
    let failed = run_in(&stack, &id, "failed").await;
    assert_eq!(
        states(&failed),
        [("a", "completed"), ("b", "completed"), ("c", "failed"), ("tidy", "completed")]
    );
    let undo = "SELECT count(*) FROM run_items WHERE role = 'undo'";
    assert_eq!(stack.query(undo).unwrap(), 2, "{failed:#}");
    let (status, refused) = post(&stack, &format!("/v1/runs/{id}/retry"), json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");

    put(
        &stack,
        "again",
        json!({"steps": {
            "good": {"job": "test.echo", "parameters": {"text": "x"}},
            "bad": with(json!({"needs": ["good"]})),
            "slow": {"job": "test.sleep", "parameters": {"steps": 600, "step_ms": 100}},
            "last": {"needs": ["bad"], "job": "test.echo", "parameters": {"text": ""}},
        }}),
    )
    .await;
    let id = trigger(&stack, "again", json!({})).await;
    let failed = run_in(&stack, &id, "failed").await;
    let expected = [("good", "completed"), ("bad", "failed"), ("slow", "cancelled"), ("last", "skipped")];
    assert_eq!(states(&failed), expected, "{failed:#}");
    let job = step(&failed, "bad")["job"].as_str().unwrap();
    let (status, refused) = post(&stack, &format!("/v1/jobs/{job}/retry"), json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert!(refused.to_string().contains(&id), "it names the run: {refused}");
    let (status, _) = post(&stack, &format!("/v1/runs/{id}/retry"), json!({"by": "Ann"})).await;
    assert!(status.is_success());
    let again = run_in(&stack, &id, "failed").await;
    assert_eq!(again["generation"], 2, "{again:#}");
    assert_ne!(step(&again, "bad")["job"].as_str().unwrap(), job, "it began anew");
    assert_eq!(step(&again, "good")["generation"], 1, "what completed keeps its result");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn an_event_starts_one_run_and_a_limit_keeps_others_waiting() {
    let mut stack = Stack::start("workflow-trigger").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep"], 4).await.unwrap();
    put(
        &stack,
        "shop",
        json!({
            "triggers": [
                {"event": "order.#", "if": "event.data.total > 10"},
                {"event": "order.paid"},
            ],
            "concurrency": {"max": 1, "key": "${{ trigger.data.account }}"},
            "steps": {
                "wait": {"wait": {"event": "shop.go"}},
                "invoice": {"needs": ["wait"], "job": "test.echo", "parameters": {"text": "${{ event.subject }} ${{ trigger.data.total }}"}},
            },
            "outputs": {"text": "${{ steps.invoice.result.text }}"},
        }),
    )
    .await;
    for (subject, data) in [
        ("order.paid", json!({"total": 20, "account": "a"})),
        ("order.paid", json!({"total": 5, "account": "a"})),
        ("order.lost", json!({"total": 5, "account": "b"})),
        ("order.lost", json!({"total": 50, "account": "b"})),
    ] {
        post(&stack, "/v1/events", json!({ "subject": subject, "data": data })).await;
    }
    let list = async |query: &str| {
        let page = stack.api.json(&format!("/v1/runs?workflow=shop&{query}")).await.unwrap();
        page["runs"].as_array().unwrap().len()
    };
    let three = async || list("state=running").await == 2 && list("state=queued").await == 1;
    until("two accounts run, and one waits for its turn", RUN_WITHIN, three).await.unwrap();
    // It counts for the one that waits for its turn as well, because it came after its run was made.
    post(&stack, "/v1/events", json!({"subject": "shop.go", "data": {}})).await;
    let done = async || list("state=completed").await == 3;
    until("all are done", RUN_WITHIN, done).await.unwrap();
    let listed = stack.api.json("/v1/consumers").await.unwrap();
    assert_eq!(listed["consumers"], json!([]), "triggers are not consumers that somebody set");
    let (status, _) = stack.api.post("/v1/consumers/workflow:shop/pause", json!({})).await.unwrap();
    assert_eq!(status, StatusCode::CONFLICT, "they are paused with the workflow");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_run_is_the_step_of_another_and_ends_with_it() {
    let mut stack = Stack::start("workflow-child").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep"], 4).await.unwrap();
    let inner = json!({
        "steps": {"say": {"job": "test.echo", "parameters": {"text": "${{ trigger.data.text }}"}}},
        "outputs": {"said": "${{ steps.say.result.text }}"},
    });
    put(&stack, "inner", inner).await;
    put(
        &stack,
        "slow",
        json!({"steps": {"sleep": {"job": "test.sleep", "parameters": {"steps": 600, "step_ms": 100}}}}),
    )
    .await;
    put(&stack, "outer", json!({"steps": {
        "child": {"workflow": {"name": "inner", "data": {"text": "hello"}}},
        "then": {"needs": ["child"], "job": "test.echo", "parameters": {"text": "${{ steps.child.result.said }}"}},
    }, "outputs": {"said": "${{ steps.then.result.text }}"}})).await;
    put(&stack, "stopped", json!({"steps": {"child": {"workflow": {"name": "slow", "data": {}}}}})).await;
    put(&stack, "endless", json!({"steps": {"child": {"workflow": {"name": "endless", "data": {}}}}})).await;
    let id = trigger(&stack, "outer", json!({})).await;
    assert_eq!(run_in(&stack, &id, "completed").await["outputs"]["said"], "hello");
    let id = trigger(&stack, "stopped", json!({})).await;
    let child = async || step(&run(&stack, &id).await, "child")["run"].is_string();
    until("the child is there", RUN_WITHIN, child).await.unwrap();
    let child = step(&run(&stack, &id).await, "child")["run"].as_str().unwrap().to_owned();
    run_in(&stack, &child, "running").await;
    let (status, _) = post(&stack, &format!("/v1/runs/{id}/cancel"), json!({"by": "Ann"})).await;
    assert!(status.is_success());
    run_in(&stack, &id, "cancelled").await;
    run_in(&stack, &child, "cancelled").await;
    let id = trigger(&stack, "endless", json!({})).await;
    run_in(&stack, &id, "failed").await;
    assert_eq!(stack.query("SELECT count(*) FROM runs WHERE workflow = 'endless'").unwrap(), 17);
    stack.settle().await.unwrap();
}
