//! What a queue does with its messages, and what becomes of those whose queue goes away again and again.

use std::time::Duration;

use crewcall_amqp::{
    Consumer, ConsumerEvent, Declaration, LinkConfig, Publisher, PublisherOptions, Subscription,
};
use crewcall_dev_broker::DevBroker;
use e2e::{broker, process::PATIENCE, raw_worker::RawWorker, stack::Stack, wait::until};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Operator, SENT_AGAIN, all_confirmed, charged, jobs_are, logged, operated};

/// How often a result is given back: RabbitMQ 4.x drops a message for good after 20 unless the queue says otherwise.
const RETURNS: i64 = 50;

/// How many orders are meant for a queue that does not confirm. As many are with the broker at once, with so many slots.
const STUCK_ORDERS: usize = 1_200;
const STUCK_SLOTS: u32 = 300;

/// For how long it does not: longer than it takes to notice, and to find out that it is not the only one.
const STUCK_FOR: Duration = Duration::from_secs(20);

/// How often the queue of a type is deleted, each time with a submission right behind it.
const DELETIONS: usize = 20;

/// Within which time a type goes on whose queue was deleted.
const HEALED_WITHIN: Duration = Duration::from_secs(15);

/// What the backend says of a queue that it replaced.
const REPLACED: &str = "The queue of a type confirmed nothing; it was replaced";

/// Within which time a type goes on whose queue has no leader: 35 s until it is looked at, 11 s for that, and a busy machine.
const REPLACED_WITHIN: Duration = Duration::from_secs(100);

/// For how long a queue without a leader would hold up other types, if they shared its channel: until each is tried alone.
const HELD_UP_FOR: Duration = Duration::from_secs(9);

/// Orders that the broker has confirmed when their queue stops answering.
const CONFIRMED_ORDERS: usize = 10;

/// A result is given back fifty times before the backend takes it, as when its store is out of order for long, and is
/// still there: every queue says its own delivery limit, because the broker's differs from version to version.
#[tokio::test]
async fn f82_a_result_comes_back_fifty_times() {
    let (mut stack, operator) = operated("f82").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let id = stack.submit("test.sleep", json!({"steps": 1, "step_ms": 1_000})).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    stack.backend.kill().await.unwrap();
    let unlimited = unlimited_queues(&operator).await;
    let returned = give_back(&stack.amqp_url, "crewcall.completed").await;
    stack.restart_backend().await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "the attempt was charged nothing");
    found.hold(
        "I2",
        format_args!("a result that was returned {returned} times was recorded; {unlimited} queues say so"),
    );
    found.print("F82 a result comes back fifty times");
}

/// Every quorum queue says its delivery limit. Returns how many have none that is ever reached.
async fn unlimited_queues(operator: &Operator<'_>) -> usize {
    let listed = operator.ctl("list_queues", &["name", "arguments", "--no-table-headers"]).await.unwrap();
    let quorum: Vec<&str> = listed.lines().filter(|line| line.contains("quorum")).collect();
    assert!(quorum.len() >= 8, "{listed}");
    let silent: Vec<&&str> = quorum.iter().filter(|line| !line.contains("x-delivery-limit")).collect();
    assert!(silent.is_empty(), "left to the broker: {silent:#?}");
    quorum.iter().filter(|line| line.contains("2147483647")).count()
}

/// Takes a message from a queue and gives it back, again and again. Returns how often it had come back in the end.
async fn give_back(amqp_url: &str, queue: &str) -> i64 {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let subscription =
        Subscription { queue: queue.to_owned(), prefetch: 1, tag: "nobody".to_owned(), exclusive: false };
    let link = LinkConfig::new(amqp_url, "nobody");
    let (consumer, mut events) = Consumer::start(link, Vec::new(), vec![subscription], &stop, &tracker);
    let mut returns = 0;
    while returns < RETURNS {
        let event = timeout(PATIENCE, events.recv()).await.expect("the message comes again").unwrap();
        if let ConsumerEvent::Delivery(delivery) = event {
            returns = delivery.properties.delivery_count();
            delivery.nack(true).await.unwrap();
        }
    }
    consumer.close().await;
    returns
}

/// A queue takes what is sent to it and never confirms it, as one without a leader does: 1 200 orders are meant for it,
/// and other types, and what is said to workers, go on as if nothing were. The type says what is wrong with it, and goes
/// on when its queue does.
#[tokio::test]
async fn f83_a_queue_does_not_confirm() {
    // A node of its own: while a leader is suspended, `rabbitmqctl` may wait for it.
    let folder = tempfile::tempdir().unwrap();
    let node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.other", "test.echo"], STUCK_SLOTS).await.unwrap();
    // The first one goes alone, the second one with the others.
    for text in ["alone", "together"] {
        stack.check_resumes("test.other", json!({"text": text})).await.unwrap();
    }
    let hearing = stack.api.metric("crewcall_discovery_reachable_seconds_total", "").await.unwrap();
    let stuck = Instant::now();
    leader(&node, "suspend", "crewcall.jobs.test.other").await;
    let jobs: Vec<_> = (0..STUCK_ORDERS)
        .map(|number| json!({"type": "test.other", "parameters": {"text": number.to_string()}}))
        .collect();
    let (_, answer) = stack.api.post("/v1/jobs/batch", jobs.into()).await.unwrap();
    assert_eq!(answer["accepted"], STUCK_ORDERS);
    let ids: Vec<String> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect();
    ids.iter().for_each(|id| stack.remember_accepted(id.clone()));
    jobs_are(&stack.api, "test.other", "dispatched", STUCK_ORDERS as u64).await.unwrap();
    let (mut slowest, mut others) = (Duration::ZERO, 0);
    while stuck.elapsed() < STUCK_FOR {
        slowest =
            slowest.max(stack.check_resumes("test.echo", json!({"text": "not my problem"})).await.unwrap());
        others += 1;
    }
    let hearing = stack.api.metric("crewcall_discovery_reachable_seconds_total", "").await.unwrap() - hearing;
    assert!(hearing > stuck.elapsed().as_secs_f64() / 2.0, "workers were heard for {hearing} s only");
    assert!(slowest < STUCK_FOR / 2, "a job of another type took {slowest:?}");
    let reconnects = stack.api.metric("crewcall_amqp_reconnects_total", "").await.unwrap();
    assert_eq!(reconnects, 0.0, "no link was given up");
    let error = stack.api.json("/v1/types/test.other").await.unwrap()["queue_error"].clone();
    assert!(
        error.as_str().is_some_and(|error| error.contains("crewcall.jobs.test.other does not confirm")),
        "{error}"
    );
    assert!(stack.api.json("/v1/types/test.echo").await.unwrap()["queue_error"].is_null());
    for id in [&ids[0], &ids[STUCK_ORDERS - 1]] {
        let waiting_for = stack.api.job(id).await.unwrap()["waiting_for"].clone();
        assert_eq!(waiting_for["reason"], "queue", "{waiting_for}");
    }
    leader(&node, "resume", "crewcall.jobs.test.other").await;
    let resumed = Instant::now();
    stack.api.wait_for_end(&ids[0]).await.unwrap();
    let took = resumed.elapsed();
    for id in &ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    assert!(stack.api.json("/v1/types/test.other").await.unwrap()["queue_error"].is_null());
    assert_eq!(logged(&stack, REPLACED), 0, "a queue that is only slow stays");
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "a stuck queue costs no attempt");
    found.hold(
        "I14",
        format_args!(
            "{others} jobs of another type took {slowest:.1?} at most, the first of this type {took:.1?} after"
        ),
    );
    found.hold("I15", format_args!("whoever looks reads: {error}"));
    found.print("F83 a queue does not confirm");
    node.stop().await.unwrap();
}

/// The node is killed in the moment in which the queue of a type was declared. RabbitMQ 3.10 and 4.0 come back with a queue
/// that has no leader and never will have: it is replaced, and its type goes on with nobody's help. Other types are not held
/// up meanwhile.
#[tokio::test]
async fn f109_the_broker_is_killed_right_after_a_declaration() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let _other = stack.worker(&["test.echo"], 1).await.unwrap();
    stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    node.sync().await.unwrap();
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let link = LinkConfig::new(&stack.amqp_url, "somebody in a hurry");
    let hurried = Publisher::start(link, Vec::new(), PublisherOptions::default(), &stop, &tracker);
    // As the backend declares it.
    let queue = Declaration::QuorumQueue {
        name: "crewcall.jobs.test.other".to_owned(),
        delivery_limit: Some(5),
        dead_letter_exchange: Some("crewcall.dead".to_owned()),
        length_max: None,
    };
    hurried.declare(vec![queue]).await.unwrap();
    node.kill().await.unwrap();
    hurried.close().await;
    node.restart().await.unwrap();
    let back = Instant::now();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.other"], 1).await.unwrap();
    let id = stack.submit("test.other", json!({"text": "healed"})).await.unwrap();
    let other = stack.check_resumes("test.echo", json!({"text": "not held up"})).await.unwrap();
    assert!(other < HELD_UP_FOR, "another type was held up for {other:?}");
    let mut error = json!(null);
    until("the type goes on", REPLACED_WITHIN, async || {
        let found = stack.api.json("/v1/types/test.other").await.unwrap()["queue_error"].clone();
        if !found.is_null() {
            error = found;
        }
        let job = stack.api.job(&id).await.unwrap();
        job["state"] == "completed" && job["attempt"] == 1
    })
    .await
    .unwrap();
    let took = back.elapsed();
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "a queue without a leader costs no attempt");
    let replaced = logged(&stack, REPLACED);
    assert_eq!(replaced, usize::from(!error.is_null()), "read: {error}\n{}", stack.backend.log());
    found.hold(
        "I14",
        format_args!(
            "{replaced} queue was replaced, and its type went on {took:.1?} after the broker was back, another within {other:.1?}"
        ),
    );
    found.hold("I15", format_args!("whoever looked read: {error}"));
    found.print("F109 the broker is killed right after a declaration");
    node.stop().await.unwrap();
}

/// A queue with orders in it stops answering for good, while one of its orders runs: it is replaced, what was in it is sent
/// again as the same attempts, and what runs is not concerned. Each runs once.
#[tokio::test]
async fn f109_a_queue_stops_answering_with_orders_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let journal = stack.journal();
    let long = json!({"steps": 400, "step_ms": 200, "journal": journal});
    let mut ids = vec![stack.submit("test.sleep", long).await.unwrap()];
    stack.api.job_when(&ids[0], |job| job["state"] == "running").await.unwrap();
    let short = json!({"steps": 1, "step_ms": 1, "journal": journal});
    for _ in 0..CONFIRMED_ORDERS {
        ids.push(stack.submit("test.sleep", short.clone()).await.unwrap());
    }
    jobs_are(&stack.api, "test.sleep", "dispatched", CONFIRMED_ORDERS as u64).await.unwrap();
    all_confirmed(&stack.api).await.unwrap();
    leader(&node, "suspend", "crewcall.jobs.test.sleep").await;
    let stuck = Instant::now();
    ids.push(stack.submit("test.sleep", short).await.unwrap()); // shows that it does not confirm
    let replaced = async || logged(&stack, REPLACED) > 0;
    until("the queue is replaced", REPLACED_WITHIN, replaced).await.unwrap();
    let took = stuck.elapsed();
    let sent_again = format!("orders={CONFIRMED_ORDERS}");
    let log = stack.backend.log();
    assert!(log.lines().any(|line| line.contains(REPLACED) && line.contains(&sent_again)), "{log}");
    assert_eq!(stack.api.job(&ids[0]).await.unwrap()["state"], "running");
    for id in &ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "a replaced queue costs no attempt");
    assert_eq!(stack.executions(), ids.len(), "each ran once");
    assert_eq!(logged(&stack, SENT_AGAIN), 0, "nothing had to be missed first");
    found.hold("I3", format_args!("{} jobs, {} executions", ids.len(), stack.executions()));
    found.hold(
        "I9",
        format_args!("the queue was replaced after {took:.1?}, and its {CONFIRMED_ORDERS} orders sent again"),
    );
    found.print("F109 a queue stops answering with orders in it");
    node.stop().await.unwrap();
}

/// Suspends or resumes the process that leads a queue of the virtual host `/`.
async fn leader(node: &DevBroker, what: &str, queue: &str) {
    let program = format!("sys:{what}(whereis('%2F_{queue}')).");
    assert_eq!(node.ctl(&["eval", &program]).await.unwrap(), "ok");
}

/// The queue of a type is deleted twenty times, each time with a submission within milliseconds, whose order finds no
/// queue. Each job is done soon, with nobody's help, and no worker is sent to a queue that is not there.
#[tokio::test]
async fn f84_a_queue_is_deleted_again_and_again() {
    let (mut stack, operator) = operated("f84").await.unwrap();
    let worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let watcher = RawWorker::start(&stack.amqp_url);
    stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let (queue, arguments) = ("crewcall.jobs.test.echo", ["crewcall.jobs.test.echo"]);
    let mut slowest = Duration::ZERO;
    for deletion in 1..=DELETIONS {
        let there =
            until("the queue", HEALED_WITHIN, async || watcher.depth_of(queue).await.unwrap().is_some());
        there.await.unwrap();
        let submitted = async {
            let gone =
                until("the deletion", PATIENCE, async || watcher.depth_of(queue).await.unwrap().is_none());
            gone.await.unwrap();
            stack.submit("test.echo", json!({"text": deletion.to_string()})).await.unwrap()
        };
        let (deleted, id) = tokio::join!(operator.ctl("delete_queue", &arguments), submitted);
        deleted.unwrap();
        let began = Instant::now();
        let done = until("a job after a deletion", HEALED_WITHIN, async || {
            stack.api.job(&id).await.unwrap()["state"] == "completed"
        });
        if let Err(error) = done.await {
            let columns = ["name", "messages_ready", "messages_unacknowledged", "consumers"];
            let queues = operator.ctl("list_queues", &columns).await.unwrap();
            panic!("deletion {deletion}: {error}\n{queues}\n{}\n{}", stack.backend.log(), worker.log());
        }
        slowest = slowest.max(began.elapsed());
    }
    let log = worker.log();
    assert!(!log.contains("cannot be consumed"), "it was welcomed to a queue that was not there:\n{log}");
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "a deleted queue costs no attempt");
    found.hold("I14", format_args!("each of {DELETIONS} jobs was done within {slowest:.1?} of a deletion"));
    found.print("F84 a queue is deleted again and again");
}
