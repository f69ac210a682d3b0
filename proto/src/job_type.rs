//! The name of a kind of work.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A job type such as `media.transcode`: a stable string that is also the routing key of its orders.
///
/// One to [`JobType::LENGTH_MAX`] characters of `a-z 0-9 . _ -`, read as words between dots; no word is
/// empty, so neither `*` nor `#` nor a stray dot can turn a routing key into a pattern.
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobType(Arc<str>);

impl JobType {
    /// The longest job type, in characters. A routing key holds 255 bytes; the rest is left for the
    /// prefixes of response keys and queue names.
    pub const LENGTH_MAX: usize = 128;

    /// Reads a job type.
    ///
    /// # Errors
    ///
    /// [`InvalidJobType`] says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, InvalidJobType> {
        let fail = |rule| Err(InvalidJobType { text: text.chars().take(Self::LENGTH_MAX).collect(), rule });
        if text.is_empty() {
            return fail("it is empty");
        }
        if text.len() > Self::LENGTH_MAX {
            return fail("it is longer than 128 characters");
        }
        if !text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')) {
            return fail("it has a character other than a-z 0-9 . _ -");
        }
        if text.split('.').any(str::is_empty) {
            return fail("it has an empty word between its dots");
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobType {
    type Err = InvalidJobType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for JobType {
    type Error = InvalidJobType;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<JobType> for String {
    fn from(job_type: JobType) -> Self {
        job_type.0.as_ref().to_owned()
    }
}

impl fmt::Display for JobType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobType({})", self.0)
    }
}

/// A text that is not a job type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a job type: {rule}. A job type is 1 to 128 characters of a-z 0-9 . _ - in dot-separated words, such as \"media.transcode\""
)]
pub struct InvalidJobType {
    text: String,
    rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_dotted_words() {
        for text in ["a", "image.thumbnail", "http.request", "a-b_c.0", &"x".repeat(128)] {
            assert_eq!(JobType::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_would_be_a_pattern_or_no_key() {
        for text in ["", ".", "a.", ".a", "a..b", "A", "a b", "a.*", "#", "é", "a\n", &"x".repeat(129)] {
            assert!(JobType::new(text).is_err(), "{text:?}");
        }
    }
}
