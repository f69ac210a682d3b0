//! The backend from outside its modules: the store, and the HTTP API.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod http;

mod store;
