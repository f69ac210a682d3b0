//! Any events, in any order: the store says what the state machine says, and its counts are those of the jobs.

use std::{collections::BTreeMap, time::Duration};

use crewcall_backend::{
    domain::{AttemptRecord, Backoff, Event, Job, Policy, State, TransitionContext, transition},
    engine::ports::{Applied, JobEvent, JobQuery, Written},
};
use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, JobId, Timestamp,
    response::{ErrorKind, Origin},
};
use proptest::{prelude::*, sample::Index};

use super::under_test::{Due, JobChange, START, StoreUnderTest, cancel, job_error, job_type};

/// How many random lives are tried. Each step of one is a commit to disk.
const LIVES: u32 = 24;

/// Something to do, in terms that make sense whatever the jobs are.
#[derive(Debug, Clone)]
enum Step {
    Insert {
        second_type: bool,
        window: usize,
        policy: Policy,
        /// When it is due, in milliseconds from now.
        delay: i64,
    },
    /// Several events in one transaction.
    Apply(Vec<(Index, Said)>),
    Dispatch {
        window: usize,
        limit: usize,
    },
    ReleaseDue {
        after: i64,
    },
    ReleaseUnroutable,
    Expire {
        limit: usize,
    },
    Delete {
        state: State,
        limit: usize,
    },
    Reopen,
}

/// What is said of a job: mostly of its current attempt, sometimes of another.
#[derive(Debug, Clone)]
struct Said {
    what: u8,
    right_attempt: bool,
    right_token: bool,
    execution: u128,
    seq: u64,
    flag: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let right = || prop::bool::weighted(0.9);
    (0_u8..14, right(), right(), 0_u128..2, 0_u64..4, any::<bool>()).prop_map(
        |(what, right_attempt, right_token, execution, seq, flag)| Said {
            what,
            right_attempt,
            right_token,
            execution,
            seq,
            flag,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<bool>(), 0_usize..4, policy(), prop_oneof![2 => Just(0), 1 => 1_i64..40])
            .prop_map(|(second_type, window, policy, delay)| Step::Insert { second_type, window, policy, delay }),
        6 => prop::collection::vec((any::<Index>(), said()), 1..8).prop_map(Step::Apply),
        3 => (0_usize..5, 0_usize..4).prop_map(|(window, limit)| Step::Dispatch { window, limit }),
        1 => (0_i64..8_000).prop_map(|after| Step::ReleaseDue { after }),
        1 => Just(Step::ReleaseUnroutable),
        2 => (0_usize..4).prop_map(|limit| Step::Expire { limit }),
        3 => (prop::sample::select(vec![State::Completed, State::Failed, State::Cancelled, State::Ready]), 0_usize..4)
            .prop_map(|(state, limit)| Step::Delete { state, limit }),
        1 => Just(Step::Reopen),
    ]
}

/// Waits, timeouts and expiries of some milliseconds: each step takes one. No jitter: due times can be foretold.
fn policy() -> impl Strategy<Value = Policy> {
    let milliseconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    let backoff = (milliseconds(0..8), 1.0..3.0_f64, milliseconds(8..20))
        .prop_map(|(initial, factor, max_delay)| Backoff { initial, factor, max_delay, jitter: 0.0 });
    let backoff = prop_oneof![Just(Backoff { jitter: 0.0, ..Backoff::default() }), backoff];
    let expires_at = prop::option::of((0_i64..20).prop_map(|after| START.plus_millis(after)));
    (backoff, prop::option::of(milliseconds(100..200)), expires_at)
        .prop_map(|(backoff, timeout, expires_at)| Policy { backoff, timeout, expires_at, run_at: None })
}

fn event(job: &Job, said: &Said) -> Event {
    let status = &job.status;
    let attempt = if said.right_attempt { status.attempt } else { Attempt::new(7).unwrap() };
    let wrong = AttemptToken::from_bits(1);
    let token = if said.right_token { status.token.unwrap_or(wrong) } else { wrong };
    let execution_id = ExecutionId::from_uuid(uuid::Uuid::from_u128(said.execution));
    let origin = Origin {
        job_id: job.id,
        attempt,
        attempt_token: token,
        execution_id,
        worker_id: "worker-1".parse().unwrap(),
    };
    let (at, seq) = (START, said.seq);
    match said.what {
        0 => Event::Due,
        1 => Event::Unroutable { attempt, token },
        2 => Event::TypeServed,
        3 => Event::Started { origin, seq, at },
        4 => Event::Progressed { origin, seq, percent: said.flag.then_some(40), message: None, at },
        5 => Event::Held { origin, seq },
        6 => Event::Completed {
            origin,
            result: "{}".into(),
            emitted: Vec::new(),
            started_at: at,
            finished_at: at,
        },
        7 => Event::Failed {
            origin,
            error: job_error(ErrorKind::Panic),
            redelivered: false,
            retryable: said.flag,
            retry_after: None,
            started_at: None,
            finished_at: at,
        },
        8 => Event::DeadLettered { attempt, token, error: job_error(ErrorKind::CrashLoop) },
        9 => Event::LeaseExpired { attempt, execution_id },
        10 => Event::OrderLost { attempt, token },
        11 => Event::TimedOut { attempt, execution_id },
        12 if said.flag => cancel(),
        13 => Event::HandedBack {
            origin,
            resend: said.flag,
            message: Some("not here".to_owned()),
            started_at: said.flag.then_some(at),
            at,
        },
        _ => Event::RetryRequested,
    }
}

/// The jobs as they should be.
struct Model {
    jobs: BTreeMap<JobId, (Job, Vec<AttemptRecord>)>,
    numbers: u64,
}

impl Model {
    fn of_type(&self, name: &str) -> impl Iterator<Item = &Job> {
        self.jobs.values().map(|(job, _)| job).filter(move |job| job.job_type.as_str() == name)
    }

    fn occupying(&self, name: &str) -> usize {
        self.of_type(name).filter(|job| job.status.occupies_window()).count()
    }

    /// Nobody announces a type here.
    fn is_unserved(&self, name: &str) -> bool {
        self.of_type(name).any(|job| job.status.state == State::Unroutable)
    }

    fn ready(&self, name: &str) -> usize {
        self.of_type(name).filter(|job| job.status.state == State::Ready).count()
    }

    /// `changed` are the changes that are left to tell of.
    fn expect(
        &mut self,
        id: JobId,
        event: Event,
        now: Timestamp,
        applied: Applied,
        changed: &mut impl Iterator<Item = JobChange>,
    ) {
        let Some((job, attempts)) = self.jobs.get_mut(&id) else {
            assert!(matches!(applied, Applied::UnknownJob));
            return;
        };
        match (
            transition(&job.status, &job.policy, event, TransitionContext { now, jitter_sample: 0.5 }),
            applied,
        ) {
            (Ok(change), Applied::Changed) => {
                let said = changed.next().expect("the change is told");
                assert_eq!(said.job_id, id);
                assert_eq!(
                    (said.from, &said.status, &said.ended, said.timeout),
                    (job.status.state, &change.status, &change.ended, job.policy.timeout)
                );
                assert_eq!(
                    said.freed_window,
                    job.status.occupies_window() && !change.status.occupies_window()
                );
                attempts.extend(change.ended);
                job.status = change.status;
            }
            (Err(expected), Applied::Stale(stale)) => assert_eq!(expected, stale),
            (expected, applied) => panic!("expected {expected:?}, not {applied:?}"),
        }
    }
}

async fn run(tested: &mut StoreUnderTest, model: &mut Model, step: Step) {
    let now = tested.clock.advance(1);
    match step {
        Step::Insert { second_type, window, policy, delay } => {
            let name = if second_type { "b" } else { "a" };
            let unserved = model.is_unserved(name);
            let at_once = delay == 0 && !unserved && model.ready(name) == 0 && model.occupying(name) < window;
            let job = Job { policy, ..tested.job_at(name, now.plus_millis(delay)) };
            let inserted = tested.insert(job, window).await;
            model.numbers += u64::from(at_once);
            let parked = inserted.job.status.state == State::Unroutable;
            assert_eq!(parked, unserved && delay == 0, "{:?}", inserted.job);
            assert_eq!(inserted.dispatched.map(|number| number.0), at_once.then_some(model.numbers));
            model.jobs.insert(inserted.job.id, (inserted.job.as_ref().clone(), Vec::new()));
        }
        Step::Apply(steps) if !model.jobs.is_empty() => {
            let ids: Vec<JobId> = model.jobs.keys().copied().collect();
            let events: Vec<_> = steps
                .iter()
                .map(|(index, said)| {
                    let job_id = *index.get(&ids);
                    JobEvent { job_id, event: event(&model.jobs[&job_id].0, said) }
                })
                .collect();
            let Written { value: applied, changes, .. } = tested.store.apply(events.clone()).await.unwrap();
            assert_eq!(applied.len(), events.len());
            let mut changes = changes.into_iter().map(JobChange::from);
            for (JobEvent { job_id, event }, applied) in events.into_iter().zip(applied) {
                model.expect(job_id, event, now, applied, &mut changes);
            }
            assert_eq!(changes.count(), 0, "what did not happen is not told");
        }
        Step::Apply(_) => {}
        Step::Dispatch { window, limit } => dispatch(tested, model, window, limit).await,
        Step::ReleaseDue { after } => {
            let until = tested.clock.advance(after);
            let due = |job: &Job| job.status.state == State::Scheduled && job.status.due_at <= until;
            release(model, due, &tested.release_due(until, 100).await.unwrap().jobs);
        }
        Step::ReleaseUnroutable => {
            let unroutable =
                |job: &Job| job.status.state == State::Unroutable && job.job_type.as_str() == "a";
            let released = tested.release_unroutable(&job_type("a"), 100).await;
            release(model, unroutable, &released.jobs);
        }
        Step::Expire { limit } => expire(tested, model, now, limit).await,
        Step::Delete { state, limit } => {
            let old = |(job, _): &(Job, _)| {
                job.status.state == state
                    && job.status.finished_at.is_some_and(|finished_at| finished_at < now)
            };
            let expected = model.jobs.values().filter(|entry| old(entry)).count().min(limit);
            assert_eq!(tested.delete_finished(state, now, limit).await.unwrap(), expected);
            let ids = tested.store.list_ids(&JobQuery { limit: 1_000, ..JobQuery::default() }).await.unwrap();
            model.jobs.retain(|id, entry| ids.contains(id) || !old(entry));
            assert_eq!(model.jobs.len(), ids.len());
        }
        Step::Reopen => tested.reopen().await,
    }
}

async fn dispatch(tested: &StoreUnderTest, model: &mut Model, window: usize, limit: usize) {
    let expected = if model.is_unserved("a") {
        (0, limit.min(model.ready("a")))
    } else {
        (window.saturating_sub(model.occupying("a")).min(limit).min(model.ready("a")), 0)
    };
    let Due { dispatches, parked, .. } = tested.dispatch_due(&job_type("a"), window, limit).await;
    assert_eq!((dispatches.len(), parked.len()), expected);
    for id in parked {
        let (job, _) = model.jobs.get_mut(&id).unwrap();
        job.status.state = State::Unroutable;
        job.status.version += 1;
    }
    for dispatch in dispatches {
        model.numbers += 1;
        assert_eq!(dispatch.number.0, model.numbers);
        let (job, _) = model.jobs.get_mut(&dispatch.job.id).unwrap();
        let (before, after) = (&job.status, &dispatch.job.status);
        assert_eq!((before.state, after.state), (State::Ready, State::Dispatched));
        assert!(before.token.is_none() || before.token == after.token);
        *job = dispatch.job.as_ref().clone();
    }
}

async fn expire(tested: &StoreUnderTest, model: &mut Model, now: Timestamp, limit: usize) {
    let context = TransitionContext { now, jitter_sample: 0.5 };
    let expires = |job: &Job| transition(&job.status, &job.policy, Event::Expired, context).ok();
    let expected = model.jobs.values().filter(|(job, _)| expires(job).is_some()).count().min(limit);
    let expired = tested.expire_due(now, limit).await.unwrap();
    assert_eq!(expired.changes.len(), expected);
    for change in expired.changes {
        let id = change.job_id;
        model.expect(id, Event::Expired, now, Applied::Changed, &mut std::iter::once(change));
    }
    // Far in the future all expire that can.
    let context = TransitionContext { now: now.plus_millis(1_000_000), ..context };
    let next = model
        .jobs
        .values()
        .filter(|(job, _)| transition(&job.status, &job.policy, Event::Expired, context).is_ok())
        .filter_map(|(job, _)| job.policy.expires_at);
    assert_eq!(expired.next_expiry_at, next.min());
}

fn release(
    model: &mut Model,
    expected: impl Fn(&Job) -> bool,
    released: &[(JobId, crewcall_proto::JobType, u64)],
) {
    let mut number = 0;
    for (job, _) in model.jobs.values_mut().filter(|(job, _)| expected(job)) {
        job.status.state = State::Ready;
        job.status.version += 1;
        number += 1;
        assert!(released.contains(&(job.id, job.job_type.clone(), job.status.version)));
    }
    assert_eq!(released.len(), number);
}

async fn live(mut tested: StoreUnderTest, steps: Vec<Step>) {
    let mut model = Model { jobs: BTreeMap::new(), numbers: 0 };
    for step in steps {
        run(&mut tested, &mut model, step).await;
    }
    for (id, expected) in &model.jobs {
        assert_eq!(tested.read(*id).await, *expected);
    }
    for count in tested.store.counts().await.unwrap() {
        let of_type = model.of_type(count.job_type.as_str());
        let expected = of_type.filter(|job| job.status.state == count.state).count();
        assert_eq!(count.jobs, u64::try_from(expected).unwrap(), "{count:?}");
    }
    tested.finish().await;
}

/// To be called outside a runtime.
pub(crate) fn any_status_is_that_of_the_state_machine(make: fn() -> StoreUnderTest) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig { cases: LIVES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..24))| {
        runtime.block_on(live(make(), steps));
    });
}
