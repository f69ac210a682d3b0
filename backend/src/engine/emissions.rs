//! Events that the attempts of jobs publish: with their result, or while they run. A type publishes what its workers announced,
//! with data that fit the schema which was announced last.

use std::collections::HashMap;

use crewcall_proto::{
    JobId, JobType, Timestamp, WorkerId,
    event::{EVENTS_BYTES_MAX, EVENTS_MAX, Emitted, Event},
};
use serde_json::Value;

use super::{
    commands::publish::event_id,
    discovery::Discovery,
    ports::{Appended, Emission, StoreError},
};
use crate::{
    domain::{EventId, EventSubmission, NewEvent, Problem, excerpt},
    metrics::EventRefused,
};

/// An event as a worker wrote it.
struct Said {
    subject: String,
    data: Value,
    id: Option<String>,
    occurred_at: Option<Timestamp>,
}

/// Why it is not recorded, for the metrics and for people.
type Refused = (EventRefused, String);

/// Records what attempts publish while they run. What is refused is counted and logged: its worker was told already that the
/// broker has it.
///
/// # Errors
///
/// [`StoreError`] when nothing was recorded; call again with the same.
pub(super) async fn record(discovery: &Discovery, emitted: Vec<Emitted>) -> Result<(), StoreError> {
    if emitted.is_empty() {
        return Ok(());
    }
    let types = types_of(discovery, emitted.iter().map(|emitted| emitted.job_id).collect()).await?;
    let (mut emissions, mut whose) = (Vec::with_capacity(emitted.len()), Vec::with_capacity(emitted.len()));
    for Emitted { job_id, attempt, attempt_token, worker_id, id, subject, data, occurred_at, .. } in emitted {
        let speaker = Speaker { job_id, worker_id, subject: excerpt(&subject) };
        let Some(job_type) = types.get(&job_id) else {
            speaker.refused(discovery, (EventRefused::UnknownAttempt, "there is no such job".to_owned()));
            continue;
        };
        let said = Said { subject, data, id: Some(id), occurred_at };
        match new_event(discovery, (&speaker.worker_id, job_type), said).await {
            Ok(event) => {
                emissions.push(Emission { job_id, attempt, token: attempt_token, event });
                whose.push(speaker);
            }
            Err(refused) => speaker.refused(discovery, refused),
        }
    }
    let appended = discovery.changes.append_emissions(emissions).await?;
    for (appended, speaker) in appended.into_iter().zip(whose) {
        match appended {
            Some(Appended::Recorded(_) | Appended::Replayed(_)) => {}
            Some(Appended::IdReused(sequence)) => {
                let reason = format!("its id belongs to event {sequence}, which says something else");
                speaker.refused(discovery, (EventRefused::IdReused, reason));
            }
            None => {
                let reason = "no attempt of the job has, or had, this token".to_owned();
                speaker.refused(discovery, (EventRefused::UnknownAttempt, reason));
            }
        }
    }
    Ok(())
}

/// The types of these jobs; of those that there are.
///
/// # Errors
///
/// [`StoreError`] when they cannot be read.
pub(super) async fn types_of(
    discovery: &Discovery,
    mut jobs: Vec<JobId>,
) -> Result<HashMap<JobId, JobType>, StoreError> {
    jobs.sort_unstable();
    jobs.dedup();
    if jobs.is_empty() {
        return Ok(HashMap::new());
    }
    let standings = discovery.store.standings(jobs.clone()).await?;
    let types = jobs.into_iter().zip(standings).filter_map(|(id, standing)| Some((id, standing?.job_type)));
    Ok(types.collect())
}

/// Reads the events that came with a result.
///
/// # Errors
///
/// Why they are refused, all together, in a sentence.
pub(super) async fn with_result(
    discovery: &Discovery,
    by: (&WorkerId, &JobType),
    events: Vec<Event>,
) -> Result<Vec<NewEvent>, String> {
    let refused = |(counted, reason): Refused| {
        discovery.metrics.event_refused(counted);
        reason
    };
    if events.len() > EVENTS_MAX {
        let reason = format!("there are {} events; a job publishes at most {EVENTS_MAX}", events.len());
        return Err(refused((EventRefused::Invalid, reason)));
    }
    let (mut all, mut bytes) = (Vec::with_capacity(events.len()), 0);
    for (index, Event { subject, data, occurred_at }) in events.into_iter().enumerate() {
        let event = format!("event {} ({:?})", index + 1, excerpt(&subject));
        let said = Said { subject, data, id: None, occurred_at };
        let event = new_event(discovery, by, said).await.map_err(|(counted, reason)| {
            refused((counted, format!("{event} cannot be published: {reason}")))
        })?;
        bytes += event.data.len();
        all.push(event);
    }
    if bytes > EVENTS_BYTES_MAX {
        let reason = format!(
            "the data of the events are {bytes} bytes of JSON; a job publishes at most {EVENTS_BYTES_MAX}: pass larger data by reference"
        );
        return Err(refused((EventRefused::Invalid, reason)));
    }
    Ok(all)
}

/// The event, if it is one that jobs of the type publish.
async fn new_event(
    discovery: &Discovery,
    (worker_id, job_type): (&WorkerId, &JobType),
    Said { subject, data, id, occurred_at }: Said,
) -> Result<NewEvent, Refused> {
    let invalid = |problems: &[Problem]| (EventRefused::Invalid, Problem::sentence(problems));
    if data.is_null() {
        return Err(invalid(&[of_data("an event has data: any JSON but null, such as {}".to_owned())]));
    }
    let text = data.to_string();
    if text.len() > EVENTS_BYTES_MAX {
        let message = format!(
            "it is {} bytes of JSON; at most {EVENTS_BYTES_MAX} are published: pass larger data by reference",
            text.len()
        );
        return Err(invalid(&[of_data(message)]));
    }
    match discovery.catalogue.event_problems(job_type, &subject, &data).await {
        Ok(None) if !discovery.registry.emits(worker_id, job_type, &subject) => {
            let reason = format!("{job_type} did not announce it: its worker has to name it in \"emits\"");
            return Err((EventRefused::Undeclared, reason));
        }
        Ok(Some(problems)) if !problems.is_empty() => return Err(invalid(&problems)),
        // Parameters would be refused when they cannot be checked; nobody is there to send this again.
        Ok(_) | Err(_) => {}
    }
    let id: Option<EventId> = id.map(|id| event_id(id, &subject, occurred_at, data));
    let submission = EventSubmission { subject: subject.clone(), data: text, id, occurred_at };
    submission.validate().map_err(|problems| invalid(&problems))
}

fn of_data(message: String) -> Problem {
    Problem { pointer: "/data".to_owned(), message }
}

/// Who published what, for the log.
struct Speaker {
    job_id: JobId,
    worker_id: WorkerId,
    subject: String,
}

impl Speaker {
    fn refused(&self, discovery: &Discovery, (counted, reason): Refused) {
        discovery.metrics.event_refused(counted);
        tracing::warn!(
            job.id = %self.job_id, worker.id = %self.worker_id, event.subject = self.subject, reason,
            "An event that a job published is refused."
        );
    }
}
