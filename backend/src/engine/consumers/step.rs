//! One step: what is new is read, it is decided what follows, and that is stored.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use crewcall_expressions::{Scope, ScopeError};
use crewcall_proto::{RunId, Timestamp};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::notes::Note;
use crate::{
    domain::{
        Cause, CausedBy, Consumer, ConsumerName, Origin, Pass, PublishedEvent, Reacted, Reaction, Sequence,
        Source, Submission, Then, WebhookName,
        workflow::{definition::WorkflowName, known::StartedBy},
    },
    engine::{
        Engine,
        blocking::blocking,
        ports::{Accepted, ConsumerStep, Made, MatchedEvent, RUNS_OPEN_MAX, Stepped, Stop, StoreError},
        rfc3339::rfc3339,
    },
};

/// How many events one step looks at.
const STEP_EVENTS: usize = 256;

/// How much data the events of one step may have, in bytes, the last aside.
const STEP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A pass that has something to look at.
#[derive(Clone)]
struct Passage {
    consumer: Arc<Consumer>,
    reaction: Arc<Reaction>,
    pass: Pass,
    /// Where the store knows it to be.
    cursor: Sequence,
    /// Its last event; nothing, if it has no end.
    to: Option<Sequence>,
}

/// What follows from a part of the log for one pass.
#[derive(Default)]
struct Decided {
    /// How far was looked.
    to: Sequence,
    matches: Vec<(Follows, Cause)>,
    unclear: Vec<(Sequence, String)>,
    refused: Vec<Arc<PublishedEvent>>,
    full: bool,
}

/// What follows from an event.
enum Follows {
    Job(Result<Box<Submission>, String>),
    Run(WorkflowName, Arc<PublishedEvent>),
}

/// Takes one step with everybody who has something to look at. Returns whether there may be more to do.
pub(super) async fn round(engine: &Engine) -> Result<bool, StoreError> {
    // Whoever ends from here on wakes this again.
    engine.consumption.any_full.store(true, Ordering::Relaxed);
    let (passages, any_full) = passages(engine);
    engine.consumption.any_full.store(any_full, Ordering::Relaxed);
    let mut by_place = BTreeMap::<Sequence, Vec<Passage>>::new();
    for passage in passages {
        let place = engine.consumption.place(passage.pass, passage.cursor);
        by_place.entry(place).or_default().push(passage);
    }
    let mut more = false;
    for (place, passages) in by_place {
        let events = engine.store.events_after(place, STEP_EVENTS, STEP_BYTES_MAX).await?;
        // What comes next is deleted: somebody has to say where to go on.
        if events.first().is_none_or(|first| first.sequence != place.next()) {
            continue;
        }
        let events: Arc<Vec<Arc<PublishedEvent>>> = Arc::new(events.into_iter().map(Arc::new).collect());
        let (of_all, depth_max) = (passages.clone(), engine.depth_max);
        let decided = blocking(move || decide_all(&of_all, &events, depth_max)).await?;
        let steps =
            passages.into_iter().zip(decided).map(|(passage, decided)| store(engine, passage, decided));
        for got_on in join_all(steps).await {
            more |= got_on?;
        }
    }
    Ok(more)
}

/// Who has something to look at; and whether somebody would, but for too many unfinished jobs.
fn passages(engine: &Engine) -> (Vec<Passage>, bool) {
    let consumption = &engine.consumption;
    let (head, now) = (*engine.changes.log_head().borrow(), engine.clock.now());
    let (mut passages, mut any_full) = (Vec::new(), false);
    for consumer in engine.store.consumers() {
        if consumer.pause.is_some() {
            continue;
        }
        let own = (consumer.pass, consumer.cursor, None);
        let replays = consumer.open_replays().map(|replay| (replay.pass, replay.cursor, Some(replay.to)));
        let behind = |(pass, cursor, to): &(Pass, Sequence, Option<Sequence>)| {
            consumption.place(*pass, *cursor) < to.unwrap_or(head)
        };
        let behind: Vec<_> = std::iter::once(own).chain(replays).filter(behind).collect();
        if behind.is_empty() {
            continue;
        }
        if consumer.room() == 0 {
            any_full = true;
            continue;
        }
        match consumption.reaction(&consumer, now) {
            Ok(reaction) => passages.extend(behind.into_iter().map(|(pass, cursor, to)| Passage {
                consumer: Arc::clone(&consumer),
                reaction: Arc::clone(&reaction),
                pass,
                cursor,
                to,
            })),
            Err(trouble) => troubled(engine, &consumer, Some(trouble)),
        }
    }
    (passages, any_full)
}

fn troubled(engine: &Engine, consumer: &Consumer, trouble: Option<String>) {
    let told = trouble.clone();
    if engine.consumption.notes.trouble(&consumer.name, trouble) {
        match told {
            Some(reason) => tracing::warn!(consumer = %consumer.name, reason, "A consumer does not get on."),
            None => tracing::info!(consumer = %consumer.name, "A consumer gets on again."),
        }
    }
}

/// Decides for everybody who stands at the same place.
fn decide_all(passages: &[Passage], events: &[Arc<PublishedEvent>], depth_max: u32) -> Vec<Decided> {
    // Made for the first who wants it.
    let values: Vec<OnceCell<Value>> = events.iter().map(|_| OnceCell::new()).collect();
    let scopes: Vec<OnceCell<Result<Scope<'_>, ScopeError>>> =
        events.iter().map(|_| OnceCell::new()).collect();
    let scope = |index: usize| {
        let value = || values[index].get_or_init(|| known_of(&events[index]));
        scopes[index].get_or_init(|| Scope::new([("event", value())])).as_ref()
    };
    passages.iter().map(|passage| decide(passage, events, scope, depth_max)).collect()
}

fn decide<'a>(
    passage: &Passage,
    events: &[Arc<PublishedEvent>],
    scope: impl Fn(usize) -> Result<&'a Scope<'a>, &'a ScopeError>,
    depth_max: u32,
) -> Decided {
    let Passage { consumer, reaction, pass, to, .. } = passage;
    let mut decided = Decided::default();
    for (index, event) in events.iter().enumerate() {
        if to.is_some_and(|to| event.sequence > to) {
            break;
        }
        if reaction.selects(event) {
            let reacted = match scope(index) {
                Ok(scope) => reaction.react(event, scope, (&consumer.name, *pass), depth_max),
                Err(refused) => Reacted::Unclear(refused.to_string()),
            };
            match reacted {
                Reacted::Nothing => {}
                Reacted::Unclear(failed) => decided.unclear.push((event.sequence, failed)),
                Reacted::TooDeep => decided.refused.push(Arc::clone(event)),
                Reacted::Job(..) | Reacted::Run(..) if decided.matches.len() >= consumer.room() => {
                    decided.full = true;
                    break;
                }
                Reacted::Job(submission, cause) => decided.matches.push((Follows::Job(submission), cause)),
                Reacted::Run(workflow, cause) => {
                    decided.matches.push((Follows::Run(workflow, Arc::clone(event)), cause));
                }
            }
        }
        decided.to = event.sequence;
    }
    decided
}

/// What an expression knows of an event.
pub(in crate::engine) fn known_of(event: &PublishedEvent) -> Value {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let mut known = json!({
        "sequence": event.sequence.0,
        "subject": event.subject.as_str(),
        "recorded_at": rfc3339(event.recorded_at),
    });
    if let Some(fields) = known.as_object_mut() {
        fields.insert("data".to_owned(), data);
        fields.extend(event.id.clone().map(|id| ("id".to_owned(), Value::String(id))));
        let occurred_at = event.occurred_at.map(|at| ("occurred_at".to_owned(), Value::String(rfc3339(at))));
        fields.extend(occurred_at);
    }
    known
}

/// Makes ready what follows. `None` when that cannot be done now.
async fn make(
    engine: &Engine,
    consumer: &Consumer,
    reaction: &Reaction,
    matches: Vec<(Follows, Cause)>,
    unclear: &mut Vec<(Sequence, String)>,
) -> Result<Option<Vec<MatchedEvent>>, StoreError> {
    let now = engine.clock.now();
    let mut ready = Vec::with_capacity(matches.len());
    if let Then::Webhook(webhook) = &consumer.settings.then
        && let Some(reason) = not_delivered(engine, consumer, webhook)
    {
        troubled(engine, consumer, Some(reason));
        return Ok(None);
    }
    for (follows, cause) in matches {
        let made = match follows {
            Follows::Job(submission) => {
                let Some(job) = engine.job_made(reaction.bare(), submission, now).await else {
                    return Ok(None);
                };
                let window = engine.relay.window(&job.job_type);
                Made::Job(Box::new(Accepted { job, window, idempotency: None, after: None }))
            }
            Follows::Run(workflow, event) => match engine.run_of(&workflow, &event, &cause).await? {
                Some(Ok(run)) => Made::Run(run),
                Some(Err(message)) => {
                    unclear.push((event.sequence, message));
                    continue;
                }
                None => {
                    let reason = format!("there is no workflow {workflow}: make it, or set another");
                    troubled(engine, consumer, Some(reason));
                    return Ok(None);
                }
            },
        };
        ready.push(MatchedEvent { made, cause });
    }
    Ok(Some(ready))
}

/// Why nothing is delivered to a webhook now, if nothing is.
fn not_delivered(engine: &Engine, consumer: &Consumer, webhook: &WebhookName) -> Option<String> {
    if engine.store.webhook(webhook).is_none() {
        return Some(format!("there is no webhook {webhook}: make it, or set another"));
    }
    let own = ConsumerName::of_webhook(webhook);
    let is_paused = own != consumer.name && engine.store.consumer(&own)?.pause.is_some();
    is_paused.then(|| format!("the webhook {webhook} is paused"))
}

/// Stores what was decided for one pass. Returns whether it got on.
async fn store(engine: &Engine, passage: Passage, decided: Decided) -> Result<bool, StoreError> {
    let Passage { consumer, reaction, pass, cursor, .. } = passage;
    let Decided { to, matches, mut unclear, refused, full } = decided;
    let now = engine.clock.now();
    if full {
        engine.consumption.any_full.store(true, Ordering::Relaxed);
    }
    let place = engine.consumption.place(pass, cursor);
    if matches.is_empty() {
        note(engine, &consumer, now, unclear, refused).await?;
        let moved = to > place;
        if moved {
            engine.consumption.places().insert(pass, to);
        }
        return Ok(moved);
    }
    let Some(made) = make(engine, &consumer, &reaction, matches, &mut unclear).await? else {
        // It is looked at again in a moment.
        return Ok(false);
    };
    let is_over: Vec<bool> = made.iter().map(|event| event.made.is_over()).collect();
    let step = ConsumerStep {
        consumer: consumer.name.clone(),
        pass,
        revision: consumer.revision,
        from: cursor,
        to,
        matches: made,
    };
    match engine.changes.consume(step).await {
        Ok(Stepped::Stale) => Ok(true),
        Ok(Stepped::Done { cursor, made, stop }) => {
            note(engine, &consumer, now, unclear, refused).await?;
            let unfit = is_over.iter().take(made).filter(|is_over| **is_over).count();
            engine.metrics.consumer_made(&consumer.name, made - unfit, unfit);
            let trouble = match stop {
                Some(Stop::TooManyTypes) => Some("nobody announced the type of its jobs, and too many others like it have jobs: cancel or forget those, or start a worker".to_owned()),
                Some(Stop::TooManyRuns) => Some(format!("{RUNS_OPEN_MAX} runs are open already: what waits has to end, or to be cancelled")),
                Some(Stop::NoWorkflow) => Some("there is no workflow of that name, or it is paused".to_owned()),
                Some(Stop::Full | Stop::OtherVersion) | None => None,
            };
            let stuck = trouble.is_some();
            troubled(engine, &consumer, trouble);
            Ok(cursor > place && !stuck)
        }
        Err(error) if error.is_retryable() || matches!(error, StoreError::Broken { .. }) => {
            troubled(engine, &consumer, Some(error.to_string()));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Remembers what people should know of.
async fn note(
    engine: &Engine,
    consumer: &Consumer,
    at: Timestamp,
    unclear: Vec<(Sequence, String)>,
    refused: Vec<Arc<PublishedEvent>>,
) -> Result<(), StoreError> {
    let (name, notes) = (&consumer.name, &engine.consumption.notes);
    engine.metrics.consumer_passed_over(name, unclear.len(), refused.len());
    for (sequence, failed) in unclear {
        notes.unclear(name, Note { sequence, at, message: failed, chain: Vec::new() });
    }
    for event in refused {
        let chain = chain(engine, &event).await?;
        let message = format!("{} jobs made each other before it: nothing more is made", event.depth());
        tracing::warn!(consumer = %name, event.sequence = event.sequence.0, chain = chain.join(" > "), "A chain of events and jobs is too long.");
        notes.refused(name, Note { sequence: event.sequence, at, message, chain });
    }
    Ok(())
}

/// How an event came about, from the beginning, as far as it is kept.
async fn chain(engine: &Engine, event: &PublishedEvent) -> Result<Vec<String>, StoreError> {
    let mut chain = vec![format!("event {}", event.sequence)];
    let mut origin = event.origin;
    while let Some(Origin { source, .. }) =
        origin.filter(|_| chain.len() < usize::try_from(event.depth() * 3 + 3).unwrap_or(usize::MAX))
    {
        let made_of = match source {
            Source::Job(job_id) => {
                chain.push(format!("job {job_id}"));
                match engine.store.cause(job_id).await?.map(|cause| cause.by) {
                    Some(CausedBy::Consumer(made_of)) => Some(made_of.sequence),
                    Some(CausedBy::Step { key, .. }) => event_of_run(engine, key.run, &mut chain).await?,
                    Some(CausedBy::Schedule(_)) | None => None,
                }
            }
            Source::Run(run) => event_of_run(engine, run, &mut chain).await?,
        };
        let Some(sequence) = made_of else { break };
        chain.push(format!("event {sequence}"));
        origin = engine.store.event(sequence).await?.and_then(|event| event.origin);
    }
    chain.reverse();
    Ok(chain)
}

/// The event that a run was made of, or the first of the runs that made it.
async fn event_of_run(
    engine: &Engine,
    mut run: RunId,
    chain: &mut Vec<String>,
) -> Result<Option<Sequence>, StoreError> {
    loop {
        chain.push(format!("run {run}"));
        let Some((stored, _)) = engine.store.run(run).await? else { return Ok(None) };
        match &stored.info.started_by {
            StartedBy::Event(made_of) => return Ok(Some(made_of.sequence)),
            StartedBy::Person(_) | StartedBy::Schedule(_) => return Ok(None),
            StartedBy::Step(parent) => run = parent.run,
        }
    }
}

impl Engine {
    /// Keeps how far passes looked, where the store does not know it yet.
    pub(in crate::engine) async fn keep_places(&self, consumers: &[Arc<Consumer>]) -> Result<(), StoreError> {
        let steps = consumers.iter().flat_map(|consumer| {
            let own = (consumer.pass, consumer.cursor);
            let replays = consumer.open_replays().map(|replay| (replay.pass, replay.cursor));
            std::iter::once(own).chain(replays).filter_map(|(pass, cursor)| {
                let to = self.consumption.place(pass, cursor);
                let consumer = (to > cursor).then(|| Arc::clone(consumer))?;
                let (name, revision) = (consumer.name.clone(), consumer.revision);
                Some(ConsumerStep { consumer: name, pass, revision, from: cursor, to, matches: Vec::new() })
            })
        });
        for stepped in join_all(steps.map(|step| self.changes.consume(step))).await {
            stepped?;
        }
        Ok(())
    }
}
