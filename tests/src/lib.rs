//! What the end-to-end tests are made of: real brokers, real processes and real faults.
//!
//! [`stack`] is a whole installation for one test; [`api`] and [`process`] are how a test uses it;
//! [`rogue`] is who misbehaves on the broker; [`broker`] is the RabbitMQ node behind it, [`proxy`] breaks the line to it, and [`lies`]
//! lets the system give wrong answers. [`invariants`] is what must hold whatever breaks, [`footprint`] what a program takes,
//! and [`wait`] waits for it.

pub mod stack;

pub mod invariants;

pub mod vitals;

pub mod footprint;

pub mod api;

pub mod process;

pub mod rogue;

pub mod broker;

pub mod proxy;

pub mod lies;

pub mod wait;

pub mod disk;
