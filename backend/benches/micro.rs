//! The parts by which the time of a job goes: `./dev bench --micro [FILTER]`. Each figure is that of one operation on this machine,
//! with nothing else running; the whole is measured by `crewcall bench`.

fn main() {
    divan::main();
}

/// Messages as they travel.
mod codec {
    use crewcall_proto::{
        Attempt, AttemptToken, ContentType, ExecutionId, JobId, Order, PROTOCOL_VERSION, Timestamp, WorkerId,
        bundle, decode, encode, response::Completed,
    };
    use divan::{Bencher, black_box};
    use serde_json::json;

    const BOTH: [&str; 2] = ["application/msgpack", "application/json"];

    fn order() -> Order {
        let parameters =
            json!({"source": "x".repeat(200), "width": 640}).as_object().cloned().unwrap_or_default();
        Order {
            protocol: PROTOCOL_VERSION,
            job_id: JobId::generate(),
            job_type: "bench.noop".parse().expect("it is a type"),
            attempt: Attempt::FIRST,
            attempt_token: AttemptToken::generate(),
            max_attempts: 5,
            parameters,
            timeout_ms: None,
            expires_at: None,
            created_at: Timestamp::from_millis(1_767_225_600_000),
        }
    }

    fn completed() -> Completed {
        let order = order();
        let at = order.created_at;
        Completed {
            job_id: order.job_id,
            attempt: order.attempt,
            attempt_token: order.attempt_token,
            execution_id: ExecutionId::generate(),
            worker_id: WorkerId::generate(),
            result: json!({"path": "/media/output/picture.jpg", "bytes": 48_213}),
            events: Vec::new(),
            started_at: at,
            finished_at: at,
        }
    }

    fn encoding(name: &str) -> ContentType {
        name.parse().expect("it is an encoding")
    }

    #[divan::bench(args = BOTH)]
    fn encode_order(bencher: Bencher<'_, '_>, encoding_name: &str) {
        let (content_type, order) = (encoding(encoding_name), order());
        bencher.bench(|| encode(content_type, black_box(&order)));
    }

    #[divan::bench(args = BOTH)]
    fn decode_completed(bencher: Bencher<'_, '_>, encoding_name: &str) {
        let content_type = encoding(encoding_name);
        let body = encode(content_type, &completed()).expect("it can be encoded");
        bencher.bench(|| decode::<Completed>(content_type, black_box(&body)));
    }

    #[divan::bench(args = BOTH)]
    fn join_64_orders(bencher: Bencher<'_, '_>, encoding_name: &str) {
        let content_type = encoding(encoding_name);
        let bodies = vec![encode(content_type, &order()).expect("it can be encoded"); bundle::MESSAGES_MAX];
        bencher.bench(|| bundle::join(content_type, black_box(&bodies)));
    }

    #[divan::bench(args = BOTH)]
    fn split_64_answers(bencher: Bencher<'_, '_>, encoding_name: &str) {
        let content_type = encoding(encoding_name);
        let bodies =
            vec![encode(content_type, &completed()).expect("it can be encoded"); bundle::MESSAGES_MAX];
        let body = bundle::join(content_type, &bodies).expect("they fit");
        bencher.bench(|| bundle::split(content_type, black_box(&body)).map(|bodies| bodies.len()));
    }
}

/// What an event makes of a job.
mod transition {
    use crewcall_backend::domain::{Event, JobStatus, Policy, TransitionContext, transition};
    use crewcall_proto::{AttemptToken, Timestamp};
    use divan::{Bencher, black_box};

    #[divan::bench]
    fn dispatched(bencher: Bencher<'_, '_>) {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let (status, policy) = (JobStatus::new(5, now, now), Policy::default());
        let due = transition(&status, &policy, Event::Due, TransitionContext { now, jitter_sample: 0.5 });
        let ready = due.map_or(status, |change| change.status);
        let token = AttemptToken::generate();
        bencher.bench(|| {
            let context = TransitionContext { now, jitter_sample: 0.5 };
            transition(black_box(&ready), &policy, Event::Dispatched { token }, context)
        });
    }
}

/// Commits of the real store, with their fsync.
mod store {
    use std::sync::Arc;

    use crewcall_backend::{
        clock::{Clock as _, SystemClock},
        domain::{Event, Job, Submission},
        engine::ports::{Accepted, Inserted, JobEvent, Jobs as _},
        metrics::Metrics,
        store::SqliteStore,
    };
    use crewcall_proto::{ExecutionId, JobId, JobType, WorkerId, response::Origin};
    use divan::{Bencher, counter::ItemsCount};
    use tempfile::TempDir;
    use tokio::runtime::{Builder, Runtime};

    const BATCHES: [usize; 3] = [1, 64, 256];

    /// A store of its own, in the directory for temporary files.
    struct Bench {
        store: SqliteStore,
        runtime: Runtime,
        _folder: TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("there is room");
            let clock = Arc::new(SystemClock::start());
            let store =
                SqliteStore::open(&folder.path().join("bench.db"), clock, Arc::new(Metrics::default()));
            let runtime = Builder::new_current_thread().build().expect("the system has threads");
            Self { store: store.expect("it can be opened"), runtime, _folder: folder }
        }

        fn insert(&self, jobs: Vec<Accepted>) -> Vec<Arc<Job>> {
            let written = self.runtime.block_on(self.store.insert(jobs)).expect("the disk works");
            written.value.into_iter().filter_map(stored).collect()
        }
    }

    fn stored(inserted: Inserted) -> Option<Arc<Job>> {
        match inserted {
            Inserted::Stored { job, .. } => Some(job),
            Inserted::Replayed { .. }
            | Inserted::KeyReused
            | Inserted::TooManyTypes
            | Inserted::UnknownJobs(_)
            | Inserted::TooManyLinks => None,
        }
    }

    fn accepted(count: usize, window: usize) -> Vec<Accepted> {
        let now = SystemClock::start().now();
        let one = || {
            let mut submission = Submission { job_type: "bench.noop".to_owned(), ..Submission::default() };
            submission.parameters.insert("source".to_owned(), "x".repeat(200).into());
            let new = submission.validate(now).expect("it is valid");
            Accepted { job: new.accept(JobId::generate(), now), window, idempotency: None, after: None }
        };
        std::iter::repeat_with(one).take(count).collect()
    }

    fn completed(job: &Arc<Job>) -> JobEvent {
        let now = SystemClock::start().now();
        let origin = Origin {
            job_id: job.id,
            attempt: job.status.attempt,
            attempt_token: job.status.token.expect("it is dispatched"),
            execution_id: ExecutionId::generate(),
            worker_id: WorkerId::generate(),
        };
        let event = Event::Completed {
            origin,
            result: "{}".to_owned(),
            emitted: Vec::new(),
            started_at: now,
            finished_at: now,
        };
        JobEvent { job_id: job.id, event }
    }

    /// Jobs are stored, and dispatched in the same commit.
    #[divan::bench(args = BATCHES)]
    fn insert(bencher: Bencher<'_, '_>, jobs: usize) {
        let bench = Bench::new();
        bencher
            .counter(ItemsCount::new(jobs))
            .with_inputs(|| accepted(jobs, usize::MAX))
            .bench_local_values(|jobs| bench.insert(jobs));
    }

    #[divan::bench(args = BATCHES)]
    fn complete(bencher: Bencher<'_, '_>, jobs: usize) {
        let bench = Bench::new();
        bencher
            .counter(ItemsCount::new(jobs))
            .with_inputs(|| {
                bench.insert(accepted(jobs, usize::MAX)).iter().map(completed).collect::<Vec<_>>()
            })
            .bench_local_values(|events| {
                bench.runtime.block_on(bench.store.apply(events)).map(|written| written.changes.len())
            });
    }

    /// The relay looks at a type whose dispatch window is full, and which has jobs that wait.
    #[divan::bench]
    fn look_at_a_full_window(bencher: Bencher<'_, '_>) {
        let bench = Bench::new();
        bench.insert(accepted(256, 64));
        let job_type: JobType = "bench.noop".parse().expect("it is a type");
        bencher.bench_local(|| {
            bench
                .runtime
                .block_on(bench.store.dispatch_due(&job_type, 64, 256))
                .map(|written| written.changes.len())
        });
    }
}
