//! Whoever wants to know what happens to jobs hears of every change, once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crewcall_backend::{
    domain::{Event, State, Submission, TypeSettingsChange, times::Times},
    engine::{
        Caller, Observer, Submitted,
        commands::actions::JobAction,
        discovery::Discovered,
        ports::{JobChanged, JobEvent, Jobs as _},
        upkeep::retention::Retention,
    },
};
use crewcall_proto::{JobId, JobType, Timestamp};
use serde_json::json;
use tokio::time::timeout;

use super::stage::{PATIENCE, Stage};
use crate::http::server::announcement;

const TYPE: &str = "observed";

/// What happened to each job: the state that it had, the one that it came to, and its version.
type Story = Vec<(Option<State>, Option<State>, u64)>;

#[derive(Default)]
struct Stories(Mutex<BTreeMap<JobId, Story>>);

impl Observer for Stories {
    fn after_commit(&self, changes: &[JobChanged]) {
        for change in changes {
            let (state, version) = match &change.is {
                Some(status) => (Some(status.state), status.version),
                None => (None, 0),
            };
            self.0.lock().unwrap().entry(change.job_id).or_default().push((change.was, state, version));
        }
    }
}

impl Stories {
    fn of(&self, id: JobId) -> Story {
        self.0.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }

    /// Waits until the job came to this state for the last time.
    async fn reaches(&self, id: JobId, state: Option<State>) {
        let reached = async {
            while self.of(id).last().is_none_or(|(_, now, _)| *now != state) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("not {state:?}: {:?}", self.of(id)));
    }

    /// The job came to these states, each with the next version, and is deleted in the end or not.
    fn are(&self, id: JobId, states: &[State], deleted: bool) {
        let story = self.of(id);
        let mut was = None;
        let mut expected = Vec::new();
        for state in states.iter().copied().map(Some).chain(deleted.then_some(None)) {
            expected.push((was, state));
            was = state;
        }
        let told: Vec<_> = story.iter().map(|(was, is, _)| (*was, *is)).collect();
        assert_eq!(told, expected);
        let versions: Vec<u64> = story[..states.len()].iter().map(|(_, _, version)| *version).collect();
        let each: Vec<u64> = (versions[0]..).take(states.len()).collect();
        assert_eq!(versions, each, "each version is told of once");
    }
}

async fn submit(stage: &Stage, times: Times) -> JobId {
    let submission = Submission { job_type: TYPE.to_owned(), times, ..Submission::default() };
    match stage.engine.submit(&Caller::loopback(), submission, None).await.unwrap() {
        Submitted::Accepted(job) | Submitted::Replayed(job) => job.id,
    }
}

async fn say(stage: &Stage, id: JobId, what: fn(crewcall_proto::response::Origin) -> Event) {
    let job_type = JobType::new(TYPE).unwrap();
    let orders = stage.store.dispatched(&job_type, 100).await.unwrap();
    stage.say(orders.iter().find(|order| order.job_id == id).unwrap(), what).await;
}

#[tokio::test]
async fn an_observer_hears_of_every_change_once() {
    let stories = Arc::<Stories>::default();
    let at_once = Some(Duration::ZERO);
    let kept =
        Retention { completed: at_once, failed: at_once, cancelled: at_once, types: None, events: None };
    let stage = Stage::observed(kept, Arc::clone(&stories) as Arc<dyn Observer>).await;
    let (caller, job_type) = (Caller::loopback(), JobType::new(TYPE).unwrap());

    // Stored and dispatched in one step; it returns as unroutable, until somebody serves the type.
    let unroutable = submit(&stage, Times::default()).await;
    let orders = stage.store.dispatched(&job_type, 1).await.unwrap();
    let event = Event::Unroutable { attempt: orders[0].attempt, token: orders[0].token };
    stage.engine.changes().record(vec![JobEvent { job_id: unroutable, event }]).await.unwrap();
    stage.engine.discover(vec![Discovered::Announced(announcement(TYPE, &json!({})))]).await.unwrap();
    stories.reaches(unroutable, Some(State::Dispatched)).await;

    // Scheduled, released by the clock, dispatched by the relay.
    let delayed = submit(&stage, Times { delay_seconds: Some(0.2), ..Times::default() }).await;
    stories.reaches(delayed, Some(State::Dispatched)).await;

    // Waits for its turn, and is cancelled or expires.
    stage.engine.pause_type(&caller, &job_type, None).await.unwrap();
    let cancelled = submit(&stage, Times::default()).await;
    let soon = Some(stage.engine.now().plus_millis(300));
    let expired = submit(&stage, Times { expires_at: soon, ..Times::default() }).await;
    stage.engine.act(&caller, cancelled, JobAction::Cancel { reason: None }).await.unwrap();
    stories.reaches(expired, Some(State::Failed)).await;
    stage.limit(&job_type, TypeSettingsChange::Resume).await;

    // Runs, and is done.
    let done = submit(&stage, Times::default()).await;
    let at = Timestamp::from_millis(1);
    say(&stage, done, |origin| Event::Started { origin, seq: 1, at: Timestamp::from_millis(1) }).await;
    let (job, _) = stage.store.get(done).await.unwrap().unwrap();
    assert_eq!((job.status.state, job.status.started_at), (State::Running, Some(at)));
    for id in [unroutable, delayed] {
        say(&stage, id, |origin| Event::Completed {
            origin,
            result: "1".to_owned(),
            emitted: Vec::new(),
            started_at: Timestamp::from_millis(1),
            finished_at: Timestamp::from_millis(2),
        })
        .await;
    }

    // All that is over is deleted.
    let over = [unroutable, delayed, cancelled, expired];
    let deleted = async {
        while stories.of(unroutable).last().is_some_and(|(_, now, _)| now.is_some()) {
            stage.engine.delete_old_jobs().await.unwrap();
        }
    };
    timeout(PATIENCE, deleted).await.unwrap();
    for id in over {
        stories.reaches(id, None).await;
    }

    stories.are(
        unroutable,
        &[State::Dispatched, State::Unroutable, State::Ready, State::Dispatched, State::Completed],
        true,
    );
    stories.are(delayed, &[State::Scheduled, State::Ready, State::Dispatched, State::Completed], true);
    stories.are(cancelled, &[State::Ready, State::Cancelled], true);
    stories.are(expired, &[State::Ready, State::Failed], true);
    stories.are(done, &[State::Dispatched, State::Running], false);
    stage.stop().await;
}
