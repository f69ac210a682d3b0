//! What the end-to-end tests are made of: real brokers, real processes and real faults.
//!
//! [`stack`] is a whole installation for one test; [`api`] and [`process`] are how a test uses it;
//! [`rogue`] is who misbehaves on the broker; [`broker`] is the RabbitMQ node behind it, and [`proxy`] breaks the line to it.

pub mod stack;

pub mod api;

pub mod process;

pub mod rogue;

pub mod broker;

pub mod proxy;
