//! Runs: what is listed, what goes, and what goes on after a restart.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{
        Cause, CausedBy, ConsumerSettings, Event, MadeOf, Root, Sequence, Start, State, Then,
        workflow::{
            definition::StepIndex,
            facts::{Evaluation, Happened},
            known::{ParentStep, Role, StartedBy, StoredRun},
            run::{Generation, RunState, StepState},
        },
    },
    engine::ports::{
        Applied, ConsumerChange, ConsumerChanged, ConsumerStep, IDEMPOTENCY_KEPT_FOR, IdempotencyKey,
        JournalEntry, Made, MatchedEvent, NewRun, RunQuery, RunStarted, StepDone, Stepped,
    },
};
use crewcall_proto::RunId;
use serde_json::json;

use super::{
    under_test::{START, StoreUnderTest, cancel, completed, failed},
    workflows::{
        all_kinds, child, done, items, job_of, named, new_run, one_job, put, read, same, start, stop, tell,
    },
};

pub(crate) async fn the_journal_tells_what_happened_in_its_order(mut tested: StoreUnderTest) {
    put(&tested, &one_job("w")).await;
    let run = start(&tested, new_run("w")).await;
    let job = job_of(&tested, &run, "a").await;
    tested.clock.advance(7);
    tested.change(&job, completed(&job)).await;
    assert_eq!(read(&tested, run.id()).await.run.state, RunState::Completed);
    tested.reopen().await;
    let lines = tested.store.journal(run.id(), 0, 99).await.unwrap();
    let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (1..=u64::try_from(lines.len()).unwrap()).collect::<Vec<_>>());
    assert!(matches!(lines[0].entry, JournalEntry::Happened(Happened::Started)), "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!((last.at, last.version), (START.plus_millis(7), read(&tested, run.id()).await.run.version));
    assert!(lines.is_sorted_by_key(|line| line.version), "{lines:?}");
    let page = tested.store.journal(run.id(), 1, 1).await.unwrap();
    assert_eq!(page, lines[1..2]);
    assert_eq!(tested.store.journal(RunId::generate(), 0, 9).await.unwrap(), []);
    tested.finish().await;
}

pub(crate) async fn every_filter_of_runs_finds_what_it_names_newest_first(mut tested: StoreUnderTest) {
    put(&tested, &one_job("w")).await;
    put(&tested, &one_job("x")).await;
    let mut ids = Vec::new();
    for number in 0..24_usize {
        let labels = [("team", number % 2), ("part", number % 3)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_string())).into();
        let run = start(&tested, NewRun { labels, ..new_run(["w", "x"][number / 4 % 2]) }).await;
        if number % 5 == 0 {
            tell(&tested, run.id(), stop()).await;
        }
        ids.push(run.id());
    }
    let mut all = Vec::new();
    for id in &ids {
        all.push(read(&tested, *id).await);
    }
    tested.reopen().await;
    let labels: [&[(&str, &str)]; 4] =
        [&[], &[("team", "1")], &[("team", "0"), ("part", "2")], &[("no", "1")]];
    for workflow in [None, Some("w"), Some("nobody")] {
        for states in [vec![], vec![RunState::Cancelled], vec![RunState::Running, RunState::Failed]] {
            for labels in labels {
                for (before, limit) in [(None, 99), (Some(ids[17]), 5), (None, 0), (Some(ids[0]), 9)] {
                    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                    let query = RunQuery {
                        workflow: workflow.map(named),
                        states: states.clone(),
                        labels: labels.collect(),
                        before,
                        limit,
                    };
                    let selected = |run: &&StoredRun| {
                        query.workflow.as_ref().is_none_or(|name| run.info.version.name() == name)
                            && (states.is_empty() || states.contains(&run.run.state))
                            && query.labels.iter().all(|label| run.info.labels.iter().any(|own| own == label))
                            && before.is_none_or(|before| run.id() < before)
                    };
                    let expected: Vec<RunId> =
                        all.iter().rev().filter(selected).take(limit).map(StoredRun::id).collect();
                    let found = tested.store.runs(&query).await.unwrap();
                    assert_eq!(found.iter().map(StoredRun::id).collect::<Vec<_>>(), expected, "{query:?}");
                }
            }
        }
    }
    tested.finish().await;
}

pub(crate) async fn a_run_that_is_started_again_is_the_same(mut tested: StoreUnderTest) {
    put(&tested, &one_job("w")).await;
    let keyed = |hash: u8| {
        let idempotency = Some(IdempotencyKey { key: "once".to_owned(), body_hash: [hash; 32] });
        NewRun { idempotency, ..new_run("w") }
    };
    let first = start(&tested, keyed(1)).await.id();
    for _ in 0..2 {
        let again = tested.store.start_run(keyed(1)).await.unwrap().value;
        assert!(matches!(again, RunStarted::Replayed(id) if id == first), "{again:?}");
        let other = tested.store.start_run(keyed(2)).await.unwrap().value;
        assert!(matches!(other, RunStarted::KeyReused), "{other:?}");
        tested.reopen().await;
    }
    let many = futures_util::future::join_all((0..20).map(|_| {
        let idempotency = Some(IdempotencyKey { key: "many".to_owned(), body_hash: [1; 32] });
        tested.store.start_run(NewRun { idempotency, ..new_run("w") })
    }));
    let started = many.await.into_iter().map(|answer| answer.unwrap().value);
    assert_eq!(started.filter(|answer| matches!(answer, RunStarted::Started(_))).count(), 1);
    tested.clock.advance(IDEMPOTENCY_KEPT_FOR.as_millis().try_into().unwrap());
    let later = start(&tested, keyed(2)).await.id();
    assert_ne!(later, first, "the key is forgotten");
    tested.reopen().await;
    let again = tested.store.start_run(keyed(2)).await.unwrap().value;
    assert!(matches!(again, RunStarted::Replayed(id) if id == later), "{again:?}");
    assert_eq!(tested.store.open_runs().len(), 3);
    tested.finish().await;
}

pub(crate) async fn runs_go_with_their_jobs_in_steps(mut tested: StoreUnderTest) {
    put(&tested, &json!({"name": "w", "steps": {"f": {"job": "j", "each": "${{ trigger.data.list }}"}}}))
        .await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let labels = BTreeMap::from([("team".to_owned(), "x".to_owned())]);
        let run = start(&tested, NewRun { labels, ..new_run("w") }).await;
        let (step, generation) = (StepIndex(0), Generation::FIRST);
        let evaluation = Evaluation::Begin { items: 4, until: None };
        done(&tested, run.id(), StepDone::Evaluated { step, generation, evaluation }).await;
        let (jobs, made) = items(&tested, (step, generation, Role::Work), 0, 4, 4);
        done(&tested, run.id(), made).await;
        runs.push((run.id(), jobs));
    }
    let (open, over) = runs.split_last().unwrap();
    let ended = over.iter().flat_map(|(_, jobs)| jobs).chain(&open.1[..2]);
    for id in ended {
        let job = tested.read(*id).await.0;
        tested.clock.advance(1);
        tested.change(&job, completed(&job)).await;
    }
    let lone = tested.dispatched("j").await;
    tested.change(&lone, completed(&lone)).await;
    let now = tested.clock.advance(10);
    assert_eq!(tested.delete_finished(State::Completed, now, 99).await.unwrap(), 1, "jobs of runs stay");
    assert_eq!(tested.store.delete_finished_runs(Duration::from_secs(9), 99).await.unwrap().value, 0);
    tested.reopen().await;
    let mut steps = Vec::new();
    loop {
        let gone = tested.store.delete_finished_runs(Duration::ZERO, 3).await.unwrap();
        assert!(gone.changes.iter().all(|change| change.was == Some(State::Completed)));
        steps.push((gone.changes.len(), gone.value));
        if gone.value == 0 {
            break;
        }
    }
    assert_eq!(steps, [(3, 3), (3, 4), (2, 3), (0, 0)]);
    tested.reopen().await;
    for (id, jobs) in over {
        assert!(tested.store.run(*id).await.unwrap().is_none());
        assert_eq!(tested.store.journal(*id, 0, 9).await.unwrap(), []);
        assert_eq!(tested.store.get(jobs[0]).await.unwrap(), None);
    }
    assert_eq!(tested.store.get(open.1[0]).await.unwrap().unwrap().0.status.state, State::Completed);
    let labels = BTreeMap::from([("team".to_owned(), "x".to_owned())]);
    let left = tested.store.runs(&RunQuery { labels, limit: 9, ..RunQuery::default() }).await.unwrap();
    assert_eq!(left.iter().map(StoredRun::id).collect::<Vec<_>>(), [open.0]);
    tested.finish().await;
}

pub(crate) async fn a_run_stays_for_as_long_as_its_parent_is_open(mut tested: StoreUnderTest) {
    put(&tested, &child()).await;
    put(
        &tested,
        &json!({"name": "w", "steps": {"c": {"workflow": {"name": "child"}}, "d": {"approval": {}}}}),
    )
    .await;
    let labels = BTreeMap::from([("team".to_owned(), "x".to_owned())]);
    let parent = start(&tested, NewRun { labels, ..new_run("w") }).await.id();
    let (step, generation) = (StepIndex(0), Generation::FIRST);
    let started_by = StartedBy::Step(ParentStep { run: parent, step, generation });
    let of_step = NewRun { started_by, ..new_run("child") };
    let id = of_step.id;
    done(&tested, parent, StepDone::Child { step, generation, run: Ok(Box::new(of_step)) }).await;
    let yes = |step| Happened::Decided { step, approved: true, by: "ada".to_owned(), comment: None };
    tell(&tested, id, yes(StepIndex(0))).await;
    assert_eq!(read(&tested, parent).await.run.steps[0].state, StepState::Completed);
    tested.clock.advance(5);
    assert_eq!(tested.store.delete_finished_runs(Duration::ZERO, 9).await.unwrap().value, 0);
    tell(&tested, parent, yes(StepIndex(1))).await;
    tested.clock.advance(5);
    tested.reopen().await;
    assert_eq!(tested.store.delete_finished_runs(Duration::ZERO, 9).await.unwrap().value, 2);
    tested.finish_empty().await;
}

pub(crate) async fn runs_of_a_consumer_count_among_what_it_made(mut tested: StoreUnderTest) {
    put(&tested, &one_job("w")).await;
    let subjects = vec!["x".parse().unwrap()];
    let then = Then::Run(named("w"));
    let settings = Arc::new(ConsumerSettings { subjects, condition: None, then, in_flight_max: 2 });
    let put = ConsumerChange::Put { settings, start: Some(Start::Oldest), begin: Some(Sequence(0)) };
    let name: crewcall_backend::domain::ConsumerName = "c".parse().unwrap();
    let changed = tested.store.change_consumer(&name, put).await.unwrap();
    let ConsumerChanged::Created(consumer) = changed else { panic!("{changed:?}") };
    tested.store.append((0..3).map(|_| super::events::event("x", "{}")).collect()).await.unwrap();
    let made_of =
        |sequence: u64| MadeOf { consumer: name.clone(), pass: consumer.pass, sequence: Sequence(sequence) };
    let matched = |sequence: u64| {
        let (by, root) = (CausedBy::Consumer(made_of(sequence)), Root::Event(Sequence(sequence)));
        let run = NewRun { started_by: StartedBy::Event(made_of(sequence)), root, depth: 1, ..new_run("w") };
        MatchedEvent { made: Made::Run(Box::new(run)), cause: Cause { by, root, depth: 1 } }
    };
    let step = ConsumerStep {
        consumer: name.clone(),
        pass: consumer.pass,
        revision: consumer.revision,
        from: Sequence(0),
        to: Sequence(3),
        matches: (1..=3).map(matched).collect(),
    };
    let stepped = tested.store.consume(step).await.unwrap().value;
    assert!(matches!(stepped, Stepped::Done { cursor: Sequence(2), made: 2, .. }), "{stepped:?}");
    let in_flight = |tested: &StoreUnderTest| tested.store.consumer(&name).unwrap().in_flight;
    assert_eq!(in_flight(&tested), 2);
    let before = tested.store.consumer(&name).unwrap();
    tested.reopen().await;
    assert_eq!(tested.store.consumer(&name).unwrap(), before);
    let runs = tested.store.open_runs();
    assert!(runs.iter().all(|run| matches!(run.info.started_by, StartedBy::Event(_))));
    tell(&tested, runs[0].id(), stop()).await;
    assert_eq!(in_flight(&tested), 1, "the end of a run makes room");
    tested.finish().await;
}

/// The jobs of a run, and what they are for, are known also after a restart: their ends move it.
pub(crate) async fn a_run_goes_on_after_a_restart(mut tested: StoreUnderTest) {
    put(&tested, &json!({"name": "w", "steps": {"a": {"job": "j"}, "b": {"needs": ["a"], "job": "j"}}}))
        .await;
    let run = start(&tested, new_run("w")).await;
    let job = job_of(&tested, &run, "a").await;
    tested.reopen().await;
    tested.change(&job, completed(&job)).await;
    let run = tested.store.open_run(run.id()).unwrap();
    assert_eq!((run.run.steps[0].state, run.run.steps[1].state), (StepState::Completed, StepState::Running));
    let job = job_of(&tested, &run, "b").await;
    tested.reopen().await;
    tested.change(&job, failed(&job, false)).await;
    let over = read(&tested, run.id()).await;
    assert_eq!((over.run.state, tested.store.open_run(run.id()).is_none()), (RunState::Failed, true));
    assert_eq!(tested.apply(&job, Event::RetryRequested).await, Applied::OfRun(run.id()));
    tell(&tested, run.id(), Happened::RetryRequested { by: "ada".to_owned(), from: None }).await;
    let again = tested.store.open_run(run.id()).unwrap();
    assert_eq!((again.run.generation, again.run.steps[1].generation), (Generation(2), Generation(2)));
    let job = job_of(&tested, &again, "b").await;
    tested.reopen().await;
    tested.change(&job, cancel()).await;
    same(&read(&tested, run.id()).await, &read(&tested, run.id()).await);
    assert_eq!(read(&tested, run.id()).await.run.state, RunState::Failed);
    tested.finish().await;
}

/// What means a duration moves with the clock; a moment that somebody named does not.
pub(crate) async fn limits_of_runs_go_on_when_the_clock_was_set_back(mut tested: StoreUnderTest) {
    put(&tested, &all_kinds()).await;
    let id = start(&tested, new_run("w")).await.id();
    let run = tested.store.open_run(id).unwrap();
    let step = |name: &str| run.info.workflow().find(name).unwrap();
    let moment = START.plus_millis(99_000_000);
    let until = Evaluation::Begin { items: 0, until: Some(moment) };
    let (generation, evaluation) = (Generation::FIRST, until);
    done(&tested, id, StepDone::Evaluated { step: step("u"), generation, evaluation }).await;
    let over = start(&tested, new_run("w")).await.id();
    tell(&tested, over, Happened::CancelRequested { by: "ada".to_owned(), force: true }).await;
    let before = read(&tested, id).await.run;
    tested.clock.advance(-3_600_000);
    tested.reopen().await;
    let after = tested.store.open_run(id).unwrap();
    same(&after, &read(&tested, id).await);
    let earlier = |at: Option<crewcall_proto::Timestamp>| at.map(|at| at.plus_millis(-3_600_000));
    assert!(before.deadline_at.is_some());
    assert_eq!(after.run.deadline_at, earlier(before.deadline_at));
    for name in ["e", "d"] {
        let (was, is) = (&before.steps[step(name).0], &after.run.steps[step(name).0]);
        assert!(was.deadline_at.is_some(), "{name}");
        assert_eq!(is.deadline_at, earlier(was.deadline_at), "{name}");
    }
    assert_eq!(after.run.steps[step("u").0].deadline_at, Some(moment));
    tested.finish().await;
}
