//! What the errors of the links mean for whoever asked the broker for something.

use crewcall_amqp::{LinkError, PublishError};

use crate::engine::ports::BrokerError;

pub(super) fn publish_error(error: &PublishError) -> BrokerError {
    match error {
        PublishError::Stopped => BrokerError::Closed,
        PublishError::Nacked | PublishError::Unknown(_) | PublishError::Refused { .. } => {
            BrokerError::Unavailable { reason: error.to_string() }
        }
        PublishError::TooLarge { .. } | PublishError::Invalid { .. } => {
            BrokerError::Refused { reason: error.to_string() }
        }
    }
}

pub(super) fn link_error(error: &LinkError) -> BrokerError {
    match error {
        LinkError::Stopped => BrokerError::Closed,
        error if error.is_retryable() => BrokerError::Unavailable { reason: error.to_string() },
        error => BrokerError::Refused { reason: error.to_string() },
    }
}
