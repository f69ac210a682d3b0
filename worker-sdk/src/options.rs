//! What can be said about a job type beside its handler.

use std::fmt::Display;

/// Details of one job type, for [`Worker::job_with`](crate::Worker::job_with).
#[derive(Debug)]
pub struct JobOptions {
    pub(crate) description: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) on_failure: FailureStrategy,
    pub(crate) unavailable: Option<String>,
    pub(crate) bundles: bool,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            description: None,
            version: None,
            on_failure: FailureStrategy::default(),
            unavailable: None,
            bundles: true,
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

    /// Announces the type only if this is `Ok`; else the worker logs the reason and serves its other types.
    #[must_use]
    pub fn available(mut self, available: Result<(), impl Display>) -> Self {
        self.unavailable = available.err().map(|reason| reason.to_string());
        self
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
