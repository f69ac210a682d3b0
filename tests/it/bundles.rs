//! Orders that travel together, and their answers: a worker that speaks by hand sees what the backend sends, and
//! answers as it likes.

use std::collections::BTreeSet;

use crewcall_proto::{
    Attempt, ContentType, ExecutionId, JobType, MessageKind, Order, TRACEPARENT, Timestamp, bundle, encode,
    response::{Completed, ErrorKind, Failed, HandedBack},
};
use e2e::{
    raw_bundles::{Arrival, Arrivals},
    raw_worker::RawWorker,
    stack::Stack,
};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

/// How many jobs wait when a paused type is resumed: more than a bundle may hold, less than are refused in a batch.
const BACKLOG: usize = 300;

/// How many attempts the backend sees first. It sends nothing together before it knows that a type's orders are short.
const SEEN_FIRST: usize = 20;

/// An installation with one worker of one type, whose orders may come in bundles and are short.
struct Bundling {
    stack: Stack,
    worker: RawWorker,
    job_type: JobType,
    content_type: ContentType,
    arrivals: Arrivals,
}

impl Bundling {
    async fn start(purpose: &str, content_type: ContentType) -> Self {
        let stack = Stack::start(purpose).await.unwrap();
        let (worker, job_type) = (RawWorker::start(&stack.amqp_url), JobType::new("test.short").unwrap());
        worker.announce_bundles(&job_type, content_type).await.unwrap();
        stack.api.served_by(job_type.as_str(), 1).await.unwrap();
        let arrivals = worker.arrivals(&job_type);
        let mut bundling = Self { stack, worker, job_type, content_type, arrivals };
        for _ in 0..SEEN_FIRST {
            let id = bundling.stack.submit(bundling.job_type.as_str(), json!({})).await.unwrap();
            let arrival = bundling.next().await;
            assert!(!arrival.is_bundle, "an order that has no company is no bundle");
            bundling.complete(&arrival).await;
            bundling.stack.api.wait_for_end(&id).await.unwrap();
        }
        bundling
    }

    /// Submits jobs while the type is paused, and lets all go at once.
    async fn submit_backlog(&mut self) -> BTreeSet<String> {
        self.pause().await;
        let jobs = vec![json!({"type": self.job_type, "parameters": {}}); BACKLOG];
        let (status, answer) = self.stack.api.post("/v1/jobs/batch", json!(jobs)).await.unwrap();
        assert_eq!((status.as_u16(), &answer["accepted"]), (200, &json!(BACKLOG)), "{answer}");
        let ids =
            answer["results"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned());
        let ids: BTreeSet<String> = ids.collect();
        ids.iter().for_each(|id| self.stack.remember_accepted(id.clone()));
        self.resume().await;
        ids
    }

    async fn pause(&self) {
        let path = format!("/v1/types/{}/pause", self.job_type);
        assert!(self.stack.api.post(&path, json!({})).await.unwrap().0.is_success());
    }

    async fn resume(&self) {
        let path = format!("/v1/types/{}/resume", self.job_type);
        assert!(self.stack.api.post(&path, json!({})).await.unwrap().0.is_success());
    }

    async fn next(&mut self) -> Arrival {
        // A worker that is not heard of for 15 s is not one that takes bundles.
        self.worker.say_alive().await.unwrap();
        self.arrivals.next().await.unwrap()
    }

    /// Does what comes until a bundle does. Returns it, and the jobs that are done.
    async fn next_bundle(&mut self) -> (Arrival, BTreeSet<String>) {
        let mut done = BTreeSet::new();
        while done.len() < BACKLOG {
            let arrival = self.next().await;
            if arrival.is_bundle && arrival.orders.len() >= 4 {
                return (arrival, done);
            }
            self.complete(&arrival).await;
            done.extend(jobs(&arrival.orders));
        }
        panic!("no bundle came");
    }

    /// Does what comes until all of these jobs are done, and hands each message to a check.
    async fn complete_all(&mut self, ids: &BTreeSet<String>, mut check: impl FnMut(&Arrival)) {
        let mut left = ids.clone();
        while !left.is_empty() {
            let arrival = self.next().await;
            check(&arrival);
            self.complete(&arrival).await;
            for id in jobs(&arrival.orders) {
                assert!(left.remove(&id), "the order of {id} came once more, or was not expected");
            }
        }
    }

    /// Answers each order of a message, in the way it came, and acknowledges it.
    async fn complete(&self, arrival: &Arrival) {
        if arrival.is_bundle {
            let answers: Vec<Completed> = arrival.orders.iter().map(|order| self.completed(order)).collect();
            self.answer_together(MessageKind::Completed, &answers).await;
        } else {
            self.answer_alone(&arrival.orders[0]).await;
        }
        arrival.delivery.ack().await.unwrap();
    }

    async fn answer_alone(&self, order: &Order) {
        self.worker.respond(MessageKind::Completed, &self.job_type, &self.completed(order)).await.unwrap();
    }

    async fn answer_together(&self, kind: MessageKind, answers: &[impl Serialize]) {
        let bodies: Vec<Vec<u8>> =
            answers.iter().map(|answer| encode(self.content_type, answer).unwrap()).collect();
        self.send_bundle(kind, bundle::join(self.content_type, &bodies).unwrap()).await;
    }

    async fn send_bundle(&self, kind: MessageKind, body: Vec<u8>) {
        self.worker.send_bundle(kind, &self.job_type, self.content_type, body).await.unwrap();
    }

    /// A result that belongs to this job and no other.
    fn completed(&self, order: &Order) -> Completed {
        Completed {
            job_id: order.job_id,
            attempt: order.attempt,
            attempt_token: order.attempt_token,
            execution_id: ExecutionId::generate(),
            worker_id: self.worker.worker_id.clone(),
            result: json!({"of": order.job_id}),
            events: Vec::new(),
            started_at: Timestamp::from_millis(0),
            finished_at: Timestamp::from_millis(1),
        }
    }

    fn failed(&self, order: &Order) -> Failed {
        Failed {
            job_id: order.job_id,
            attempt: order.attempt,
            attempt_token: order.attempt_token,
            execution_id: ExecutionId::generate(),
            worker_id: self.worker.worker_id.clone(),
            kind: ErrorKind::Handler,
            code: None,
            message: "not this time".to_owned(),
            detail: None,
            redelivered: None,
            retryable: true,
            retry_after_ms: Some(1),
            started_at: Some(Timestamp::from_millis(0)),
            finished_at: Timestamp::from_millis(1),
        }
    }

    fn handed_back(&self, order: &Order) -> HandedBack {
        HandedBack {
            job_id: order.job_id,
            attempt: order.attempt,
            attempt_token: order.attempt_token,
            execution_id: ExecutionId::generate(),
            worker_id: self.worker.worker_id.clone(),
            resend: true,
            message: None,
            started_at: None,
            at: Timestamp::from_millis(0),
        }
    }

    /// These jobs are completed with their own results, in so many attempts.
    async fn are_completed(&self, ids: &BTreeSet<String>, attempts: usize) {
        for id in ids {
            let job = self.stack.api.wait_for_end(id).await.unwrap();
            assert_eq!((&job["state"], &job["result"]["of"]), (&json!("completed"), &json!(id)), "{job}");
            assert_eq!(job["attempts"].as_array().map(Vec::len), Some(attempts), "{job}");
        }
    }

    /// So many messages are in quarantine.
    async fn are_quarantined(&self, messages: usize) -> Value {
        let are_kept = |kept: &Value| kept["messages"].as_array().map(Vec::len) == Some(messages);
        self.stack.api.json_when("/v1/quarantine", are_kept).await.unwrap()
    }

    async fn end(mut self) {
        self.stack.settle().await.unwrap();
        self.worker.vanish().await;
    }
}

fn jobs(orders: &[Order]) -> BTreeSet<String> {
    orders.iter().map(|order| order.job_id.to_string()).collect()
}

#[tokio::test]
async fn short_orders_of_a_backlog_come_in_bundles() {
    for (purpose, content_type) in
        [("bundles", ContentType::MessagePack), ("bundles-json", ContentType::Json)]
    {
        let mut bundling = Bundling::start(purpose, content_type).await;
        let (job_type, ids) = (bundling.job_type.clone(), bundling.submit_backlog().await);
        let (mut bundles, mut message_ids) = (0, BTreeSet::new());
        let check = |arrival: &Arrival| {
            let properties = &arrival.delivery.properties;
            assert_eq!(properties.content_type.as_deref(), Some(content_type.as_str()));
            assert!(properties.persistent, "{properties:?}");
            assert!(message_ids.insert(properties.message_id.clone().unwrap()), "{properties:?}");
            let are_first = |order: &Order| order.job_type == job_type && order.attempt == Attempt::FIRST;
            assert!(arrival.orders.iter().all(are_first));
            if arrival.is_bundle {
                bundles += 1;
                assert_eq!((&properties.correlation_id, properties.header_text(TRACEPARENT)), (&None, None));
            }
        };
        bundling.complete_all(&ids, check).await;
        assert!(bundles > 0, "{} messages, and no bundle", message_ids.len());
        bundling.are_completed(&ids, 1).await;
        bundling.are_quarantined(0).await;
        bundling.end().await;
    }
}

#[tokio::test]
async fn the_orders_of_a_refused_bundle_come_alone() {
    let mut bundling = Bundling::start("bundle-refused", ContentType::Json).await;
    let ids = bundling.submit_backlog().await;
    let (refused, done) = bundling.next_bundle().await;
    refused.delivery.nack(false).await.unwrap();
    let (of_refused, mut again) = (jobs(&refused.orders), 0);
    let left = ids.difference(&done).cloned().collect();
    let check = |arrival: &Arrival| {
        for order in arrival.orders.iter().filter(|order| of_refused.contains(&order.job_id.to_string())) {
            assert!(!arrival.is_bundle, "{} came in a bundle again", order.job_id);
            assert_eq!(order.attempt, Attempt::FIRST);
            again += 1;
        }
    };
    bundling.complete_all(&left, check).await;
    assert_eq!(again, of_refused.len());
    bundling.are_completed(&ids, 1).await;
    bundling.are_quarantined(0).await;
    bundling.end().await;
}

/// Somebody put a bundle into the queue of which one order cannot be read. The worker refuses all of it; the order that
/// can be read comes again, and the other is kept for people to look at.
#[tokio::test]
async fn an_unreadable_order_costs_its_neighbours_nothing() {
    let mut bundling = Bundling::start("bundle-unreadable", ContentType::Json).await;
    let id = bundling.stack.submit(bundling.job_type.as_str(), json!({})).await.unwrap();
    let alone = bundling.next().await;
    let bodies = [b"{\"protocol\": NaN}".to_vec(), alone.delivery.body.to_vec()];
    bundling.send_bundle(MessageKind::Order, bundle::join(ContentType::Json, &bodies).unwrap()).await;
    bundling.arrivals.next_delivery().await.unwrap().nack(false).await.unwrap();
    let again = bundling.next().await;
    assert_eq!((again.is_bundle, jobs(&again.orders)), (false, BTreeSet::from([id.clone()])));
    assert_eq!(again.orders[0].attempt, Attempt::FIRST);
    bundling.complete(&again).await;
    alone.delivery.ack().await.unwrap();
    bundling.are_completed(&BTreeSet::from([id]), 1).await;
    bundling.are_quarantined(1).await;
    bundling.end().await;
}

#[tokio::test]
async fn an_unreadable_answer_in_a_bundle_harms_only_its_own_job() {
    let mut bundling = Bundling::start("bundle-answers", ContentType::Json).await;
    let ids = bundling.submit_backlog().await;
    let (arrival, done) = bundling.next_bundle().await;
    let answers: Vec<Completed> = arrival.orders.iter().map(|order| bundling.completed(order)).collect();
    let body = |answer: &Completed| encode(ContentType::Json, answer).unwrap();

    // None of these is a bundle, and none of them says anything of the jobs that it names.
    for body in [
        b"[]".to_vec(),
        [b"[[", body(&answers[0]).as_slice(), b"]]"].concat(),
        [b"[", vec![body(&answers[0]); bundle::MESSAGES_MAX + 1].join(&b',').as_slice(), b"]"].concat(),
    ] {
        bundling.send_bundle(MessageKind::Completed, body).await;
    }
    bundling.are_quarantined(3).await;
    let first = bundling.stack.api.job(&arrival.orders[0].job_id.to_string()).await.unwrap();
    assert_eq!(first["state"], "dispatched", "{first}");

    let (broken, mut bodies) = (arrival.orders[1].job_id, answers.iter().map(body).collect::<Vec<_>>());
    let text = String::from_utf8(bodies[1].clone()).unwrap();
    bodies[1] = text.replace(&json!({"of": broken}).to_string(), "NaN").into_bytes();
    assert_ne!(bodies[1], body(&answers[1]), "the answer is damaged");
    bundling.send_bundle(MessageKind::Completed, bundle::join(ContentType::Json, &bodies).unwrap()).await;
    arrival.delivery.ack().await.unwrap();
    let job = bundling.stack.api.wait_for_end(&broken.to_string()).await.unwrap();
    assert_eq!((&job["state"], &job["error"]["kind"]), (&json!("failed"), &json!("malformed")), "{job}");
    bundling.are_quarantined(4).await;

    let left: BTreeSet<String> = ids.difference(&done).cloned().collect();
    let left = left.difference(&jobs(&arrival.orders)).cloned().collect();
    bundling.complete_all(&left, |_| ()).await;
    let whole = ids.into_iter().filter(|id| *id != broken.to_string()).collect();
    bundling.are_completed(&whole, 1).await;
    bundling.are_quarantined(4).await;
    bundling.end().await;
}

#[tokio::test]
async fn a_worker_without_bundles_ends_those_of_its_type() {
    let mut bundling = Bundling::start("bundles-mixed", ContentType::Json).await;
    let ids = bundling.submit_backlog().await;
    let mut bundles = 0;
    bundling.complete_all(&ids, |arrival| bundles += usize::from(arrival.is_bundle)).await;
    assert!(bundles > 0, "no bundle came");

    let elder = RawWorker::start(&bundling.stack.amqp_url);
    elder.announce(&bundling.job_type).await.unwrap();
    bundling.stack.api.served_by(bundling.job_type.as_str(), 2).await.unwrap();
    let more = bundling.submit_backlog().await;
    bundling
        .complete_all(&more, |arrival| assert!(!arrival.is_bundle, "the other worker cannot read it"))
        .await;
    bundling.are_completed(&ids, 1).await;
    bundling.are_completed(&more, 1).await;
    elder.vanish().await;
    bundling.end().await;
}

#[tokio::test]
async fn what_is_sent_again_comes_alone() {
    let mut bundling = Bundling::start("bundle-again", ContentType::MessagePack).await;
    let ids = bundling.submit_backlog().await;
    let (arrival, mut done) = bundling.next_bundle().await;
    // Half are handed back at once, the others fail together and are tried again at once.
    let (handed_back, failed) = arrival.orders.split_at(arrival.orders.len() / 2);
    let backs: Vec<HandedBack> = handed_back.iter().map(|order| bundling.handed_back(order)).collect();
    let respond = |back| bundling.worker.respond(MessageKind::HandedBack, &bundling.job_type, back);
    try_join_all(backs.iter().map(respond)).await.unwrap();
    let errors: Vec<Failed> = failed.iter().map(|order| bundling.failed(order)).collect();
    bundling.answer_together(MessageKind::Error, &errors).await;
    arrival.delivery.ack().await.unwrap();

    let left = ids.difference(&done).cloned().collect();
    let (again, retried) = (jobs(&arrival.orders), jobs(failed));
    let check = |arrival: &Arrival| {
        for order in &arrival.orders {
            let id = order.job_id.to_string();
            assert!(!(again.contains(&id) && arrival.is_bundle), "{id} came in a bundle again");
            assert_eq!(order.attempt.get(), if retried.contains(&id) { 2 } else { 1 }, "{id}");
        }
    };
    bundling.complete_all(&left, check).await;
    done.extend(left.difference(&retried).cloned());
    bundling.are_completed(&done, 1).await;
    bundling.are_completed(&retried, 2).await;
    bundling.end().await;
}

#[tokio::test]
async fn an_order_with_a_trace_comes_alone() {
    let mut bundling = Bundling::start("bundles-traced", ContentType::Json).await;
    bundling.pause().await;
    let jobs_of =
        |count: usize| json!(vec![json!({"type": "test.short", "parameters": {}}); count]).to_string();
    let trace = [(TRACEPARENT, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let mut ids = [BTreeSet::new(), BTreeSet::new()];
    // In turns, so that those with a trace have neighbours without.
    for round in 0..20 {
        let headers: &[(&str, &str)] = if round % 2 == 0 { &trace } else { &[] };
        let submitted =
            bundling.stack.api.send(Method::POST, "/v1/jobs/batch", jobs_of(5), headers).await.unwrap();
        for job in submitted.1["results"].as_array().unwrap() {
            let id = job["id"].as_str().unwrap().to_owned();
            bundling.stack.remember_accepted(id.clone());
            ids[round % 2].insert(id);
        }
    }
    bundling.resume().await;
    let [traced, others] = ids;
    let mut bundles = 0;
    let check = |arrival: &Arrival| {
        bundles += usize::from(arrival.is_bundle);
        let has_trace = arrival.delivery.properties.header_text(TRACEPARENT).is_some();
        let is_traced = !jobs(&arrival.orders).is_disjoint(&traced);
        assert_eq!((has_trace, is_traced && arrival.is_bundle), (is_traced, false));
    };
    bundling.complete_all(&traced.union(&others).cloned().collect(), check).await;
    assert!(bundles > 0, "those without a trace came alone, too");
    bundling.are_completed(&others, 1).await;
    bundling.are_completed(&traced, 1).await;
    bundling.end().await;
}
