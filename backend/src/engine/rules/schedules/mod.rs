//! Schedules come, change and go, and hear of the end of what their ticks made.
//!
//! What becomes of ticks is decided beside this, in [`ticking`](super::ticking). [`ends`] follows what they made to its end.

mod table;

mod records;

mod changes;

mod ends;

mod retention;

pub use changes::ChangeSchedule;
pub(super) use changes::{drop_triggers, keep_triggers, pause_triggers};
pub(super) use ends::{follow, reopened};
pub(super) use records::{passed, single, tell};
pub use retention::DeleteTicks;
pub(super) use table::SchedulesSavepoint;
pub use table::{ScheduleMoved, Schedules};
