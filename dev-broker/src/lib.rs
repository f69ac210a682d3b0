//! A private RabbitMQ node for development and tests.
//!
//! [`DevBroker::start`] runs the RabbitMQ of the distribution's package, or another that
//! [`HOME_VARIABLE`] names, as the current user, with everything it
//! writes under one folder, on free ports of 127.0.0.1, beside any other node of the machine. The node is *private*:
//! its name service (epmd), its cookie and its home are its own.
//!
//! No process outlives its owner. A small shell waits on a pipe that only this process holds open: however this
//! process ends, the pipe closes and the shell kills the node. Should the shell be killed too, the next start in the
//! same folder ends what is left over.

pub use broker::{DevBroker, DevBrokerOptions};
pub use error::DevBrokerError;
pub use home::HOME_VARIABLE;

mod broker;
mod error;
mod home;
mod layout;
mod leftovers;
mod ports;
mod watchdog;
