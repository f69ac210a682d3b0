//! Hooks: where other services tell us what happened, and by what they are known.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use crewcall_proto::{JobType, Timestamp};

/// For how long a secret is accepted after another took its place: a day in which somebody gives the sender the new one.
pub const SECRET_RETIRES_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of a hook. It has the shape of a job type, and at most [`HookName::LENGTH_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HookName(Arc<str>);

impl HookName {
    /// The longest name, in characters: together with the sender's id of a delivery, which has up to 128, it is part of the
    /// id of an event, which has up to 255.
    pub const LENGTH_MAX: usize = 100;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the event that a delivery becomes.
    #[must_use]
    pub fn event_id(&self, delivery_id: &str) -> String {
        format!("hook:{self}:{delivery_id}")
    }
}

impl FromStr for HookName {
    type Err = InvalidHookName;

    fn from_str(text: &str) -> Result<Self, InvalidHookName> {
        match JobType::new(text) {
            Ok(_) if text.len() <= Self::LENGTH_MAX => Ok(Self(text.into())),
            _ => Err(InvalidHookName { text: text.chars().take(JobType::LENGTH_MAX).collect() }),
        }
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a hook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the name of a hook: it is 1 to 100 characters of a-z 0-9 . _ - in dot-separated words, such as \"github\""
)]
pub struct InvalidHookName {
    text: String,
}

/// What a sender signs with, as text. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(Arc<str>);

impl HookSecret {
    /// Takes the text as it is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret itself, for whoever keeps it, checks by it, or made it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookSecret(hidden)")
    }
}

/// How a request is checked. The secret is kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookCheck {
    /// Standard Webhooks: id, time and body are signed.
    Standard,
    /// An HMAC-SHA256 of the body.
    HmacSha256(BodySignature),
}

/// Where the signature of a body stands, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySignature {
    /// The header with the signature, in small letters.
    pub header: String,
    /// What stands before the signature; may be empty.
    pub prefix: String,
    pub encoding: SignatureForm,
    /// The header with the sender's id of the delivery, in small letters.
    pub delivery_id_header: Option<String>,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureForm {
    Hex,
    Base64,
}

impl SignatureForm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hex, Self::Base64];

    /// The word in the API and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }
}

impl FromStr for SignatureForm {
    type Err = UnknownSignatureForm;

    fn from_str(word: &str) -> Result<Self, UnknownSignatureForm> {
        Self::ALL.into_iter().find(|form| form.as_str() == word).ok_or(UnknownSignatureForm)
    }
}

/// A word that names no form of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signature is written as \"hex\" or \"base64\"")]
pub struct UnknownSignatureForm;

/// A secret that another one replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiringSecret {
    pub secret: HookSecret,
    /// It is accepted before this time.
    pub until: Timestamp,
}

/// Where one sender tells us what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub name: HookName,
    pub check: HookCheck,
    pub secret: HookSecret,
    /// The one before, after a rotation. It stays here when its time is over, until the hook changes.
    pub retiring: Option<RetiringSecret>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub changed_at: Timestamp,
    pub changed_by: String,
    /// Counts the changes, from 1.
    pub revision: u64,
}

impl Hook {
    /// The secret that is still accepted beside the newest.
    #[must_use]
    pub fn retiring_at(&self, now: Timestamp) -> Option<&RetiringSecret> {
        self.retiring.as_ref().filter(|retiring| now < retiring.until)
    }

    /// The secrets that are accepted, the newest first.
    pub fn secrets_at(&self, now: Timestamp) -> impl Iterator<Item = &HookSecret> {
        std::iter::once(&self.secret).chain(self.retiring_at(now).map(|retiring| &retiring.secret))
    }
}

#[cfg(test)]
mod tests {
    use crewcall_proto::event::is_event_id;

    use super::*;

    #[test]
    fn the_longest_name_and_the_longest_delivery_id_make_an_id_of_an_event() {
        let longest: HookName = "x".repeat(HookName::LENGTH_MAX).parse().unwrap();
        assert!(is_event_id(&longest.event_id(&"y".repeat(128))));
        for text in ["", "Git", "a..b", "a/b", "ä", &"x".repeat(HookName::LENGTH_MAX + 1)] {
            assert!(text.parse::<HookName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_retiring_secret_is_accepted_until_its_time_and_nobody_sees_one_by_accident() {
        let at = Timestamp::from_millis;
        let hook = Hook {
            name: "github".parse().unwrap(),
            check: HookCheck::Standard,
            secret: HookSecret::new("new"),
            retiring: Some(RetiringSecret { secret: HookSecret::new("old"), until: at(5) }),
            created_at: at(0),
            created_by: "ada".to_owned(),
            changed_at: at(0),
            changed_by: "ada".to_owned(),
            revision: 2,
        };
        let accepted = |now| hook.secrets_at(at(now)).map(HookSecret::reveal).collect::<Vec<_>>();
        assert_eq!((accepted(4), accepted(5)), (vec!["new", "old"], vec!["new"]));
        let shown = format!("{hook:?}");
        assert!(!shown.contains("\"new\"") && !shown.contains("\"old\""), "{shown}");
    }
}
