//! What comes over the wire: garbage, bombs, floods, forgeries (F36–F39).

use std::time::Duration;

use crewcall_proto::{JobType, MessageKind, Timestamp, Topology, response::Completed};
use e2e::{
    footprint::Footprint,
    process::Process,
    raw_worker::{RawWorker, Taken},
    stack::Stack,
};
use futures_util::{
    StreamExt, TryStreamExt,
    future::{join, join_all},
    stream,
};
use rand::rngs::StdRng;
use rusqlite::types::Value as Cell;
use serde_json::json;
use tokio::time::{Instant, interval, sleep};

use super::corpus::{Body, bombs, damaged, dice, is_readable, noise};

mod flood;
mod forged;
mod tokens;
mod unreadable;

/// How many random bodies each queue gets, and as many damaged messages.
const RANDOM_BODIES: usize = 50;

/// How many messages are on their way at once.
const IN_FLIGHT: usize = 64;

/// How long the backend may take to quarantine everything.
const QUARANTINED_WITHIN: Duration = Duration::from_secs(60);

/// How much larger the backend may be after a fault, in MiB: what an allocator keeps, and no leak.
const GROWTH_MIB_MAX: u64 = 150;

/// A place where the backend or a worker reads, and what it reads there.
struct Target {
    exchange: String,
    routing_key: String,
    /// `None`: no message at all can be read there.
    kind: Option<MessageKind>,
}

impl Target {
    fn new(exchange: String, routing_key: impl Into<String>, kind: Option<MessageKind>) -> Self {
        Self { exchange, routing_key: routing_key.into(), kind }
    }

    /// Every queue of the backend, the queue of `served`, whose worker reads it, and the workers' own queues.
    fn all(served: &JobType) -> Vec<Self> {
        let names = Topology::default();
        let mut all = vec![
            Self::new(names.unroutable(), "", Some(MessageKind::Order)),
            Self::new(names.dead(), "", Some(MessageKind::Order)),
            Self::new(names.submit_exchange(), served.as_str(), Some(MessageKind::Order)),
            Self::new(names.control_exchange(), names.control_key_all(), Some(MessageKind::Control)),
            Self::new(names.discovery_exchange(), "something.else", None),
        ];
        for kind in [
            MessageKind::Completed,
            MessageKind::Error,
            MessageKind::Held,
            MessageKind::Emitted,
            MessageKind::Progression,
        ] {
            all.push(Self::new(names.response_exchange(), names.response_key(kind, served), Some(kind)));
        }
        for kind in [MessageKind::Announce, MessageKind::Heartbeat, MessageKind::Goodbye] {
            all.push(Self::new(names.discovery_exchange(), kind.as_str(), Some(kind)));
        }
        all
    }

    /// What is sent there.
    fn garbage(&self, dice: &mut StdRng) -> Vec<Body> {
        let mut garbage = bombs();
        garbage.extend(noise(dice, RANDOM_BODIES));
        garbage.extend(self.kind.map(|kind| damaged(kind, dice, RANDOM_BODIES)).unwrap_or_default());
        garbage
    }

    async fn send(&self, raw_worker: &RawWorker, bodies: Vec<Body>) {
        let sends = bodies.into_iter().map(|(body, content_type)| {
            raw_worker.send(&self.exchange, &self.routing_key, body, content_type)
        });
        stream::iter(sends).buffer_unordered(IN_FLIGHT).try_collect::<()>().await.unwrap();
    }

    /// How many of these bodies nobody can read there.
    fn unreadable(&self, bodies: &[Body]) -> usize {
        let readable = |body: &&Body| self.kind.is_some_and(|kind| is_readable(kind, body));
        bodies.len() - bodies.iter().filter(readable).count()
    }
}

/// Everything that is stored of jobs and their attempts.
fn rows(stack: &Stack) -> Vec<Vec<Cell>> {
    let sql = rusqlite::Connection::open(stack.database()).unwrap();
    let mut all = Vec::new();
    for query in ["SELECT * FROM jobs ORDER BY seq", "SELECT * FROM attempts ORDER BY job_seq, attempt"] {
        let mut statement = sql.prepare(query).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
        all.extend(statement.query_map([], row).unwrap().map(Result::unwrap));
    }
    all
}

/// One job in every state that lasts: completed, failed, scheduled, unroutable, and ready in a paused type.
/// Returns those that are not over.
async fn jobs_in_every_state(stack: &mut Stack) -> Vec<String> {
    let done = stack.submit("test.echo", json!({"text": "before"})).await.unwrap();
    stack.api.wait_for_end(&done).await.unwrap();
    let failed = stack.submit("test.fail", json!({"message": "no", "permanent": true})).await.unwrap();
    stack.api.wait_for_end(&failed).await.unwrap();
    let later = json!({"type": "test.echo", "parameters": {"text": "later"}, "delay_seconds": 3600});
    let later = stack.submit_job(later).await.unwrap();
    let unroutable = stack.submit("test.nobody", json!({})).await.unwrap();
    stack.api.job_when(&unroutable, |job| job["state"] == "unroutable").await.unwrap();
    let (status, _) = stack.api.post("/v1/types/test.other/pause", json!({})).await.unwrap();
    assert!(status.is_success());
    let paused = stack.submit("test.other", json!({"text": "paused"})).await.unwrap();
    vec![later, unroutable, paused]
}

/// Waits until the backend has quarantined `expected` messages.
async fn quarantined(stack: &Stack, expected: usize) {
    let deadline = Instant::now() + QUARANTINED_WITHIN;
    loop {
        let counted = stack.api.metric("crewcall_messages_malformed_total", "").await.unwrap();
        if (counted - as_float(expected)).abs() < 0.5 {
            return;
        }
        assert!(Instant::now() < deadline, "{counted} of {expected} messages were counted");
        sleep(Duration::from_millis(100)).await;
    }
}

fn as_float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// Waits until the worker has counted as many messages that it could not read.
async fn rejected(worker: &Process, expected: usize) {
    let deadline = Instant::now() + QUARANTINED_WITHIN;
    while !worker.log().contains(&format!("malformed={expected}")) {
        assert!(Instant::now() < deadline, "the worker did not count {expected} messages");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The raw worker's answer to the order that it took.
pub(super) fn completed(raw_worker: &RawWorker, taken: &Taken) -> Completed {
    Completed {
        job_id: taken.order.job_id,
        attempt: taken.order.attempt,
        attempt_token: taken.order.attempt_token,
        execution_id: taken.execution_id,
        worker_id: raw_worker.worker_id.clone(),
        result: json!("done by hand"),
        events: Vec::new(),
        started_at: Timestamp::from_millis(0),
        finished_at: Timestamp::from_millis(1),
    }
}

/// Bombs, noise and damaged messages go to every queue that the backend reads, to a worker's own queue and to
/// that of its type. Each that cannot be read is quarantined and counted, whatever can be read concerns nobody,
/// no row changes, and neither the backend nor the worker ends. The seed is printed.
#[tokio::test]
async fn f36_garbage_on_every_queue_is_quarantined() {
    let (mut dice, seed) = dice();
    let mut stack = Stack::start("garbage").await.unwrap();
    let mut worker = stack.worker(&["test.echo", "test.other", "test.fail"], 2).await.unwrap();
    let waiting = jobs_in_every_state(&mut stack).await;
    let (rows_before, before) = (rows(&stack), Footprint::of(&stack.backend).unwrap());
    let raw_worker = RawWorker::start(&stack.amqp_url);
    let (mut sent, mut for_backend, mut for_worker) = (0, 0, 0);
    for target in Target::all(&JobType::new("test.echo").unwrap()) {
        let garbage = target.garbage(&mut dice);
        let unreadable = target.unreadable(&garbage);
        let names = Topology::default();
        let to_worker = [names.submit_exchange(), names.control_exchange()].contains(&target.exchange);
        // What a worker refuses of its orders dies, and the backend quarantines it.
        for_backend += if target.exchange == names.control_exchange() { 0 } else { unreadable };
        for_worker += if to_worker { unreadable } else { 0 };
        sent += garbage.len();
        target.send(&raw_worker, garbage).await;
    }
    raw_worker.vanish().await;
    quarantined(&stack, for_backend).await;
    rejected(&worker, for_worker).await;
    let rows_after = rows(&stack);
    assert_eq!(rows_after, rows_before, "I11, with the seed {seed}");
    let after = Footprint::of(&stack.backend).unwrap();
    assert!(after.resident_mib() <= before.resident_mib() + GROWTH_MIB_MAX, "I10: {before}, then {after}");
    let took = stack.check_resumes("test.echo", json!({"text": "unharmed"})).await.unwrap();
    quarantined(&stack, for_backend).await;
    for id in waiting {
        let (status, _) = stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.unwrap();
        assert!(status.is_success());
    }
    let mut found = stack.settle().await.unwrap();
    assert!(worker.pid().is_ok() && !worker.log().contains("panicked"), "I15: the worker lives");
    worker.kill().await.unwrap();
    found.hold("I10", format_args!("the backend had {before}, then {after}"));
    found.hold("I11", format_args!("{} rows are the same after {sent} messages", rows_after.len()));
    let counted =
        format_args!("{for_backend} were quarantined by the backend, {for_worker} rejected by the worker");
    found.hold("I15", counted);
    found.hold("I14", format_args!("a job was done {took:?} after the last of them"));
    found.print(&format!("F36 random bytes, deep nesting and bombs on every queue (seed {seed})"));
}

/// How large the messages are that are larger than any may be, in bytes.
const OVERSIZE_BYTES: [usize; 3] = [1024 * 1024 + 1, 4 * 1024 * 1024, 12 * 1024 * 1024];

/// How many callers send a body that never ends as fast as they can, and as many a byte at a time.
const ENDLESS_BODIES: usize = 8;

/// How long a caller waits: the backend gives a body up after 60 s.
const BODY_GIVEN_UP_WITHIN: Duration = Duration::from_secs(70);

/// Callers send 3 MB, 20 MB, nesting without an end, and bodies that never end, fast and slow: all are
/// refused, and the slow ones given up after a minute. Meanwhile messages far above the limit go to every
/// queue, and are quarantined. Memory stays bounded, and jobs go on.
#[tokio::test]
async fn f37_bodies_and_messages_that_are_too_large_are_refused() {
    let mut stack = Stack::start("oversize").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 2).await.unwrap();
    stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let before = Footprint::of(&stack.backend).unwrap();
    let base = stack.http_listen().to_owned();
    let oversize = async {
        let whole = refusals_of_whole_bodies(&base).await;
        (whole, oversize_messages(&mut stack).await)
    };
    let ((fast, slow), (whole, (sent, slowest, largest))) = join(refusals_of_endless(&base), oversize).await;
    assert!(
        largest.resident_mib() <= before.resident_mib() + GROWTH_MIB_MAX,
        "I10: {before}, then {largest}"
    );
    let rows = rows(&stack).len();
    let mut found = stack.settle().await.unwrap();
    let after = Footprint::of(&stack.backend).unwrap();
    assert!(after.descriptors <= before.descriptors + ENDLESS_BODIES, "I10: {before}, then {after}");
    found.hold("I10", format_args!("the backend had {before}, at most {largest}, and {after} at last"));
    found.hold("I11", format_args!("{rows} rows of jobs and attempts, of the jobs that were meant"));
    found.hold("I13", format_args!("the slowest job meanwhile took {slowest:?}"));
    found.hold("I15", format_args!("{sent} messages were quarantined; bodies of 1 to 20 MB got {whole:?}"));
    let closed = fast.iter().filter(|answer| answer.is_none()).count();
    let (fast, slow) = (fast.len() - closed, slow.len());
    let endless =
        format_args!("endless bodies: {fast} got 413, {closed} were cut off, {slow} slow ones got 408");
    found.hold("I15", endless);
    found.print("F37 bodies of 3 MB and without an end, messages above the limit");
}

/// Bodies that are too much as a whole, each with the answer that it gets.
async fn refusals_of_whole_bodies(base: &str) -> Vec<u16> {
    let mut answers = Vec::new();
    let nested = br#"{"type":"test.echo","parameters":{"a":"#;
    for (path, body, expected) in [
        ("/v1/jobs", vec![b' '; 3_000_000], 413),
        ("/v1/jobs/batch", vec![b' '; 20_000_000], 413),
        ("/v1/jobs", b"[".repeat(900_000), 422),
        ("/v1/jobs", nested.repeat(20_000), 422),
        ("/v1/jobs/batch", b"[".repeat(3_000_000), 400),
    ] {
        let answer = answer_to(base, path, body.into()).await;
        assert_eq!(answer, Some(expected), "{path}");
        answers.extend(answer);
    }
    answers
}

/// What those got who would not stop: the fast ones, and the slow ones. `None` is a closed connection.
async fn refusals_of_endless(base: &str) -> (Vec<Option<u16>>, Vec<Option<u16>>) {
    const PIECE: &[u8] = &[b' '; 256 * 1024];
    let fast =
        (0..ENDLESS_BODIES).map(|_| answer_to(base, "/v1/jobs", endless(PIECE, Duration::from_millis(1))));
    let slow = |_| answer_to(base, "/v1/jobs", endless(b" ", Duration::from_secs(1)));
    let (fast, slow) = join(join_all(fast), join_all((0..ENDLESS_BODIES).map(slow))).await;
    assert!(fast.iter().all(|answer| matches!(answer, Some(413) | None)), "{fast:?}");
    assert!(slow.iter().all(|answer| *answer == Some(408)), "{slow:?}");
    (fast, slow)
}

/// A body without an end, `piece` by `piece`.
fn endless(piece: &'static [u8], pause: Duration) -> reqwest::Body {
    let pieces = stream::unfold(interval(pause), move |mut ticks| async move {
        ticks.tick().await;
        Some((Ok::<_, std::io::Error>(piece), ticks))
    });
    reqwest::Body::wrap_stream(pieces)
}

/// The status that a body gets; `None`, when the connection was closed on it.
async fn answer_to(base: &str, path: &str, body: reqwest::Body) -> Option<u16> {
    let client = reqwest::Client::builder().no_proxy().timeout(BODY_GIVEN_UP_WITHIN).build().unwrap();
    let request = client.post(format!("http://{base}{path}")).body(body);
    match request.header("Content-Type", "application/json").send().await {
        Ok(response) => Some(response.status().as_u16()),
        Err(error) if error.is_timeout() => panic!("{path} did not answer: {error}"),
        Err(_) => None,
    }
}

/// Sends messages above the limit to every queue, with a job after each queue. Returns how many, how long the
/// slowest job took, and the backend at its largest.
async fn oversize_messages(stack: &mut Stack) -> (usize, Duration, Footprint) {
    let raw_worker = RawWorker::start(&stack.amqp_url);
    let mut largest = Footprint::of(&stack.backend).unwrap();
    let (mut sent, mut slowest) = (0, Duration::ZERO);
    for target in Target::all(&JobType::new("test.echo").unwrap()) {
        let bodies = OVERSIZE_BYTES.map(|bytes| (vec![0xc0; bytes], "application/msgpack"));
        target.send(&raw_worker, bodies.to_vec()).await;
        // All but those at the workers' own queues come to the backend.
        let to_workers = target.exchange == Topology::default().control_exchange();
        sent += if to_workers { 0 } else { bodies.len() };
        slowest = slowest.max(stack.check_resumes("test.echo", json!({"text": "meanwhile"})).await.unwrap());
        let now = Footprint::of(&stack.backend).unwrap();
        largest = if now.resident_bytes > largest.resident_bytes { now } else { largest };
    }
    quarantined(stack, sent).await;
    raw_worker.vanish().await;
    (sent, slowest, largest)
}
