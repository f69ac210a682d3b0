//! One message on a channel of its own.

use std::time::Duration;

use lapin::{
    Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};

use super::{Published, prepared_message::PreparedMessage};
use crate::{PublishError, error::Reason, transport::open_channel};

/// Publishes a message, and waits until the broker has confirmed it.
pub(super) async fn publish(
    connection: &Connection,
    message: PreparedMessage,
    limit: Duration,
) -> Result<Published, PublishError> {
    let unknown = |error: lapin::Error| PublishError::unknown(Reason::from(&error));
    let channel = open_channel(connection, limit)
        .await
        .map_err(|error| PublishError::unknown(Reason::from_error(error.to_string(), error)))?;
    let options = ConfirmSelectOptions {
        nowait: false, // the message must not be sent before confirms are on
    };
    channel.confirm_select(options).await.map_err(unknown)?;
    let PreparedMessage { exchange, routing_key, mandatory, properties, body, .. } = message;
    let options = BasicPublishOptions {
        mandatory,
        immediate: false, // RabbitMQ does not know it and closes the channel
    };
    let sent = channel.basic_publish(exchange, routing_key, options, &body, properties).await;
    match sent.map_err(unknown)?.await.map_err(unknown)? {
        // It is the only message of its channel, so what comes back is this one.
        Confirmation::Ack(Some(returned)) => {
            Ok(Published::Returned { code: returned.reply_code, text: returned.reply_text.to_string() })
        }
        // Not requested: only without confirms, which were turned on before.
        Confirmation::Ack(None) | Confirmation::NotRequested => Ok(Published::Confirmed),
        Confirmation::Nack(_) => Err(PublishError::Nacked),
    }
}
