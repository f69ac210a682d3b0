//! What the end-to-end tests are made of: real brokers, real processes and real faults.
//!
//! [`stack`] is a whole installation for one test; [`api`] and [`process`] are how a test uses it;
//! [`raw_worker`] is who misbehaves on the broker, [`raw_bundles`] takes several orders from it at once, and [`flood`] does so fast; [`broker`] is the RabbitMQ node behind it, [`routing`]
//! takes its exchanges and bindings away, and [`proxy`] breaks the line to it. [`preload`] lets the system give wrong answers, and [`disk`] is one that gets full. `otlp_sink` takes the traces of our programs. [`invariants`] is what must hold
//! whatever breaks, [`footprint`] what a program takes, [`wait`] waits for it, and [`chaos`] breaks
//! everything at random. [`failpoints`] are where our programs can be ended; [`mutants`] are our programs broken on purpose, to see that all this finds them.

pub mod stack;

pub mod invariants;

pub mod api;

pub mod process;

pub mod footprint;

pub mod wait;

pub mod raw_worker;

pub mod raw_bundles;

pub mod flood;

pub mod broker;

pub mod routing;

pub mod proxy;

pub mod receiver;

pub mod preload;

pub mod disk;

#[cfg(feature = "otlp")]
pub mod otlp_sink;

pub mod chaos;

pub mod failpoints;

pub mod mutants;
