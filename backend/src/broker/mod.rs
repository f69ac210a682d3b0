//! The broker as the backend sees it: what is declared there, how orders go out, how responses come in.
//!
//! [`outbound`] implements the port [`crate::engine::ports::Broker`]; [`inbound`] reads every queue of the
//! backend and hands what it reads to the use-cases. [`topology`] says what exists and with which arguments.

pub mod topology;

pub(crate) mod outbound;

pub(crate) mod inbound;

pub(crate) mod claim;

mod inbox;

mod lanes;

mod orders;

mod error;

mod strike;

pub use inbound::Inbound;
pub use outbound::Outbound;
