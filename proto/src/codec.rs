//! Bytes: MessagePack named maps by default, JSON for workers that prefer it.
//!
//! Decoding is safe on hostile input: the size is checked first, the depth while reading, and bytes
//! after the message are an error.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::named::Named;

/// The largest message body that is read or written, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The largest parameters or result, in bytes of its JSON text. Larger data travels by reference.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// How deeply arrays and maps may nest, the message itself counted. Deeper nesting can exhaust the
/// stack of the reader.
pub const DEPTH_MAX: usize = 32;

/// The encodings of a message body: the AMQP property `content_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ContentType {
    /// `application/msgpack`: maps with field names as keys.
    #[default]
    #[serde(rename = "application/msgpack")]
    MessagePack,
    /// `application/json`.
    #[serde(rename = "application/json")]
    Json,
}

impl ContentType {
    /// The media type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MessagePack => "application/msgpack",
            Self::Json => "application/json",
        }
    }
}

impl FromStr for ContentType {
    type Err = DecodeError;

    /// Reads a media type; parameters after `;` are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        [Self::MessagePack, Self::Json]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(essence))
            .ok_or_else(|| DecodeError::ContentType { found: text.chars().take(100).collect() })
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes a message.
///
/// # Errors
///
/// [`EncodeError::TooLarge`] above [`BODY_BYTES_MAX`], [`EncodeError::TooDeep`] beyond [`DEPTH_MAX`]: no reader
/// would take the message. [`EncodeError::Unencodable`] for a value that the format cannot hold.
pub fn encode<T: Serialize>(content_type: ContentType, message: &T) -> Result<Vec<u8>, EncodeError> {
    let body = match content_type {
        ContentType::MessagePack => {
            rmp_serde::to_vec_named(message).map_err(|cause| EncodeError::Unencodable(cause.to_string()))?
        }
        ContentType::Json => {
            serde_json::to_vec(message).map_err(|cause| EncodeError::Unencodable(cause.to_string()))?
        }
    };
    if body.len() > BODY_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes: body.len() });
    }
    let too_deep = match content_type {
        ContentType::MessagePack => {
            message_pack::<IgnoredAny>(&mut body.as_slice()) == Err(DecodeError::TooDeep)
        }
        ContentType::Json => json_depth_exceeds(&body, DEPTH_MAX),
    };
    if too_deep { Err(EncodeError::TooDeep) } else { Ok(body) }
}

/// Reads a message that is the whole of `body`.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong with the bytes; such a message is quarantined, never retried.
pub fn decode<T: DeserializeOwned>(content_type: ContentType, body: &[u8]) -> Result<T, DecodeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(DecodeError::TooLarge { bytes: body.len() });
    }
    match content_type {
        ContentType::MessagePack => decode_message_pack(body),
        ContentType::Json => decode_json(body),
    }
}

fn decode_message_pack<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let mut rest = body;
    let Named(message) = message_pack(&mut rest)?;
    if rest.is_empty() { Ok(message) } else { Err(DecodeError::TrailingBytes { bytes: rest.len() }) }
}

/// Reads one value off the front.
fn message_pack<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::new(rest);
    // The reader refuses the level at which its own count reaches the maximum.
    deserializer.set_max_depth(DEPTH_MAX + 1);
    T::deserialize(&mut deserializer).map_err(|cause| match cause {
        rmp_serde::decode::Error::DepthLimitExceeded => DecodeError::TooDeep,
        other => DecodeError::Malformed(other.to_string()),
    })
}

fn decode_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    if json_depth_exceeds(body, DEPTH_MAX) {
        return Err(DecodeError::TooDeep);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Named::deserialize(&mut deserializer)
        // Only white space may follow the message.
        .and_then(|Named(message)| deserializer.end().map(|()| message))
        .map_err(|cause| DecodeError::Malformed(cause.to_string()))
}

/// Whether JSON text nests deeper than `depth_max` arrays and objects. The JSON reader has a fixed limit
/// of 128, which is too much for us, so the brackets are counted before it runs. Text that is no JSON gets
/// either answer and is refused by the reader.
#[must_use]
pub fn json_depth_exceeds(text: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Why a message could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The body is larger than [`BODY_BYTES_MAX`].
    #[error("the message is {bytes} bytes; at most {BODY_BYTES_MAX} are sent: pass large data by reference")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Arrays and maps nest deeper than [`DEPTH_MAX`].
    #[error("the message nests deeper than {DEPTH_MAX} levels: pass deep data as text or by reference")]
    TooDeep,
    /// The value has no form in this encoding.
    #[error("the message cannot be encoded: {0}")]
    Unencodable(String),
}

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The property `content_type` names an encoding that we do not speak.
    #[error("content type {found:?} is not known; use application/msgpack or application/json")]
    ContentType {
        /// What it says.
        found: String,
    },
    /// The body is larger than [`BODY_BYTES_MAX`].
    #[error("the message is {bytes} bytes; at most {BODY_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Arrays and maps nest deeper than [`DEPTH_MAX`].
    #[error("the message nests deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Something follows the MessagePack message. (After a JSON message it is [`DecodeError::Malformed`].)
    #[error("{bytes} bytes follow the message")]
    TrailingBytes {
        /// How much.
        bytes: usize,
    },
    /// The bytes are not this message.
    #[error("the message cannot be read: {0}")]
    Malformed(String),
}

impl DecodeError {
    /// A short stable word for metrics and the quarantine.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ContentType { .. } => "content_type",
            Self::TooLarge { .. } => "too_large",
            Self::TooDeep => "too_deep",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::Malformed(_) => "malformed",
        }
    }
}
