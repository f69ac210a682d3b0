//! The broker link (`crewcall-amqp`) on a real node and under real faults.

mod blocked;
mod broker_killed;
mod deleted_queue;
mod half_open;
mod refusals;
mod returns;
mod session_over;
mod subscriptions;
mod support;
