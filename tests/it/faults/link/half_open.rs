//! A line that is cut without a word: idle, with megabytes unsent, and in one direction only.

use e2e::{
    proxy::{FaultProxy, Mode},
    wait::until,
};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::Instant;

use super::{NOTICED_WITHIN, Site, losses, worker_notices};

/// A text that makes an order, and its result, of some 200 KB.
const LARGE_BYTES: usize = 200_000;

/// How many large orders each side has to send while it is cut off: more than all the socket buffers on the way hold.
const LARGE_JOBS: usize = 64;

/// What has to be stuck on a line for it to count as megabytes unsent.
const STUCK_BYTES_MIN: usize = 2 * 1024 * 1024;

/// How long each of the 80 steps of the held attempt takes: together longer than a lease.
const HELD_STEP_MS: u64 = 250;

/// How long the attempts run that end while the line is half-open.
const ATTEMPT_MS: u64 = 2_000;

/// Both lines fall silent, both ways, while nobody has anything to say: backend and worker notice by themselves, a job
/// is accepted meanwhile, and when the line is back it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_the_line_is_half_open_while_idle() {
    let mut site = Site::start("f06").await;
    let worker = site.stack.worker(&["test.echo"], 2).await.unwrap();
    site.stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let connections = site.connections();
    site.set_both(Mode::FreezeBoth);
    let (by_backend, by_worker) = tokio::join!(site.backend_notices(), worker_notices(&worker, 0));
    let (status, why) = site.stack.api.get("/readyz").await.unwrap();
    assert_eq!(status.as_u16(), 503, "{why}");
    let waiting = site.stack.submit("test.echo", json!({"text": "meanwhile"})).await.unwrap();
    site.set_both(Mode::Pass);
    let resumed = site.stack.check_resumes("test.echo", json!({"text": "after"})).await.unwrap();
    let job = site.stack.api.wait_for_end(&waiting).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    let mut found = site.stack.settle().await.unwrap();
    site.connections_are(connections).await;
    found.hold(
        "I10",
        format_args!("the backend noticed after {by_backend:?}, the worker after {by_worker:?}; {connections} connections as before"),
    );
    found.hold("I14", format_args!("work resumed {resumed:?} after the line was back"));
    found.print("F6 a half-open link, idle");
}

/// Neither side can send: first the worker with megabytes of results, then the backend with megabytes of orders. Both
/// give the line up although their sockets are full; then everything is sent again and done as one attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_the_line_is_half_open_with_megabytes_unsent() {
    let mut site = Site::start("f07").await;
    let slots = u32::try_from(LARGE_JOBS).unwrap();
    let worker = site.stack.worker(&["test.echo", "test.other"], slots).await.unwrap();
    site.stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    // It consumes from both queues now: what it has not asked for yet, it could not ask for any more.
    site.stack.check_resumes("test.other", json!({"text": "before"})).await.unwrap();
    let connections = site.connections();
    let cut = Instant::now();
    site.worker_line.set(Mode::FreezeToServer);
    let mut ids = submit_large(&mut site, "results").await;
    let results = stuck(&site.worker_line).await;
    site.backend_line.set(Mode::FreezeToServer);
    ids.extend(submit_large(&mut site, "orders").await);
    let orders = stuck(&site.backend_line).await;
    tokio::join!(site.backend_notices(), worker_notices(&worker, 0));
    let noticed = cut.elapsed();
    site.set_both(Mode::Pass);
    let resumed = site.stack.check_resumes("test.other", json!({"text": "after"})).await.unwrap();
    let mut found = site.stack.settle().await.unwrap();
    for id in &ids {
        let job = site.stack.api.job(id).await.unwrap();
        assert_eq!(
            (&job["state"], &job["attempt"]),
            (&json!("completed"), &json!(1)),
            "the line costs no attempt"
        );
        assert_eq!(job["result"]["text"], job["parameters"]["text"]);
    }
    site.connections_are(connections).await;
    let stale = site.stack.api.stale("").await.unwrap();
    found.hold(
        "I3",
        format_args!(
            "{} jobs of {LARGE_BYTES} bytes took one attempt each; {stale} duplicates were refused",
            ids.len()
        ),
    );
    found.hold(
        "I10",
        format_args!(
            "{results} bytes of results and {orders} of orders were stuck; both sides gave up after {noticed:?}; \
             {connections} connections as before"
        ),
    );
    found.hold("I14", format_args!("work resumed {resumed:?} after the line was back"));
    found.print("F7 a half-open link with megabytes unsent");
}

/// What both sides send arrives, but no confirm and nothing else comes back. Both send again what they believe lost:
/// orders and results reach their readers twice, and each job is concluded once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_confirms_are_lost_one_way() {
    let mut site = Site::start("f08").await;
    let workers = [
        site.stack.worker(&["test.sleep", "test.echo"], 2).await.unwrap(),
        site.stack.worker(&["test.sleep", "test.echo"], 2).await.unwrap(),
    ];
    let journal = site.stack.journal();
    let mut ids = Vec::new();
    for _running in 0..4 {
        let parameters = json!({"steps": 1, "step_ms": ATTEMPT_MS, "journal": journal});
        ids.push(site.stack.submit("test.sleep", parameters).await.unwrap());
    }
    for id in &ids {
        site.stack.api.job_when(id, |job| job["state"] == "running").await.unwrap();
    }
    let before = workers.each_ref().map(losses);
    site.set_both(Mode::FreezeToClient);
    for _sent in 0..10 {
        let parameters = json!({"steps": 1, "step_ms": 1, "journal": journal});
        ids.push(site.stack.submit("test.sleep", parameters).await.unwrap());
    }
    let (by_backend, first, second) = tokio::join!(
        site.backend_notices(),
        worker_notices(&workers[0], before[0]),
        worker_notices(&workers[1], before[1])
    );
    site.set_both(Mode::Pass);
    let resumed = site.stack.check_resumes("test.echo", json!({"text": "after"})).await.unwrap();
    let mut found = site.stack.settle().await.unwrap();
    for id in &ids {
        let job = site.stack.api.job(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    let stale = site.stack.api.stale("").await.unwrap();
    assert!(stale >= 1.0, "nothing was sent twice, so nothing was shown");
    let executions = std::fs::read_to_string(journal).unwrap().lines().count();
    found.hold(
        "I3",
        format_args!(
            "{} jobs, {executions} executions, one conclusion each; {stale} duplicates were refused",
            ids.len()
        ),
    );
    found.hold(
        "I10",
        format_args!("the backend noticed after {by_backend:?}, the workers after {:?}", first.max(second)),
    );
    found.hold("I14", format_args!("work resumed {resumed:?} after the line was back"));
    found.print("F8 confirms lost one way");
}

/// A firewall between the workers and the broker loses its state: both connections of a worker go silent for good, and
/// new ones pass. The worker opens new ones within the lease of the attempt that it holds, which is the job's only one.
#[tokio::test]
async fn f97_a_firewall_forgets_the_connections_of_a_worker() {
    let mut site = Site::start("f97").await;
    site.stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let worker = site.stack.worker(&["test.sleep"], 1).await.unwrap();
    let parameters = json!({"steps": 80, "step_ms": HELD_STEP_MS, "journal": site.stack.journal()});
    let job = json!({"type": "test.sleep", "parameters": parameters, "max_attempts": 1});
    let id = site.stack.submit_job(job).await.unwrap();
    let held = async || worker.log().contains("The attempt is held");
    until("the attempt is held", NOTICED_WITHIN, held).await.unwrap();
    site.worker_line.forget_all();
    let noticed = worker_notices(&worker, 0).await;
    let job = site.stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    let mut found = site.stack.settle().await.unwrap();
    let silent = site.stack.backend.log().contains("fell silent");
    assert!(!silent, "the worker counted as lost:\n{}", site.stack.backend.log());
    assert_eq!(site.stack.executions(), 1);
    found.hold("I4", "the only attempt of a held job went on over the loss of both connections");
    found.hold("I10", format_args!("the worker had given both connections up after {noticed:?}"));
    found.print("F97 a firewall that forgets a worker's connections");
}

/// Submits them side by side: a side that cannot send gives its line up within seconds, and what is stuck there with it.
async fn submit_large(site: &mut Site, what: &str) -> Vec<String> {
    let submissions = (0..LARGE_JOBS).map(|number| {
        let text = format!("{what} {number} {}", "x".repeat(LARGE_BYTES));
        site.stack.api.submit(json!({"type": "test.echo", "parameters": {"text": text}}))
    });
    let ids = try_join_all(submissions).await.unwrap();
    ids.iter().cloned().for_each(|id| site.stack.remember_accepted(id));
    ids
}

/// Waits until megabytes are stuck in the sockets before a proxy that reads nothing. Returns how many bytes.
async fn stuck(line: &FaultProxy) -> usize {
    let port = line.address().port();
    until("megabytes are unsent", NOTICED_WITHIN, async || waiting_bytes(port) >= STUCK_BYTES_MIN)
        .await
        .unwrap();
    waiting_bytes(port)
}

/// How many bytes were written to `port` of this machine and not read there.
fn waiting_bytes(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let waiting = table.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (unsent, unread) = fields[4].split_once(':').unwrap();
        let bytes = |hex| usize::from_str_radix(hex, 16).unwrap();
        match (fields[1].ends_with(&port), fields[2].ends_with(&port)) {
            (true, _) => bytes(unread),
            (_, true) => bytes(unsent),
            (false, false) => 0,
        }
    });
    waiting.sum()
}
