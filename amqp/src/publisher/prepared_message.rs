//! A message that can be sent: checked, and translated for the client library.

use bytes::Bytes;
use lapin::types::ShortString;
use uuid::Uuid;

use super::MESSAGE_BYTES_MAX;
use crate::{OutboundMessage, PublishError, declaration::short_string};

/// What goes to the session.
pub(super) struct PreparedMessage {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) mandatory: bool,
    pub(super) message_id: String,
    pub(super) properties: lapin::BasicProperties,
    pub(super) body: Bytes,
}

impl PreparedMessage {
    pub(super) fn new(mut message: OutboundMessage) -> Result<Box<Self>, PublishError> {
        let bytes = message.body.len();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(PublishError::TooLarge { bytes, bytes_max: MESSAGE_BYTES_MAX });
        }
        let message_id =
            message.properties.message_id.get_or_insert_with(|| Uuid::new_v4().to_string()).clone();
        let short =
            |field, text: &str| short_string(text).map_err(|reason| PublishError::Invalid { field, reason });
        Ok(Box::new(Self {
            exchange: short("exchange", &message.exchange)?,
            routing_key: short("routing key", &message.routing_key)?,
            mandatory: message.mandatory,
            message_id,
            properties: message.properties.to_client()?,
            body: message.body,
        }))
    }
}
