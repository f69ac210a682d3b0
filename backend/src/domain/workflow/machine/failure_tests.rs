//! Failure, compensation, cancellation, retry and pause, by example.

use super::{
    super::{
        facts::{Command, Evaluation, Happened, Item, Outcome, Stale},
        run::{Generation, Reason, RunState, StopCause},
        waits_for::{WaitsFor, has_to_get_on},
    },
    outstanding,
    test_support::{NOW, Play},
};
use Outcome::{Cancelled, Completed, Failed};

/// Two branches, and who cleans up after them.
fn branches(on_failure: &str) -> String {
    format!(
        r#""on_failure": "{on_failure}", "timeout_seconds": 100, "steps": {{
            "a": {{"job": "j", "compensate": {{"job": "undo"}}}},
            "b": {{"job": "j"}},
            "b2": {{"needs": ["b"], "job": "j", "compensate": {{"job": "undo"}}}},
            "tell": {{"needs": ["a"], "run_if": "failed", "job": "j"}},
            "tidy": {{"needs": ["a", "b2"], "run_if": "finished", "job": "j"}}}}"#
    )
}

#[test]
fn a_failure_cancels_what_runs_and_then_what_cleans_up_still_runs() {
    let mut play = Play::start(&branches("cancel"));
    play.make().ends("a", Failed).is("stopping: a=failed b=running b2=pending tell=running tidy=pending");
    assert!(play.commanded("CancelJobs", "b"));
    assert_eq!(play.run.stop.as_ref().unwrap().cause, StopCause::StepFailed(play.step("a")));
    play.ends("b", Cancelled).is("stopping: a=failed b=cancelled b2=skipped tell=running tidy=running");
    play.ends("tell", Completed).ends("tidy", Failed);
    play.is("failed: a=failed b=cancelled b2=skipped tell=completed tidy=failed").is_over(RunState::Failed);
    assert_eq!(play.run.failures(&play.workflow).count(), 2);
}

#[test]
fn a_job_that_was_completed_before_it_heard_of_the_stop_is_completed() {
    let mut play = Play::start(&branches("cancel"));
    play.make().ends("a", Failed).ends("b", Completed);
    play.is("stopping: a=failed b=completed b2=cancelled tell=running tidy=running");
    assert_eq!(play.run.steps[2].reason, Some(Reason::RunStopped));
}

#[test]
fn what_was_to_be_made_is_not_made_after_a_stop() {
    let mut play = Play::start(
        r#""steps": {"a": {"job": "j"}, "f": {"each": "${{ trigger.l }}", "parallel": 2, "job": "j"}, "e": {"when": "trigger.x", "job": "j"}, "w": {"approval": {}}}"#,
    );
    play.begins("f", 3).make().item_ends("f", 0, Completed);
    assert!(play.commanded("MakeItems", "f"));
    let (a, item) = (play.step("a"), play.item("a", 0));
    play.happen(Happened::JobEnded { step: a, item, outcome: Failed });
    play.is("stopping: a=failed f=running e=cancelled w=cancelled");
    assert!(play.commanded("CloseWait", "w"));
    let (step, generation) = (play.step("f"), Generation::FIRST);
    let made = Happened::ItemsMade { step, generation, from: 2, count: 1, born_failed: 0 };
    assert_eq!(play.try_to(made), Err(Stale::State));
    assert_eq!(outstanding(&play.workflow, &play.run), [Command::CancelJobs { step, generation }]);
    play.item_ends("f", 1, Cancelled).is("failed: a=failed f=cancelled e=cancelled w=cancelled");
}

#[test]
fn what_has_nothing_open_stops_at_once() {
    let mut play =
        Play::start(r#""steps": {"a": {"job": "j"}, "b": {"job": "j"}, "c": {"workflow": {"name": "w"}}}"#);
    let (step, generation) = (play.step("a"), Generation::FIRST);
    play.happen(Happened::ItemsMade { step, generation, from: 0, count: 1, born_failed: 1 });
    play.is("failed: a=failed b=cancelled c=cancelled").is_over(RunState::Failed);
}

#[test]
fn a_drain_lets_everything_go_on_that_does_not_need_what_failed() {
    let mut play = Play::start(&branches("drain"));
    play.ends("a", Failed).is("running: a=failed b=running b2=pending tell=running tidy=pending");
    play.ends("b", Completed).ends("b2", Completed).ends("tell", Completed).ends("tidy", Completed);
    play.is("failed: a=failed b=completed b2=completed tell=completed tidy=completed");
}

#[test]
fn what_completed_is_undone_in_reverse_order_of_completion() {
    let mut play = Play::start(
        r#""on_failure": "compensate", "steps": {
            "a": {"job": "j", "compensate": {"job": "undo"}},
            "b": {"needs": ["a"], "job": "j", "compensate": {"job": "undo"}},
            "c": {"job": "j", "compensate": {"job": "undo"}},
            "d": {"needs": ["b", "c"], "job": "j", "compensate": {"job": "undo"}},
            "tidy": {"needs": ["d"], "run_if": "finished", "job": "j"}}"#,
    );
    play.ends("a", Completed).ends("b", Completed).ends("c", Completed).ends("d", Failed);
    play.is("stopping: a=completed b=completed c=completed d=failed tidy=running");
    play.ends("tidy", Completed);
    play.is("compensating: a=completed b=completed c=completed d=failed tidy=completed");
    assert!(play.commanded("Compensate", "c"), "c completed last");
    assert_eq!(outstanding(&play.workflow, &play.run).len(), 1, "one after the other");
    let waits_for = |play: &Play, name: &str| WaitsFor::of(&play.workflow, &play.run, play.step(name));
    assert_eq!(waits_for(&play, "c"), Some(WaitsFor::Compensation { open: 0, to_make: 1 }));
    assert_eq!(waits_for(&play, "b"), None);
    play.undone("c", 0, Failed);
    assert!(play.commanded("Compensate", "b"), "one that fails does not stop the others");
    play.undone("b", 0, Completed).undone("a", 0, Completed).is_over(RunState::Failed);
    assert_eq!(play.run.not_undone(&play.workflow).collect::<Vec<_>>(), [play.step("c")]);
    assert_eq!(play.retry(None), Err(Stale::Compensated));
    let (step, item) = (play.step("a"), play.item("a", 0));
    assert_eq!(play.try_to(Happened::CompensationEnded { step, item, outcome: Failed }), Err(Stale::State));
}

#[test]
fn every_item_that_completed_is_undone_even_of_a_step_that_failed() {
    let mut play = Play::start(
        r#""on_failure": "compensate", "steps": {"f": {"each": "${{ trigger.l }}", "parallel": 2, "job": "j", "compensate": {"job": "undo"}}}"#,
    );
    play.begins("f", 4);
    play.item_ends("f", 0, Completed).item_ends("f", 1, Completed).item_ends("f", 2, Completed);
    play.item_ends("f", 3, Failed).is("compensating: f=failed");
    let (step, generation) = (play.step("f"), Generation::FIRST);
    assert!(play.commands.contains(&Command::Compensate { step, generation, from: 0, count: 2 }));
    play.undone("f", 1, Completed);
    let item = play.item("f", 0);
    play.happen(Happened::CompensationEnded { step, item, outcome: Completed });
    assert!(play.commands.is_empty(), "the last is not asked for twice: {:?}", play.commands);
    let made = Happened::CompensationsMade { step, generation, from: 0, count: 2, born_failed: 0 };
    assert_eq!(play.try_to(made), Err(Stale::Repeated));
    let item = Item { is_open: false, ..play.item("f", 1) };
    let again = Happened::CompensationEnded { step, item, outcome: Failed };
    assert_eq!(play.try_to(again), Err(Stale::Repeated));
    play.undone("f", 2, Completed);
    play.is_over(RunState::Failed);
    assert_eq!(play.run.not_undone(&play.workflow).count(), 0);
}

#[test]
fn where_nothing_is_to_be_undone_a_run_fails_at_once_and_can_be_tried_again() {
    let mut play = Play::start(
        r#""on_failure": "compensate", "steps": {"a": {"job": "j"}, "b": {"needs": ["a"], "job": "j", "compensate": {"job": "undo"}}}"#,
    );
    play.ends("a", Completed).ends("b", Failed).is_over(RunState::Failed);
    assert_eq!(play.retry(None), Ok(()));
}

#[test]
fn force_leaves_a_compensation_half_done() {
    let mut play = Play::start(
        r#""on_failure": "compensate", "steps": {"a": {"job": "j", "compensate": {"job": "undo"}},
            "b": {"needs": ["a"], "job": "j", "compensate": {"job": "undo"}}, "c": {"needs": ["b"], "job": "j"}}"#,
    );
    play.ends("a", Completed).ends("b", Completed).ends("c", Failed).make();
    assert_eq!(play.cancel(false), Err(Stale::State));
    assert_eq!(play.cancel(true), Ok(()));
    assert!(play.commanded("CancelCompensations", "b"));
    assert_eq!(play.cancel(true), Err(Stale::State));
    play.undone("b", 0, Cancelled).is_over(RunState::Failed);
    assert_eq!(play.run.not_undone(&play.workflow).count(), 2);
    assert_eq!(play.retry(None), Err(Stale::Compensated));
}

#[test]
fn a_cancellation_lets_only_finished_steps_begin_and_force_none() {
    let mut play = Play::start(&branches("compensate"));
    play.ends("b", Completed).make();
    assert_eq!(play.cancel(false), Ok(()));
    play.is("stopping: a=running b=completed b2=running tell=pending tidy=pending");
    assert_eq!(play.cancel(false), Err(Stale::State));
    play.ends("a", Failed).is("stopping: a=failed b=completed b2=running tell=cancelled tidy=pending");
    play.ends("b2", Cancelled).is("stopping: a=failed b=completed b2=cancelled tell=cancelled tidy=running");
    play.ends("tidy", Completed).is_over(RunState::Cancelled);

    let mut play = Play::start(&branches("cancel"));
    play.make();
    assert_eq!(play.cancel(true), Ok(()));
    play.ends("a", Cancelled).ends("b", Cancelled);
    play.is("cancelled: a=cancelled b=cancelled b2=skipped tell=skipped tidy=cancelled");
}

#[test]
fn force_stops_what_cleans_up_as_well() {
    let mut play = Play::start(&branches("cancel"));
    play.ends("a", Failed).ends("b", Cancelled);
    play.is("stopping: a=failed b=cancelled b2=skipped tell=running tidy=running").run.stop.as_ref().unwrap();
    play.make();
    assert_eq!(play.cancel(false), Ok(()));
    assert!(play.commanded("CancelJobs", "tell") && !play.commanded("CancelJobs", "tidy"));
    assert_eq!(play.cancel(true), Ok(()));
    assert!(play.commanded("CancelJobs", "tidy") && !play.commanded("CancelJobs", "tell"));
    play.ends("tell", Cancelled).ends("tidy", Cancelled).is_over(RunState::Failed);
}

#[test]
fn a_run_that_did_not_start_is_cancelled_at_once() {
    let workflow = super::test_support::workflow(&branches("cancel"));
    let run = super::Run::new(&workflow);
    let mut play = Play { workflow, run, commands: Vec::new(), now: NOW };
    assert_eq!(play.cancel(false), Ok(()));
    play.is("cancelled: a=cancelled b=cancelled b2=cancelled tell=cancelled tidy=cancelled");
    assert_eq!(play.cancel(true), Err(Stale::State));
    assert_eq!(play.retry(None), Ok(()));
    play.is("queued: a#2=pending b#2=pending b2#2=pending tell#2=pending tidy#2=pending");
    play.start_again().is("running: a#2=running b#2=running b2#2=pending tell#2=pending tidy#2=pending");
}

#[test]
fn the_time_of_a_run_ends() {
    let mut play = Play::start(&branches("drain"));
    assert_eq!(play.try_to(Happened::TimedOut), Err(Stale::NotDue));
    play.make().now = NOW.plus_millis(100_000);
    play.happen(Happened::TimedOut);
    assert_eq!(play.run.deadline_at, None, "nobody has to say it again");
    assert_eq!(play.try_to(Happened::TimedOut), Err(Stale::State));
    play.ends("a", Cancelled).ends("b", Cancelled);
    play.is("stopping: a=cancelled b=cancelled b2=skipped tell=skipped tidy=running");
    play.ends("tidy", Completed).is_over(RunState::Failed);
    let mut play = Play::start(r#""steps": {"a": {"job": "j"}}"#);
    play.now = NOW.plus_millis(i64::MAX);
    assert_eq!(play.try_to(Happened::TimedOut), Err(Stale::NotDue), "there is no limit");
}

#[test]
fn a_child_run_is_cancelled_as_well() {
    let mut play = Play::start(r#""steps": {"a": {"job": "j"}, "c": {"workflow": {"name": "w"}}}"#);
    play.ends("a", Failed).is("stopping: a=failed c=running");
    assert!(play.commanded("CancelChild", "c"));
    let (step, generation) = (play.step("c"), Generation::FIRST);
    assert_eq!(outstanding(&play.workflow, &play.run), [Command::CancelChild { step, generation }]);
    play.happen(Happened::ChildEnded { step, generation, outcome: Cancelled });
    play.is("failed: a=failed c=cancelled");
}

#[test]
fn a_retry_begins_what_failed_and_what_was_skipped_for_that_and_keeps_what_completed() {
    let mut play = Play::start(
        r#""on_failure": "drain", "steps": {"ok": {"job": "j"}, "bad": {"needs": ["ok"], "job": "j"}, "after": {"needs": ["bad"], "job": "j"},
            "never": {"needs": ["ok"], "when": "trigger.x", "job": "j"}, "last": {"needs": ["never"], "job": "j"}}"#,
    );
    play.ends("ok", Completed).evaluated("never", Evaluation::Skip);
    assert_eq!(play.retry(None), Err(Stale::State), "it runs");
    let late = play.make().item("bad", 0);
    play.ends("bad", Failed);
    play.is("failed: ok=completed bad=failed after=skipped never=skipped last=skipped");
    assert_eq!(play.retry(None), Ok(()));
    play.is("queued: ok=completed bad#2=pending after#2=pending never=skipped last=skipped");
    assert_eq!(play.run.generation, Generation(2));
    play.start_again().is("running: ok=completed bad#2=running after#2=pending never=skipped last=skipped");
    // A late word of an earlier generation changes nothing.
    let step = play.make().step("bad");
    let before = play.run.clone();
    assert_eq!(
        play.try_to(Happened::JobEnded { step, item: late, outcome: Completed }),
        Err(Stale::Generation)
    );
    assert_eq!(play.run, before);
    play.ends("bad", Completed).ends("after", Completed).is_over(RunState::Completed);
    assert_eq!(play.retry(None), Err(Stale::NothingToRetry));
}

#[test]
fn a_retry_from_a_step_begins_it_again_with_everything_downstream() {
    let mut play = Play::start(
        r#""steps": {"a": {"job": "j"}, "b": {"needs": ["a"], "job": "j"}, "c": {"needs": ["b"], "job": "j"}, "d": {"needs": ["a"], "job": "j"}}"#,
    );
    play.ends("a", Completed).ends("b", Completed).ends("c", Completed).ends("d", Completed);
    assert_eq!(play.retry(Some("b")), Ok(()));
    play.is("queued: a=completed b#2=pending c#2=pending d=completed");
    play.start_again().ends("b", Completed).ends("c", Failed);
    assert_eq!(play.retry(Some("d")), Ok(()));
    play.is("queued: a=completed b#2=completed c#3=pending d#3=pending");
    play.start_again().ends("c", Completed).ends("d", Completed).is_over(RunState::Completed);
}

#[test]
fn what_was_skipped_because_nothing_failed_is_looked_at_again() {
    let mut play = Play::start(
        r#""steps": {"a": {"job": "j"}, "tell": {"needs": ["a"], "run_if": "failed", "job": "j"}}"#,
    );
    play.ends("a", Completed).is("completed: a=completed tell=skipped");
    assert_eq!(play.retry(Some("a")), Ok(()));
    play.start_again().ends("a", Failed).is("stopping: a#2=failed tell#2=running");
}

#[test]
fn in_a_pause_nothing_begins_and_what_runs_goes_on() {
    let mut play = Play::start(
        r#""steps": {"f": {"each": "${{ trigger.l }}", "parallel": 1, "job": "j"}, "a": {"job": "j"}, "b": {"needs": ["a"], "job": "j"}, "e": {"when": "trigger.x", "job": "j"}}"#,
    );
    play.begins("f", 2).make();
    let pause = || Happened::Paused { by: "ann".to_owned() };
    let resume = || Happened::Resumed { by: "ann".to_owned() };
    assert_eq!(play.try_to(resume()), Err(Stale::State));
    play.happen(pause());
    assert_eq!(play.try_to(pause()), Err(Stale::State));
    assert!(outstanding(&play.workflow, &play.run).is_empty());
    let (step, generation) = (play.step("e"), Generation::FIRST);
    let evaluation = Evaluation::Begin { items: 1, until: None };
    assert_eq!(play.try_to(Happened::Evaluated { step, generation, evaluation }), Err(Stale::State));
    play.ends("a", Completed).item_ends("f", 0, Completed);
    play.is("running: f=running a=completed b=pending! e=pending!");
    assert!(outstanding(&play.workflow, &play.run).is_empty());
    play.happen(resume());
    assert!(
        play.commanded("MakeItems", "f")
            && play.commanded("MakeItems", "b")
            && play.commanded("Evaluate", "e")
    );
    play.is("running: f=running a=completed b=running e=pending!");
}

#[test]
fn a_pause_takes_back_what_was_to_be_made() {
    let mut play = Play::start(
        r#""on_failure": "compensate", "steps": {"a": {"job": "j", "compensate": {"job": "undo"}}, "b": {"needs": ["a"], "job": "j"}}"#,
    );
    let (step, generation) = (play.step("a"), Generation::FIRST);
    play.happen(Happened::Paused { by: "ann".to_owned() });
    let made = Happened::ItemsMade { step, generation, from: 0, count: 1, born_failed: 0 };
    assert_eq!(play.try_to(made), Err(Stale::State));
    play.happen(Happened::Resumed { by: "ann".to_owned() });
    assert!(play.commanded("MakeItems", "a"));
    play.ends("a", Completed).ends("b", Failed).is("compensating: a=completed b=failed");
    play.happen(Happened::Paused { by: "ann".to_owned() });
    assert!(outstanding(&play.workflow, &play.run).is_empty());
    play.happen(Happened::Resumed { by: "ann".to_owned() });
    assert!(play.commanded("Compensate", "a"));
    play.undone("a", 0, Completed).is_over(RunState::Failed);
}

#[test]
fn whatever_is_open_says_what_it_waits_for() {
    let mut play = Play::start(
        r#""steps": {"f": {"each": "${{ trigger.l }}", "parallel": 2, "job": "j"}, "c": {"workflow": {"name": "w"}}, "e": {"wait": {"event": "x"}},
            "u": {"wait": {"until": "${{ trigger.at }}"}}, "a": {"approval": {"timeout_seconds": 1}}, "n": {"needs": ["f", "c"], "job": "j"}}"#,
    );
    let waits = |play: &Play, name: &str| WaitsFor::of(&play.workflow, &play.run, play.step(name));
    assert_eq!(waits(&play, "f"), Some(WaitsFor::Evaluation));
    let until = Some(NOW.plus_millis(9));
    play.evaluated("u", Evaluation::Begin { items: 0, until }).begins("f", 5).make();
    assert_eq!(waits(&play, "f"), Some(WaitsFor::Items { open: 2, to_make: 3 }));
    assert_eq!(waits(&play, "c"), Some(WaitsFor::Child));
    assert_eq!(waits(&play, "e"), Some(WaitsFor::Event { until: None }));
    assert_eq!(waits(&play, "u"), Some(WaitsFor::Moment(NOW.plus_millis(9))));
    assert_eq!(waits(&play, "a"), Some(WaitsFor::Decision { until: Some(NOW.plus_millis(1_000)) }));
    assert_eq!(waits(&play, "n"), Some(WaitsFor::Needs(vec![play.step("f"), play.step("c")])));
    let (step, generation) = (play.step("c"), Generation::FIRST);
    play.happen(Happened::ChildEnded { step, generation, outcome: Completed });
    assert_eq!(waits(&play, "n"), Some(WaitsFor::Needs(vec![play.step("f")])), "one of them is over");
    assert_eq!(play.cancel(false), Ok(()));
    assert_eq!(waits(&play, "f"), Some(WaitsFor::Stop { open: 2 }));
    assert_eq!(waits(&play, "e"), None);
    let workflow = super::test_support::workflow(r#""steps": {"a": {"job": "j"}}"#);
    let run = super::Run::new(&workflow);
    assert_eq!(WaitsFor::of(&workflow, &run, super::StepIndex(0)), Some(WaitsFor::Start));
    assert_eq!(WaitsFor::of(&workflow, &run, super::StepIndex(1)), None);
}

#[test]
fn a_run_has_to_get_on_unless_it_waits_for_others() {
    let mut play = Play::start(
        r#""steps": {"f": {"each": "${{ trigger.l }}", "parallel": 2, "job": "j"}, "c": {"workflow": {"name": "w"}}, "a": {"approval": {}},
            "n": {"needs": ["f", "c", "a"], "job": "j"}}"#,
    );
    let gets_on = |play: &Play| has_to_get_on(&play.workflow, &play.run);
    assert!(gets_on(&play), "an expression is to be evaluated");
    play.begins("f", 1);
    assert!(gets_on(&play), "a job is to be made");
    play.make();
    assert!(gets_on(&play), "a job is open");
    play.happen(Happened::Paused { by: "ann".to_owned() });
    assert!(!gets_on(&play), "it is paused");
    play.happen(Happened::Resumed { by: "ann".to_owned() });
    play.ends("f", Completed);
    assert!(!gets_on(&play), "another run is open, and somebody has to decide");
    assert_eq!(play.cancel(false), Ok(()));
    assert!(gets_on(&play), "the other run was told to stop");
    let (step, generation) = (play.step("c"), Generation::FIRST);
    play.happen(Happened::ChildEnded { step, generation, outcome: Completed });
    assert!(!gets_on(&play), "it is over");
    let workflow = super::test_support::workflow(
        r#""steps": {"a": {"job": "j"}, "b": {"needs": ["a"], "approval": {}}}"#,
    );
    let mut run = super::Run::new(&workflow);
    assert!(has_to_get_on(&workflow, &run), "it waits for its place");
    run.state = RunState::Running;
    assert!(has_to_get_on(&workflow, &run), "nothing of it waits for anything");
}

#[test]
fn force_leaves_what_completed_as_it_is_and_the_run_can_be_tried_again() {
    let mut play = Play::start(&branches("compensate"));
    play.make().ends("b", Completed).ends("b2", Completed).ends("a", Failed);
    assert_eq!(play.cancel(true), Ok(()));
    play.is("failed: a=failed b=completed b2=completed tell=cancelled tidy=cancelled");
    assert_eq!((play.run.is_compensated, play.retry(None)), (false, Ok(())));
}

#[test]
fn a_run_does_not_start_in_a_pause() {
    let workflow = super::test_support::workflow(r#""steps": {"a": {"job": "j"}}"#);
    let run = super::Run::new(&workflow);
    let mut play = Play { workflow, run, commands: Vec::new(), now: NOW };
    play.happen(Happened::Paused { by: "ann".to_owned() });
    assert_eq!(play.try_to(Happened::Started), Err(Stale::State));
    play.happen(Happened::Resumed { by: "ann".to_owned() });
    play.happen(Happened::Started);
}
