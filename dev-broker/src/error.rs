//! What can go wrong with a private node.

use std::{io, path::PathBuf, time::Duration};

/// Why a private node could not be started or controlled.
#[derive(Debug, thiserror::Error)]
pub enum DevBrokerError {
    /// RabbitMQ is not installed.
    #[error(
        "RabbitMQ is not installed ({missing} is missing): run `sudo apt-get install -y rabbitmq-server` \
         (the node that it starts by itself is not used), or `./dev up`"
    )]
    NotInstalled {
        /// The program that was looked for.
        missing: PathBuf,
    },
    /// The folder that was named as RabbitMQ's is another.
    #[error(
        "there is no RabbitMQ in {home}: CREWCALL_RABBITMQ_HOME is to name the folder whose sbin or bin has its scripts \
         rabbitmq-server and rabbitmqctl"
    )]
    NoHome {
        /// The folder.
        home: PathBuf,
    },
    /// Another process runs a node in the same folder.
    #[error("another process runs its private RabbitMQ node in {dir}: stop it, or use another folder")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A file or a process could not be handled.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The node's process ended before the node was up.
    #[error("the private RabbitMQ node ended while it started; its log ends with:\n{log_tail}")]
    EndedWhileStarting {
        /// The last lines of its log.
        log_tail: String,
    },
    /// The node was not up in time. It has been killed.
    #[error("the private RabbitMQ node was not up within {after:?}; its log ends with:\n{log_tail}")]
    StartTimeout {
        /// How long we waited.
        after: Duration,
        /// The last lines of its log.
        log_tail: String,
    },
    /// `rabbitmqctl` failed.
    #[error("rabbitmqctl {arguments} failed: {output}")]
    Control {
        /// The arguments.
        arguments: String,
        /// What it printed.
        output: String,
    },
    /// The node is not running (it was killed or stopped).
    #[error("the private RabbitMQ node is not running")]
    NotRunning,
}

impl DevBrokerError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
