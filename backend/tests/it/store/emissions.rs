//! Events that the attempts of jobs publish: with a result, or while they run.

use crewcall_backend::{
    domain::{Event, Job, NewEvent, Origin, PublishedEvent, Root, Sequence, Source, State},
    engine::ports::{Appended, Applied, Emission},
};
use crewcall_proto::{AttemptToken, JobId};

use super::{
    events::{event, named, whole_log},
    under_test::{START, StoreUnderTest, completed, failed, started},
};

/// The end of a job that publishes these.
fn completed_with(job: &Job, events: Vec<NewEvent>) -> Event {
    match completed(job) {
        Event::Completed { origin, result, started_at, finished_at, .. } => {
            Event::Completed { origin, result, emitted: events, started_at, finished_at }
        }
        other => other,
    }
}

/// What an attempt of the job publishes while it runs.
fn emission(job: &Job, event: NewEvent) -> Emission {
    let token = job.status.token.expect("it was dispatched");
    Emission { job_id: job.id, attempt: job.status.attempt, token, event }
}

async fn emit(tested: &StoreUnderTest, emissions: Vec<Emission>) -> Vec<Option<Appended>> {
    tested.store.append_emissions(emissions).await.unwrap().value
}

fn recorded(appended: &Option<Appended>) -> Option<(&'static str, u64)> {
    appended.as_ref().map(|appended| match appended {
        Appended::Recorded(event) => ("recorded", event.sequence.0),
        Appended::Replayed(event) => ("replayed", event.sequence.0),
        Appended::IdReused(sequence) => ("reused", sequence.0),
    })
}

async fn log(tested: &StoreUnderTest) -> Vec<PublishedEvent> {
    whole_log(&tested.store).await
}

pub(crate) async fn what_comes_with_a_result_is_recorded_with_it_or_never(mut tested: StoreUnderTest) {
    let job = tested.dispatched("a").await;
    let other = tested.dispatched("a").await;
    let events = || vec![event("x", "1"), event("y", "2")];
    assert_eq!(tested.apply(&other, failed(&other, false)).await, Applied::Changed);
    let late = tested.apply(&other, completed_with(&other, events())).await;
    assert!(matches!(late, Applied::Stale(_)), "{late:?}");
    assert_eq!(log(&tested).await, [], "a result that does not count publishes nothing");
    let written = {
        let event = completed_with(&job, events());
        tested.store.apply(vec![crewcall_backend::engine::ports::JobEvent { job_id: job.id, event }]).await
    };
    assert_eq!(written.unwrap().newest, Some(Sequence(2)), "whoever follows the log is woken");
    assert!(matches!(tested.apply(&job, completed_with(&job, events())).await, Applied::Stale(_)));
    tested.reopen().await;
    let log = log(&tested).await;
    let of_job = Some(Origin { source: Source::Job(job.id), root: Root::Job(job.id), depth: 0 });
    let expected = [(1, "x", "1"), (2, "y", "2")];
    let found: Vec<_> =
        log.iter().map(|event| (event.sequence.0, event.subject.as_str(), event.data.as_str())).collect();
    assert_eq!(found, expected);
    assert!(log.iter().all(|event| event.origin == of_job && event.id.is_none()), "{log:?}");
    tested.finish().await;
}

pub(crate) async fn what_is_published_meanwhile_counts_for_attempts_that_there_are_or_were(
    mut tested: StoreUnderTest,
) {
    let first = tested.dispatched("a").await;
    assert_eq!(tested.apply(&first, started(&first)).await, Applied::Changed);
    let forged = Emission { token: AttemptToken::from_bits(7), ..emission(&first, named("b", 1)) };
    let unknown =
        Emission { job_id: JobId::from_uuid(uuid::Uuid::from_u128(7)), ..emission(&first, named("c", 1)) };
    let another = Emission { attempt: first.status.attempt.next(), ..emission(&first, named("d", 1)) };
    let answers = emit(&tested, vec![emission(&first, named("a", 1)), forged, unknown, another]).await;
    assert_eq!(answers.iter().map(recorded).collect::<Vec<_>>(), [Some(("recorded", 1)), None, None, None]);

    // The attempt ends; what it said before may come after that, and after the next one began.
    assert_eq!(tested.apply(&first, failed(&first, true)).await, Applied::Changed);
    let answers =
        emit(&tested, vec![emission(&first, named("late", 1)), emission(&first, named("a", 1))]).await;
    assert_eq!(
        answers.iter().map(recorded).collect::<Vec<_>>(),
        [Some(("recorded", 2)), Some(("replayed", 1))]
    );
    let due = tested.read(first.id).await.0.status.due_at;
    tested.release_due(due, 10).await.unwrap();
    tested.dispatch_due(&first.job_type, 10, 10).await;
    let second = tested.read(first.id).await.0;
    assert_eq!((second.status.state, second.status.attempt.get()), (State::Dispatched, 2));
    assert_ne!(second.status.token, first.status.token);
    let both = vec![
        emission(&first, named("later", 1)),
        emission(&second, named("late", 2)),
        emission(&second, named("second", 1)),
    ];
    let answers = emit(&tested, both).await;
    let expected = [Some(("recorded", 3)), Some(("reused", 2)), Some(("recorded", 4))];
    assert_eq!(answers.iter().map(recorded).collect::<Vec<_>>(), expected);

    // Also after the end of the job, and over a restart.
    tested.apply(&second, completed(&second)).await;
    tested.reopen().await;
    let answers =
        emit(&tested, vec![emission(&first, named("end", 1)), emission(&second, named("end", 1))]).await;
    assert_eq!(
        answers.iter().map(recorded).collect::<Vec<_>>(),
        [Some(("recorded", 5)), Some(("replayed", 5))]
    );
    let origin = Some(Origin { source: Source::Job(first.id), root: Root::Job(first.id), depth: 0 });
    let log = log(&tested).await;
    assert!(log.iter().all(|event| event.origin == origin), "{log:?}");
    assert!(log.iter().all(|event| event.recorded_at >= START));
    tested.finish().await;
}
