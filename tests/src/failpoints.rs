//! Where a test can end a program of ours: the programs' own lists. The tests do not link the backend, so its list is
//! compiled here once more.

#[path = "../../backend/src/failpoints.rs"]
mod backend;

pub use backend::Failpoint as BackendFailpoint;
pub use crewcall_amqp::failpoints::Failpoint as LinkFailpoint;
pub use crewcall_worker::failpoints::Failpoint as WorkerFailpoint;

/// What `FAILPOINTS` says to end a program at a point that it has passed so often before.
#[must_use]
pub fn dies_at(point: &str, passes: u32) -> String {
    if passes == 0 { format!("{point}=return") } else { format!("{point}={passes}*off->return") }
}
