//! Several messages of one kind in one: an array of their bodies, each as it would be alone.
//!
//! One message per job is what limits a broker. A bundle is read by taking it apart first ([`split`]), so that one
//! message in it that cannot be read harms no other.

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
/// [`EncodeError::TooLarge`] above [`BODY_BYTES_MAX`], and [`EncodeError::Unencodable`] for no body or more than
/// [`MESSAGES_MAX`]: no reader would take the bundle.
pub fn join(content_type: ContentType, bodies: &[Vec<u8>]) -> Result<Vec<u8>, EncodeError> {
    let length = match u32::try_from(bodies.len()) {
        Ok(length) if (1..=MESSAGES_MAX).contains(&bodies.len()) => length,
        _ => return Err(EncodeError::Unencodable(wrong_length(&bodies.len().to_string()))),
    };
    let bytes = bodies.iter().map(|body| body.len() + 1).sum::<usize>();
    let mut joined = Vec::with_capacity(bytes + 4);
    match content_type {
        ContentType::MessagePack => {
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
/// [`DecodeError::TooLarge`] above [`BODY_BYTES_MAX`], [`DecodeError::TrailingBytes`] when something follows
/// MessagePack, and [`DecodeError::Malformed`] when something follows JSON, for what is not an array or breaks off, is
/// empty, or has more than [`MESSAGES_MAX`] elements.
pub fn split(content_type: ContentType, body: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(DecodeError::TooLarge { bytes: body.len() });
    }
    match content_type {
        ContentType::MessagePack => split_message_pack(body),
        ContentType::Json => split_json(body),
    }
}

fn split_message_pack(body: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    let mut rest = body;
    let length = rmp::decode::read_array_len(&mut rest).map_err(|_| not_an_array())?;
    // An array may say that it is longer than any message.
    if !usize::try_from(length).is_ok_and(|length| (1..=MESSAGES_MAX).contains(&length)) {
        return Err(DecodeError::Malformed(wrong_length(&length.to_string())));
    }
    let mut bodies = Vec::new();
    for _ in 0..length {
        let (body, after) = message_pack_value(rest).ok_or_else(breaks_off)?;
        bodies.push(body);
        rest = after;
    }
    if rest.is_empty() { Ok(bodies) } else { Err(DecodeError::TrailingBytes { bytes: rest.len() }) }
}

/// Looks at brackets, commas and quotation marks only: what JSON does not have, such as `NaN` or text that is not
/// UTF-8, is left to the reader of the one message that it stands in.
fn split_json(body: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    let rest = trimmed_start(body).strip_prefix(b"[").ok_or_else(not_an_array)?;
    let mut bodies = Vec::new();
    let (mut start, mut depth, mut in_string, mut escaped) = (0, 0_usize, false, false);
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b',' | b']' if depth == 0 => {
                bodies.push(&rest[start..at]);
                start = at + 1;
                if bodies.len() > MESSAGES_MAX {
                    return Err(DecodeError::Malformed(wrong_length("too many")));
                }
                if *byte == b']' {
                    return whole(bodies, &rest[start..]);
                }
            }
            _ => {}
        }
    }
    Err(breaks_off())
}

/// The bodies of a JSON array that is followed by `after`.
fn whole<'a>(bodies: Vec<&'a [u8]>, after: &[u8]) -> Result<Vec<&'a [u8]>, DecodeError> {
    if !trimmed_start(after).is_empty() {
        return Err(DecodeError::Malformed("something follows the bundle".to_owned()));
    }
    // Between the brackets of an empty array there is one body, of white space.
    if bodies.iter().all(|body| trimmed_start(body).is_empty()) {
        return Err(DecodeError::Malformed(wrong_length("0")));
    }
    Ok(bodies)
}

/// Without the white space of JSON in front.
fn trimmed_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    start.map_or(&[], |start| &text[start..])
}

fn wrong_length(messages: &str) -> String {
    format!("a bundle of {messages} messages: 1 to {MESSAGES_MAX} travel together")
}

fn not_an_array() -> DecodeError {
    DecodeError::Malformed("a bundle is an array of messages, and this is not an array".to_owned())
}

fn breaks_off() -> DecodeError {
    DecodeError::Malformed("the bundle breaks off, or one of its messages does not end".to_owned())
}
