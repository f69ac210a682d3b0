use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::limits::{
    FINGERPRINT_DIGITS, SECRET_BYTES, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SHARED_SECRET_BYTES_MAX,
    SHARED_SECRET_BYTES_MIN,
};

/// What a signing secret begins with as text.
const PREFIX: &str = "whsec_";

/// Base64 as the standard has it, written with padding and read with or without: people lose it when they copy.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The secret of a webhook by Standard Webhooks: 24 to 64 bytes, as text `whsec_` and their base64. What `Debug` shows of it
/// is its fingerprint.
#[derive(Clone)]
pub struct SigningSecret {
    key: Vec<u8>,
}

/// A secret that another service has chosen or was given for its own kind of signature: any text of 8 to 256 bytes, which are
/// the key as they are. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SharedSecret {
    key: Vec<u8>,
}

/// Why a text is no signing secret. Nothing of the text is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It is another kind of secret, or its beginning was not copied.
    #[error("a signing secret begins with {PREFIX}")]
    Prefix,
    /// A character was lost or added.
    #[error("what follows {PREFIX} is not base64: copy the secret again, as a whole")]
    NotBase64,
    /// It is too short or too long.
    #[error("the secret has {bytes} bytes; it must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    Length {
        /// How many bytes it has.
        bytes: usize,
    },
}

/// A text is too short or too long for a secret that is shared with another service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret has {bytes} bytes; it must have {SHARED_SECRET_BYTES_MIN} to {SHARED_SECRET_BYTES_MAX}")]
pub struct InvalidSharedSecret {
    /// How many bytes it has.
    pub bytes: usize,
}

impl SigningSecret {
    /// A new secret of 32 bytes, of a generator that is made for secrets and seeded by the system.
    #[must_use]
    pub fn random() -> Self {
        Self { key: rand::random::<[u8; SECRET_BYTES]>().to_vec() }
    }

    /// Reads a secret: `whsec_` and base64. Space around it is left out.
    ///
    /// # Errors
    ///
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(InvalidSecret::Prefix)?;
        let key = BASE64.decode(encoded).map_err(|_| InvalidSecret::NotBase64)?;
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&key.len()) {
            return Err(InvalidSecret::Length { bytes: key.len() });
        }
        Ok(Self { key })
    }

    /// The secret itself, as [`parse`](Self::parse) reads it: for whoever keeps it, and once for whoever made the webhook.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.key))
    }

    /// Eight hexadecimal digits, by which people tell two secrets apart without seeing them: the first of the SHA-256 of the
    /// secret's bytes.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut digits = hex::encode(Sha256::digest(&self.key));
        digits.truncate(FINGERPRINT_DIGITS);
        digits
    }

    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        mac(&self.key)
    }
}

impl SharedSecret {
    /// Takes the text as it is, with every space in it.
    ///
    /// # Errors
    ///
    /// When it is too short or too long.
    pub fn new(text: &str) -> Result<Self, InvalidSharedSecret> {
        let bytes = text.len();
        if !(SHARED_SECRET_BYTES_MIN..=SHARED_SECRET_BYTES_MAX).contains(&bytes) {
            return Err(InvalidSharedSecret { bytes });
        }
        Ok(Self { key: text.as_bytes().to_vec() })
    }

    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        mac(&self.key)
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecret({})", self.fingerprint())
    }
}

impl fmt::Debug for SharedSecret {
    // No fingerprint: people choose such secrets themselves, and of a word its hash tells the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bytes(bytes: usize) -> String {
        format!("{PREFIX}{}", BASE64.encode(vec![7; bytes]))
    }

    #[test]
    fn a_new_secret_is_another_one_each_time_and_reads_back() {
        let (one, other) = (SigningSecret::random(), SigningSecret::random());
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(one.key.len(), 32);
        assert_eq!(SigningSecret::parse(&one.reveal()).unwrap().key, one.key);
    }

    #[test]
    fn a_secret_is_24_to_64_bytes_of_base64_behind_its_prefix() {
        for bytes in [24, 25, 32, 64] {
            assert_eq!(SigningSecret::parse(&of_bytes(bytes)).unwrap().key, vec![7; bytes]);
        }
        let unpadded = of_bytes(25).trim_end_matches('=').to_owned();
        assert_eq!(SigningSecret::parse(&format!(" {unpadded}\n")).unwrap().key.len(), 25);
        for bytes in [0, 23, 65] {
            assert_eq!(SigningSecret::parse(&of_bytes(bytes)).unwrap_err(), InvalidSecret::Length { bytes });
        }
        assert_eq!(SigningSecret::parse("whpk_AAAA").unwrap_err(), InvalidSecret::Prefix);
        assert_eq!(SigningSecret::parse("whsec_not base64").unwrap_err(), InvalidSecret::NotBase64);
    }

    #[test]
    fn a_shared_secret_is_any_text_that_is_long_enough() {
        assert!(SharedSecret::new("It's a Secret to Everybody").is_ok());
        for (text, bytes) in [(String::new(), 0), ("1234567".to_owned(), 7), ("x".repeat(257), 257)] {
            assert_eq!(SharedSecret::new(&text).unwrap_err(), InvalidSharedSecret { bytes });
        }
    }

    #[test]
    fn nobody_sees_a_secret_by_accident() {
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secret = SigningSecret::parse(text).unwrap();
        // By `printf MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw | base64 --decode | sha256sum`.
        assert_eq!(secret.fingerprint(), "f74e1720");
        assert_eq!(format!("{secret:?}"), "SigningSecret(f74e1720)");
        let shared = SharedSecret::new("correct horse").unwrap();
        assert_eq!(format!("{shared:?}"), "SharedSecret(hidden)");
        let spoiled = format!("{text}?");
        let error = SigningSecret::parse(&spoiled).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("MfKQ"), "{error:?}");
    }
}
