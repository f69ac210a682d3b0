//! The HTTP API over a real listener, a real client and a real store; only the broker is played.

mod server;

mod submit;

mod problems;

mod read;

mod watch;

mod operate;

mod document;
