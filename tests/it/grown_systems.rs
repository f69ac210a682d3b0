//! What grown systems did with events, done here: on broker, store and processes.

use std::time::Duration;

use e2e::{stack::Stack, wait::until};
use reqwest::Method;
use serde_json::{Value, json};

/// How long consumers may take to see everything and have their jobs done.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// How many orders are cancelled, and how many created.
const CANCELLED: usize = 999;
const CREATED: usize = 5;

async fn consume(stack: &Stack, name: &str, subject: &str, job: Value) {
    let consumer = json!({"subjects": [subject], "start": "oldest", "then": {"job": job}});
    stack.api.put_consumer(name, &consumer).await.unwrap();
}

async fn ask(stack: &Stack, path: &str, body: Value) -> Value {
    let (status, answer) = stack.api.post(path, body).await.unwrap();
    assert!(status.is_success(), "{path}: {answer}");
    answer
}

async fn publish(stack: &Stack, subject: &str, numbers: std::ops::Range<usize>) {
    let events: Vec<Value> =
        numbers.map(|number| json!({"subject": subject, "data": {"number": number}})).collect();
    let answer = ask(stack, "/v1/events/batch", json!(events)).await;
    assert_eq!(answer["refused"], 0, "{answer}");
}

/// Waits until the consumer has made so many jobs, and all of them are over.
async fn has_made(stack: &Stack, consumer: &str, jobs: usize) {
    let made = format!("SELECT count(*) FROM job_causes WHERE consumer = '{consumer}'");
    let open = "SELECT count(*) FROM jobs WHERE state NOT IN ('completed', 'failed', 'cancelled')";
    until(&format!("{consumer} made {jobs} jobs"), DONE_WITHIN, async || {
        stack.query(&made).unwrap() == i64::try_from(jobs).unwrap() && stack.query(open).unwrap() == 0
    })
    .await
    .unwrap();
}

/// A queue of events in the manner of `KanthorQ`: each consumer gets each event of its subjects once, tries it as often as it is
/// told to, can be held and let go on, and goes through a part once more when it is asked to.
#[tokio::test]
async fn each_consumer_gets_each_event() {
    let mut stack = Stack::start("grown").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 16).await.unwrap();
    let echo = json!({"type": "test.echo", "parameters": {"text": "order ${{ event.data.number }}"}});
    publish(&stack, "order.cancelled", 0..CANCELLED).await;
    publish(&stack, "order.created", 0..CREATED).await;
    consume(&stack, "refunds", "order.cancelled", echo.clone()).await;
    consume(&stack, "stock", "order.cancelled", echo).await;
    let failing = json!({
        "type": "test.fail",
        "parameters": {"message": "order ${{ event.data.number }}"},
        "max_attempts": 2,
        "backoff": {"initial_seconds": 0.1},
    });
    consume(&stack, "greetings", "order.created", failing).await;
    has_made(&stack, "refunds", CANCELLED).await;
    has_made(&stack, "stock", CANCELLED).await;
    has_made(&stack, "greetings", CREATED).await;
    let attempts =
        "SELECT count(*) FROM attempts JOIN job_causes USING (job_seq) WHERE consumer = 'greetings'";
    assert_eq!(stack.query(attempts).unwrap(), i64::try_from(CREATED * 2).unwrap(), "each has two attempts");

    // Held, one of them waits, and misses nothing when it goes on.
    ask(&stack, "/v1/consumers/stock/pause", json!({"by": "somebody"})).await;
    publish(&stack, "order.cancelled", CANCELLED..CANCELLED + 1).await;
    has_made(&stack, "refunds", CANCELLED + 1).await;
    has_made(&stack, "stock", CANCELLED).await;
    ask(&stack, "/v1/consumers/stock/resume", json!({})).await;
    has_made(&stack, "stock", CANCELLED + 1).await;

    // Once more, for a part of the log: beside what comes.
    let replay = ask(&stack, "/v1/consumers/refunds/replay", json!({"after": 100, "to": 110})).await;
    assert!(replay["replay"].is_u64(), "{replay}");
    publish(&stack, "order.cancelled", CANCELLED + 1..CANCELLED + 2).await;
    has_made(&stack, "refunds", CANCELLED + 2 + 10).await;
    let of = "SELECT count(*) FROM job_causes WHERE consumer = 'refunds' AND sequence BETWEEN 101 AND 110";
    assert_eq!(stack.query(of).unwrap(), 20);
    stack.settle().await.unwrap();
}

async fn put_workflow(stack: &Stack, name: &str, document: Value) {
    let path = format!("/v1/workflows/{name}");
    let (status, answer) = stack.api.send(Method::PUT, &path, document.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
}

/// The runs of a workflow, as soon as there are so many that are over.
async fn ended_runs(stack: &Stack, workflow: &str, runs: usize) -> Vec<Value> {
    let path = format!("/v1/runs?workflow={workflow}&state=completed,failed,cancelled");
    let over = async || {
        let page = stack.api.json(&path).await.unwrap();
        page["runs"].as_array().unwrap().clone()
    };
    until(&format!("{runs} runs of {workflow} are over"), DONE_WITHIN, async || over().await.len() == runs)
        .await
        .unwrap();
    let mut whole = Vec::new();
    for run in over().await {
        whole.push(stack.api.json(&format!("/v1/runs/{}", run["id"].as_str().unwrap())).await.unwrap());
    }
    whole
}

fn states(run: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = run["steps"].as_array().unwrap().iter();
    steps.map(|step| (text(&step["name"]), text(&step["state"]))).collect()
}

fn are(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
}

/// Actions after a task in the manner of Diffgram: those of active workflows begin when a task is finished, in their order and only for
/// some folders; one whose precondition is false is passed over and says so; a result reaches the next; one that fails ends the
/// chain, and that is an event.
#[tokio::test]
async fn a_finished_task_starts_its_actions_in_order() {
    let mut stack = Stack::start("grown-actions").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 8).await.unwrap();
    let failing = json!({"job": "test.fail", "needs": ["export"], "max_attempts": 1, "parameters": {"message": "no room", "permanent": true}});
    let actions = |last: Value| {
        json!({
            "triggers": [{"event": "task.finished", "if": "event.data.folder in ['films', 'music']"}],
            "steps": {
                "label": {"job": "test.echo", "parameters": {"text": "task ${{ trigger.data.task }}"}},
                "ask": {"needs": ["label"], "when": "trigger.data.folder == 'films'", "job": "test.echo", "parameters": {"text": ""}},
                "export": {"needs": ["label"], "job": "test.echo", "parameters": {"text": "${{ steps.label.result.text }} exported"}},
                "upload": last,
                "tell": {"needs": ["upload"], "job": "test.echo", "parameters": {"text": "${{ steps.export.result.text }}"}},
            },
        })
    };
    put_workflow(
        &stack,
        "works",
        actions(json!({"needs": ["export"], "job": "test.echo", "parameters": {"text": ""}})),
    )
    .await;
    put_workflow(&stack, "fails", actions(failing)).await;
    put_workflow(
        &stack,
        "inactive",
        actions(json!({"needs": ["export"], "job": "test.echo", "parameters": {"text": ""}})),
    )
    .await;
    ask(&stack, "/v1/workflows/inactive/pause", json!({"by": "somebody"})).await;
    let alarm = json!({"subjects": ["run.failed.*"], "then": {"job": {"type": "test.echo", "labels": {"alarm": "${{ event.data.failed_steps[0] }}"}, "parameters": {"text": "${{ event.data.workflow }}"}}}});
    stack.api.put_consumer("alarm", &alarm).await.unwrap();
    for folder in ["films", "music", "private"] {
        let event = json!({"subject": "task.finished", "data": {"task": 7, "folder": folder}});
        ask(&stack, "/v1/events", event).await;
    }
    let worked = ended_runs(&stack, "works", 2).await;
    // Newest first.
    for (run, asked) in worked.iter().zip(["skipped", "completed"]) {
        let expected = [
            ("label", "completed"),
            ("ask", asked),
            ("export", "completed"),
            ("upload", "completed"),
            ("tell", "completed"),
        ];
        assert_eq!(states(run), are(&expected), "{run:#}");
    }
    let told = worked[0]["steps"].as_array().unwrap().last().unwrap()["job"].as_str().unwrap().to_owned();
    assert_eq!(stack.api.job(&told).await.unwrap()["result"]["text"], "task 7 exported");
    for run in ended_runs(&stack, "fails", 2).await {
        assert_eq!(
            (&run["state"], &states(&run)[3..]),
            (&json!("failed"), &are(&[("upload", "failed"), ("tell", "skipped")])[..])
        );
    }
    has_made(&stack, "alarm", 2).await;
    let alarmed = stack.api.json("/v1/jobs?label.alarm=upload&state=completed").await.unwrap();
    assert_eq!(alarmed["jobs"][0]["result"]["text"], "fails", "{alarmed}");
    assert_eq!(stack.query("SELECT count(*) FROM runs WHERE workflow = 'inactive'").unwrap(), 0);
    stack.settle().await.unwrap();
}

/// Steps of media in the manner of Media-Cloud-AI: parents and required steps, split and join, a failure that is allowed, an abort, and
/// another try from the step that failed.
#[tokio::test]
async fn media_are_split_joined_aborted_and_tried_again() {
    let mut stack = Stack::start("grown-media").await.unwrap();
    let worker = stack.worker(&["test.echo", "test.fail"], 8).await.unwrap();
    let echo = |needs: &[&str], text: &str| json!({"needs": needs, "job": "test.echo", "parameters": {"text": text}});
    let document = |risky: Value| {
        json!({
            "steps": {
                "download": echo(&[], "film"),
                "video": echo(&["download"], "${{ steps.download.result.text }}.video"),
                "audio": echo(&["download"], "${{ steps.download.result.text }}.audio"),
                "subtitles": {"needs": ["download"], "on_failure": "continue", "job": "test.fail", "max_attempts": 1, "parameters": {"message": "none", "permanent": true}},
                "join": echo(&["video", "audio", "subtitles"], "${{ steps.video.result.text }} ${{ steps.audio.result.text }} ${{ steps.subtitles.state }}"),
                "publish": risky,
            },
            "outputs": {"text": "${{ steps.join.result.text }}"},
        })
    };
    put_workflow(
        &stack,
        "media",
        document(json!({"needs": ["join"], "job": "test.sleep", "parameters": {"steps": 1, "step_ms": 1}})),
    )
    .await;
    ask(&stack, "/v1/workflows/media/trigger", json!({})).await;
    let id = stack.api.json("/v1/runs?workflow=media").await.unwrap()["runs"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/runs/{id}");
    let publishing = |run: &Value| run["steps"][5]["state"] == "running";
    let run = stack.api.json_when(&path, publishing).await.unwrap();
    let expected = [
        ("download", "completed"),
        ("video", "completed"),
        ("audio", "completed"),
        ("subtitles", "failed"),
        ("join", "completed"),
        ("publish", "running"),
    ];
    assert_eq!(states(&run), are(&expected));
    // Nobody serves the last step: somebody gives up, and tries again when there is a worker.
    ask(&stack, &format!("{path}/cancel"), json!({"by": "Ann"})).await;
    let run = stack.api.json_when(&path, |run| run["state"] == "cancelled").await.unwrap();
    assert_eq!(states(&run)[5], ("publish".to_owned(), "cancelled".to_owned()));
    let _other = stack.worker(&["test.sleep"], 1).await.unwrap();
    ask(&stack, &format!("{path}/retry"), json!({"by": "Ann", "from": "publish"})).await;
    let run = stack.api.json_when(&path, |run| run["state"] == "completed").await.unwrap();
    assert_eq!(run["outputs"]["text"], "film.video film.audio failed", "{run:#}");
    let made = "SELECT count(*) FROM jobs WHERE type = 'test.echo'";
    assert_eq!(stack.query(made).unwrap(), 4, "what completed was not done again");
    drop(worker);
    stack.settle().await.unwrap();
}

/// Actions and reactions in the manner of `AREA`: a poller that a schedule starts reports what is new, and the reactions of the workflows
/// that are switched on act on it. What several polls see, one of which fails after it reported it, is one event.
#[tokio::test]
async fn a_poller_reports_once_and_the_reactions_that_are_on_act_on_it() {
    let mut stack = Stack::start("grown-area").await.unwrap();
    let _worker = stack.worker(&["test.emit", "test.echo"], 8).await.unwrap();
    let reactions = json!({
        "triggers": [{"event": "count.now"}],
        "steps": {
            "mail": {"job": "test.echo", "parameters": {"text": "mail ${{ trigger.data.number }}"}},
            "note": {"job": "test.echo", "parameters": {"text": "note ${{ trigger.data.number }}"}},
        },
        "outputs": {"said": "${{ steps.mail.result.text }}, ${{ steps.note.result.text }}"},
    });
    for name in ["on", "off", "other"] {
        let path = format!("/v1/workflows/{name}");
        let document = if name == "other" { json!({"steps": reactions["steps"]}) } else { reactions.clone() };
        let (status, answer) = stack.api.send(Method::PUT, &path, document.to_string(), &[]).await.unwrap();
        assert!(status.is_success(), "{answer}");
    }
    ask(&stack, "/v1/workflows/off/pause", json!({})).await;
    let poll = json!({
        "every_seconds": 1,
        "overlap": "queue_one",
        "job": {
            "type": "test.emit",
            "parameters": {"now": ["commit:1f3a"], "succeed_at": 2},
            "backoff": {"initial_seconds": 0.1},
        },
    });
    let (status, answer) =
        stack.api.send(Method::PUT, "/v1/schedules/poller", poll.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
    let polled = "SELECT count(*) FROM ticks WHERE outcome = 'completed'";
    until("three polls have seen it", DONE_WITHIN, async || stack.query(polled).unwrap() >= 3).await.unwrap();
    ask(&stack, "/v1/schedules/poller/pause", json!({})).await;
    let events = stack.query("SELECT count(*) FROM events WHERE subject = 'count.now'").unwrap();
    assert_eq!(events, 1, "reported once");
    let runs = async |workflow: &str| {
        let page = stack.api.json(&format!("/v1/runs?workflow={workflow}")).await.unwrap();
        page["runs"].as_array().unwrap().clone()
    };
    let over = "SELECT count(*) FROM runs WHERE ended_at IS NULL";
    until("the reactions are over", DONE_WITHIN, async || stack.query(over).unwrap() == 0).await.unwrap();
    let acted = runs("on").await;
    assert_eq!(acted.len(), 1, "{acted:#?}");
    let run = stack.api.json(&format!("/v1/runs/{}", acted[0]["id"].as_str().unwrap())).await.unwrap();
    assert_eq!(run["outputs"]["said"], "mail 1, note 1", "{run:#}");
    ask(&stack, "/v1/workflows/on/trigger", json!({"data": {"number": 7}})).await;
    until("the run by hand is over", DONE_WITHIN, async || {
        let all = stack.query("SELECT count(*) FROM runs WHERE state = 'completed'").unwrap();
        all == 2 && stack.query(over).unwrap() == 0
    })
    .await
    .unwrap();
    let open = "SELECT count(*) FROM jobs WHERE state NOT IN ('completed', 'failed', 'cancelled')";
    until("all is over", DONE_WITHIN, async || stack.query(open).unwrap() == 0).await.unwrap();
    assert_eq!((runs("on").await.len(), runs("off").await.len(), runs("other").await.len()), (2, 0, 0));
    stack.settle().await.unwrap();
}
