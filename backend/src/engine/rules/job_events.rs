//! What is recorded of the end of a job, if anybody may want it.

use std::sync::Arc;

use crewcall_proto::{JobId, JobType, Timestamp};
use serde_json::{Map, Value, json};

use super::Rules;
use crate::{
    domain::{Cause, CausedBy, JobStatus, NewEvent, Origin, PublishedEvent, Subject, reserved::is_reserved},
    engine::rfc3339::rfc3339,
    mutant::mutant,
};

/// The largest result that travels in the event of a completed job, in bytes: a larger one is read from the job.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;

/// A job that came to its end.
pub(super) struct Ended<'a> {
    pub(super) id: JobId,
    pub(super) job_type: &'a JobType,
    pub(super) created_at: Timestamp,
    pub(super) status: &'a JobStatus,
}

impl Ended<'_> {
    /// The event that is recorded of it, for whoever may want it; in its place of the log. The end of a job of ours is none: a webhook
    /// that wants to hear of all jobs would hear of its own deliveries for ever.
    pub(super) fn record(&self, rules: &mut Rules, cause: Option<&Cause>) -> Option<Arc<PublishedEvent>> {
        if is_reserved(self.job_type.as_str()) {
            return None;
        }
        let subject = || Subject::of_job(self.status.state, self.job_type);
        let subject = rules.hear(subject).filter(|_| !mutant("end_unrecorded"))?;
        let origin = Some(Origin::of(self.id, cause));
        let event = NewEvent { subject, data: data(self, cause), id: None, occurred_at: None, origin };
        Some(Arc::new(event.record(rules.counts.next_sequence(), rules.now())))
    }
}

fn data(Ended { id, job_type, created_at, status }: &Ended<'_>, cause: Option<&Cause>) -> String {
    let mut data = Map::new();
    let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
    put("job_id", json!(id.to_string()));
    put("type", json!(job_type.as_str()));
    put("state", json!(status.state.as_str()));
    put("attempt", json!(status.attempt.get()));
    put("created_at", json!(rfc3339(*created_at)));
    put("finished_at", json!(status.finished_at.map(rfc3339)));
    if let Some(error) = &status.error {
        put("error", json!({ "kind": error.kind.as_str(), "code": error.code, "message": error.message }));
    }
    match cause.map(|cause| &cause.by) {
        Some(CausedBy::Consumer(made_of)) => {
            put("event", json!(made_of.sequence.0));
            put("consumer", json!(made_of.consumer.as_str()));
        }
        Some(CausedBy::Step { key, workflow, step }) => {
            put("run", json!(key.run.to_string()));
            put("workflow", json!(workflow.as_str()));
            put("step", json!(step));
        }
        Some(CausedBy::Schedule(by)) => {
            put("schedule", json!(by.schedule.as_str()));
            put("tick", json!(rfc3339(by.tick.at)));
        }
        None => {}
    }
    match status.result.as_ref() {
        Some(result) if result.len() > RESULT_BYTES_MAX => {
            put(
                "result_omitted",
                json!(format!(
                    "it has {} bytes; an event carries {RESULT_BYTES_MAX}: read it from the job",
                    result.len()
                )),
            );
        }
        // Whatever was stored as a result is JSON.
        Some(result) => drop(put("result", serde_json::from_str(result).unwrap_or(Value::Null))),
        None => {}
    }
    Value::Object(data).to_string()
}
