//! The log of published events while the backend dies (F116 to F119): what was acknowledged is there, once and in its place,
//! whoever follows it misses nothing, and each event makes one job.

use std::{
    os::unix::process::ExitStatusExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{
    api::Api,
    broker,
    failpoints::{BackendFailpoint, dies_at},
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use futures_util::future::join_all;
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many publish at once.
const PUBLISHERS: usize = 4;

/// How often the backend is killed, how many events are recorded before each time, and how many each publisher has at most.
const KILLS: usize = 4;
const EVENTS_MIN: usize = 40;
const EVENTS_BETWEEN: usize = 500;

/// For how long whoever was cut off waits before they come back.
const PAUSE: Duration = Duration::from_millis(50);

/// How long everything that is in the log may take to reach a follower.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(30);

async fn publish(api: &Api, event: &Value) -> Option<(StatusCode, Value)> {
    api.post("/v1/events", event.clone()).await.ok()
}

/// Publishes until it is answered: the id makes that harmless.
async fn publish_in_the_end(api: &Api, event: &Value) -> Value {
    loop {
        match publish(api, event).await {
            Some((status, answer)) if status.is_success() => return answer,
            _ => sleep(PAUSE).await,
        }
    }
}

/// The backend dies when events are committed and not answered. Whoever publishes them again under the same ids gets the
/// places that they have.
#[tokio::test]
async fn f116_the_backend_dies_between_the_commit_of_events_and_the_answer() {
    const EVENTS: usize = 30;
    let vhost = broker::vhost("f116").await.unwrap();
    let dying = ProcessEnvironment::variables(&[(
        "FAILPOINTS",
        &dies_at(BackendFailpoint::EventsRecorded.name(), 3),
    )]);
    let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, dying).await.unwrap();
    let event = |number: usize| json!({"subject": "order.paid", "data": {"number": number}, "id": format!("order:{number}")});
    for number in 0..3 {
        let (status, answer) = publish(&stack.api, &event(number)).await.unwrap();
        assert_eq!((status, &answer["sequence"]), (StatusCode::CREATED, &json!(number + 1)));
    }
    let events: Vec<Value> = (3..EVENTS).map(event).collect();
    let answers = join_all(events.iter().map(|event| publish(&stack.api, event))).await;
    assert!(answers.iter().all(Option::is_none), "nobody was answered: {answers:?}");
    let status = stack.backend.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    let stored = stack.query("SELECT count(*) FROM events").unwrap();
    assert!(stored > 3, "the backend died after a commit");
    stack.set_environment(ProcessEnvironment::default());
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let mut replayed = 0;
    for number in 0..EVENTS {
        let (status, answer) = publish(&stack.api, &event(number)).await.unwrap();
        assert!(status.is_success(), "{status} {answer}");
        replayed += i64::from(status == StatusCode::OK);
    }
    assert_eq!(replayed, stored, "what was committed is not recorded again");
    let (status, reused) =
        publish(&stack.api, &json!({"subject": "order.paid", "data": 7, "id": "order:1"})).await.unwrap();
    assert_eq!((status.as_u16(), &reused["code"]), (422, &json!("event-id-reused")));
    let log = stack.api.json("/v1/events?limit=500").await.unwrap();
    let mut numbers: Vec<u64> = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["data"]["number"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..EVENTS as u64).collect::<Vec<_>>(), "each once");
    let mut found = stack.settle().await.unwrap();
    found.hold("I6", format_args!("{EVENTS} ids, {EVENTS} events: {replayed} were there"));
    found.print("F116 the backend dies after a commit of events, before the answer");
}

/// Reads the log as a browser does: when it is cut off, it comes back and says what it has seen. Returns all of that.
async fn follow(api: Arc<Mutex<Api>>, seen: Arc<Mutex<Vec<u64>>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let after = seen.lock().await.last().copied().unwrap_or(0);
        let opened = api.lock().await.clone().open(&format!("/v1/events/watch?after={after}")).await;
        let Ok(mut response) = opened else {
            sleep(PAUSE).await;
            continue;
        };
        let mut rest = String::new();
        while let Some(Ok(Some(bytes))) = stop.run_until_cancelled(response.chunk()).await {
            rest.push_str(&String::from_utf8_lossy(&bytes));
            // An event counts when it is whole.
            while let Some((event, others)) = rest.split_once("\n\n") {
                let id = event.lines().find_map(|line| line.strip_prefix("id: ")).map(str::parse);
                if let Some(id) = id {
                    seen.lock().await.push(id.unwrap());
                }
                rest = others.to_owned();
            }
        }
    }
}

/// The backend is killed again and again while many publish and somebody follows the log: every event that was acknowledged is
/// there in its place, once, and the follower got each once and in order.
#[tokio::test]
async fn f117_the_backend_is_killed_while_events_are_published_and_followed() {
    let mut stack = Stack::start("f117").await.unwrap();
    let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    // The backend may listen elsewhere after a restart.
    let api = Arc::new(Mutex::new(stack.api.clone()));
    let follower = TaskTracker::new().spawn(follow(Arc::clone(&api), Arc::clone(&seen), stop.clone()));
    let (mut acknowledged, recorded) = (Vec::new(), AtomicUsize::new(0));
    for kill in 0..KILLS {
        let publishers = (0..PUBLISHERS).map(|publisher| {
            let (api, recorded) = (stack.api.clone(), &recorded);
            async move {
                let mut answers = Vec::new();
                for number in 0..EVENTS_BETWEEN {
                    let event = json!({"subject": "count.up", "data": [kill, publisher, number]});
                    match publish(&api, &event).await {
                        Some((status, answer)) if status.is_success() => {
                            recorded.fetch_add(1, Ordering::Relaxed);
                            answers.push(answer);
                        }
                        _ => break,
                    }
                }
                answers
            }
        });
        let killed = async {
            until("some events are recorded", FOLLOWED_WITHIN, async || {
                recorded.load(Ordering::Relaxed) >= EVENTS_MIN * (kill + 1)
            })
            .await
            .unwrap();
            stack.backend.signal(Signal::KILL).unwrap();
        };
        let (answers, ()) = tokio::join!(join_all(publishers), killed);
        acknowledged.extend(answers.into_iter().flatten());
        stack.backend.wait().await.unwrap();
        stack.restart_backend().await.unwrap();
        *api.lock().await = stack.api.clone();
        stack.api.ready().await.unwrap();
    }
    let last = publish_in_the_end(&stack.api, &json!({"subject": "the.end", "data": {}, "id": "end"})).await;
    let head = last["sequence"].as_u64().unwrap();
    until("the follower has read everything", FOLLOWED_WITHIN, async || {
        seen.lock().await.last().is_some_and(|last| *last == head)
    })
    .await
    .unwrap();
    stop.cancel();
    follower.await.unwrap();
    assert_eq!(*seen.lock().await, (1..=head).collect::<Vec<_>>(), "each once, in order");
    assert!(acknowledged.len() >= KILLS * EVENTS_MIN, "the backend was killed amid them");
    for event in &acknowledged {
        let path = format!("/v1/events/{}", event["sequence"]);
        assert_eq!(stack.api.json(&path).await.unwrap(), *event, "it is as it was acknowledged");
    }
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I2",
        format_args!("{} events were acknowledged over {KILLS} kills, and all are there", acknowledged.len()),
    );
    found.hold("E1", format_args!("{head} events, followed one by one over {KILLS} kills"));
    found.print("F117 the backend is killed while events are published and followed");
}

/// Sets a consumer that makes a job of each event that it selects.
async fn consume(api: &Api, name: &str, subject: &str, text: &str) {
    let job = json!({"type": "test.echo", "parameters": {"text": text}, "labels": {"by": name}});
    let consumer =
        json!({"subjects": [subject], "start": "oldest", "in_flight_max": 20, "then": {"job": job}});
    api.put_consumer(name, &consumer).await.unwrap();
}

/// Waits until a consumer has seen everything and its jobs are over.
async fn has_followed(api: &Api, name: &str) {
    let is_done = |consumer: &Value| consumer["state"] == "following" && consumer["in_flight"] == 0;
    api.json_when_within(FOLLOWED_WITHIN, &format!("/v1/consumers/{name}"), is_done).await.unwrap();
}

/// The backend dies in the step of a consumer: right before it commits, and right after it, when no order has left. Either
/// way each event has one job in the end.
#[tokio::test]
async fn f118_the_backend_dies_in_a_consumers_step() {
    const EVENTS: usize = 40;
    for point in [BackendFailpoint::ConsumerStepping, BackendFailpoint::JobsMade] {
        let vhost = broker::vhost("f118").await.unwrap();
        let dying = dies_at(point.name(), 1);
        let dying = ProcessEnvironment::variables(&[("FAILPOINTS", &dying)]);
        let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, dying).await.unwrap();
        let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
        consume(&stack.api, "echoes", "order.*", "order ${{ event.data.number }}").await;
        let mut number = 0;
        while publish(
            &stack.api,
            &json!({"subject": "order.paid", "data": {"number": number}, "id": format!("order:{number}")}),
        )
        .await
        .is_some()
        {
            number += 1;
        }
        let status = stack.backend.wait().await.unwrap();
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
        let (events, made) = (
            stack.query("SELECT count(*) FROM events").unwrap(),
            stack.query("SELECT count(*) FROM job_causes").unwrap(),
        );
        assert!(made < events || point == BackendFailpoint::JobsMade, "{made} jobs of {events} events");
        stack.set_environment(ProcessEnvironment::default());
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
        for number in 0..EVENTS {
            let event =
                json!({"subject": "order.paid", "data": {"number": number}, "id": format!("order:{number}")});
            publish_in_the_end(&stack.api, &event).await;
        }
        has_followed(&stack.api, "echoes").await;
        let events = stack.query("SELECT count(*) FROM events").unwrap();
        assert_eq!(stack.query("SELECT count(DISTINCT sequence) FROM job_causes").unwrap(), events);
        assert_eq!(stack.query("SELECT count(*) FROM jobs WHERE state = 'completed'").unwrap(), events);
        let mut found = stack.settle().await.unwrap();
        found.hold("E2", format_args!("{events} events, {events} jobs; {made} were made when it died"));
        found.print(&format!("F118 the backend dies in a consumer's step, at {}", point.name()));
    }
}

/// The backend is killed again and again while events come. One consumer makes a job of each, another one of each end of
/// those: nothing is left out and nothing is made twice, on either way.
#[tokio::test]
async fn f119_the_backend_is_killed_while_consumers_make_jobs() {
    let mut stack = Stack::start("f119").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 8).await.unwrap();
    consume(&stack.api, "echoes", "order.*", "order ${{ event.data.number }}").await;
    consume(&stack.api, "told", "job.completed.#", "${{ event.data.result.text }}").await;
    let mut number = 0_i64;
    for kill in 0..KILLS {
        for _ in 0..EVENTS_MIN {
            number += 1;
            // The ends of jobs that were told of are events as well: they lead to others until their chain is too long.
            let event = json!({"subject": "order.paid", "data": {"number": number.to_string()}, "id": format!("order:{number}")});
            publish_in_the_end(&stack.api, &event).await;
        }
        until("some of them made jobs", FOLLOWED_WITHIN, async || {
            stack.query("SELECT count(*) FROM job_causes").unwrap()
                > i64::try_from(EVENTS_MIN * (kill + 1) / 2).unwrap()
        })
        .await
        .unwrap();
        stack.backend.kill().await.unwrap();
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
    }
    // Each job of the second consumer is one deeper than the one that it tells of.
    stack
        .api
        .json_when_within(FOLLOWED_WITHIN * 4, "/v1/consumers/told", |told| {
            told["state"] == "following" && told["in_flight"] == 0
        })
        .await
        .unwrap();
    has_followed(&stack.api, "echoes").await;
    let orders = number;
    assert_eq!(stack.query("SELECT count(*) FROM events WHERE subject = 'order.paid'").unwrap(), orders);
    assert_eq!(stack.query("SELECT count(*) FROM job_causes WHERE consumer = 'echoes'").unwrap(), orders);
    let ends = stack.query("SELECT count(*) FROM events WHERE origin_depth BETWEEN 1 AND 15").unwrap();
    assert_eq!(stack.query("SELECT count(*) FROM job_causes WHERE consumer = 'told'").unwrap(), ends);
    assert_eq!(ends, orders * 15, "each order led to a chain of sixteen");
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "E2",
        format_args!("{orders} orders led to {} jobs over {KILLS} kills, each once", orders + ends),
    );
    found.print("F119 the backend is killed while consumers make jobs");
}
