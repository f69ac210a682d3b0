//! Gates, items, waits and approvals, by example.

use super::{
    super::{
        facts::{Command, Entry, Evaluation, Happened, Item, Outcome, Stale},
        limits::{ITEMS_CHUNK, ITEMS_MAX},
        run::{Generation, Reason, RunState, StepState},
    },
    outstanding,
    test_support::{NOW, Play},
};
use crate::domain::Sequence;
use Outcome::{Cancelled, Completed, Failed};

const CHAIN: &str =
    r#""steps": {"a": {"job": "j"}, "b": {"needs": ["a"], "job": "j"}, "c": {"needs": ["b"], "job": "j"}}"#;

fn diamond(rest: &str) -> String {
    format!(
        r#""on_failure": "drain", "steps": {{"l": {{"job": "j"}}, "r": {{"job": "j"}}, "end": {{"needs": ["l", "r"], {rest} "job": "j"}}}}"#
    )
}

#[test]
fn a_step_begins_when_what_it_needs_is_completed() {
    let mut play = Play::start(CHAIN);
    play.is("running: a=running b=pending c=pending");
    assert_eq!(play.run.started_at, Some(NOW));
    play.ends("a", Completed).is("running: a=completed b=running c=pending");
    assert!(play.commanded("MakeItems", "b"), "in the same call: {:?}", play.commands);
    play.ends("b", Completed).ends("c", Completed).is("completed: a=completed b=completed c=completed");
    assert!(play.commands.contains(&Command::Ended(RunState::Completed)));
    assert_eq!(play.run.ended_at, Some(NOW));
}

#[test]
fn a_step_waits_for_all_that_it_needs() {
    let mut play = Play::start(&diamond(""));
    play.ends("l", Completed).is("running: l=completed r=running end=pending");
    play.ends("r", Completed).is("running: l=completed r=completed end=running");
}

#[test]
fn where_a_need_failed_or_was_skipped_a_step_is_skipped_and_says_which() {
    let mut play = Play::start(&diamond(""));
    play.ends("l", Failed).is("running: l=failed r=running end=pending");
    play.ends("r", Completed).is("failed: l=failed r=completed end=skipped");
    let need = Reason::Need { step: play.step("l"), state: StepState::Failed };
    assert_eq!(play.run.steps[2].reason, Some(need.clone()));
    assert_eq!(need.sentence(&play.workflow), "step \"l\", which it needs, is failed");

    let mut play = Play::start(
        r#""steps": {"a": {"when": "trigger.x", "job": "j"}, "b": {"needs": ["a"], "job": "j"}, "c": {"needs": ["b"], "job": "j"}}"#,
    );
    play.is("running: a=pending! b=pending c=pending");
    assert!(play.commanded("Evaluate", "a"));
    // A chain of decisions that needs no work is one call, and a run is completed with skipped steps.
    play.evaluated("a", Evaluation::Skip).is("completed: a=skipped b=skipped c=skipped");
    assert_eq!(play.run.steps[0].reason, Some(Reason::ConditionFalse));
    let need = Reason::Need { step: play.step("b"), state: StepState::Skipped };
    assert_eq!(play.run.steps[2].reason, Some(need));
}

#[test]
fn any_completed_joins_branches() {
    let join = diamond(r#""run_if": "any_completed","#);
    let mut play = Play::start(&join);
    play.ends("l", Failed).ends("r", Completed).is("running: l=failed r=completed end=running");
    let mut play = Play::start(&join);
    play.ends("l", Completed).is("running: l=completed r=running end=pending");
    let mut play = Play::start(&join);
    play.ends("l", Failed).ends("r", Failed).is("failed: l=failed r=failed end=skipped");
    assert_eq!(play.run.steps[2].reason, Some(Reason::NoneCompleted));
}

#[test]
fn failed_begins_when_one_failed_and_finished_always() {
    let failed = diamond(r#""run_if": "failed","#);
    let mut play = Play::start(&failed);
    play.ends("l", Completed).ends("r", Failed).is("running: l=completed r=failed end=running");
    play.ends("end", Completed).is("failed: l=completed r=failed end=completed");
    let mut play = Play::start(&failed);
    play.ends("l", Completed).ends("r", Completed).is("completed: l=completed r=completed end=skipped");
    assert_eq!(play.run.steps[2].reason, Some(Reason::NoneFailed));

    let finished = diamond(r#""run_if": "finished","#);
    for outcome in [Completed, Failed] {
        let mut play = Play::start(&finished);
        play.ends("l", outcome).ends("r", outcome);
        assert!(play.told().ends_with("end=running"), "{}", play.told());
    }
}

#[test]
fn a_condition_without_a_value_fails_the_step_and_never_skips_it() {
    let mut play = Play::start(r#""steps": {"a": {"when": "trigger.x", "job": "j"}}"#);
    let message = "there is no field `x`".to_owned();
    play.evaluated("a", Evaluation::Fail(message.clone())).is("failed: a=failed");
    assert_eq!(play.run.steps[0].reason, Some(Reason::InvalidParameters(message)));
}

#[test]
fn a_failure_that_is_overlooked_counts_as_completed() {
    let mut play = Play::start(
        r#""steps": {"a": {"job": "j", "on_failure": "continue"}, "b": {"needs": ["a"], "job": "j"},
            "c": {"needs": ["a"], "run_if": "failed", "job": "j"}}"#,
    );
    play.ends("a", Failed).is("running: a=failed b=running c=skipped");
    play.ends("b", Completed).is("completed: a=failed b=completed c=skipped");
}

#[test]
fn a_late_a_repeated_and_a_wrong_evaluation_change_nothing() {
    let mut play = Play::start(
        r#""steps": {"a": {"when": "trigger.x", "job": "j"}, "b": {"needs": ["a"], "wait": {"until": "${{ trigger.at }}"}}}"#,
    );
    let (a, b) = (play.step("a"), play.step("b"));
    let begin = Evaluation::Begin { items: 1, until: None };
    let evaluated = |step, generation, evaluation| Happened::Evaluated { step, generation, evaluation };
    let first = Generation::FIRST;
    assert_eq!(play.try_to(evaluated(b, first, begin.clone())), Err(Stale::State), "not due");
    assert_eq!(play.try_to(evaluated(a, first.next(), begin.clone())), Err(Stale::Generation));
    play.begins("a", 1);
    assert_eq!(play.try_to(evaluated(a, first, Evaluation::Skip)), Err(Stale::State));
    play.ends("a", Completed);
    assert_eq!(play.try_to(evaluated(b, first, begin)), Err(Stale::Unknown), "until when?");
}

const FAN: &str = r#""steps": {"f": {"each": "${{ trigger.list }}", "parallel": 3, "tolerate": 1, "job": "j"},
    "g": {"needs": ["f"], "job": "j"}}"#;

#[test]
fn an_empty_list_completes_a_step() {
    let mut play = Play::start(FAN);
    play.begins("f", 0).is("running: f=completed g=running");
}

#[test]
fn items_are_made_as_far_as_parallel_allows() {
    let mut play = Play::start(FAN);
    play.begins("f", 5);
    let (step, generation) = (play.step("f"), Generation::FIRST);
    assert!(play.commands.contains(&Command::MakeItems { step, generation, from: 0, count: 3 }));
    play.make();
    assert_eq!(play.run.steps[0].items.open(), 3);
    play.item_ends("f", 1, Completed);
    assert!(play.commands.contains(&Command::MakeItems { step, generation, from: 3, count: 1 }));
    // One that ends meanwhile does not change what is to be made.
    let item = play.item("f", 0);
    play.happen(Happened::JobEnded { step, item, outcome: Completed });
    assert!(play.commands.is_empty(), "it is not asked for twice: {:?}", play.commands);
    let to_make = Command::MakeItems { step, generation, from: 3, count: 1 };
    assert_eq!(outstanding(&play.workflow, &play.run), [to_make]);
    play.make();
    assert_eq!((play.run.steps[0].items.made, play.run.steps[0].items.open()), (5, 3));
    play.item_ends("f", 2, Completed).item_ends("f", 4, Completed).is("running: f=running g=pending");
    play.item_ends("f", 3, Completed).is("running: f=completed g=running");
}

#[test]
fn items_are_made_in_chunks() {
    let mut play =
        Play::start(r#""steps": {"f": {"each": "${{ trigger.list }}", "parallel": 10000, "job": "j"}}"#);
    play.begins("f", 600);
    let (step, generation) = (play.step("f"), Generation::FIRST);
    let mut chunks = Vec::new();
    while let Some(Command::MakeItems { from, count, .. }) =
        outstanding(&play.workflow, &play.run).first().cloned()
    {
        chunks.push((from, count));
        play.happen(Happened::ItemsMade { step, generation, from, count, born_failed: 0 });
    }
    assert_eq!(chunks, [(0, ITEMS_CHUNK), (256, ITEMS_CHUNK), (512, 88)]);
}

#[test]
fn news_of_items_counts_once() {
    let mut play = Play::start(FAN);
    play.begins("f", 5).make();
    let step = play.step("f");
    let generation = Generation::FIRST;
    let made = |from, count, born_failed| Happened::ItemsMade { step, generation, from, count, born_failed };
    assert_eq!(play.try_to(made(0, 3, 0)), Err(Stale::Repeated));
    assert_eq!(play.try_to(made(3, 1, 0)), Err(Stale::State), "nobody asked for it");
    play.item_ends("f", 0, Completed);
    assert_eq!(play.try_to(made(3, 2, 0)), Err(Stale::Unknown), "there is room for one");
    assert_eq!(play.try_to(made(3, 1, 2)), Err(Stale::Unknown));
    let ended = |item| Happened::JobEnded { step, item, outcome: Completed };
    let item = play.item("f", 0);
    assert_eq!(play.try_to(ended(Item { is_open: false, ..item })), Err(Stale::Repeated));
    assert_eq!(play.try_to(ended(Item { index: 3, ..item })), Err(Stale::Unknown), "it is not made");
    assert_eq!(play.try_to(ended(Item { generation: generation.next(), ..item })), Err(Stale::Generation));
}

#[test]
fn a_step_fails_when_more_items_do_than_it_tolerates() {
    let mut play = Play::start(FAN);
    play.begins("f", 3).item_ends("f", 0, Failed).item_ends("f", 1, Completed);
    play.item_ends("f", 2, Completed).is("running: f=completed g=running");

    let mut play = Play::start(FAN);
    play.begins("f", 9).item_ends("f", 0, Failed);
    // Somebody else cancelled it.
    play.item_ends("f", 1, Cancelled);
    assert!(outstanding(&play.workflow, &play.run).is_empty(), "nothing more is made");
    play.is("running: f=running g=pending");
    play.item_ends("f", 2, Completed).item_ends("f", 3, Completed).is("failed: f=failed g=skipped");
    assert_eq!(play.run.steps[0].reason, Some(Reason::ItemsFailed(2)));
}

#[test]
fn percents_are_of_all_items() {
    let percent = r#""steps": {"f": {"each": "${{ trigger.list }}", "tolerate": "50%", "job": "j"}}"#;
    for (items, failures, expected) in
        [(3, 1, "completed: f=completed"), (3, 2, "failed: f=failed"), (2, 1, "completed: f=completed")]
    {
        let mut play = Play::start(percent);
        play.begins("f", items);
        for index in 0..items {
            play.item_ends("f", index, if index < failures { Failed } else { Completed });
        }
        play.is(expected);
    }
}

#[test]
fn items_that_are_born_failed_count_as_failures() {
    let mut play = Play::start(FAN);
    play.begins("f", 3);
    let (step, generation) = (play.step("f"), Generation::FIRST);
    play.happen(Happened::ItemsMade { step, generation, from: 0, count: 3, born_failed: 1 });
    play.item_ends("f", 0, Completed).item_ends("f", 2, Completed).is("running: f=completed g=running");
    play.happen(Happened::ItemsMade { step: play.step("g"), generation, from: 0, count: 1, born_failed: 1 });
    play.is("failed: f=completed g=failed");
}

#[test]
fn too_many_items_fail_the_step() {
    let mut play = Play::start(FAN);
    play.begins("f", ITEMS_MAX + 1).is("failed: f=failed g=skipped");
    assert!(
        matches!(&play.run.steps[0].reason, Some(Reason::InvalidParameters(why)) if why.contains("10001"))
    );
    let mut play = Play::start(FAN);
    play.begins("f", ITEMS_MAX).is("running: f=running g=pending");
}

#[test]
fn a_child_run_is_one_item() {
    let mut play =
        Play::start(r#""steps": {"c": {"workflow": {"name": "w"}}, "d": {"needs": ["c"], "job": "j"}}"#);
    assert!(play.commanded("StartChild", "c"));
    let (step, generation) = (play.step("c"), Generation::FIRST);
    let ended = |outcome| Happened::ChildEnded { step, generation, outcome };
    assert_eq!(play.try_to(ended(Completed)), Err(Stale::State), "it did not begin");
    play.make();
    let item = play.item("c", 0);
    assert_eq!(play.try_to(Happened::JobEnded { step, item, outcome: Completed }), Err(Stale::Unknown));
    play.happen(ended(Completed));
    play.is("running: c=completed d=running");
    assert_eq!(play.try_to(ended(Failed)), Err(Stale::State));
}

const WAITS: &str = r#""steps": {"w": {"wait": {"event": "paid", "timeout_seconds": 60}}, "u": {"wait": {"until": "${{ trigger.at }}"}},
    "a": {"approval": {"timeout_seconds": 60, "on_timeout": "continue"}}, "b": {"needs": ["w", "u", "a"], "job": "j"}}"#;

#[test]
fn waits_are_opened_and_closed() {
    let mut play = Play::start(WAITS);
    let (w, u, generation) = (play.step("w"), play.step("u"), Generation::FIRST);
    let deadline_at = Some(NOW.plus_millis(60_000));
    assert!(play.commands.contains(&Command::OpenWait { step: w, generation, deadline_at }));
    assert!(play.commanded("OpenWait", "a") && play.commanded("Evaluate", "u"));
    let until = Some(NOW.plus_millis(5));
    play.evaluated("u", Evaluation::Begin { items: 0, until });
    assert!(play.commands.contains(&Command::OpenWait { step: u, generation, deadline_at: until }));
    play.answered("w");
    assert!(play.commands.contains(&Command::CloseWait { step: w, generation }));
    assert_eq!(play.run.steps[w.0].answer, Some(Sequence(7)));
    assert_eq!(play.timed_out("w", 60_000), Err(Stale::State), "the answer was first");
    assert_eq!(play.timed_out("u", 4), Err(Stale::NotDue));
    assert_eq!(play.timed_out("u", 5), Ok(()));
    assert_eq!(play.decided("a", true), Ok(()));
    play.is("running: w=completed u=completed a=completed b=running");
    let event = Sequence(8);
    let answer = Happened::WaitAnswered { step: u, generation, event };
    assert_eq!(play.try_to(answer), Err(Stale::Unknown), "it waits for no event");
}

#[test]
fn a_wait_that_takes_too_long_fails_unless_it_says_otherwise() {
    let mut play = Play::start(WAITS);
    assert_eq!(play.timed_out("a", 59_999), Err(Stale::NotDue));
    assert_eq!(play.timed_out("a", 60_000), Ok(()));
    assert_eq!(play.run.steps[2].state, StepState::Completed);
    assert_eq!(play.run.steps[2].reason, Some(Reason::TimedOut));
    assert_eq!(play.decided("a", true), Err(Stale::State), "too late");
    assert_eq!(play.timed_out("w", 60_000), Ok(()));
    assert_eq!(play.run.steps[0].reason, Some(Reason::TimedOut));
    play.is("failed: w=failed u=cancelled a=completed b=skipped");
    let mut play = Play::start(r#""steps": {"w": {"wait": {"event": "paid"}}}"#);
    assert_eq!(play.timed_out("w", i64::MAX), Err(Stale::NotDue), "there is no limit");
}

#[test]
fn the_first_decision_stands_and_who_made_it_is_kept() {
    let mut play = Play::start(
        r#""steps": {"a": {"job": "j"}, "b": {"needs": ["a"], "approval": {}}, "c": {"needs": ["b"], "job": "j"}}"#,
    );
    assert_eq!(play.decided("b", true), Err(Stale::State), "nobody was asked");
    assert_eq!(play.decided("a", true), Err(Stale::Unknown));
    play.ends("a", Completed);
    assert_eq!(play.decided("b", false), Ok(()));
    play.is("failed: a=completed b=failed c=skipped");
    assert_eq!(play.run.steps[1].reason, Some(Reason::Rejected));
    assert_eq!(play.decided("b", true), Err(Stale::Decided));
    let decision = play.run.steps[1].decision.as_ref().unwrap();
    assert_eq!((decision.approved, &*decision.by, decision.at), (false, "ann", NOW));
}

#[test]
fn what_is_decided_is_in_the_journal() {
    let mut play = Play::start(r#""steps": {"f": {"each": "${{ trigger.list }}", "job": "j"}}"#);
    play.begins("f", 0);
    let step = play.step("f");
    let journal: Vec<&Command> = play.commands.iter().collect();
    assert_eq!(
        journal,
        [
            &Command::Journal(Entry::StepBegan { step, items: 0 }),
            &Command::Journal(Entry::StepEnded { step, state: StepState::Completed }),
            &Command::Journal(Entry::Ended(RunState::Completed)),
            &Command::Ended(RunState::Completed),
        ]
    );
}

#[test]
fn a_change_tells_which_steps_it_is_about() {
    let mut play = Play::start(CHAIN);
    play.make();
    let (step, item) = (play.step("a"), play.item("a", 0));
    let happened = Happened::JobEnded { step, item, outcome: Completed };
    let change = super::advance(&play.workflow, &play.run, happened, NOW).unwrap();
    assert_eq!(change.changed, [play.step("a"), play.step("b")]);
    assert_eq!(change.run.version, play.run.version + 1);
}

#[test]
fn a_step_that_is_not_there_changes_nothing() {
    let mut play = Play::start(CHAIN);
    let (step, generation) = (super::StepIndex(9), Generation::FIRST);
    let item = Item { index: 0, generation, is_open: true };
    for happened in [
        Happened::JobEnded { step, item, outcome: Completed },
        Happened::ChildEnded { step, generation, outcome: Completed },
        Happened::WaitTimedOut { step, generation },
        Happened::CompensationEnded { step, item, outcome: Completed },
        Happened::Decided { step, approved: true, by: String::new(), comment: None },
    ] {
        assert_eq!(play.try_to(happened), Err(Stale::Unknown));
    }
    let from = Some(step);
    assert_eq!(play.try_to(Happened::RetryRequested { by: String::new(), from }), Err(Stale::Unknown));
    assert_eq!(play.try_to(Happened::Started), Err(Stale::State));
}

#[test]
fn an_item_is_as_much_work_among_ten_as_among_ten_thousand() {
    for items in [10, ITEMS_MAX] {
        let mut play = Play::start(
            r#""steps": {"f": {"each": "${{ trigger.list }}", "tolerate": "100%", "job": "j"}, "w": {"approval": {}}}"#,
        );
        play.begins("f", items);
        for index in 0..items {
            play.item_ends("f", index, if index % 2 == 0 { Completed } else { Failed });
            let is_last = index + 1 == items;
            assert!(play.commands.len() <= 1, "item {index}: {:?}", play.commands);
            assert_eq!(play.run.steps[0].state.is_terminal(), is_last);
        }
        assert_eq!(play.run.steps[0].items.failed, items / 2);
    }
}
