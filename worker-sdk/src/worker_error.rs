//! Why a worker could not start or go on.

use std::net::SocketAddr;

use crewcall_proto::JobType;

use crate::{error::Failure, settings::SettingsError};

/// Why a worker could not start, or ended with orders unfinished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The program describes a worker that cannot exist: a name that is not a job type, a type served twice, too many.
    #[error("this worker cannot run: {0}")]
    Misused(String),
    /// No type can be served on this machine.
    #[error("this worker has nothing to serve here: {0}")]
    NothingToServe(String),
    /// The broker URL is not valid.
    #[error(transparent)]
    BrokerUrl(#[from] crewcall_amqp::LinkError),
    /// The process cannot listen for signals.
    #[error("the worker cannot listen for SIGTERM and SIGINT")]
    Signals(#[source] std::io::Error),
    /// The address at which the worker is to show its metrics cannot be had.
    #[error("the worker cannot listen on {address}, as CREWCALL_WORKER_LISTEN says: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused the worker a thread.
    #[error("no thread could be started for the worker")]
    Thread(#[source] std::io::Error),
    /// A part of the worker that runs for as long as it does has ended: a fault of this library, or a runtime that was
    /// shut down under it. Its orders went back to the broker.
    #[error("the worker cannot go on: {0}")]
    Broken(String),
    /// The grace period was over, or a second signal came, while attempts were running: their orders went
    /// back to the broker, for another worker to run again.
    #[error("the worker handed back {orders} unfinished orders")]
    HandedBack {
        /// How many.
        orders: usize,
    },
    /// A handler failed whose type is served with [`FailureStrategy::NackAndExit`](crate::FailureStrategy::NackAndExit).
    #[error("the worker ends because an attempt of {job_type} failed")]
    HandlerFailed {
        /// The type.
        job_type: JobType,
        /// What its handler said.
        #[source]
        failure: Failure,
    },
}
