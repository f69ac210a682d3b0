//! The backend from outside its modules: the store, the HTTP API, and a model check of the protocol.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod http;

mod model;

mod store;
