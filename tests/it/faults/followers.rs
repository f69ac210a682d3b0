//! Jobs that come after others, while the backend dies (F130, F131): each begins once, and not before its time.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use e2e::{
    broker,
    failpoints::{BackendFailpoint, dies_at},
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use rustix::process::Signal;
use serde_json::json;

/// How many chains there are, and how many jobs each has, one after the other.
const CHAINS: usize = 20;
const LINKS: usize = 5;

/// How long all of it may take.
const DONE_WITHIN: Duration = Duration::from_secs(90);

/// How often the backend is killed, each time amid so many jobs more.
const KILLS: usize = 5;
const DONE_BETWEEN: usize = CHAINS * LINKS / 2;

/// Chains of jobs that each come after the one before; the last of a chain, after two of them.
async fn submit_chain(stack: &mut Stack) -> anyhow::Result<()> {
    let mut chain: Vec<String> = Vec::new();
    for link in 0..LINKS {
        let from = if link + 1 == LINKS { link.saturating_sub(2) } else { link.saturating_sub(1) };
        let text = link.to_string();
        let job = json!({"type": "test.echo", "parameters": {"text": text}, "after": &chain[from..link]});
        chain.push(stack.submit_job(job).await?);
    }
    Ok(())
}

/// Waits until all that was accepted is completed, and each ran once, after those that it comes after.
async fn all_completed(stack: &mut Stack, jobs: usize, fault: &str) {
    let expected = i64::try_from(jobs).unwrap();
    let completed = "SELECT count(*) FROM jobs WHERE state = 'completed'";
    until("all jobs are completed", DONE_WITHIN, async || stack.query(completed).unwrap() == expected)
        .await
        .unwrap();
    let early = "SELECT count(*) FROM job_links JOIN jobs AS later ON later.seq = job_seq \
                   JOIN jobs AS before ON before.id = first WHERE later.started_at < before.started_at";
    assert_eq!(stack.query(early).unwrap(), 0, "none began before what it comes after");
    let mut found = stack.settle().await.unwrap();
    let links = stack.query("SELECT count(*) FROM job_links").unwrap();
    found.hold("E8", format_args!("{jobs} jobs with {links} links, each begun after what it comes after"));
    found.print(fault);
}

/// The backend dies between the commit that ends jobs and moves on those that come after them, and the acknowledgement: the broker
/// brings the answers again, and they move nobody on a second time.
#[tokio::test]
async fn f130_the_backend_dies_between_the_end_of_a_job_and_its_acknowledgement() {
    let vhost = broker::vhost("f130").await.unwrap();
    let dying = ProcessEnvironment::variables(&[(
        "FAILPOINTS",
        &dies_at(BackendFailpoint::ResponsesRecorded.name(), 3),
    )]);
    let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, dying).await.unwrap();
    for _ in 0..CHAINS {
        submit_chain(&mut stack).await.unwrap();
    }
    let blocked = "SELECT count(*) FROM jobs WHERE state = 'blocked'";
    let behind = i64::try_from(CHAINS * (LINKS - 1)).unwrap();
    assert_eq!(stack.query(blocked).unwrap(), behind);
    // The backend may be gone before anybody sees that the worker has come.
    let _worker = stack.worker_process(&["test.echo"], 4).unwrap();
    let status = stack.backend.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    let left = stack.query(blocked).unwrap();
    assert!((1..behind).contains(&left), "it died amid the chains: {left} are blocked");
    stack.set_environment(ProcessEnvironment::default());
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    all_completed(
        &mut stack,
        CHAINS * LINKS,
        "F130 the backend dies between the end of a job and its acknowledgement",
    )
    .await;
}

/// The backend is killed again and again while chains of jobs come and are worked off.
#[tokio::test]
async fn f131_the_backend_is_killed_while_jobs_come_after_each_other() {
    let mut stack = Stack::start("f131").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    for kill in 0..KILLS {
        for _ in 0..CHAINS {
            submit_chain(&mut stack).await.unwrap();
        }
        let done = i64::try_from(kill * CHAINS * LINKS + DONE_BETWEEN).unwrap();
        let completed = "SELECT count(*) FROM jobs WHERE state = 'completed'";
        until("some are done", DONE_WITHIN, async || stack.query(completed).unwrap() >= done).await.unwrap();
        stack.backend.kill().await.unwrap();
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
    }
    all_completed(
        &mut stack,
        KILLS * CHAINS * LINKS,
        "F131 the backend is killed while jobs come after each other",
    )
    .await;
}
