//! Several messages of one kind in one: an array of their bodies, each as it would be alone.
//!
//! One message per job is what limits a broker. A bundle is read by taking it apart first ([`split`]), so that one
//! message in it that cannot be read harms no other.

use serde_json::value::RawValue;

use crate::{
    ContentType, DecodeError, EncodeError, MessageKind, codec::BODY_BYTES_MAX, salvage::message_pack_value,
};

/// How many messages one bundle holds at most.
pub const MESSAGES_MAX: usize = 64;

/// The kinds that may travel together, and the property `type` of a bundle of them.
const WORDS: [(MessageKind, &str); 3] =
    [(MessageKind::Order, "orders"), (MessageKind::Completed, "completions"), (MessageKind::Error, "errors")];

/// The property `type` of a bundle of messages of this kind; `None` for kinds that travel alone.
#[must_use]
pub fn word(kind: MessageKind) -> Option<&'static str> {
    WORDS.into_iter().find(|(of, _)| *of == kind).map(|(_, word)| word)
}

/// Whether a message with this property `type` is a bundle of messages of this kind.
#[must_use]
pub fn is_bundle_of(kind: MessageKind, message_type: &str) -> bool {
    word(kind) == Some(message_type)
}

/// Puts bodies together that were written in one encoding.
///
/// # Errors
///
/// [`EncodeError::TooLarge`] above [`BODY_BYTES_MAX`].
pub fn join(content_type: ContentType, bodies: &[Vec<u8>]) -> Result<Vec<u8>, EncodeError> {
    let bytes = bodies.iter().map(|body| body.len() + 1).sum::<usize>();
    let mut joined = Vec::with_capacity(bytes + 4);
    match content_type {
        ContentType::MessagePack => {
            let length = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
            // Writing to memory cannot fail.
            rmp::encode::write_array_len(&mut joined, length)
                .map_err(|cause| EncodeError::Unencodable(cause.to_string()))?;
            bodies.iter().for_each(|body| joined.extend_from_slice(body));
        }
        ContentType::Json => {
            for (place, body) in bodies.iter().enumerate() {
                joined.push(if place == 0 { b'[' } else { b',' });
                joined.extend_from_slice(body);
            }
            joined.push(b']');
        }
    }
    if joined.len() > BODY_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes: joined.len() });
    }
    Ok(joined)
}

/// Takes a bundle apart: the bodies of its messages, in their order. Each is to be read by
/// [`decode`](crate::decode), and may turn out not to be a message.
///
/// # Errors
///
/// [`DecodeError::TooLarge`] above [`BODY_BYTES_MAX`], [`DecodeError::TrailingBytes`] when something follows, and
/// [`DecodeError::Malformed`] for what is no array, is empty, or has more than [`MESSAGES_MAX`] elements.
pub fn split(content_type: ContentType, body: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(DecodeError::TooLarge { bytes: body.len() });
    }
    let bodies = match content_type {
        ContentType::MessagePack => split_message_pack(body)?,
        ContentType::Json => split_json(body)?,
    };
    match bodies.len() {
        0 => Err(malformed("a bundle without a message")),
        1..=MESSAGES_MAX => Ok(bodies),
        many => {
            Err(malformed(&format!("a bundle of {many} messages; at most {MESSAGES_MAX} travel together")))
        }
    }
}

fn split_message_pack(body: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    let mut rest = body;
    let length = rmp::decode::read_array_len(&mut rest)
        .map_err(|_| malformed("a bundle is an array of messages, and this is none"))?;
    let mut bodies = Vec::new();
    // An array may say that it is longer than any message.
    for _ in 0..length {
        let (body, after) =
            message_pack_value(rest).ok_or_else(|| malformed("the bundle breaks off within a message"))?;
        bodies.push(body);
        rest = after;
    }
    if rest.is_empty() { Ok(bodies) } else { Err(DecodeError::TrailingBytes { bytes: rest.len() }) }
}

fn split_json(body: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    let bodies: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|cause| DecodeError::Malformed(cause.to_string()))?;
    Ok(bodies.into_iter().map(|body| body.get().as_bytes()).collect())
}

fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed(what.to_owned())
}
