//! Runs come and move, as the machine of a run says, together with the jobs that follow.
//!
//! [`movement`] is the heart: something happened to a run, and what follows from that is written in the same transaction, up to
//! the runs that wait for its place and the run whose step it is.

mod table;

mod events;

mod movement;

mod start;

mod step;

mod wishes;

mod definitions;

mod deletion;

pub use definitions::ChangeWorkflow;
pub use deletion::DeleteFinishedRuns;
pub(super) use movement::follow;
pub use start::StartRun;
pub(super) use start::start;
pub use step::StepRun;
pub(super) use table::RunsSavepoint;
pub use table::{Runs, RunsMoved};
pub use wishes::{AnswerWaits, TellRun};
