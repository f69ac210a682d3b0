//! Any message of the contract, so that one test can run over all of them.

use crewcall_proto::{
    ContentType, DecodeError, MessageKind, Order, bundle,
    control::Control,
    decode,
    discovery::{Announcement, Goodbye, Heartbeat},
    encode,
    event::Emitted,
    response::{Completed, Failed, HandedBack, Held, Progression},
};

/// One message of any kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Order(Order),
    Progression(Progression),
    Held(Held),
    HandedBack(HandedBack),
    Emitted(Emitted),
    Completed(Completed),
    Error(Failed),
    Announce(Announcement),
    Heartbeat(Heartbeat),
    Goodbye(Goodbye),
    Control(Control),
}

impl Message {
    pub(crate) fn kind(&self) -> MessageKind {
        match self {
            Self::Order(_) => MessageKind::Order,
            Self::Progression(_) => MessageKind::Progression,
            Self::Held(_) => MessageKind::Held,
            Self::HandedBack(_) => MessageKind::HandedBack,
            Self::Emitted(_) => MessageKind::Emitted,
            Self::Completed(_) => MessageKind::Completed,
            Self::Error(_) => MessageKind::Error,
            Self::Announce(_) => MessageKind::Announce,
            Self::Heartbeat(_) => MessageKind::Heartbeat,
            Self::Goodbye(_) => MessageKind::Goodbye,
            Self::Control(_) => MessageKind::Control,
        }
    }

    pub(crate) fn encode(&self, content_type: ContentType) -> Vec<u8> {
        match self {
            Self::Order(message) => encode(content_type, message),
            Self::Progression(message) => encode(content_type, message),
            Self::Held(message) => encode(content_type, message),
            Self::HandedBack(message) => encode(content_type, message),
            Self::Emitted(message) => encode(content_type, message),
            Self::Completed(message) => encode(content_type, message),
            Self::Error(message) => encode(content_type, message),
            Self::Announce(message) => encode(content_type, message),
            Self::Heartbeat(message) => encode(content_type, message),
            Self::Goodbye(message) => encode(content_type, message),
            Self::Control(message) => encode(content_type, message),
        }
        .expect("a small message can be encoded")
    }

    pub(crate) fn decode(
        kind: MessageKind,
        content_type: ContentType,
        body: &[u8],
    ) -> Result<Self, DecodeError> {
        Ok(match kind {
            MessageKind::Order => Self::Order(decode(content_type, body)?),
            MessageKind::Progression => Self::Progression(decode(content_type, body)?),
            MessageKind::Held => Self::Held(decode(content_type, body)?),
            MessageKind::HandedBack => Self::HandedBack(decode(content_type, body)?),
            MessageKind::Emitted => Self::Emitted(decode(content_type, body)?),
            MessageKind::Completed => Self::Completed(decode(content_type, body)?),
            MessageKind::Error => Self::Error(decode(content_type, body)?),
            MessageKind::Announce => Self::Announce(decode(content_type, body)?),
            MessageKind::Heartbeat => Self::Heartbeat(decode(content_type, body)?),
            MessageKind::Goodbye => Self::Goodbye(decode(content_type, body)?),
            MessageKind::Control => Self::Control(decode(content_type, body)?),
        })
    }

    /// The bytes of messages that travel as one.
    pub(crate) fn encode_bundle(messages: &[Self], content_type: ContentType) -> Vec<u8> {
        let bodies: Vec<Vec<u8>> = messages.iter().map(|message| message.encode(content_type)).collect();
        bundle::join(content_type, &bodies).expect("a small bundle can be written")
    }

    /// Reads messages of one kind that travelled as one.
    pub(crate) fn decode_bundle(
        kind: MessageKind,
        content_type: ContentType,
        body: &[u8],
    ) -> Result<Vec<Self>, DecodeError> {
        let bodies = bundle::split(content_type, body)?;
        bodies.into_iter().map(|body| Self::decode(kind, content_type, body)).collect()
    }

    /// The message as a JSON value.
    pub(crate) fn to_value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.encode(ContentType::Json)).expect("our own JSON is JSON")
    }
}
