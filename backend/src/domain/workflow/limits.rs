//! Every limit of workflows, each with its reason.

use std::time::Duration;

/// The most steps of a workflow. A run is looked at as a whole whenever one of its steps ends; what needs more steps is
/// several workflows.
pub const STEPS_MAX: usize = 200;

/// The largest document, in bytes of its JSON text without white space. Every version is kept for as long as a run has it.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// How deep lists and objects may be nested in a document: parameters of jobs stand three levels deep in it, and have at
/// most [`DEPTH_MAX`](crewcall_proto::codec::DEPTH_MAX) levels of their own.
pub const DOCUMENT_LEVELS_MAX: usize = crewcall_proto::codec::DEPTH_MAX + 4;

pub use crate::domain::problem::PROBLEMS_MAX;

/// The longest name of a step, in characters.
pub const STEP_NAME_LENGTH_MAX: usize = 64;

/// The most triggers of a workflow: each is looked at for every event.
pub const TRIGGERS_MAX: usize = 16;

/// The most items of a step. What has more is several runs.
pub const ITEMS_MAX: u32 = 10_000;

/// How many items are stored in one transaction, so that nobody waits for long behind a large step.
pub const ITEMS_CHUNK: u32 = 256;

/// How many items of a step are open at once, unless it says otherwise: it shall not starve others.
pub const PARALLEL_DEFAULT: u32 = 100;

/// The most runs of a workflow that may be under way at once, if it limits them.
pub const CONCURRENCY_MAX: u32 = 10_000;

/// The longest time limit of a run, a wait or an approval.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The shortest time limit of a run, a wait or an approval.
pub const TIMEOUT_MIN: Duration = Duration::from_secs(1);
