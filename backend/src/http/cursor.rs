//! The cursor of a list: opaque to callers, checked when it comes back.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewcall_proto::{JobId, JobType, RunId, Timestamp};
use uuid::Uuid;

use crate::domain::{Subject, TickKey, TickOrigin};

/// What a list goes on after.
pub(super) trait Cursor: Sized {
    /// The first byte: what the rest means may change with it.
    const VERSION: u8;

    /// The rest.
    fn to_bytes(&self) -> Vec<u8>;

    /// What the rest stands for.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// The job that a page ends with.
impl Cursor for JobId {
    const VERSION: u8 = 1;

    fn to_bytes(&self) -> Vec<u8> {
        self.as_uuid().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self::from_uuid)
    }
}

/// The number of the message in quarantine that a page ends with.
impl Cursor for u64 {
    const VERSION: u8 = 2;

    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

/// The type that a page ends with.
impl Cursor for JobType {
    const VERSION: u8 = 3;

    fn to_bytes(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::new(std::str::from_utf8(bytes).ok()?).ok()
    }
}

/// The subject that a page ends with.
impl Cursor for Subject {
    const VERSION: u8 = 4;

    fn to_bytes(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::published(std::str::from_utf8(bytes).ok()?).ok()
    }
}

/// The run that a page ends with.
impl Cursor for RunId {
    const VERSION: u8 = 5;

    fn to_bytes(&self) -> Vec<u8> {
        self.as_uuid().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self::from_uuid)
    }
}

/// The version of a workflow that a page ends with.
impl Cursor for u32 {
    const VERSION: u8 = 6;

    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

/// The tick that a page ends with.
impl Cursor for TickKey {
    const VERSION: u8 = 7;

    fn to_bytes(&self) -> Vec<u8> {
        [self.at.as_millis().to_be_bytes().as_slice(), self.origin.as_str().as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, word) = bytes.split_first_chunk()?;
        let origin = TickOrigin::ALL.into_iter().find(|origin| origin.as_str().as_bytes() == word)?;
        Some(Self { at: Timestamp::from_millis(i64::from_be_bytes(*at)), origin })
    }
}

/// The cursor of the page after the one that ends with `last`.
pub(super) fn encode<T: Cursor>(last: &T) -> String {
    URL_SAFE_NO_PAD.encode([vec![T::VERSION], last.to_bytes()].concat())
}

/// What the page before ended with, or what is wrong with the text.
pub(super) fn decode<T: Cursor>(cursor: &str) -> Result<T, String> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
    let last = bytes.split_first().filter(|(version, _)| **version == T::VERSION);
    let last = last.and_then(|(_, rest)| T::from_bytes(rest));
    last.ok_or_else(|| "it is not a cursor: pass next_cursor of the page before as it is".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_encoded_is_decoded() {
        let id = JobId::generate();
        let cursor = encode(&id);
        assert_eq!(decode(&cursor), Ok(id));
        assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        for bad in ["", "x", "!!", &id.to_string(), &format!("{cursor}A"), &cursor[..20]] {
            assert!(decode::<JobId>(bad).is_err(), "{bad}");
        }
        let name = JobType::new("a.b").unwrap();
        assert_eq!(decode(&encode(&7_u64)), Ok(7_u64));
        assert_eq!(decode(&encode(&name)), Ok(name));
        assert!(decode::<u64>(&cursor).is_err() && decode::<JobType>(&cursor).is_err());
        assert!(decode::<JobId>(&encode(&7_u64)).is_err());
        let run = RunId::generate();
        assert_eq!(decode(&encode(&run)), Ok(run));
        assert_eq!(decode(&encode(&7_u32)), Ok(7_u32));
        assert!(decode::<RunId>(&cursor).is_err() && decode::<u32>(&encode(&7_u64)).is_err());
        for origin in TickOrigin::ALL {
            let tick = TickKey { at: Timestamp::from_millis(-7), origin };
            assert_eq!(decode(&encode(&tick)), Ok(tick));
        }
        assert!(decode::<TickKey>(&cursor).is_err());
        assert!(decode::<JobId>(&URL_SAFE_NO_PAD.encode([2; 17])).is_err());
        assert!(decode::<JobType>(&URL_SAFE_NO_PAD.encode(b"\x03A")).is_err());
    }
}
