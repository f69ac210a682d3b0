//! More news than anybody can read (F38).

use std::time::Duration;

use crewcall_proto::{ContentType, JobType, MessageKind, Topology};
use e2e::{
    flood::Flood,
    footprint::Footprint,
    invariants::Invariants,
    raw_worker::{RawWorker, Taken},
    stack::{RESUMES_WITHIN, Stack},
};
use futures_util::future::join;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{GROWTH_MIB_MAX, completed};

/// How many progressions a worker sends that has run wild.
const PROGRESSIONS_MAX: u64 = 1_000_000;

/// How long it has for them. A busy machine takes some hundred thousand in that time, several times what may wait.
const FLOOD_MAX: Duration = Duration::from_secs(30);

/// One in so many is for a job that does not exist.
const UNKNOWN_JOB_EVERY: u64 = 10;

/// How long another job may take meanwhile. Without a flood it takes some 50 ms.
const RESULT_WITHIN: Duration = Duration::from_secs(5);

/// How many progressions wait with the broker at most: what the backend sets for their queue.
const WAITING_MAX: u32 = 50_000;

/// How long the sampler rests.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// What was seen during the flood.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    waiting: u32,
    largest_mib: u64,
    percents: Vec<u64>,
}

/// A worker sends a million progressions of one attempt, a tenth of them with the ids of jobs that do not
/// exist, without confirms and as fast as the broker reads; or as many as go through in 30 s. Results of
/// other jobs are not delayed, the backend and its queue stay small, progress never goes back, and the last
/// word counts.
#[tokio::test]
async fn f38_a_million_progressions_delay_no_result() {
    let _turn = crate::faults::processors().await;
    let mut stack = Stack::start("flood").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 2).await.unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    let job_type = JobType::new("test.flood").unwrap();
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by("test.flood", 1).await.unwrap();
    let id = stack.submit("test.flood", json!({})).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    raw_worker.report_start(&taken).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let before = Footprint::of(&stack.backend).unwrap();
    let (ended, flooding) = watch::channel(());
    let flood = flood(stack.amqp_url.clone(), &raw_worker, &taken, ended);
    let sampled = sample(&mut stack, &raw_worker, &id, flooding);
    let ((sent, took), seen) = join(flood, sampled).await;
    let healed = Instant::now();
    let last = stack.api.job_when(&id, |job| job["progress"]["percent"] == 100).await.unwrap();
    assert!(healed.elapsed() <= RESUMES_WITHIN, "I14: the last word was heard after {:?}", healed.elapsed());
    assert_eq!(last["state"], "running", "{last}");
    raw_worker.respond(MessageKind::Completed, &job_type, &completed(&raw_worker, &taken)).await.unwrap();
    taken.delivery.ack().await.unwrap();
    stack.api.wait_for_end(&id).await.unwrap();
    let after = Footprint::of(&stack.backend).unwrap();
    raw_worker.vanish().await;
    let mut found = stack.settle().await.unwrap();
    seen.report(&mut found, before, after);
    found.hold("I14", format_args!("the last of {sent} progressions, sent in {took:?}, was heard"));
    found.print("F38 a million progressions");
}

impl Seen {
    fn report(mut self, found: &mut Invariants, before: Footprint, after: Footprint) {
        let Self { waiting, largest_mib, percents, .. } = self;
        self.latencies.sort();
        let (jobs, slowest) = (self.latencies.len(), self.latencies.last().copied().unwrap_or_default());
        let median = self.latencies[jobs / 2];
        assert!(slowest <= RESULT_WITHIN, "I13: {slowest:?}");
        assert!(percents.is_sorted(), "I8: {percents:?}");
        assert!(waiting <= WAITING_MAX, "I10: {waiting} progressions waited");
        assert!(
            largest_mib <= before.resident_mib() + GROWTH_MIB_MAX,
            "I10: {before}, then {largest_mib} MiB"
        );
        found.hold("I8", format_args!("progress was seen {} times and never went back", percents.len()));
        let size = format_args!("the backend had {before}, at most {largest_mib} MiB, and {after} at last");
        found.hold("I10", size);
        found.hold("I10", format_args!("at most {waiting} progressions waited with the broker"));
        let took = format_args!("{jobs} jobs meanwhile took {median:?} at the median, {slowest:?} at most");
        found.hold("I13", took);
    }
}

/// Sends the progressions. Returns how many, and how long that took.
async fn flood(
    url: String,
    raw_worker: &RawWorker,
    taken: &Taken,
    ended: watch::Sender<()>,
) -> (u64, Duration) {
    let names = Topology::default();
    let (exchange, order) = (names.response_exchange(), &taken.order);
    let key = names.response_key(MessageKind::Progression, &order.job_type);
    let own = order.job_id.to_string();
    let start = Instant::now();
    let mut flood = Flood::start(&url).await.unwrap();
    let mut number = 0;
    while number < PROGRESSIONS_MAX && start.elapsed() < FLOOD_MAX {
        number += 1;
        let unknown = number.is_multiple_of(UNKNOWN_JOB_EVERY).then(|| Uuid::new_v4().to_string());
        let percent = number * 99 / PROGRESSIONS_MAX;
        let body = progression(raw_worker, taken, unknown.as_ref().unwrap_or(&own), number, percent);
        flood.publish(&exchange, &key, body.as_bytes()).await.unwrap();
    }
    flood.end().await.unwrap();
    drop(ended);
    // The broker confirms this one: of what nobody waits for, the last may be lost with its connection.
    number += 1;
    let last = progression(raw_worker, taken, &own, number, 100).into_bytes();
    raw_worker.send(&exchange, &key, last, ContentType::Json.as_str()).await.unwrap();
    (number, start.elapsed())
}

/// The text of a progression, for a job that need not be that of the order.
fn progression(raw_worker: &RawWorker, taken: &Taken, job: &str, number: u64, percent: u64) -> String {
    let (token, execution) = (json!(taken.order.attempt_token), taken.execution_id);
    let (worker, seq) = (&raw_worker.worker_id, number + 1); // the first was the start
    format!(
        r#"{{"job_id":"{job}","attempt":1,"attempt_token":{token},"execution_id":"{execution}",
"worker_id":"{worker}","seq":{seq},"kind":"progress","percent":{percent},"message":"news {number}","at":0}}"#
    )
}

/// Submits jobs of another type and looks around, until the flood has ended.
async fn sample(stack: &mut Stack, raw_worker: &RawWorker, id: &str, flooding: watch::Receiver<()>) -> Seen {
    let mut seen = Seen::default();
    let queue = Topology::default().response_queue(MessageKind::Progression);
    while flooding.has_changed().is_ok() {
        let submitted = Instant::now();
        let other = stack.submit("test.echo", json!({"text": "meanwhile"})).await.unwrap();
        let job = stack.api.json(&format!("/v1/jobs/{other}?wait=60")).await.unwrap();
        assert_eq!(job["state"], "completed", "{job}");
        seen.latencies.push(submitted.elapsed());
        seen.waiting = seen.waiting.max(raw_worker.waiting_in(&queue).await.unwrap());
        seen.largest_mib = seen.largest_mib.max(Footprint::of(&stack.backend).unwrap().resident_mib());
        let flooded = stack.api.job(id).await.unwrap();
        seen.percents.extend(flooded["progress"]["percent"].as_u64());
        sleep(SAMPLE_EVERY).await;
    }
    seen
}
