//! Workers that are lost, and what they held.

use std::time::Duration;

use crewcall_backend::{
    domain::{Event, State},
    engine::fleet::leases::{HELD_LEASE, TIMEOUT_GRACE},
};
use crewcall_proto::Timestamp;
use tokio::time::{sleep, timeout};

use super::{dispatch, figure, say, server};
use crate::http::server::{PATIENCE, Server};

/// A rack of workers.
const ATTEMPTS: usize = 10_000;

async fn in_state(server: &Server, state: State) -> u64 {
    let counts = server.store.counts().await.unwrap();
    counts.iter().filter(|count| count.state == state).map(|count| count.jobs).sum()
}

#[tokio::test]
async fn ten_thousand_held_attempts_end_at_one_look() {
    let server = server().await;
    let ids = dispatch(&server, ATTEMPTS, None).await;
    say(&server, &ids, |origin| Event::Held { origin, seq: 1 }).await;
    assert_eq!(server.engine.end_leases().await.unwrap(), [], "their workers were just heard of");
    server.hear_nobody_for(HELD_LEASE).await;
    server.engine.end_leases().await.unwrap();
    assert_eq!(in_state(&server, State::Running).await, 0);
    assert_eq!(in_state(&server, State::Scheduled).await, u64::try_from(ATTEMPTS).unwrap());
    server.stop().await;
}

#[tokio::test]
async fn an_attempt_that_runs_too_long_is_counted_when_it_is_ended() {
    let server = server().await;
    let ids = dispatch(&server, 1, Some(1.0)).await;
    say(&server, &ids, |origin| Event::Started { origin, seq: 1, at: Timestamp::from_millis(0) }).await;
    let overdue = r#"crewcall_leases_ended_total{reason="overdue"}"#;
    server.engine.end_leases().await.unwrap();
    assert_eq!(figure(&server, overdue).await, 0.0, "it may still end by itself");
    server.hear_nobody_for(Duration::from_secs(1) + TIMEOUT_GRACE).await;
    server.engine.end_leases().await.unwrap();
    assert_eq!(figure(&server, overdue).await, 1.0);
    server.stop().await;
}

/// Attempts that ran for too long end, and probes are sent, although the broker confirms nothing that workers are told.
#[tokio::test]
async fn nothing_waits_until_workers_are_told() {
    let server = server().await;
    let ids = dispatch(&server, 2_000, Some(1.0)).await;
    say(&server, &ids, |origin| Event::Started { origin, seq: 1, at: Timestamp::from_millis(0) }).await;
    server.hear_nobody_for(Duration::from_secs(1) + TIMEOUT_GRACE).await;
    server.broker.silent(true);
    server.run();
    let ended = async {
        while in_state(&server, State::Running).await > 0 || server.broker.probes() < 3 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the attempts should end, and the probes go on");
    server.broker.silent(false);
    server.stop().await;
}
