//! What a worker is asked to do.

use serde::{Deserialize, Serialize};

use crate::{Attempt, AttemptToken, JobId, JobType, JsonObject, Timestamp};

/// One attempt of one job, sent to whichever worker of the type takes it first.
///
/// Published to `<prefix>.submit` with the job type as routing key; property `type` is `order`,
/// `correlation_id` the job id. The broker may deliver the same order twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The contract version of the sender ([`crate::PROTOCOL_VERSION`]).
    pub protocol: u16,
    /// The job. Its id stays the same in every attempt, so it can be the key of work that must not be done twice.
    pub job_id: JobId,
    /// Which handler is to run it.
    pub job_type: JobType,
    /// Which attempt this is, counted from 1. An order that is sent again is the same attempt.
    pub attempt: Attempt,
    /// To be echoed in every response to this order.
    pub attempt_token: AttemptToken,
    /// How many attempts the job has at most.
    pub max_attempts: u32,
    /// What to work on. At most [`crate::codec::PAYLOAD_BYTES_MAX`] bytes as JSON.
    pub parameters: JsonObject,
    /// How long the attempt may run, in milliseconds; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// After this time the attempt is not worth starting; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the job was accepted, by the backend's clock.
    pub created_at: Timestamp,
}
