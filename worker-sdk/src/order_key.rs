//! The name of an attempt, as the worker tells it from every other.

use crewcall_proto::{Attempt, AttemptToken, JobId, Order};

/// What tells one attempt from every other. With the token, so that a job that was started over (its
/// attempts counted from 1 again) is not answered from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OrderKey {
    job_id: JobId,
    attempt: Attempt,
    attempt_token: AttemptToken,
}

impl OrderKey {
    pub(crate) fn of(order: &Order) -> Self {
        Self { job_id: order.job_id, attempt: order.attempt, attempt_token: order.attempt_token }
    }

    pub(crate) fn job_id(&self) -> JobId {
        self.job_id
    }

    pub(crate) fn attempt(&self) -> Attempt {
        self.attempt
    }

    pub(crate) fn attempt_token(&self) -> AttemptToken {
        self.attempt_token
    }

    pub(crate) fn is(&self, job_id: JobId, attempt: Attempt) -> bool {
        self.job_id == job_id && self.attempt == attempt
    }
}

#[cfg(test)]
impl OrderKey {
    /// The key of an order that nobody knows.
    pub(crate) fn generate() -> Self {
        let (job_id, attempt_token) = (JobId::generate(), AttemptToken::generate());
        Self { job_id, attempt: Attempt::FIRST, attempt_token }
    }
}
