//! The contract, held still: golden bytes, round trips, hostile input, and the documents that other
//! languages read.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod message;
mod samples;
mod strategies;

mod bundle;
mod golden;
mod hostile;
mod round_trip;
mod salvage;

mod asyncapi;
mod document;
mod fields;
