//! Schedules: what is made whenever a moment of a calendar comes.
//!
//! * [`settings::ScheduleSettings`]: what a schedule does, read of its document.
//! * [`consider::Ticks::consider`]: which ticks have come since the last look, and what becomes of each. It is a function of the calendar, the
//!   mark up to which was looked before, and the moment.
//! * [`overlap::admit`]: what becomes of a tick that is to fire while an earlier one is not over.
//! * [`known::Schedule`]: a schedule as it is kept. [`tick::TickRecord`]: what became of one of its ticks.
//!
//! Which moments a calendar has is told by the crate `calendar`. The times of one job are something else: `domain/times.rs`.

pub mod limits;

pub mod settings;

pub mod tick;

pub mod known;

pub mod consider;

pub mod overlap;
