//! What can go wrong, as one enum per thing that a caller does.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use lapin::ErrorKind;

/// What happened, as one sentence for a person, with the error that it came from as its [`source`](Error::source). Two
/// are equal when they say the same.
#[derive(Clone, Debug)]
pub struct Reason {
    sentence: String,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Reason {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), cause: None }
    }

    /// Keeps the error that it came from.
    pub(crate) fn from_error(sentence: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { sentence: sentence.into(), cause: Some(Arc::new(cause)) }
    }

    /// The same cause, told of within a larger thing.
    pub(crate) fn within(self, tell: impl FnOnce(String) -> String) -> Self {
        Self { sentence: tell(self.sentence), cause: self.cause }
    }
}

impl From<&lapin::Error> for Reason {
    fn from(error: &lapin::Error) -> Self {
        Self::from_error(sentence(error), error.clone())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl PartialEq for Reason {
    fn eq(&self, other: &Self) -> bool {
        self.sentence == other.sentence
    }
}

impl Eq for Reason {}

/// Why the broker or the link did not do what was asked of the topology (connect, declare, subscribe, measure).
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LinkError {
    /// The configured URL cannot be one of a broker.
    #[error(transparent)]
    InvalidUrl(Reason),
    /// A name, a number or a combination that AMQP cannot express; nothing was sent.
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// The thing, for example ``queue `a` ``.
        what: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// The broker cannot be reached, or there is no session and none came up in time.
    #[error(transparent)]
    NotConnected(Reason),
    /// The broker did not answer in time; the session is given up.
    #[error("the broker did not answer within {after:?} to: {what}")]
    Timeout {
        /// What was asked.
        what: String,
        /// How long we waited.
        after: Duration,
    },
    /// The thing exists with other properties than the ones we declare. Remove it on the broker, or change what is
    /// declared.
    #[error(
        "{what} exists on the broker with other properties than we declare; delete it there once it is empty, and it is \
         declared anew: {broker_says}"
    )]
    PreconditionFailed {
        /// The declared thing.
        what: String,
        /// The broker's own words, which name the property and both values.
        broker_says: String,
    },
    /// The broker user may not do this.
    #[error("the broker user may not use {what}: {broker_says}")]
    AccessRefused {
        /// The declared or used thing.
        what: String,
        /// The broker's own words.
        broker_says: String,
    },
    /// The thing does not exist on the broker.
    #[error("{what} does not exist")]
    NotFound {
        /// The missing thing.
        what: String,
        /// The broker's own words.
        broker_says: String,
    },
    /// An exclusive queue or consumer of another connection is in the way, often one that just died and lingers.
    #[error("{what} is locked by another connection: {broker_says}")]
    Locked {
        /// The locked thing.
        what: String,
        /// The broker's own words.
        broker_says: String,
    },
    /// The broker blocks this connection (memory or disk alarm) and reads nothing from it. Try again later.
    #[error("the broker takes nothing from this connection at the moment: {reason}")]
    Blocked {
        /// What the broker says, for example `low on memory`.
        reason: String,
    },
    /// The broker answered with an error of another kind, or the session broke in between.
    #[error(transparent)]
    Failed(Reason),
    /// There was a session, and it ended: the broker closed it, went silent, or took a queue away that was consumed.
    #[error(transparent)]
    SessionLost(Reason),
    /// The link was stopped.
    #[error("the link to the broker was stopped")]
    Stopped,
}

impl LinkError {
    /// Whether the same request can succeed later without anybody changing anything on purpose.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotConnected(_)
            | Self::Timeout { .. }
            | Self::NotFound { .. }
            | Self::Locked { .. }
            | Self::Blocked { .. }
            | Self::Failed(_)
            | Self::SessionLost(_) => true,
            Self::InvalidUrl(_)
            | Self::Invalid { .. }
            | Self::PreconditionFailed { .. }
            | Self::AccessRefused { .. }
            | Self::Stopped => false,
        }
    }

    /// The error for `what` from the client library's error.
    pub(crate) fn from_client(what: impl Into<String>, error: &lapin::Error) -> Self {
        let what = what.into();
        let ErrorKind::ProtocolError(protocol) = error.kind() else {
            return Self::Failed(Reason::from(error).within(|reason| format!("{what}: {reason}")));
        };
        let broker_says = protocol.get_message().to_string();
        match protocol.get_id() {
            ACCESS_REFUSED => Self::AccessRefused { what, broker_says },
            NOT_FOUND => Self::NotFound { what, broker_says },
            RESOURCE_LOCKED => Self::Locked { what, broker_says },
            PRECONDITION_FAILED => Self::PreconditionFailed { what, broker_says },
            _ => Self::Failed(Reason::from_error(format!("{what}: {broker_says}"), error.clone())),
        }
    }
}

/// Why a publish was not confirmed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublishError {
    /// The broker refused to take the message (for example a full queue that rejects). It was not stored everywhere
    /// it should be; publish it again later.
    #[error("the broker refused the message; publish it again later")]
    Nacked,
    /// The session ended, or the confirm did not come in time: the message may or may not have reached the broker.
    /// Publish it again with the same `message_id`.
    #[error(transparent)]
    Unknown(Reason),
    /// The broker closed the channel because of this exchange (it does not exist, or the user may not write to it).
    #[error("the broker refused a message to exchange `{exchange}`: {broker_says}")]
    Refused {
        /// The exchange that the message was for.
        exchange: String,
        /// The broker's own words.
        broker_says: String,
    },
    /// The body is larger than [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX); nothing was sent.
    #[error("the message has {bytes} bytes, more than the {bytes_max} allowed; pass large data by reference")]
    TooLarge {
        /// The size of the body.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// A name or property that AMQP cannot express; nothing was sent.
    #[error("{field} cannot be sent: {reason}")]
    Invalid {
        /// The field of the message.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The publisher was stopped before the message was sent.
    #[error("the publisher was stopped")]
    Stopped,
}

impl PublishError {
    pub(crate) fn unknown(reason: Reason) -> Self {
        Self::Unknown(
            reason.within(|why| format!("it is not known whether the message reached the broker: {why}")),
        )
    }

    /// Whether to publish the same message again (with the same `message_id`).
    pub fn is_retryable(&self) -> bool {
        match self {
            // What is refused may be declared again by the next session.
            Self::Nacked | Self::Unknown(_) | Self::Refused { .. } => true,
            Self::TooLarge { .. } | Self::Invalid { .. } | Self::Stopped => false,
        }
    }
}

/// Why a delivery could not be acknowledged. The broker delivers it again, here or elsewhere.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AckError {
    /// The session that delivered it is over, so the broker has already taken the message back.
    #[error("the session that delivered this message is over; the broker delivers it again")]
    SessionGone,
}

/// Why the broker closed a channel on which messages were published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChannelFault {
    /// It blames an exchange that does not exist, or that the user may not write to.
    Exchange { name: String, broker_says: String },
    /// Anything else; the whole connection may be over.
    Other(Reason),
}

impl ChannelFault {
    /// RabbitMQ's `channel.close` has a code for the kind of fault, but names the exchange in its text alone: this is
    /// the one place that reads it.
    pub(crate) fn from_client(error: &lapin::Error) -> Self {
        let reason = Reason::from(error);
        match blamed_exchange(&reason.sentence).filter(|_| error.is_amqp_soft_error()) {
            Some(name) => Self::Exchange { name: name.to_owned(), broker_says: reason.sentence.clone() },
            None => Self::Other(reason),
        }
    }
}

/// The name in "no exchange 'a' in vhost '/'" and "access to exchange 'a' in vhost '/' refused".
fn blamed_exchange(broker_says: &str) -> Option<&str> {
    let (_, after) = broker_says.split_once("exchange '")?;
    after.split_once("' in vhost").map(|(name, _)| name).filter(|name| !name.is_empty())
}

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;

/// The client library's error as one sentence for a person, without its internal vocabulary.
pub(crate) fn sentence(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(protocol) => protocol.get_message().to_string(),
        ErrorKind::IOError(error) | ErrorKind::RuntimeShutdownError(error) => io_sentence(error),
        ErrorKind::MissingHeartbeatError => "the broker sent nothing for two heartbeats".to_owned(),
        ErrorKind::InvalidConnectionState(_)
        | ErrorKind::InvalidChannelState(..)
        | ErrorKind::InvalidChannel(_) => "the connection to the broker is closed".to_owned(),
        _ => error.to_string(),
    }
}

fn io_sentence(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset
        | std::io::ErrorKind::ConnectionAborted
        | std::io::ErrorKind::BrokenPipe
        | std::io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
        std::io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_for_people_keeps_the_error_that_it_came_from() {
        let os = std::io::Error::from_raw_os_error(111);
        let failed = LinkError::from_client("opening a channel", &lapin::Error::from(os));
        assert_eq!(failed.to_string(), "opening a channel: connection refused");
        let chain: Vec<_> = std::iter::successors(failed.source(), |error| (*error).source())
            .map(ToString::to_string)
            .collect();
        assert!(chain.iter().any(|error| error.contains("os error 111")), "{chain:?}");

        let unknown = PublishError::unknown(Reason::from_error("not connected", failed.clone()));
        assert_eq!(
            unknown.to_string(),
            "it is not known whether the message reached the broker: not connected"
        );
        assert_eq!(unknown.source().map(ToString::to_string), Some(failed.to_string()));
    }

    #[test]
    fn the_exchange_that_the_broker_blames_is_read_from_its_words() {
        for (broker_says, blamed) in [
            ("NOT_FOUND - no exchange 'crewcall.jobs' in vhost '/'", Some("crewcall.jobs")),
            ("ACCESS_REFUSED - access to exchange 'a' in vhost '/' refused for user 'w'", Some("a")),
            (
                "ACCESS_REFUSED - access to topic 'x.y' in exchange 'it''s' in vhost 'v' refused for user 'w'",
                Some("it''s"),
            ),
            ("PRECONDITION_FAILED - unknown delivery tag 7", None),
            ("NOT_FOUND - no queue 'exchange' in vhost '/'", None),
        ] {
            assert_eq!(blamed_exchange(broker_says), blamed, "{broker_says}");
        }
    }
}
