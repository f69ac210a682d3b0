//! What the broker routes by is not as it should be: a queue is another than ours, a binding is missing, or nobody
//! has announced the type yet.

use std::time::Duration;

use crewcall_amqp::{Declaration, LinkConfig, Publisher, PublisherOptions};
use e2e::{footprint::Footprint, process::Process, stack::Stack};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{LOOK_EVERY, charged, logged, operated};

/// How many jobs are unroutable: more than one would do.
const UNROUTABLE_JOBS: usize = 5;

/// For how long a queue is left as it must not be: three times the backend tries again in vain.
const IN_THE_WAY_FOR: Duration = Duration::from_secs(30);

/// What the backend says when it has no queue for a type.
const NO_QUEUE: &str = "A type has no queue";

/// What the backend says when an order comes back.
const RETURNED: &str = "An order reached no queue";

/// The exchanges that every installation has.
const EXCHANGES: [&str; 6] = [
    "crewcall.submit",
    "crewcall.control",
    "crewcall.response",
    "crewcall.discovery",
    "crewcall.unroutable",
    "crewcall.dead",
];

/// Within which time what was declared is declared again, and used: ten seconds, one more for workers who were too early,
/// and what a busy machine takes.
const DECLARED_AGAIN_WITHIN: Duration = Duration::from_secs(30);

/// What the reconciler needs at least until it misses an order that was taken as sent.
const MISSED_AFTER: Duration = Duration::from_secs(45);

/// How often it is tried to be faster than who declares again.
const TRIES: usize = 5;

/// The queue of a type exists with another delivery limit than ours before any worker comes. Whoever looks is told both
/// limits; the worker's other type goes on; the backend keeps trying without haste; and when the operator deletes the
/// queue, the jobs that waited are done without anything being restarted.
#[tokio::test]
async fn f16_a_queue_exists_with_other_arguments() {
    let (mut stack, operator) = operated("f16").await.unwrap();
    declare_otherwise(&stack.amqp_url, "crewcall.jobs.test.other").await;
    stack.expect_error(NO_QUEUE);
    let _worker = stack.worker(&["test.echo", "test.other"], 2).await.unwrap();
    let id = stack.submit("test.other", json!({"text": "waits"})).await.unwrap();
    let job = stack.api.job_when(&id, |job| job["waiting_for"]["reason"] == "queue").await.unwrap();
    let job_type = stack.api.json("/v1/types/test.other").await.unwrap();
    let log = stack.backend.log();
    let log = log.lines().find(|line| line.contains(NO_QUEUE)).unwrap();
    for text in [&job["waiting_for"]["message"].to_string(), &job_type["queue_error"].to_string(), log] {
        for word in ["crewcall.jobs.test.other", "x-delivery-limit", "received '5' but current is '7'"] {
            assert!(text.contains(word), "{word} is missing in: {text}");
        }
    }
    let (computed, began) = (Footprint::of(&stack.backend).unwrap().computed, Instant::now());
    let other_type = stack.check_resumes("test.echo", json!({"text": "not my problem"})).await.unwrap();
    while began.elapsed() < IN_THE_WAY_FOR {
        assert_eq!(stack.api.job(&id).await.unwrap()["waiting_for"]["reason"], "queue");
        sleep(LOOK_EVERY).await;
    }
    let computed = Footprint::of(&stack.backend).unwrap().computed - computed;
    assert!(computed < IN_THE_WAY_FOR / 10, "{computed:?} of {IN_THE_WAY_FOR:?}: it spins");
    assert_eq!(logged(&stack, NO_QUEUE), 1, "the same trouble is told once:\n{}", stack.backend.log());
    operator.ctl("delete_queue", &["crewcall.jobs.test.other"]).await.unwrap();
    let took = stack.check_resumes("test.other", json!({"text": "mended"})).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    assert!(stack.api.json("/v1/types/test.other").await.unwrap()["queue_error"].is_null());
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I10",
        format_args!("{computed:.1?} of processor time and one line of log in {IN_THE_WAY_FOR:.1?}"),
    );
    found.hold(
        "I14",
        format_args!(
            "the other type was served within {other_type:.1?}; this one {took:.1?} after the queue was deleted"
        ),
    );
    found.hold("I15", format_args!("whoever looks reads: {}", job_type["queue_error"]));
    found.print("F16 a queue exists with other arguments");
}

/// Declares a queue as somebody else might.
async fn declare_otherwise(amqp_url: &str, queue: &str) {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let link = LinkConfig::new(amqp_url, "somebody else");
    let publisher = Publisher::start(link, Vec::new(), PublisherOptions::default(), &stop, &tracker);
    let declaration = Declaration::QuorumQueue {
        name: queue.to_owned(),
        delivery_limit: Some(7),
        dead_letter_exchange: Some("crewcall.dead".to_owned()),
        length_max: None,
    };
    publisher.declare(vec![declaration]).await.unwrap();
    publisher.close().await;
}

/// The queue of the alternate exchange is unbound, so that an order of an unknown type reaches no queue. It comes back
/// and is not taken as sent: the backend says so, binds the queue again, and the jobs are unroutable as they should be.
#[tokio::test]
async fn f17_the_queue_of_the_alternate_exchange_is_unbound() {
    let (mut stack, operator) = operated("f17").await.unwrap();
    stack.expect_error(RETURNED);
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let mut ids = Vec::new();
    // The binding may be made again between the two: then there is nothing to come back.
    for _try in 0..TRIES {
        // While one is unroutable, no other one is sent.
        for id in std::mem::take(&mut ids) {
            stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.unwrap();
        }
        operator.routing().unbind("crewcall.unroutable", "crewcall.unroutable", "").await.unwrap();
        ids = submitted(&mut stack).await;
        let sent = Instant::now();
        are_unroutable(&stack, &ids).await;
        assert!(sent.elapsed() < MISSED_AFTER, "they were taken as sent, until they were missed");
        if logged(&stack, RETURNED) > 0 {
            break;
        }
    }
    let returned = logged(&stack, RETURNED);
    let queues = operator.queues("crewcall.jobs.").await.unwrap();
    assert_eq!(queues, ["crewcall.jobs.test.echo"], "a type that nobody serves gets no queue");
    let took = stack.check_resumes("test.echo", json!({"text": "known"})).await.unwrap();
    let _late = stack.worker(&["test.other"], 2).await.unwrap();
    done_once(&stack, &ids).await;
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "coming back costs no attempt");
    assert!(returned > 0, "an order that comes back is told of");
    let jobs = ids.len();
    found.hold("I2", format_args!("{returned} of {jobs} orders came back, none was confirmed away"));
    found.hold(
        "I9",
        format_args!("the binding was made again, and {jobs} jobs waited for their first worker"),
    );
    found.hold("I14", format_args!("a job of a known type was done within {took:.1?}"));
    found.print("F17 the queue of the alternate exchange is unbound");
}

/// Jobs of a type that nobody ever announced are unroutable and say so, and are done when a worker comes. As soon as the first
/// order came back, the rest are not even sent.
#[tokio::test]
async fn f18_an_unknown_type_whose_worker_comes_later() {
    let mut stack = Stack::start("f18").await.unwrap();
    let mut ids = vec![stack.submit("test.other", json!({"text": "0"})).await.unwrap()];
    are_unroutable(&stack, &ids).await;
    for number in 1..UNROUTABLE_JOBS {
        ids.push(stack.submit("test.other", json!({"text": number.to_string()})).await.unwrap());
    }
    are_unroutable(&stack, &ids).await;
    let returned = stack.api.metric("crewcall_orders_unroutable_total", "").await.unwrap();
    assert_eq!(returned, 1.0, "one order showed that nobody serves the type");
    let listed = stack.api.json("/v1/types/test.other").await.unwrap();
    assert_eq!(
        (&listed["announced"], &listed["jobs"]["unroutable"]),
        (&json!(false), &json!(UNROUTABLE_JOBS))
    );
    let came = Instant::now();
    let _worker = stack.worker(&["test.other"], 2).await.unwrap();
    done_once(&stack, &ids).await;
    let took = came.elapsed();
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "being unroutable costs no attempt");
    found.hold("I9", format_args!("{UNROUTABLE_JOBS} jobs waited for their first worker, and said so"));
    found.hold("I14", format_args!("all were done {took:.1?} after it was started"));
    found.print("F18 an unknown type whose worker comes later");
}

/// Every progress message is dropped, as when their queue is full. A job that has to be started in time, and is, runs on
/// past that time and is done: that it began is said where nothing is dropped.
#[tokio::test]
async fn f107_progress_is_dropped_while_a_job_must_start_in_time() {
    let (mut stack, operator) = operated("f107").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let mut unheard = false;
    // The binding may be made again too soon: then the next try has ten seconds.
    for _try in 0..TRIES {
        operator
            .routing()
            .unbind("crewcall.response", "crewcall.progression", "progression.#")
            .await
            .unwrap();
        let expires_at = stack.from_now(2).await.unwrap();
        let parameters = json!({"steps": 40, "step_ms": 100});
        let job = json!({"type": "test.sleep", "parameters": parameters, "expires_at": expires_at});
        let id = stack.submit_job(job).await.unwrap();
        let job = stack.api.wait_for_end(&id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
        unheard = job["progress"]["message"].is_null();
        if unheard {
            break;
        }
    }
    assert!(unheard, "progress was heard of every job");
    let mut found = stack.settle().await.unwrap();
    found.hold("I4", "a job that was started in time was done, although no progress was heard of it");
    found.print("F107 progress is dropped while a job must start in time");
}

/// Somebody deletes every exchange, while an attempt runs. Its result gets through, and what comes afterwards: work,
/// cancellations, workers, jobs of types that nobody serves yet.
#[tokio::test]
async fn f110_the_exchanges_are_deleted() {
    let (mut stack, operator) = operated("f110-exchanges").await.unwrap();
    stack.expect_error(RETURNED);
    let (_worker, running) = before_the_topology_goes(&mut stack).await;
    operator.routing().delete(&EXCHANGES).await.unwrap();
    let took = all_gets_through_in_time(&mut stack, &running).await;
    let mut found = stack.settle().await.unwrap();
    found.hold("I2", "a result that was sent to an exchange that was not there was recorded");
    found.hold("I14", format_args!("work, cancellations and new types went on within {took:.1?}"));
    found.print("F110 every exchange is deleted");
}

/// Somebody removes every binding: nothing that is sent gets anywhere, and the broker tells nobody but who asks for it.
#[tokio::test]
async fn f110_the_bindings_are_removed() {
    let (mut stack, operator) = operated("f110-bindings").await.unwrap();
    stack.expect_error(RETURNED);
    let (_worker, running) = before_the_topology_goes(&mut stack).await;
    operator.routing().unbind_all(&EXCHANGES).await.unwrap();
    let took = all_gets_through_in_time(&mut stack, &running).await;
    let mut found = stack.settle().await.unwrap();
    found.hold("I2", "a result that no queue was bound for was recorded");
    found.hold("I14", format_args!("work, cancellations and new types went on within {took:.1?}"));
    found.print("F110 every binding is removed");
}

/// A worker with a job that ends by itself, and one that never does.
async fn before_the_topology_goes(stack: &mut Stack) -> (Process, [String; 2]) {
    let worker = stack.worker(&["test.echo", "test.sleep"], 4).await.unwrap();
    let mut running = Vec::new();
    for steps in [20, 6_000] {
        let id = stack.submit("test.sleep", json!({"steps": steps, "step_ms": 100})).await.unwrap();
        stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
        running.push(id);
    }
    (worker, running.try_into().unwrap())
}

/// Returns after how long all gets through again.
async fn all_gets_through_in_time(stack: &mut Stack, running: &[String; 2]) -> Duration {
    let gone = Instant::now();
    let in_time = timeout(DECLARED_AGAIN_WITHIN, all_gets_through(stack, running)).await;
    assert!(in_time.is_ok(), "not all got through within {DECLARED_AGAIN_WITHIN:?}");
    gone.elapsed()
}

/// New jobs are done, the result of the first one that ran is there, the second one is cancelled, and a job of a new type
/// finds its worker.
async fn all_gets_through(stack: &mut Stack, [ends, endless]: &[String; 2]) {
    let unroutable = stack.submit("test.other", json!({"text": "nobody serves it"})).await.unwrap();
    stack.check_resumes("test.echo", json!({"text": "a new job"})).await.unwrap();
    let result = stack.api.wait_for_end(ends).await.unwrap();
    assert_eq!((&result["state"], &result["attempt"]), (&json!("completed"), &json!(1)), "{result}");
    stack.api.post(&format!("/v1/jobs/{endless}/cancel"), json!({})).await.unwrap();
    let cancelled = stack.api.wait_for_end(endless).await.unwrap();
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    let _late = stack.worker(&["test.other"], 1).await.unwrap();
    let found = stack.api.wait_for_end(&unroutable).await.unwrap();
    assert_eq!((&found["state"], &found["attempt"]), (&json!("completed"), &json!(1)), "{found}");
}

/// Submits jobs of a type that nobody serves, each with its number.
async fn submitted(stack: &mut Stack) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..UNROUTABLE_JOBS {
        ids.push(stack.submit("test.other", json!({"text": number.to_string()})).await.unwrap());
    }
    ids
}

/// Sees them unroutable.
async fn are_unroutable(stack: &Stack, ids: &[String]) {
    for id in ids {
        let job = stack.api.job_when(id, |job| job["state"] == "unroutable").await.unwrap();
        assert_eq!(
            job["waiting_for"],
            json!({
                "reason": "first_worker",
                "message": "waits for a worker of type test.other: none has ever announced it"
            })
        );
    }
}

/// All are done, each at its first attempt.
async fn done_once(stack: &Stack, ids: &[String]) {
    for (number, id) in ids.iter().enumerate() {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
        assert_eq!(job["result"]["text"], number.to_string());
    }
}
