//! Ids, the attempt number and the attempt token: validated when they are read, so that nothing
//! behind them has to check again.

use std::{fmt, num::NonZeroU32, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

/// Ids that are a UUID, written on the wire as its 36-character text, which every language can read.
macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// A new id of UUID version 7: ids made later sort later.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id of a known UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // The UUID parser also takes braces, URNs and bare hex; one spelling is enough here.
                if text.len() != 36 {
                    return Err(InvalidId { what: $what, rule: "a UUID of 36 characters is expected" });
                }
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { what: $what, rule: "a UUID of 36 characters is expected" })
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

uuid_newtype!(
    /// The id of a job, made by the backend when it accepts the job.
    JobId,
    "job id"
);

uuid_newtype!(
    /// The id of a run of a workflow, made by the backend when the run is stored.
    RunId,
    "run id"
);

uuid_newtype!(
    /// The id of one delivery of an order to one worker. An attempt that is delivered twice has two.
    ExecutionId,
    "execution id"
);

/// The id of one running worker process: 1 to [`WorkerId::LENGTH_MAX`] characters of
/// `a-z A-Z 0-9 _ -`. It is part of a routing key, so it has no dots. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// The longest worker id, in characters.
    pub const LENGTH_MAX: usize = 64;

    /// A new id of the form `<uuid v7>`.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = !text.is_empty()
            && text.len() <= Self::LENGTH_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId { what: "worker id", rule: "1 to 64 characters of a-z A-Z 0-9 _ - are expected" })
        }
    }
}

impl TryFrom<String> for WorkerId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WorkerId> for String {
    fn from(id: WorkerId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerId({})", self.0)
    }
}

/// The number of an attempt, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(NonZeroU32);

impl Attempt {
    /// The first attempt.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The attempt of this number; `None` for 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The attempt after this one. Stays where it is at `u32::MAX`, which no retry limit reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// 128 random bits that belong to one attempt, written as 32 lower-case hexadecimal characters.
///
/// The backend stores the token with the attempt and accepts a response only if it echoes the token: a
/// late worker of an earlier attempt, or someone who never received the order, cannot conclude the job.
/// `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptToken(u128);

impl AttemptToken {
    /// A new token from the operating system's random source (122 of a version 4 UUID's bits are random).
    #[must_use]
    pub fn generate() -> Self {
        // Two UUIDs folded together leave no fixed bit.
        Self(Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64))
    }

    /// The token of known bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits, for storage.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl FromStr for AttemptToken {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let bits = if fits { u128::from_str_radix(text, 16).ok() } else { None };
        bits.map(Self).ok_or(InvalidId {
            what: "attempt token",
            rule: "32 lower-case hexadecimal characters are expected",
        })
    }
}

impl TryFrom<String> for AttemptToken {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AttemptToken> for String {
    fn from(token: AttemptToken) -> Self {
        format!("{:032x}", token.0)
    }
}

impl fmt::Debug for AttemptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttemptToken(…)")
    }
}

/// One attempt of one job, where several are named in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_leading_zeros_and_hide_from_debug() {
        let token = AttemptToken::from_bits(0xab);
        let text = String::from(token);
        assert_eq!(text, "000000000000000000000000000000ab");
        assert_eq!(text.parse::<AttemptToken>().unwrap(), token);
        assert!(!format!("{token:?}").contains("ab"));
        assert!("AB".repeat(16).parse::<AttemptToken>().is_err());
        assert!("+".repeat(32).parse::<AttemptToken>().is_err());
    }

    #[test]
    fn worker_ids_cannot_widen_a_routing_key() {
        for text in ["", "a.b", "*", "#", "a b", &"x".repeat(65)] {
            assert!(text.parse::<WorkerId>().is_err(), "{text:?}");
        }
        assert!(WorkerId::generate().as_str().parse::<WorkerId>().is_ok());
    }

    #[test]
    fn job_ids_have_one_spelling() {
        let id = JobId::generate();
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        for text in [format!("{{{id}}}"), id.to_string().replace('-', ""), format!("urn:uuid:{id}")] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }

    #[test]
    fn attempts_start_at_one() {
        assert_eq!(Attempt::new(0), None);
        assert_eq!(Attempt::FIRST.next(), Attempt::new(2).unwrap());
    }
}
