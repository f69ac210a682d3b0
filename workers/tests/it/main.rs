//! The workers as their users meet them: handlers on real files and a real HTTP server, and the program's
//! command line. No broker is needed; tests with one live in the package `e2e`.

#![expect(clippy::unwrap_used, reason = "what a test's helper cannot unwrap fails the test, as it should")]

mod checksum;
mod command_line;
mod http;
mod support;
mod thumbnail;
