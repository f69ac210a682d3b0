//! End-to-end tests on real parts, one file per behaviour.
//!
//! Run with `cargo test -p e2e`: the tests of this binary share one RabbitMQ node.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test like the test itself"
)]

// What a user sees.
mod done_with_progress;

mod two_types;

mod workflows;

mod own_answers;

mod bad_submissions;

mod handler_error;
mod hooks;

mod webhooks;

mod panic;

mod followers;
mod scheduled_jobs;

mod schedules;

mod cancel_and_retry;

mod batch;

mod bundles;

mod type_settings;

mod consumers;

mod grown_systems;

mod long_jobs;

mod traces;

mod service_manager;

mod backup;

mod production;

mod drain;

mod command_line;

mod command_line_health;

mod command_line_shell;

mod command_line_top;

mod dev;

mod bench;

// What operators look at.
mod boards;

mod alerts;

mod worker_endpoints;

// What goes wrong.
mod acknowledged_order;

mod python_worker;

// What breaks, by number.
mod faults;

// The parts below.
mod link;

// The architecture.
mod tidy;
