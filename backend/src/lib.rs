//! The Crewcall backend: stores jobs, dispatches them to workers through the broker, and keeps the truth
//! about each.
//!
//! Direction of imports: [`domain`] ← [`engine`] ← {[`http`], [`store`], [`broker`], [`deliveries`]} ← [`app`]; the four
//! in the middle never import each other. [`metrics`] and [`clock`] are for everybody but the domain; `traces` is for {[`http`], [`broker`], [`app`]}.

pub mod domain;

pub mod engine;

pub mod store;

pub mod broker;

pub mod http;

pub mod metrics;

mod traces;

pub mod clock;

pub mod config;

pub mod deliveries;

pub mod app;

mod mutant;

mod service_manager;

pub mod failpoints;

pub use app::{App, BuildError, RunError};
pub use config::{Config, DatabaseUrl};
pub use deliveries::Deliveries;
pub use http::HttpHosts;
