//! Every limit of schedules, each with its reason.

use std::time::Duration;

/// How many schedules there may be, those of workflows included: each is kept in memory.
pub const SCHEDULES_MAX: usize = 20_000;

/// How many ticks are looked at in one step, whatever the clock did: a year of minutes is 526 steps.
pub const STEP_TICKS_MAX: usize = 1_000;

/// How many ticks fire in one step, so that nobody waits for long behind a crowd of them.
pub const STEP_FIRES_MAX: usize = 256;

/// A tick that is looked at later than this was missed: a backend that runs looks within a fraction of it.
pub const LATE_AFTER: Duration = Duration::from_secs(2);

/// How many missed ticks fire at once with `catch_up: all`: the newest. The others are in the record, for a backfill.
pub const CATCH_UP_MAX: usize = 1_000;

/// How old a missed tick may be that still fires, unless the schedule says otherwise.
pub const CATCH_UP_WINDOW_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest of these windows.
pub const CATCH_UP_WINDOW_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How many ticks wait with `overlap: queue_all`.
pub const QUEUE_MAX: usize = 1_000;

/// How many ticks one backfill makes at most.
pub const BACKFILL_MAX: usize = 1_000;

/// The longest jitter: a day.
pub const JITTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How many failures in a row a schedule may wait for until it pauses itself.
pub const PAUSE_AFTER_FAILURES_MAX: u32 = 1_000;

/// The longest interval between ticks: 365 days.
pub const EVERY_SECONDS_MAX: u32 = 365 * 24 * 60 * 60;

/// How long what became of ticks is kept.
pub const TICKS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The largest document of a schedule, in bytes of its JSON text without white space.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
