//! The fleet: ten thousand announcements, lost and stale ones, other protocol versions (F49–F51).

use std::time::Duration;

use e2e::{broker, footprint::Footprint, stack::Stack};
use futures_util::future::join;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::crowd::{Crowd, TYPES as CROWD_TYPES};

mod drained;
mod installations;
mod stale;
mod versions;

/// How many workers come at once.
const CROWD: usize = 10_000;

/// How often as many come.
const ROUNDS: usize = 2;

/// How long it may take until all of them are welcomed. The machine is shared, and nothing is optimised: an
/// optimised backend takes about a second.
const WELCOMED_WITHIN: Duration = Duration::from_secs(30);

/// How long a job may take meanwhile.
const JOB_WITHIN: Duration = Duration::from_secs(5);

/// How much memory ten thousand workers may take, in MiB.
const CROWD_MIB_MAX: u64 = 250;

/// How many queues may be declared on the whole node while the crowd comes: far fewer than the 20 000 that
/// one for each announced type would be. Other tests run beside this one.
const DECLARATIONS_MAX: u64 = 2_000;

/// How much larger the backend may be after a fault, in MiB: what an allocator keeps, and no leak.
const GROWTH_MIB_MAX: u64 = 150;

/// How many jobs are submitted once all are known.
const JOBS_AFTER: usize = 100;

/// Ten thousand workers of five types announce themselves at once, and again as workers do until they are
/// welcomed. All are welcomed, counted and listed; their queues are declared a few times and not twenty
/// thousand times; and jobs that are submitted meanwhile and afterwards go through. When they have left and
/// as many others come, memory grows no further.
#[tokio::test]
async fn f49_ten_thousand_workers_announce_at_once() {
    let _turn = crate::faults::processors().await;
    let mut stack = Stack::start("crowd").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 2).await.unwrap();
    stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let before = Footprint::of(&stack.backend).unwrap();
    let declared_before = queues_declared().await;
    let (mut evidence, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut crowd = Crowd::new(&stack.amqp_url, CROWD).await;
        let (ended, coming) = watch::channel(());
        let welcomed = async {
            let took = crowd.wait_for_welcomes().await;
            drop(ended);
            took
        };
        let (took, mut meanwhile) = join(welcomed, jobs_meanwhile(&mut stack, coming)).await;
        assert!(took <= WELCOMED_WITHIN, "all were welcomed after {took:?} only");
        let (median, slowest) = median_and_slowest(&mut meanwhile);
        assert!(slowest <= JOB_WITHIN, "I13: a job took {slowest:?}");
        let listed = stack.api.json("/v1/workers").await.unwrap()["workers"].as_array().unwrap().len();
        assert_eq!(listed, CROWD + 1);
        let served = CROWD / CROWD_TYPES * 2;
        stack.api.json_when("/v1/types/crowd.type-0", |answer| answer["workers"] == served).await.unwrap();
        let (answered, answered_slowest) = median_and_slowest(&mut submissions(&mut stack).await);
        sizes.push(Footprint::of(&stack.backend).unwrap());
        evidence.push(format!(
            "{listed} workers were welcomed in {took:?}; \
             {} jobs meanwhile took {median:?}, {slowest:?} at most; \
             with all known a submission was answered in {answered:?}, {answered_slowest:?} at most",
            meanwhile.len()
        ));
        crowd.leave().await;
        stack.api.json_when("/v1/types/crowd.type-0", |answer| answer["workers"] == 0).await.unwrap();
    }
    let declared = queues_declared().await - declared_before;
    assert!(declared <= DECLARATIONS_MAX, "I10: {declared} declarations");
    for size in &sizes {
        assert!(size.resident_mib() <= before.resident_mib() + CROWD_MIB_MAX, "I10: {before}, then {size}");
    }
    let mut found = stack.settle().await.unwrap();
    let after = Footprint::of(&stack.backend).unwrap();
    assert!(after.descriptors <= before.descriptors, "I10: {before}, then {after}");
    found.hold(
        "I10",
        format_args!("the backend had {before}, then {} and {}, and {after} at last", sizes[0], sizes[1]),
    );
    found.hold(
        "I10",
        format_args!("{declared} queues were declared on the node for {CROWD} workers, {ROUNDS} times"),
    );
    for line in evidence {
        found.hold("I13", line);
    }
    found.print("F49 ten thousand workers announce at once");
}

/// How long it takes to submit a job, some times.
async fn submissions(stack: &mut Stack) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..JOBS_AFTER {
        let start = Instant::now();
        stack.submit("test.echo", json!({"text": "afterwards"})).await.unwrap();
        took.push(start.elapsed());
    }
    took
}

fn median_and_slowest(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

/// Submits jobs until the crowd has come. Returns how long each took.
async fn jobs_meanwhile(stack: &mut Stack, coming: watch::Receiver<()>) -> Vec<Duration> {
    let mut jobs = Vec::new();
    while coming.has_changed().is_ok() {
        jobs.push(stack.check_resumes("test.echo", json!({"text": "meanwhile"})).await.unwrap());
        sleep(Duration::from_millis(100)).await;
    }
    jobs
}

/// How many declarations of queues the shared node has seen.
async fn queues_declared() -> u64 {
    let node = broker::shared_broker().await.unwrap();
    // One row for the node: connections made and ended, channels made and ended, queues declared, and so on.
    let count = "element(6, hd(ets:lookup(connection_churn_metrics, node()))).";
    node.ctl(&["eval", count]).await.unwrap().trim().parse().unwrap()
}
