//! Any jobs that come after each other, and any ends of them in any order: a job is blocked as long as one is open that it comes
//! after, and not for a moment longer.

use std::collections::{BTreeMap, BTreeSet};

use crewcall_backend::{
    domain::{After, AfterFailure, Event, Job, State},
    engine::ports::{Accepted, Inserted, JobEvent, JobQuery},
};
use crewcall_proto::JobId;
use proptest::{prelude::*, sample::Index};

use super::under_test::{StoreUnderTest, accepted, cancel, completed, failed};

/// How many random lives are tried. Each step of one is a commit to disk.
const LIVES: u32 = 24;

#[derive(Debug, Clone)]
enum Step {
    Insert {
        after: Vec<Index>,
        on_failure: AfterFailure,
    },
    /// Several jobs end, or are tried again, in one transaction.
    Happen(Vec<(Index, What)>),
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Complete,
    Fail,
    Cancel,
    Retry,
}

fn step() -> impl Strategy<Value = Step> {
    let on_failure = prop::sample::select(vec![AfterFailure::Cancel, AfterFailure::Run]);
    let what =
        prop::sample::select(vec![What::Complete, What::Complete, What::Fail, What::Cancel, What::Retry]);
    prop_oneof![
        4 => (prop::collection::vec(any::<Index>(), 0..4), on_failure)
            .prop_map(|(after, on_failure)| Step::Insert { after, on_failure }),
        6 => prop::collection::vec((any::<Index>(), what), 1..4).prop_map(Step::Happen),
        1 => Just(Step::Reopen),
    ]
}

/// A job, as whoever reads the documents would think of it.
#[derive(Debug, Clone)]
struct Known {
    id: JobId,
    after: Vec<usize>,
    on_failure: AfterFailure,
    is_blocked: bool,
    end: Option<State>,
}

#[derive(Debug, Default)]
struct Model(Vec<Known>);

impl Model {
    /// Moves on whoever is blocked by nothing, until nobody is.
    fn settle(&mut self) {
        let is_free = |known: &Known, all: &[Known]| {
            known.is_blocked && known.after.iter().all(|first| all[*first].end.is_some())
        };
        while let Some(index) = (0..self.0.len()).find(|index| is_free(&self.0[*index], &self.0)) {
            let all_well =
                self.0[index].after.iter().all(|first| self.0[*first].end == Some(State::Completed));
            let known = &mut self.0[index];
            known.is_blocked = false;
            if !all_well && known.on_failure == AfterFailure::Cancel {
                known.end = Some(State::Cancelled);
            }
        }
    }

    fn insert(&mut self, id: JobId, after: Vec<usize>, on_failure: AfterFailure) {
        self.0.push(Known { id, is_blocked: !after.is_empty(), after, on_failure, end: None });
        self.settle();
    }

    /// Whether it may happen.
    fn happen(&mut self, index: usize, what: What) -> bool {
        let known = &mut self.0[index];
        let end = match what {
            What::Complete | What::Fail if known.is_blocked || known.end.is_some() => return false,
            What::Cancel if known.end.is_some() => return false,
            What::Retry if known.end.is_none() || known.end == Some(State::Completed) => return false,
            What::Complete => Some(State::Completed),
            What::Fail => Some(State::Failed),
            What::Cancel => Some(State::Cancelled),
            What::Retry => None,
        };
        known.end = end;
        known.is_blocked = false;
        true
    }
}

async fn stored(tested: &StoreUnderTest) -> BTreeMap<JobId, Job> {
    let query = JobQuery { limit: 1_000, ..JobQuery::default() };
    tested.store.list(&query).await.unwrap().into_iter().map(|job| (job.id, job)).collect()
}

async fn live(mut tested: StoreUnderTest, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Insert { after, on_failure } => {
                let known = model.0.len();
                let mut first: Vec<usize> =
                    if known == 0 { Vec::new() } else { after.iter().map(|it| it.index(known)).collect() };
                first.dedup();
                first.sort_unstable();
                first.dedup();
                let jobs: Vec<JobId> = first.iter().map(|first| model.0[*first].id).collect();
                let after = (!jobs.is_empty()).then_some(After { jobs, on_failure });
                let new = Accepted { after, ..accepted(tested.job("a"), usize::MAX) };
                let inserted = tested.store.insert(vec![new]).await.unwrap().value.remove(0);
                let Inserted::Stored { job } = inserted else { panic!("{inserted:?}") };
                model.insert(job.id, first, on_failure);
            }
            Step::Happen(happenings) => {
                // What is ready gets its token.
                let ready = crewcall_proto::JobType::new("a").unwrap();
                tested.store.dispatch_due(&ready, usize::MAX, 1_000).await.unwrap();
                let jobs = stored(&tested).await;
                let (mut events, mut concerned) = (Vec::new(), BTreeSet::new());
                for (index, what) in happenings {
                    if model.0.is_empty() {
                        continue;
                    }
                    let index = index.index(model.0.len());
                    // What was tried again in this very step has no order yet.
                    if !concerned.insert(index) {
                        continue;
                    }
                    let job = &jobs[&model.0[index].id];
                    let has_no_order = job.status.token.is_none() || job.status.state.is_terminal();
                    let event = match what {
                        What::Complete | What::Fail if has_no_order => continue,
                        What::Complete => completed(job),
                        What::Fail => failed(job, false),
                        What::Cancel => cancel(),
                        What::Retry => Event::RetryRequested,
                    };
                    // What follows, follows the whole step.
                    if model.happen(index, what) {
                        events.push(JobEvent { job_id: job.id, event });
                    }
                }
                tested.store.apply(events).await.unwrap();
                model.settle();
            }
            Step::Reopen => tested.reopen().await,
        }
        compare(&tested, &model).await;
    }
    tested.finish().await;
}

async fn compare(tested: &StoreUnderTest, model: &Model) {
    let jobs = stored(tested).await;
    for known in &model.0 {
        let state = jobs[&known.id].status.state;
        let expected = (known.is_blocked, known.end);
        assert_eq!(
            (state == State::Blocked, Some(state).filter(|it| it.is_terminal())),
            expected,
            "{model:?}"
        );
        if known.is_blocked {
            let links = tested.store.comes_after(known.id).await.unwrap().unwrap().jobs;
            let ends: Vec<_> =
                known.after.iter().map(|first| (model.0[*first].id, model.0[*first].end)).collect();
            assert_eq!(links, ends, "{model:?}");
        }
    }
    assert_eq!(tested.store.unblocked(), 0);
}

pub(crate) fn whoever_is_blocked_is_moved_on_at_once(make: fn() -> StoreUnderTest) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig { cases: LIVES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        runtime.block_on(live(make(), steps));
    });
}
