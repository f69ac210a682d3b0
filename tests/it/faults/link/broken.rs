//! A line that is slow, and one that is reset again and again.

use std::time::Duration;

use e2e::{footprint::Footprint, invariants::Invariants, process::Process, proxy::Mode, wait::until};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{NOTICED_WITHIN, Site, worker_notices};

/// How long the slow line holds back each piece of at most 16 KiB: with one such proxy on either side of the broker, a
/// job takes four of them, and no more than 80 KiB/s get through.
const PIECE_DELAY: Duration = Duration::from_millis(200);

/// For how long it is slow.
const SLOW_FOR: Duration = Duration::from_secs(20);

/// How often the line is reset.
const RESET_EVERY: Duration = Duration::from_secs(1);

/// How many resets are left out of account: the links come back from the first few at once.
const RESETS_FIRST: usize = 5;

/// After how many of the others something has to be done.
const FRUITFUL_MIN: usize = 5;

/// How many there are at least (the ten seconds of the long job twice over), and at most: a busy machine may need half
/// of the second to come back, and a job needs five links that are up at once.
const RESETS_MIN: usize = 20;
const RESETS_MAX: usize = 60;

/// How many small jobs are submitted after each reset.
const JOBS_EACH: usize = 5;

/// By how much a program may grow over a fault, in MiB: the jobs that wait, and what the allocator keeps, which is some 36 MiB
/// on an idle machine and has been 66 on a busy one. A leak of one session would show sooner; so would an unbounded queue.
const GROWTH_MIB_MAX: u64 = 96;

/// Descriptors that come and go by themselves: connections of this test's HTTP client, readers of the database.
const DESCRIPTORS_SPARE: usize = 2;

/// The memory and the descriptors of both sides, before and during a fault.
struct Watched<'a> {
    worker: &'a Process,
    /// The backend's and the worker's.
    before: [Footprint; 2],
    /// The most that was seen of each.
    peak_mib: [u64; 2],
}

impl<'a> Watched<'a> {
    fn start(site: &Site, worker: &'a Process) -> Self {
        let before = footprints(site, worker);
        Self { worker, before, peak_mib: before.map(|footprint| footprint.resident_mib()) }
    }

    fn look(&mut self, site: &Site) {
        for (peak, now) in self.peak_mib.iter_mut().zip(footprints(site, self.worker)) {
            *peak = now.resident_mib().max(*peak);
        }
    }

    /// Invariant 10: memory stays bounded, and no socket or file is left over.
    async fn hold(mut self, site: &Site, found: &mut Invariants) {
        let most = self.before.map(|footprint| footprint.descriptors + DESCRIPTORS_SPARE);
        let back = async || {
            let now = footprints(site, self.worker).map(|footprint| footprint.descriptors);
            now.iter().zip(most).all(|(now, most)| *now <= most)
        };
        until("the descriptors are as many as before", NOTICED_WITHIN, back).await.unwrap();
        self.look(site);
        let after = footprints(site, self.worker);
        for (index, name) in ["backend", "worker"].into_iter().enumerate() {
            let (before, after, peak) = (self.before[index], after[index], self.peak_mib[index]);
            assert!(peak <= before.resident_mib() + GROWTH_MIB_MAX, "I10: {name} {before}, peak {peak} MiB");
            found.hold("I10", format_args!("{name}: {before}; at most {peak} MiB; after it {after}"));
        }
    }
}

fn footprints(site: &Site, worker: &Process) -> [Footprint; 2] {
    [Footprint::of(&site.stack.backend).unwrap(), Footprint::of(worker).unwrap()]
}

/// Every piece on both lines is held back for 200 ms for 20 s, while jobs of 64 KiB and small ones go in: the slow
/// link is not taken for a dead one, jobs are done meanwhile, and memory stays bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_the_line_is_slow() {
    let mut site = Site::start("f09").await;
    let worker = site.stack.worker(&["test.echo", "test.other"], 4).await.unwrap();
    site.stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let (reconnects, connections) = (site.reconnects(&worker).await, site.connections());
    let mut watched = Watched::start(&site, &worker);
    site.set_both(Mode::Delay(PIECE_DELAY));
    let before = site.done().await;
    let slow = Instant::now();
    while slow.elapsed() < SLOW_FOR {
        site.stack.submit("test.echo", json!({"text": "x".repeat(64 * 1024)})).await.unwrap();
        site.stack.submit("test.other", json!({"text": "small"})).await.unwrap();
        watched.look(&site);
        sleep(RESET_EVERY).await;
    }
    let done = site.done().await - before;
    assert!(done > 0.0, "I1: nothing was done while the line was slow");
    site.set_both(Mode::Pass);
    let resumed = site.stack.check_resumes("test.other", json!({"text": "after"})).await.unwrap();
    let mut found = site.stack.settle().await.unwrap();
    assert_eq!(site.reconnects(&worker).await, reconnects, "a slow line is not a dead one");
    site.connections_are(connections).await;
    found.hold(
        "I1",
        format_args!("{done} jobs were done in {SLOW_FOR:?} of a slow line, over the same links"),
    );
    found.hold("I14", format_args!("work resumed {resumed:?} after the line was fast again"));
    watched.hold(&site, &mut found).await;
    found.print("F9 a slow link");
}

/// All connections are reset once a second while jobs go in and one takes ten seconds: work goes on all
/// the time, nobody charges the long job with the resets, and neither memory nor descriptors pile up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_the_line_is_reset_every_second() {
    let _turn = crate::faults::processors().await;
    let mut site = Site::start("f10").await;
    let worker = site.stack.worker(&["test.echo", "test.sleep"], 4).await.unwrap();
    site.stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let connections = site.connections();
    // The client library sets some things up for good when it loses its first connection.
    site.reset_both();
    worker_notices(&worker, 0).await;
    site.connections_are(connections).await;
    let mut watched = Watched::start(&site, &worker);
    let journal = site.stack.journal();
    let long = json!({"steps": 40, "step_ms": 250, "journal": journal});
    let long = site.stack.submit("test.sleep", long).await.unwrap();
    let (mut resets, mut fruitful, mut done) = (0, 0, 0.0);
    while resets < RESETS_MIN || fruitful < FRUITFUL_MIN {
        assert!(resets < RESETS_MAX, "I1: something was done after {fruitful} of {resets} resets only");
        site.reset_both();
        resets += 1;
        for item in 0..JOBS_EACH {
            site.stack.submit("test.echo", json!({"text": format!("{resets}.{item}")})).await.unwrap();
        }
        sleep(RESET_EVERY).await;
        watched.look(&site);
        let before = std::mem::replace(&mut done, site.done().await);
        fruitful += usize::from(resets > RESETS_FIRST && done > before);
    }
    let resumed = site.stack.check_resumes("test.echo", json!({"text": "after"})).await.unwrap();
    let mut found = site.stack.settle().await.unwrap();
    let charged = site.stack.api.metric("crewcall_job_attempts_total", "").await.unwrap();
    let over = site.done().await;
    assert_eq!(charged, over, "I4: attempts were charged that the line alone ended");
    assert_eq!(site.stack.api.job(&long).await.unwrap()["state"], "completed");
    let executions = std::fs::read_to_string(journal).unwrap().lines().count();
    found.hold(
        "I1",
        format_args!("{done} jobs were done over {resets} resets, some after {fruitful} of the later ones"),
    );
    found.hold(
        "I4",
        format_args!("{over} jobs took one attempt each; one of 10 s took {executions} executions"),
    );
    found.hold("I14", format_args!("work resumed {resumed:?} after the last reset"));
    site.connections_are(connections).await;
    watched.hold(&site, &mut found).await;
    found.print("F10 a reset every second");
}
