//! Workflows and their runs: what is kept of them, and short words for what the tests tell of runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{
        Cause, CausedBy, Job, Pause, Root, Sequence, State,
        workflow::{
            definition::{StepIndex, Workflow, WorkflowName},
            facts::{Evaluation, Happened},
            known::{ItemKey, ItemWork, ParentStep, Role, StartedBy, StoredRun},
            run::{Generation, RunState},
        },
    },
    engine::ports::{
        ItemQuery, NewItem, NewRun, RunData, RunStarted, RunTold, StepDone, VERSIONS_KEPT, WaitAnswers,
        WorkflowChange, WorkflowChanged,
    },
};
use crewcall_proto::{JobId, RunId};
use serde_json::{Value, json};

use super::under_test::{START, StoreUnderTest, accepted, completed};

/// A step of each kind.
pub(super) fn all_kinds() -> Value {
    json!({
        "name": "w", "on_failure": "compensate", "timeout_seconds": 3600,
        "steps": {
            "a": {"job": "j", "compensate": {"job": "undo"}},
            "f": {"job": "j", "each": "${{ trigger.data.list }}", "parallel": 3, "tolerate": 1,
                  "compensate": {"job": "undo"}},
            "e": {"wait": {"event": "paid.*", "timeout_seconds": 60}},
            "u": {"wait": {"until": "2033-11-20T16:07:00Z"}},
            "d": {"approval": {"timeout_seconds": 60}},
            "c": {"workflow": {"name": "child"}},
            "n": {"needs": ["a", "f"], "job": "j", "when": "trigger.data.go"},
        },
    })
}

pub(super) fn child() -> Value {
    json!({"name": "child", "steps": {"d": {"approval": {}}}})
}

pub(super) fn one_job(name: &str) -> Value {
    json!({"name": name, "steps": {"a": {"job": "j"}}})
}

pub(super) fn named(text: &str) -> WorkflowName {
    text.parse().unwrap()
}

pub(super) async fn put(tested: &StoreUnderTest, document: &Value) -> WorkflowChanged {
    put_expecting(tested, document, None).await
}

async fn put_expecting(tested: &StoreUnderTest, document: &Value, expected: Option<u32>) -> WorkflowChanged {
    let workflow = Box::new(Workflow::read(document).unwrap());
    let (name, document, by) = (workflow.name.clone(), document.to_string().into(), "ada".to_owned());
    let change = WorkflowChange::Put { workflow, document, by, expected };
    tested.store.change_workflow(&name, change).await.unwrap().value
}

pub(super) fn new_run(workflow: &str) -> NewRun {
    let id = RunId::generate();
    NewRun {
        id,
        workflow: named(workflow),
        version: 1,
        data: RunData { data: r#"{"list":[1,2]}"#.to_owned(), event: None, schedule: None },
        started_by: StartedBy::Person("ada".to_owned()),
        key: None,
        labels: BTreeMap::new(),
        root: Root::Run(id),
        depth: 0,
        idempotency: None,
    }
}

pub(super) async fn start(tested: &StoreUnderTest, new: NewRun) -> Arc<StoredRun> {
    match tested.store.start_run(new).await.unwrap().value {
        RunStarted::Started(run) => run,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn tell(tested: &StoreUnderTest, id: RunId, happened: Happened) -> Arc<StoredRun> {
    let text = format!("{happened:?}");
    match tested.store.tell_run(id, happened).await.unwrap().value {
        RunTold::Changed(run) => run,
        other => panic!("{text}: {other:?}"),
    }
}

pub(super) fn stop() -> Happened {
    Happened::CancelRequested { by: "ada".to_owned(), force: false }
}

pub(super) async fn done(tested: &StoreUnderTest, id: RunId, done: StepDone) {
    let text = format!("{done:?}");
    let answers = tested.store.step_run(id, vec![done]).await.unwrap().value;
    assert_eq!(answers, [Ok(())], "{text}");
}

/// Jobs of a step; those behind `born_failed` are failed from their beginning.
pub(super) fn items(
    tested: &StoreUnderTest,
    (step, generation, role): (StepIndex, Generation, Role),
    from: u32,
    count: u32,
    good: u32,
) -> (Vec<JobId>, StepDone) {
    let item = |index: u32| {
        let mut job = tested.job("j");
        if index >= good {
            job.status.fail_at_birth("unfilled", "no field".to_owned(), START);
        }
        NewItem { job: accepted(job, 99), of_index: index }
    };
    let items: Vec<NewItem> = (from..from + count).map(item).collect();
    let ids = items.iter().map(|item| item.job.job.id).collect();
    (ids, StepDone::Items { step, generation, role, from, items })
}

/// Makes the job of a step that is one.
pub(super) async fn job_of(tested: &StoreUnderTest, run: &StoredRun, name: &str) -> Job {
    let step = run.info.workflow().find(name).unwrap();
    let generation = run.run.step(step).unwrap().generation;
    let (ids, made) = items(tested, (step, generation, Role::Work), 0, 1, 1);
    done(tested, run.id(), made).await;
    tested.read(ids[0]).await.0
}

/// A run is the same, however it was got.
pub(super) fn same(one: &StoredRun, other: &StoredRun) {
    assert_eq!(one.run, other.run);
    assert_eq!(one.waits, other.waits);
    let (one, other) = (&one.info, &other.info);
    assert_eq!((one.id, &one.version, &one.started_by), (other.id, &other.version, &other.started_by));
    assert_eq!((&one.key, &one.labels, one.root), (&other.key, &other.labels, other.root));
    let place = |info: &crewcall_backend::domain::workflow::known::RunInfo| {
        (info.depth, info.log_from, info.created_at)
    };
    assert_eq!(place(one), place(other));
}

pub(super) async fn read(tested: &StoreUnderTest, id: RunId) -> StoredRun {
    tested.store.run(id).await.unwrap().expect("the run is there").0
}

async fn numbers(tested: &StoreUnderTest, name: &str) -> Vec<u32> {
    let versions = tested.store.workflow_versions(&named(name), None, 1_000).await.unwrap();
    versions.into_iter().map(|version| version.number).collect()
}

pub(crate) async fn a_workflow_that_is_put_twice_is_one_version(mut tested: StoreUnderTest) {
    let (first, second) = (one_job("w"), json!({"name": "w", "steps": {"b": {"job": "j"}}}));
    assert!(matches!(put_expecting(&tested, &first, Some(1)).await, WorkflowChanged::OtherVersion(None)));
    let WorkflowChanged::Created(created) = put_expecting(&tested, &first, Some(0)).await else { panic!() };
    assert_eq!((created.newest.number, created.created_at, &*created.newest.made_by), (1, START, "ada"));
    let WorkflowChanged::Unchanged(same) = put(&tested, &first).await else { panic!() };
    assert_eq!(same.newest.number, 1);
    let later = tested.clock.advance(5);
    assert!(matches!(put_expecting(&tested, &second, Some(2)).await, WorkflowChanged::OtherVersion(Some(1))));
    let WorkflowChanged::Changed(changed) = put_expecting(&tested, &second, Some(1)).await else { panic!() };
    assert_eq!((changed.newest.number, changed.newest.made_at, changed.created_at), (2, later, START));
    let pause = Pause { by: "ada".to_owned(), reason: Some("☃".to_owned()), at: later };
    let paused = tested.store.change_workflow(&named("w"), WorkflowChange::Pause(pause.clone())).await;
    assert!(matches!(paused.unwrap().value, WorkflowChanged::Changed(_)));
    for _ in 0..2 {
        let known = tested.store.workflow(&named("w")).unwrap();
        assert_eq!((known.newest.number, &known.pause, known.created_at), (2, &Some(pause.clone()), START));
        assert_eq!(&*known.newest.document, second.to_string());
        assert_eq!(tested.store.workflows().len(), 1);
        assert_eq!(numbers(&tested, "w").await, [2, 1]);
        let before = tested.store.workflow_versions(&named("w"), Some(2), 9).await.unwrap();
        assert_eq!((before.len(), before[0].number, before[0].made_at), (1, 1, START));
        let old = tested.store.workflow_version(&named("w"), 1).await.unwrap().unwrap();
        assert_eq!((&*old.document, &*old.workflow.steps[0].name), (&*first.to_string(), "a"));
        assert_eq!(tested.store.workflow_version(&named("w"), 3).await.unwrap(), None);
        assert!(tested.store.workflow(&named("x")).is_none());
        tested.reopen().await;
    }
    tested.finish().await;
}

pub(crate) async fn versions_are_kept_for_as_long_as_anybody_needs_them(mut tested: StoreUnderTest) {
    let version = |number: u32| json!({"name": "w", "steps": {"a": {"job": format!("j{number}")}}});
    put(&tested, &version(1)).await;
    let run = start(&tested, new_run("w")).await;
    for number in 2..=VERSIONS_KEPT + 3 {
        put(&tested, &version(number)).await;
    }
    let mut kept: Vec<u32> = (4..=VERSIONS_KEPT + 3).rev().collect();
    kept.push(1);
    assert_eq!(numbers(&tested, "w").await, kept, "the newest, and that of the run");
    let refused = tested.store.change_workflow(&named("w"), WorkflowChange::Delete).await.unwrap().value;
    assert!(matches!(refused, WorkflowChanged::HasOpenRuns { count: 1, one } if one == run.id()));
    tell(&tested, run.id(), stop()).await;
    let deleted = tested.store.change_workflow(&named("w"), WorkflowChange::Delete).await.unwrap().value;
    assert!(matches!(deleted, WorkflowChanged::Deleted));
    tested.reopen().await;
    assert!(tested.store.workflow(&named("w")).is_none());
    assert_eq!(numbers(&tested, "w").await, [1]);
    assert_eq!(read(&tested, run.id()).await.run.state, RunState::Cancelled);
    let WorkflowChanged::Created(again) = put(&tested, &version(7)).await else { panic!() };
    assert_eq!(again.newest.number, 2, "it counts on from what is kept");
    tested.clock.advance(1);
    tested.store.delete_finished_runs(Duration::ZERO, 10).await.unwrap();
    assert_eq!(numbers(&tested, "w").await, [2, 1], "it is among the newest");
    tested.store.change_workflow(&named("w"), WorkflowChange::Delete).await.unwrap();
    assert_eq!(numbers(&tested, "w").await, [0; 0]);
    tested.finish().await;
}

/// Everything that a step can have, read back after a restart.
pub(crate) async fn a_run_is_read_back_as_it_was(mut tested: StoreUnderTest) {
    put(&tested, &child()).await;
    put(&tested, &all_kinds()).await;
    let labels = BTreeMap::from([("team".to_owned(), "☃".to_owned())]);
    let (key, data) = (
        Some("customer 7".to_owned()),
        RunData { data: "[1]".into(), event: Some("{}".into()), schedule: None },
    );
    let new =
        NewRun { labels, key, data: data.clone(), depth: 3, root: Root::Event(Sequence(4)), ..new_run("w") };
    let id = start(&tested, new).await.id();
    let run = read(&tested, id).await;
    same(&run, &tested.store.open_run(id).unwrap());
    let step = |name: &str| run.info.workflow().find(name).unwrap();
    let first = Generation::FIRST;
    let begin = Evaluation::Begin { items: 5, until: None };
    done(&tested, id, StepDone::Evaluated { step: step("f"), generation: first, evaluation: begin }).await;
    let (jobs, made) = items(&tested, (step("f"), first, Role::Work), 0, 3, 2);
    done(&tested, id, made).await;
    let until = Evaluation::Begin { items: 0, until: Some(START.plus_millis(99_999)) };
    done(&tested, id, StepDone::Evaluated { step: step("u"), generation: first, evaluation: until }).await;
    let parent = ParentStep { run: id, step: step("c"), generation: first };
    let of_step = NewRun { started_by: StartedBy::Step(parent), ..new_run("child") };
    let child = of_step.id;
    let made = StepDone::Child { step: step("c"), generation: first, run: Ok(Box::new(of_step)) };
    done(&tested, id, made).await;
    let by = || "ada".to_owned();
    let comment = Some("fine ☃".to_owned());
    tell(&tested, id, Happened::Decided { step: step("d"), approved: true, by: by(), comment }).await;
    let caught_up = vec![(id, step("e"), first)];
    let answers = WaitAnswers { looked_to: Some(Sequence(12)), caught_up, answers: Vec::new() };
    tested.store.answer_waits(answers).await.unwrap();
    let job = tested.read(jobs[0]).await.0;
    tested.change(&job, completed(&job)).await;
    tell(&tested, id, Happened::Paused { by: by() }).await;
    for _ in 0..2 {
        let (run, read_data) = tested.store.run(id).await.unwrap().unwrap();
        same(&run, &tested.store.open_run(id).unwrap());
        assert_eq!((&read_data, run.run.is_paused), (&data, true));
        let f = &run.run.steps[step("f").0];
        let counts = (f.items.total, f.items.made, f.items.completed, f.items.failed);
        assert_eq!(counts, (5, 3, 1, 1));
        let wait = run.waits[&step("e")];
        assert!(wait.caught_up, "{wait:?}");
        let decision = run.run.steps[step("d").0].decision.as_ref().unwrap();
        assert_eq!((decision.approved, decision.comment.as_deref()), (true, Some("fine ☃")));
        let of_child = read(&tested, child).await;
        assert_eq!(of_child.info.started_by, StartedBy::Step(parent));
        assert_eq!(tested.store.waits_looked_to().await.unwrap(), Sequence(12));
        let counts = tested.store.open_run_counts(&named("w"));
        assert_eq!(counts, BTreeMap::from([(RunState::Running, 1)]));
        assert_eq!(tested.store.open_runs().len(), 2);
        tested.reopen().await;
    }
    items_of_a_step_are_read(&tested, id, &jobs, child).await;
    tested.finish().await;
}

async fn items_of_a_step_are_read(tested: &StoreUnderTest, id: RunId, jobs: &[JobId], child: RunId) {
    let query = |step: &str| ItemQuery {
        run: id,
        step: step.into(),
        generation: Generation::FIRST,
        role: Role::Work,
        after: None,
        open: false,
        results: true,
        limit: 9,
    };
    let found = async |query: ItemQuery| -> Vec<(u32, State, bool, bool)> {
        let items = tested.store.items(query).await.unwrap();
        let told = items.into_iter().map(|item| match item.work {
            ItemWork::Job { id, state, result, error } => {
                assert_eq!(id, jobs[usize::try_from(item.key.index).unwrap()]);
                (item.of_index, state, result.is_some(), error.is_some())
            }
            ItemWork::Run { .. } => panic!("it is a job"),
        });
        told.collect()
    };
    let (ended, open) = ((0, State::Completed, true, false), (1, State::Dispatched, false, false));
    let born_failed = (2, State::Failed, false, true);
    assert_eq!(found(query("f")).await, [ended, open, born_failed]);
    assert_eq!(found(ItemQuery { open: true, ..query("f") }).await, [open]);
    assert_eq!(found(ItemQuery { after: Some(0), limit: 1, ..query("f") }).await, [open]);
    let outcomes = found(ItemQuery { results: false, ..query("f") }).await;
    assert_eq!(outcomes, [(0, State::Completed, false, false), open, born_failed]);
    assert_eq!(found(ItemQuery { generation: Generation(2), ..query("f") }).await, []);
    assert_eq!(found(ItemQuery { role: Role::Undo, ..query("f") }).await, []);
    assert_eq!(found(query("nobody")).await, []);
    let of_child = tested.store.items(query("c")).await.unwrap();
    let work = of_child.into_iter().map(|item| item.work).next();
    assert!(matches!(work, Some(ItemWork::Run { id, state: RunState::Running }) if id == child), "{work:?}");
    let cause = tested.store.cause(jobs[1]).await.unwrap();
    let key = |step| ItemKey { run: id, step, role: Role::Work, index: 1, generation: Generation::FIRST };
    let step = read(tested, id).await.info.workflow().find("f").unwrap();
    let by = CausedBy::Step { key: key(step), workflow: named("w"), step: "f".into() };
    assert_eq!(cause, Some(Cause { by, root: Root::Event(Sequence(4)), depth: 3 }));
}
