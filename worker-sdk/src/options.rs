//! What can be said about a job type beside its handler.

use std::fmt::Display;

use crewcall_proto::{discovery::EmittedSubject, event::check_subject};
use schemars::JsonSchema;

use crate::{limits::SUBJECTS_MAX, schema};

/// Details of one job type, for [`Worker::job_with`](crate::Worker::job_with).
#[derive(Debug, Clone)]
pub struct JobOptions {
    pub(crate) description: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) on_failure: FailureStrategy,
    pub(crate) unavailable: Option<String>,
    pub(crate) bundles: bool,
    pub(crate) emits: Vec<EmittedSubject>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            description: None,
            version: None,
            on_failure: FailureStrategy::default(),
            unavailable: None,
            bundles: true,
            emits: Vec::new(),
        }
    }
}

impl JobOptions {
    /// The defaults of every detail.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One sentence for people. Default: the doc comment of the parameters type.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The version of the handler, as people see it in the catalogue. Default: the worker's
    /// ([`Worker::version`](crate::Worker::version)).
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// What happens when an attempt ends badly. Default: [`FailureStrategy::Report`].
    #[must_use]
    pub fn on_failure(mut self, strategy: FailureStrategy) -> Self {
        self.on_failure = strategy;
        self
    }

    /// Whether orders of the type may come several in one message, and be answered so: what makes short jobs cheap for the
    /// broker. The backend does it only while many wait, and every worker of the type allows it. Default: `true`.
    ///
    /// An order of such a message that finds no free slot here for half a second goes back to the backend, which sends it anew
    /// by itself. So switch it off for a handler whose run time scatters widely, from milliseconds to seconds: its orders would
    /// go back and forth, and each begins sooner where a slot is free.
    #[must_use]
    pub fn bundles(mut self, bundles: bool) -> Self {
        self.bundles = bundles;
        self
    }

    /// Says that the handler emits events about `subject`, whose data are a `T` ([`JobContext::emit`](crate::JobContext::emit)
    /// and [`emit_now`](crate::JobContext::emit_now)). To be said once of each subject, of at most [`SUBJECTS_MAX`].
    ///
    /// A subject has the shape of a job type, and its first word is none of `job`, `run`, `schedule`, `hook` and `crewcall`. It
    /// is announced with the schema of `T`, which the backend holds data against, and with its doc comment as the description.
    /// `serde_json::Value` takes anything.
    #[must_use]
    pub fn emits<T: JsonSchema>(mut self, subject: impl Into<String>) -> Self {
        let schema = schema::of_written::<T>();
        let description = schema::description(&schema).unwrap_or_default();
        self.emits.push(EmittedSubject { subject: subject.into(), description, schema });
        self
    }

    /// Announces the type only if this is `Ok`; else the worker logs the reason and serves its other types.
    #[must_use]
    pub fn available(mut self, available: Result<(), impl Display>) -> Self {
        self.unavailable = available.err().map(|reason| reason.to_string());
        self
    }

    /// What is wrong with what was said, each in a sentence.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (place, EmittedSubject { subject, .. }) in self.emits.iter().enumerate() {
            if let Err(invalid) = check_subject(subject) {
                problems.push(invalid.to_string());
            } else if self.emits[..place].iter().any(|earlier| earlier.subject == *subject) {
                problems.push(format!("the subject {subject} is declared twice"));
            }
        }
        if self.emits.len() > SUBJECTS_MAX {
            problems.push(format!(
                "{} subjects of events; at most {SUBJECTS_MAX} are announced",
                self.emits.len()
            ));
        }
        problems
    }
}

/// What a worker does with an attempt whose handler failed, panicked or ran out of time.
///
/// A cancelled attempt, and one whose parameters cannot be read, are reported in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureStrategy {
    /// Send an error response, then acknowledge: the backend retries a retryable error after its back-off.
    #[default]
    Report,
    /// Give the order back, with the reason for people to see: the broker delivers it to another worker. For failures that
    /// belong to one machine. The attempt is not charged; but an order that came back more than five times ends it as
    /// `crash_loop`. This worker takes no orders of the type for 1 s, then 2 s, up to 60 s, until its handler succeeds again.
    Nack,
    /// Give the order back, finish what else runs, and end the process with an error. For a worker that
    /// cannot go on, such as one whose graphics card is gone.
    NackAndExit,
    /// Report the error as permanent, whatever the handler said: the job is not retried.
    ReportPermanent,
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    /// An order is paid.
    #[derive(Serialize, JsonSchema)]
    struct Paid {
        order: u64,
    }

    #[test]
    fn a_subject_is_declared_with_the_doc_comment_and_the_schema_of_its_data() {
        let options = JobOptions::new().emits::<Paid>("order.paid").emits::<Value>("order.seen");
        let [paid, seen] = &options.emits[..] else { unreachable!("two were declared") };
        assert_eq!((paid.subject.as_str(), paid.description.as_str()), ("order.paid", "An order is paid."));
        assert_eq!(paid.schema["required"], json!(["order"]));
        assert_eq!((seen.subject.as_str(), seen.description.as_str()), ("order.seen", ""));
        assert!(options.problems().is_empty());
    }

    #[test]
    fn subjects_that_cannot_be_announced_are_named() {
        let options = JobOptions::new().emits::<Value>("Order").emits::<Value>("job.done");
        let problems = options.emits::<Value>("a.b").emits::<Value>("a.b").problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("\"Order\" is not a subject"), "{problems:?}");
        assert!(problems[1].starts_with("a subject does not begin with \"job\""), "{problems:?}");
        assert_eq!(problems[2], "the subject a.b is declared twice");
        let many = |count: usize| {
            (0..count)
                .fold(JobOptions::new(), |options, number| options.emits::<Value>(format!("a.{number}")))
        };
        assert!(many(SUBJECTS_MAX).problems().is_empty());
        assert_eq!(many(SUBJECTS_MAX + 1).problems(), ["65 subjects of events; at most 64 are announced"]);
    }
}
