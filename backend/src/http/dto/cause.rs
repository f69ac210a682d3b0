//! Why a job was made, as the API shows it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain;

/// Why a job was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cause {
    /// The consumer that made it.
    pub consumer: String,
    /// The event that it was made of.
    pub event: u64,
    /// Which time through the log it was.
    pub pass: u64,
    /// Where the chain of events and jobs began: `event 17`, or `job` and its id.
    #[schema(example = "event 17")]
    pub root: String,
    /// How many jobs of the chain made each other, this one included.
    pub depth: u32,
}

impl From<&domain::Cause> for Cause {
    fn from(cause: &domain::Cause) -> Self {
        Self {
            consumer: cause.consumer.to_string(),
            event: cause.sequence.0,
            pass: cause.pass.0,
            root: cause.root.to_string(),
            depth: cause.depth,
        }
    }
}
