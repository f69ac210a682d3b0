//! Whether the backend lives, and whether it can work.

use serde::Serialize;
use utoipa::ToSchema;

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// Whether the backend can store jobs and reach workers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready`, or `not ready`.
    #[schema(example = "ready")]
    pub status: &'static str,
    /// What was looked at.
    pub checks: Checks,
}

/// What readiness is made of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checks {
    /// The store can be read and written.
    pub store: Check,
    /// The broker is there and takes messages. Without it, jobs are accepted and wait.
    pub broker: Check,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Check {
    /// Whether it is well.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Check {
    /// Well, unless there is a reason why not.
    pub(crate) const fn new(reason: Option<String>) -> Self {
        Self { ok: reason.is_none(), reason }
    }
}
