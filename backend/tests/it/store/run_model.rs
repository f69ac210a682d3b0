//! Any life of a run: what the store has of it is what its transactions decided, also after a restart.

use crewcall_backend::{
    domain::{
        Sequence,
        workflow::{
            definition::StepIndex,
            facts::{Command, Evaluation, Happened},
            known::{ItemWork, ParentStep, Role, StartedBy, StoredRun},
            machine::outstanding,
            run::{Generation, ItemCounts, RunState, StepState},
        },
    },
    engine::ports::{ItemQuery, NewRun, StepDone, WaitAnswers},
};
use crewcall_proto::{JobId, RunId};
use proptest::prelude::*;

use super::{
    under_test::{StoreUnderTest, cancel, completed, failed},
    workflows::{all_kinds, child, items, new_run, put, read, same, start},
};

/// How many random lives are tried. Each step of one is a commit to disk.
const LIVES: u32 = 24;

/// What is done next: what, and to which of those that it can be done to.
type Choice = (u8, u8);

async fn live(mut tested: StoreUnderTest, choices: Vec<Choice>) {
    put(&tested, &child()).await;
    put(&tested, &all_kinds()).await;
    let id = start(&tested, new_run("w")).await.id();
    for choice in choices {
        tested.clock.advance(1);
        let what = choice.0 % 16;
        if what == 15 {
            tested.reopen().await;
        } else if let Some(run) = tested.store.open_run(id) {
            step(&tested, &run, what, choice.1).await;
        } else {
            let by = "ada".to_owned();
            // It may have been undone.
            tested.store.tell_run(id, Happened::RetryRequested { by, from: None }).await.unwrap();
        }
        look(&tested, id).await;
    }
    tested.reopen().await;
    look(&tested, id).await;
    tested.finish().await;
}

async fn step(tested: &StoreUnderTest, run: &StoredRun, what: u8, which: u8) {
    let commands = outstanding(run.info.workflow(), &run.run);
    match what {
        0..=6 if !commands.is_empty() => {
            let index = usize::from(which) % commands.len();
            obey(tested, run, &commands[index], which).await;
        }
        0..=10 => end_one(tested, run, which).await,
        11 | 12 => answer(tested, run, which).await,
        _ => people(tested, run.id(), which).await,
    }
}

/// Does what a run wants.
async fn obey(tested: &StoreUnderTest, run: &StoredRun, command: &Command, which: u8) {
    let made = match *command {
        Command::Evaluate { step, generation } => {
            let evaluation = match which % 8 {
                0 => Evaluation::Skip,
                1 => Evaluation::Fail("no field ☃".to_owned()),
                _ => {
                    let until = Some(tested.clock.advance(0).plus_millis(i64::from(which)));
                    Evaluation::Begin { items: u32::from(which % 6), until }
                }
            };
            StepDone::Evaluated { step, generation, evaluation }
        }
        Command::MakeItems { step, generation, from, count } => {
            let good = if which.is_multiple_of(5) { from } else { from + count };
            items(tested, (step, generation, Role::Work), from, count, good).1
        }
        Command::Compensate { step, generation, from, count } => {
            items(tested, (step, generation, Role::Undo), from, count, from + count).1
        }
        Command::StartChild { step, generation } => {
            let started_by = StartedBy::Step(ParentStep { run: run.id(), step, generation });
            let child = NewRun { started_by, ..new_run("child") };
            let run = if which.is_multiple_of(4) { Err("no".to_owned()) } else { Ok(Box::new(child)) };
            StepDone::Child { step, generation, run }
        }
        Command::CancelJobs { step, .. } => return cancel_items(tested, run, step, Role::Work).await,
        Command::CancelCompensations { step, .. } => {
            return cancel_items(tested, run, step, Role::Undo).await;
        }
        Command::CancelChild { .. } => return end_child(tested, run, 2).await,
        Command::OpenWait { .. } | Command::CloseWait { .. } | Command::Journal(_) | Command::Ended(_) => {
            return;
        }
    };
    tested.store.step_run(run.id(), vec![made]).await.unwrap();
}

async fn cancel_items(tested: &StoreUnderTest, run: &StoredRun, step: StepIndex, role: Role) {
    for id in open_jobs(tested, run, step, role).await {
        let job = tested.read(id).await.0;
        tested.apply(&job, cancel()).await;
    }
}

/// An open job of the run comes to its end, or its child does.
async fn end_one(tested: &StoreUnderTest, run: &StoredRun, which: u8) {
    let mut open = Vec::new();
    for step in (0..run.run.steps.len()).map(StepIndex) {
        for role in [Role::Work, Role::Undo] {
            open.extend(open_jobs(tested, run, step, role).await);
        }
    }
    let index = usize::from(which) % (open.len() + 1);
    let Some(id) = open.get(index) else { return end_child(tested, run, which).await };
    let job = tested.read(*id).await.0;
    let event = match which % 5 {
        0 => failed(&job, false),
        1 => cancel(),
        _ => completed(&job),
    };
    tested.apply(&job, event).await;
}

async fn end_child(tested: &StoreUnderTest, run: &StoredRun, which: u8) {
    for open in tested.store.open_runs() {
        if open.info.parent().is_some_and(|parent| parent.run == run.id()) {
            let by = "ada".to_owned();
            let happened = match which % 3 {
                2 => Happened::CancelRequested { by, force: false },
                approved => {
                    Happened::Decided { step: StepIndex(0), approved: approved == 0, by, comment: None }
                }
            };
            tested.store.tell_run(open.id(), happened).await.unwrap();
        }
    }
}

/// What a step waits for comes, or does not.
async fn answer(tested: &StoreUnderTest, run: &StoredRun, which: u8) {
    let waiting: Vec<(StepIndex, Generation)> = (0..run.run.steps.len())
        .map(StepIndex)
        .filter(|step| run.run.steps[step.0].state == StepState::Waiting)
        .map(|step| (step, run.run.steps[step.0].generation))
        .collect();
    let Some(&(step, generation)) = waiting.get(usize::from(which) % waiting.len().max(1)) else { return };
    let wait = (run.id(), step, generation);
    let by = "ada".to_owned();
    let happened = match which / 8 % 4 {
        0 if run.waits.contains_key(&step) => {
            let (looked_to, event) = (Some(Sequence(which.into())), Sequence(7));
            let answers = vec![(wait.0, wait.1, wait.2, event)];
            let answers = WaitAnswers { looked_to, caught_up: Vec::new(), answers };
            return tested.store.answer_waits(answers).await.map(drop).unwrap();
        }
        1 if run.waits.contains_key(&step) => {
            let answers = WaitAnswers { looked_to: None, caught_up: vec![wait], answers: Vec::new() };
            return tested.store.answer_waits(answers).await.map(drop).unwrap();
        }
        2 => {
            Happened::Decided { step, approved: which.is_multiple_of(2), by, comment: Some("☃".to_owned()) }
        }
        _ => {
            tested.clock.advance(70_000);
            Happened::WaitTimedOut { step, generation }
        }
    };
    tested.store.tell_run(run.id(), happened).await.unwrap();
}

async fn people(tested: &StoreUnderTest, id: RunId, which: u8) {
    let by = "ada".to_owned();
    let happened = match which % 8 {
        0..=2 => Happened::Paused { by },
        3..=5 => Happened::Resumed { by },
        6 => Happened::CancelRequested { by, force: which > 127 },
        _ => {
            tested.clock.advance(4_000_000);
            Happened::TimedOut
        }
    };
    tested.store.tell_run(id, happened).await.unwrap();
}

fn query(run: &StoredRun, step: StepIndex, role: Role, open: bool) -> ItemQuery {
    ItemQuery {
        run: run.id(),
        step: run.info.workflow().steps[step.0].name.clone(),
        generation: run.run.steps[step.0].generation,
        role,
        after: None,
        open,
        results: false,
        limit: usize::MAX,
    }
}

async fn open_jobs(tested: &StoreUnderTest, run: &StoredRun, step: StepIndex, role: Role) -> Vec<JobId> {
    let items = tested.store.items(query(run, step, role, true)).await.unwrap();
    let job = |work| if let ItemWork::Job { id, .. } = work { Some(id) } else { None };
    items.into_iter().filter_map(|item| job(item.work)).collect()
}

/// What is stored is what is known; items are as they are counted.
async fn look(tested: &StoreUnderTest, id: RunId) {
    let run = read(tested, id).await;
    match tested.store.open_run(id) {
        Some(open) => same(&open, &run),
        None => assert!(run.run.state.is_terminal(), "{:?}", run.run),
    }
    let mut counted = tested.store.open_run_counts(run.info.version.name());
    assert_eq!(counted.remove(&run.run.state).unwrap_or_default(), usize::from(!run.run.state.is_terminal()));
    assert!(counted.is_empty(), "{counted:?}");
    for (index, step) in run.run.steps.iter().enumerate() {
        for (role, counts) in [(Role::Work, Some(step.items)), (Role::Undo, step.compensation)] {
            let counts = counts.unwrap_or_default();
            let made = tested.store.items(query(&run, StepIndex(index), role, false)).await.unwrap();
            let open = tested.store.items(query(&run, StepIndex(index), role, true)).await.unwrap();
            let stored = (made.len(), open.len());
            // A child that could not be made is no item that has any work.
            let is_bare = counts == ItemCounts { total: 1, made: 1, failed: 1, ..ItemCounts::default() };
            let fits = stored == (of(counts.made), of(counts.open())) || (is_bare && stored == (0, 0));
            assert!(fits, "{stored:?} of {counts:?} in {:?}", run.run);
        }
    }
    let lines = tested.store.journal(id, 0, usize::MAX).await.unwrap();
    let numbers = lines.iter().map(|line| line.number);
    assert!(numbers.eq(1..=u64::try_from(lines.len()).unwrap()), "{lines:?}");
    assert!(lines.is_sorted_by_key(|line| line.version), "{lines:?}");
    assert!(lines.last().is_none_or(|line| line.version <= run.run.version), "{lines:?}");
    if run.run.state != RunState::Running {
        return;
    }
    assert!(run.run.started_at.is_some());
}

fn of(count: u32) -> usize {
    usize::try_from(count).unwrap()
}

/// To be called outside a runtime.
pub(crate) fn any_run_is_kept_as_it_was_decided(make: fn() -> StoreUnderTest) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig { cases: LIVES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(choices in prop::collection::vec(any::<Choice>(), 1..60))| {
        runtime.block_on(live(make(), choices));
    });
}
