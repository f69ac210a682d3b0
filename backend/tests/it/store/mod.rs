//! The store, through its port.
//!
//! The modules that [`conformance`] names are the suite: they know the port only, and every implementation runs all of
//! them. [`memory`] is the reference; [`sqlite`] has what only a file can have.

#![expect(clippy::panic, reason = "helpers of tests fail as tests do")]

mod insert;

mod idempotency;

mod apply;

mod dispatch;

mod time;

mod followers;

mod follower_model;

mod list;

mod types;

mod events;

mod emissions;

mod consumers;

mod workflows;

mod runs;

mod run_model;

mod webhooks;

mod schedule_words;

mod schedules;

mod ticks;

mod schedule_model;

mod hooks;

mod model;

mod under_test;

mod conformance;

mod memory;

mod sqlite;
