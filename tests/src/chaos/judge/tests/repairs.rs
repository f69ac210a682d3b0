//! What was lost, done again or late, and whether something that was broken explains it.

use super::*;

#[test]
fn an_order_is_sent_again_only_when_it_was_thrown_away() {
    let purged = |queue, seconds| vec![fault(Fault::QueuePurged(queue), seconds, seconds)];
    for (struck, explained) in [
        (purged("crewcall.jobs.test.echo", 10), true),
        (purged("crewcall.completed", 10), true),
        (vec![fault(Fault::BrokerWiped, 10, 15)], true),
        (purged("crewcall.jobs.test.sleep", 10), false),
        (purged("crewcall.jobs.test.echo", 50), false), // it was missed already
        (vec![fault(Fault::BrokerKilled, 10, 15), fault(Fault::BackendKilled, 10, 12)], false),
    ] {
        let mut facts = facts(struck.clone());
        facts.resent(60);
        let expected: &[&str] = if explained { &[] } else { &["orders sent again without a cause"] };
        assert_eq!(facts.found_to_be(), expected, "{struck:?}");
    }
}

#[test]
fn an_attempt_is_lost_only_with_a_worker_to_which_something_was_done() {
    let frozen = Fault::LineFrozen(Line::Worker(0), Way::Both);
    for (struck, explained) in [
        (vec![fault(Fault::WorkerKilled(0), 10, 12)], true),
        (vec![fault(frozen, 5, 20)], true),
        (vec![fault(Fault::WorkerKilled(1), 10, 12)], false),
        (vec![fault(Fault::WorkerKilled(0), 40, 41)], false),
        (vec![fault(Fault::WorkerStopped(0), 10, 12)], false),
        (vec![fault(Fault::WorkerStopped(0), 10, 12), fault(Fault::BrokerFrozen, 8, 14)], true),
        (vec![fault(Fault::BrokerFrozen, 8, 14), fault(Fault::BackendKilled, 8, 14)], false),
        (vec![fault(Fault::QueuePurged("crewcall.completed"), 10, 12)], true), // with the answer in it
        (vec![fault(Fault::QueuePurged("crewcall.completed"), 40, 41)], false),
        (vec![fault(Fault::QueuePurged("crewcall.jobs.test.echo"), 10, 12)], false),
    ] {
        let mut facts = facts(struck.clone());
        let mut lost = attempt(1, "worker_lost", 30);
        lost.started_at = Some(at(1));
        facts.attempts.insert("echo".to_owned(), vec![lost, attempt(2, "completed", 33)]);
        facts.execute("echo", 2, at(32));
        facts.job("echo")["attempt"] = json!(2);
        let expected: &[&str] = if explained { &[] } else { &["attempts lost without a cause"] };
        assert_eq!(facts.found_to_be(), expected, "{struck:?}");
    }
}

#[test]
fn an_attempt_is_executed_again_only_when_its_order_came_back() {
    for (struck, explained) in [
        (Vec::new(), false),
        (vec![fault(Fault::WorkerKilled(1), 1, 2)], false),
        (vec![fault(Fault::WorkerKilled(0), 1, 2)], true),
        (vec![fault(Fault::ConnectionsClosed, 1, 1)], true),
        (vec![fault(Fault::BackendKilled, 0, 2)], true),
    ] {
        let mut facts = facts(struck.clone());
        facts.execute("echo", 1, at(3));
        let expected: &[&str] = if explained { &[] } else { &["executed again without a cause"] };
        assert_eq!(facts.found_to_be(), expected, "{struck:?}");
    }
}

#[test]
fn a_job_that_is_late_after_the_healing_was_repaired() {
    let mut late = facts(vec![fault(Fault::BrokerWiped, 50, 60)]);
    late.resent(148);
    assert_clean(&late);
    late.log = Log::default();
    assert_eq!(late.found_to_be(), ["late without a cause"]);
    // Another job of its type was in front of it.
    late.executions.remove(&("echo".to_owned(), 1));
    late.execute("echo", 1, at(149));
    late.execute("other", 1, at(120));
    let mut other = late.jobs["echo"].clone();
    other["finished_at"] = json!(at(121).to_string());
    late.jobs.insert("other".to_owned(), other);
    assert!(!late.found_to_be().contains(&"late without a cause"));
    // Or lost orders of its type filled the window until they were sent again.
    late.executions.remove(&("other".to_owned(), 1));
    late.set_log(&SENT_AGAIN.replace("AT", &at(148).to_string()).replace("JOB", "other"));
    assert!(!late.found_to_be().contains(&"late without a cause"));
    late.log = Log::default();
    assert!(late.found_to_be().contains(&"late without a cause"));
    late.jobs.remove("other");
    late.blame = Blame::new(Vec::new(), vec![Stall { from: at(110), until: at(115) }]);
    assert_clean(&late);
}

#[test]
fn work_goes_on_when_every_type_does() {
    let mut facts = facts(Vec::new());
    facts.healed_at = at(1);
    assert_eq!(facts.resumed(), None, "nothing of test.other");
    let text = json!({"text": "hello"});
    add(&mut facts, "other", "test.other", &text, "completed", vec![attempt(1, "completed", 21)]);
    assert_eq!(facts.resumed(), Some(Duration::from_secs(20)));
}

#[test]
fn an_order_that_was_given_up_is_lost_without_its_exchange() {
    let unbound = |exchange| Fault::ExchangeDeleted(exchange);
    for (exchange, explained) in
        [("crewcall.dead", true), ("crewcall.submit", false), ("crewcall.response", false)]
    {
        let mut facts = facts(vec![fault(unbound(exchange), 10, 20)]);
        facts.resent(60);
        let expected: &[&str] = if explained { &[] } else { &["orders sent again without a cause"] };
        assert_eq!(facts.found_to_be(), expected, "{exchange}");
    }
}

#[test]
fn of_a_job_that_is_deleted_nobody_knows_when_it_was_sent() {
    for (struck, found) in [(vec![], 1), (vec![fault(Fault::BackendKilled, 1, 2)], 0)] {
        let mut facts = facts(struck);
        [3, 9].into_iter().for_each(|second| facts.execute("gone", 1, at(second)));
        assert_eq!(facts.found_to_be(), ["executed again without a cause"][..found]);
    }
}
