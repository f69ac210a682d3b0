//! The dispatch of jobs on the real store, with a broker that is played.

#![expect(clippy::panic, reason = "helpers of tests fail as tests do")]

mod limits;

mod rates;

mod mark;

mod observer;

mod stage;
