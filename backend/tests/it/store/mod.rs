//! The store, through its port.
//!
//! The modules beside [`sqlite`] are the conformance suite: they know the port only, and every
//! implementation runs all of them.

#![expect(clippy::panic, reason = "helpers of tests fail as tests do")]

mod insert;

mod idempotency;

mod apply;

mod dispatch;

mod time;

mod list;

mod types;

mod model;

mod under_test;

mod sqlite;
