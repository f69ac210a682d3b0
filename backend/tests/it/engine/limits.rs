//! Limits and pauses hold in every transaction, whatever else happens at the same time.

use std::{sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{Event, Pause, State, TypeSettingsChange},
    engine::ports::{DispatchedOrder, Jobs as _},
};
use crewcall_proto::{JobType, Timestamp};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

use super::stage::{PATIENCE, Stage};

/// How many jobs each of the submitters submits.
const JOBS_EACH: usize = 100;

const SUBMITTERS: usize = 4;

/// Looks at every dispatch inside its own transaction, where nothing can be missed: how many attempts of the type are
/// in flight with it, and what is set for the type.
const WITNESS: &str = "
    CREATE TABLE witnessed (what TEXT NOT NULL);
    CREATE TRIGGER witness_update AFTER UPDATE OF state ON jobs WHEN NEW.state = 'dispatched'
    BEGIN
        INSERT INTO witnessed SELECT 'paused by ' || pause_by FROM type_settings
            WHERE type = NEW.type AND pause_by IS NOT NULL;
        INSERT INTO witnessed SELECT 'the limit is ' || running_max FROM type_settings
            WHERE type = NEW.type AND running_max <
                (SELECT count(*) FROM jobs WHERE type = NEW.type AND state IN ('dispatched', 'running'));
    END;
    CREATE TRIGGER witness_insert AFTER INSERT ON jobs WHEN NEW.state = 'dispatched'
    BEGIN
        INSERT INTO witnessed SELECT 'at entry, paused by ' || pause_by FROM type_settings
            WHERE type = NEW.type AND pause_by IS NOT NULL;
        INSERT INTO witnessed SELECT 'at entry, the limit is ' || running_max FROM type_settings
            WHERE type = NEW.type AND running_max <
                (SELECT count(*) FROM jobs WHERE type = NEW.type AND state IN ('dispatched', 'running'));
    END;";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_transaction_exceeds_a_limit_or_overlooks_a_pause() {
    for seed in 0..4 {
        live(seed).await;
    }
}

/// One life: submissions, holds, ends, and an operator who changes their mind, all at once.
async fn live(seed: u64) {
    let stage = Arc::new(Stage::start().await);
    let connection = rusqlite::Connection::open(stage.path()).unwrap();
    connection.execute_batch(WITNESS).unwrap();
    let job_type = JobType::new("a").unwrap();
    let (players, mut submitting) = (TaskTracker::new(), Vec::new());
    for _ in 0..SUBMITTERS {
        let (stage, job_type) = (Arc::clone(&stage), job_type.clone());
        submitting.push(players.spawn(async move {
            for _ in 0..JOBS_EACH {
                stage.submit(&job_type).await;
            }
        }));
    }
    let working = players.spawn(work(Arc::clone(&stage), job_type.clone()));
    let mut dice = StdRng::seed_from_u64(seed);
    while !submitting.iter().all(tokio::task::JoinHandle::is_finished) {
        stage.limit(&job_type, any_change(&mut dice)).await;
        for _ in 0..dice.random_range(0..200) {
            yield_now().await;
        }
    }
    stage.limit(&job_type, TypeSettingsChange::Resume).await;
    stage.engine.wake(&job_type);
    tokio::time::timeout(PATIENCE, working).await.expect("a job was left over").unwrap();
    let mut statement = connection.prepare("SELECT what, count(*) FROM witnessed GROUP BY what").unwrap();
    let witnessed: Vec<(String, i64)> =
        statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(witnessed, [], "seed {seed}");
    let Ok(stage) = Arc::try_unwrap(stage) else { panic!("every task has ended") };
    stage.stop().await;
}

fn any_change(dice: &mut StdRng) -> TypeSettingsChange {
    match dice.random_range(0..6) {
        0 => TypeSettingsChange::Pause(Pause {
            by: "ada".to_owned(),
            reason: None,
            at: Timestamp::from_millis(1),
        }),
        1 | 2 => TypeSettingsChange::Resume,
        3 => TypeSettingsChange::Limits { running_max: None, rate_per_second: None },
        _ => TypeSettingsChange::Limits { running_max: Some(dice.random_range(1..4)), rate_per_second: None },
    }
}

/// Plays the workers until every job is over. Each attempt is held before it ends.
async fn work(stage: Arc<Stage>, job_type: JobType) {
    let mut done = 0;
    while done < SUBMITTERS * JOBS_EACH {
        let orders: Vec<DispatchedOrder> = stage.store.dispatched(&job_type, 8).await.unwrap();
        if orders.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            stage.engine.wake(&job_type); // a resumed type is woken by the route that resumes it
        }
        for order in &orders {
            stage.say(order, |origin| Event::Held { origin, seq: 1 }).await;
        }
        for order in &orders {
            stage.say(order, completed).await;
            let (job, _) = stage.store.get(order.job_id).await.unwrap().unwrap();
            assert_eq!(job.status.state, State::Completed);
            done += 1;
        }
    }
}

fn completed(origin: crewcall_proto::response::Origin) -> Event {
    let at = Timestamp::from_millis(1);
    Event::Completed { origin, result: "{}".to_owned(), emitted: Vec::new(), started_at: at, finished_at: at }
}
