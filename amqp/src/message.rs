//! Messages as callers see them, and their translation to and from the client library's form.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

use crate::{PublishError, declaration::short_string};

/// A message to publish.
#[derive(Clone, Debug, Default)]
pub struct OutboundMessage {
    /// The exchange that routes it. Empty means the default exchange, where the routing key names the queue.
    pub exchange: String,
    /// The routing key, at most 255 bytes.
    pub routing_key: String,
    /// The body, at most [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX) bytes.
    pub body: Bytes,
    /// Everything beside the body.
    pub properties: MessageProperties,
    /// Whether a message that no queue takes comes back as [`Published::Returned`](crate::Published::Returned).
    /// Otherwise the broker confirms and drops it.
    pub mandatory: bool,
}

/// What travels beside the body. The same type serves both directions; texts are at most 255 bytes on the way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Identifies the message for de-duplication. Must be unique among the messages in flight; a publisher gives a
    /// message without one a random id.
    pub message_id: Option<String>,
    /// What the message is about, for example a job's id.
    pub correlation_id: Option<String>,
    /// The message's type (AMQP's property `type`).
    pub message_type: Option<String>,
    /// The body's encoding, for example `application/msgpack`.
    pub content_type: Option<String>,
    /// When it was made, in milliseconds since 1970. AMQP carries whole seconds: the rest is cut off.
    pub timestamp_ms: Option<u64>,
    /// Whether the broker writes it to disk (delivery mode 2).
    pub persistent: bool,
    /// The program that sent it.
    pub app_id: Option<String>,
    /// The queue that an answer goes to.
    pub reply_to: Option<String>,
    /// After how many milliseconds in a queue the broker drops it, as a decimal number.
    pub expiration: Option<String>,
    /// Headers by name. Of an inbound message only texts and whole numbers are kept.
    pub headers: BTreeMap<String, HeaderValue>,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// A text (invalid UTF-8 in an inbound header is replaced).
    Text(String),
    /// A whole number of any size up to 64 bits.
    Integer(i64),
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for HeaderValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// Where and why the broker first gave a message up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstDeath {
    /// The queue it died in.
    pub queue: String,
    /// `rejected`, `delivery_limit`, `expired` or `maxlen`.
    pub reason: String,
}

impl MessageProperties {
    /// The text of a header, if it has one.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        match self.headers.get(name) {
            Some(HeaderValue::Text(text)) => Some(text),
            Some(HeaderValue::Integer(_)) | None => None,
        }
    }

    /// The number of a header, if it has one.
    pub fn header_integer(&self, name: &str) -> Option<i64> {
        match self.headers.get(name) {
            Some(HeaderValue::Integer(number)) => Some(*number),
            Some(HeaderValue::Text(_)) | None => None,
        }
    }

    /// How often a quorum queue had delivered the message before this time (`x-delivery-count`); 0 the first time.
    pub fn delivery_count(&self) -> i64 {
        self.header_integer("x-delivery-count").unwrap_or(0)
    }

    /// Where and why the broker first gave the message up; `None` unless it came through a dead-letter exchange.
    pub fn first_death(&self) -> Option<FirstDeath> {
        let queue = self.header_text("x-first-death-queue")?.to_owned();
        let reason = self.header_text("x-first-death-reason")?.to_owned();
        Some(FirstDeath { queue, reason })
    }

    pub(crate) fn to_client(&self) -> Result<BasicProperties, PublishError> {
        let mut properties =
            BasicProperties::default().with_delivery_mode(if self.persistent { 2 } else { 1 });
        macro_rules! set {
            ($($field:ident => $with:ident),* $(,)?) => {$(
                if let Some(text) = &self.$field {
                    let text = short_string(text).map_err(|reason| PublishError::Invalid { field: stringify!($field), reason })?;
                    properties = properties.$with(text);
                }
            )*};
        }
        set! {
            message_id => with_message_id,
            correlation_id => with_correlation_id,
            message_type => with_type,
            content_type => with_content_type,
            app_id => with_app_id,
            reply_to => with_reply_to,
            expiration => with_expiration,
        }
        if let Some(milliseconds) = self.timestamp_ms {
            properties = properties.with_timestamp(milliseconds / 1000);
        }
        if !self.headers.is_empty() {
            properties = properties.with_headers(headers_to_client(&self.headers)?);
        }
        Ok(properties)
    }

    pub(crate) fn from_client(properties: &BasicProperties) -> Self {
        let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
        Self {
            message_id: text(properties.message_id()),
            correlation_id: text(properties.correlation_id()),
            message_type: text(properties.kind()),
            content_type: text(properties.content_type()),
            timestamp_ms: properties.timestamp().map(|seconds| seconds.saturating_mul(1000)),
            persistent: *properties.delivery_mode() == Some(2),
            app_id: text(properties.app_id()),
            reply_to: text(properties.reply_to()),
            expiration: text(properties.expiration()),
            headers: properties.headers().as_ref().map(headers_from_client).unwrap_or_default(),
        }
    }
}

fn headers_to_client(headers: &BTreeMap<String, HeaderValue>) -> Result<FieldTable, PublishError> {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        let name =
            short_string(name).map_err(|reason| PublishError::Invalid { field: "header name", reason })?;
        let value = match value {
            HeaderValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
            HeaderValue::Integer(number) => AMQPValue::LongLongInt(*number),
        };
        table.insert(name, value);
    }
    Ok(table)
}

fn headers_from_client(table: &FieldTable) -> BTreeMap<String, HeaderValue> {
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Some(HeaderValue::Text(text.to_string())),
        AMQPValue::ShortString(text) => Some(HeaderValue::Text(text.to_string())),
        AMQPValue::ShortShortInt(number) => Some(HeaderValue::Integer(i64::from(*number))),
        AMQPValue::ShortShortUInt(number) => Some(HeaderValue::Integer(i64::from(*number))),
        AMQPValue::ShortInt(number) => Some(HeaderValue::Integer(i64::from(*number))),
        AMQPValue::ShortUInt(number) => Some(HeaderValue::Integer(i64::from(*number))),
        AMQPValue::LongInt(number) => Some(HeaderValue::Integer(i64::from(*number))),
        AMQPValue::LongUInt(number) => Some(HeaderValue::Integer(i64::from(*number))),
        AMQPValue::LongLongInt(number) => Some(HeaderValue::Integer(*number)),
        _ => None,
    };
    table.into_iter().filter_map(|(name, raw)| Some((name.to_string(), value(raw)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_survive_the_way_there_and_back() {
        let text = |text: &str| Some(text.to_owned());
        let sent = MessageProperties {
            message_id: text("m"),
            correlation_id: text("c"),
            message_type: text("order"),
            content_type: text("application/msgpack"),
            timestamp_ms: Some(1_700_000_000_000),
            persistent: true,
            app_id: text("crewcall"),
            reply_to: text("q"),
            expiration: text("5000"),
            headers: [("traceparent".to_owned(), "00-ab".into()), ("n".to_owned(), HeaderValue::Integer(-7))]
                .into(),
        };
        assert_eq!(MessageProperties::from_client(&sent.to_client().unwrap()), sent);
        let empty = MessageProperties::default();
        assert_eq!(MessageProperties::from_client(&empty.to_client().unwrap()), empty);
    }

    #[test]
    fn a_property_that_amqp_cannot_carry_is_refused_by_name() {
        let properties = MessageProperties { correlation_id: Some("x".repeat(256)), ..Default::default() };
        let refused = properties.to_client().unwrap_err();
        assert!(matches!(refused, PublishError::Invalid { field: "correlation_id", .. }), "{refused}");
    }

    #[test]
    fn a_dead_letter_says_where_and_why_it_died() {
        let mut table = FieldTable::default();
        table.insert("x-first-death-queue".into(), AMQPValue::LongString("jobs".into()));
        table.insert("x-first-death-reason".into(), AMQPValue::LongString("delivery_limit".into()));
        table.insert("x-delivery-count".into(), AMQPValue::LongUInt(3));
        table.insert("x-death".into(), AMQPValue::FieldArray(Default::default()));
        let properties = MessageProperties::from_client(&BasicProperties::default().with_headers(table));
        let death = FirstDeath { queue: "jobs".to_owned(), reason: "delivery_limit".to_owned() };
        assert_eq!(properties.first_death(), Some(death));
        assert_eq!(properties.delivery_count(), 3);
        assert!(!properties.headers.contains_key("x-death"));
    }
}
