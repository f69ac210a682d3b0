//! The backend from outside its modules: the store, the engine, the HTTP API, and a model check of the protocol.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod engine;

mod http;

mod lost;

mod model;

mod consumer_model;

mod schedule_model;

mod workflow_model;

mod store;
