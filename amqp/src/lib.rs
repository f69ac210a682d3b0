//! The broker link: supervised sessions with RabbitMQ, confirmed publishing, and consuming.
//!
//! A [`Publisher`] owns one connection and a [`Consumer`] owns another one, because a broker that blocks a
//! publishing connection (memory or disk alarm) also stops reading the acknowledgements on it. A connection with its
//! channels and consumers is one *session*: whatever goes wrong with any of them ends the whole session, and the
//! link connects again with a jittered back-off, without end. Nothing here recovers in place: an outage is visible
//! in [`LinkState`], in [`ConsumerEvent::Down`] and in every answer that it makes uncertain.
//!
//! This crate is the only one that knows the AMQP client library, and no type of that library is part of its API.
//! It knows nothing about jobs either: names of queues and the meaning of bodies belong to its callers.
//!
//! What is worth knowing is logged here, once. The client library logs every broken connection as several errors and
//! every returned message with its whole body: programs put `lapin=off` into their log filter.

#![deny(missing_docs)]

pub use config::LinkConfig;
pub use consumer::{Consumer, ConsumerEvent, Delivery, Fetcher, SessionPlan, Subscription};
pub use declaration::{DELIVERIES_UNLIMITED, Declaration, ExchangeKind};
pub use error::{AckError, LinkError, PublishError, Reason};
pub use greeting::BrokerProduct;
pub use inspector::{Found, Inspector, Right};
pub use message::{FirstDeath, HeaderValue, MessageProperties, OutboundMessage};
pub use publisher::{MESSAGE_BYTES_MAX, Publication, Published, Publisher, PublisherOptions, QueueDepth};
pub use state::LinkState;

mod config;
mod consumer;
mod declaration;
mod error;
#[doc(hidden)]
pub mod failpoints;
mod greeting;
mod inspector;
mod message;
mod mutant;
mod publisher;
mod state;
mod supervisor;
mod transport;
mod upkeep;
