//! What is decided about jobs beside their states: who may go to the broker, whose submission is a repetition, and what is
//! counted. Nothing here knows a database: a store loads what these rules ask for, and writes what they say.

mod counts;

mod room;

mod age;

pub(crate) use age::{finished_until, forgotten_until};
pub(crate) use counts::{CountedAs, CountedChange, JobCounts, StateCounts, Terms, counted};
