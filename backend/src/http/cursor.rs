//! The cursor of a list: opaque to callers, checked when it comes back.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewcall_proto::{JobId, JobType};
use uuid::Uuid;

/// The first byte: what the rest means may change with it.
const VERSION: u8 = 1;

/// The cursor of the page after the one that ends with `last`.
pub(super) fn encode(last: JobId) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(last.as_uuid().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The job that the page before ended with; `None` for a text that is no cursor.
pub(super) fn decode(cursor: &str) -> Option<JobId> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    match bytes.split_first()? {
        (&VERSION, id) => Uuid::from_slice(id).ok().map(JobId::from_uuid),
        _ => None,
    }
}

/// The first byte of a cursor that holds a number.
const NUMBER_VERSION: u8 = 2;

/// The cursor of the page after the one that ends with the message of this number.
pub(super) fn encode_number(last: u64) -> String {
    let mut bytes = vec![NUMBER_VERSION];
    bytes.extend_from_slice(&last.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The number that the page before ended with; `None` for a text that is no such cursor.
pub(super) fn decode_number(cursor: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    match bytes.split_first()? {
        (&NUMBER_VERSION, number) => Some(u64::from_be_bytes(number.try_into().ok()?)),
        _ => None,
    }
}

/// The first byte of a cursor that holds a name.
const NAME_VERSION: u8 = 3;

/// The cursor of the page after the one that ends with the type of this name.
pub(super) fn encode_name(last: &str) -> String {
    let mut bytes = vec![NAME_VERSION];
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The type that the page before ended with; `None` for a text that is no such cursor.
pub(super) fn decode_name(cursor: &str) -> Option<JobType> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    match bytes.split_first()? {
        (&NAME_VERSION, name) => JobType::new(std::str::from_utf8(name).ok()?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_encoded_is_decoded() {
        let id = JobId::generate();
        let cursor = encode(id);
        assert_eq!(decode(&cursor), Some(id));
        assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        for bad in ["", "x", "!!", &id.to_string(), &format!("{cursor}A"), &cursor[..20]] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode(&URL_SAFE_NO_PAD.encode([2; 17])), None);
        assert_eq!(decode_number(&cursor), None);
        assert_eq!(decode_number(&encode_number(7)), Some(7));
        assert_eq!(decode(&encode_number(7)), None);
        assert_eq!(decode_name(&encode_name("a.b")), JobType::new("a.b").ok());
        assert_eq!((decode_name(&encode_name("A")), decode_name(&cursor)), (None, None));
    }
}
