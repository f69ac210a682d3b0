use base64::Engine as _;
use hmac::Mac as _;
use http::{HeaderMap, HeaderName};

use crate::{
    SharedSecret, SigningSecret,
    limits::{CLOCK_DIFFERENCE_SECONDS_MAX, ID_BYTES_MAX, SIGNATURES_MAX},
    secret::BASE64,
    signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, VERSION_PREFIX, mac_of_message},
};

/// What a request that comes in is checked by.
#[derive(Clone, Debug)]
pub enum Verification {
    /// Standard Webhooks: the id, the time and the body are signed, and the time may not be more than five minutes away.
    Standard {
        /// Those with which it may be signed: one, or two while they are rotated.
        secrets: Vec<SigningSecret>,
    },
    /// An HMAC-SHA256 of the body alone, such as GitHub's `X-Hub-Signature-256: sha256=<hex>`. It has no time in it: who has
    /// seen a message can send it again, and with another delivery id.
    HmacSha256 {
        /// The header with the signature.
        header: HeaderName,
        /// What both sides know.
        secret: SharedSecret,
        /// What stands before the signature, such as `sha256=`. Empty: nothing.
        prefix: String,
        /// How the signature is written.
        encoding: SignatureEncoding,
        /// The header with the sender's id of the delivery, such as `X-GitHub-Delivery`. It is not signed.
        delivery_id_header: Option<HeaderName>,
    },
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal digits, small or capital.
    Hex,
    /// Base64 with `+` and `/`, padded or not.
    Base64,
}

/// Why a request is not taken for what it says. Neither a secret nor a signature is in it, so the sender may see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerificationError {
    /// A header is not there.
    #[error("the header {header} is missing")]
    HeaderMissing {
        /// Its name.
        header: HeaderName,
    },
    /// A header cannot be read.
    #[error("the header {header} is malformed: {problem}")]
    Malformed {
        /// Its name.
        header: HeaderName,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The message is older than five minutes: somebody may have kept it.
    #[error("the message is {seconds} seconds old, more than {CLOCK_DIFFERENCE_SECONDS_MAX}")]
    TooOld {
        /// How old it is.
        seconds: i64,
    },
    /// The message is more than five minutes ahead of our clock: one of the two clocks is wrong.
    #[error("the message is from {seconds} seconds in the future, more than {CLOCK_DIFFERENCE_SECONDS_MAX}")]
    FromFuture {
        /// How far ahead it is.
        seconds: i64,
    },
    /// The sender has another secret, or the message is not as it was sent.
    #[error("no signature matches: the sender has another secret, or the message was changed on its way")]
    Mismatch,
}

impl Verification {
    /// Checks a request with these headers and exactly this body, at `now` in seconds since 1970. Signatures are compared in
    /// a time that tells nothing about them.
    ///
    /// Returns the sender's id of the delivery, by which repeated ones can be told, if there is one.
    ///
    /// # Errors
    ///
    /// When it is not proven that the sender knows the secret, and that nothing signed was changed.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: i64,
    ) -> Result<Option<String>, VerificationError> {
        match self {
            Self::Standard { secrets } => verify_standard(secrets, headers, body, now).map(Some),
            Self::HmacSha256 { header, secret, prefix, encoding, delivery_id_header } => {
                let signature = decode_prefixed(required(headers, header)?, prefix, *encoding)
                    .map_err(|problem| VerificationError::Malformed { header: header.clone(), problem })?;
                let mac = secret.mac().chain_update(body);
                mac.verify_slice(&signature).map_err(|_| VerificationError::Mismatch)?;
                let Some(name) = delivery_id_header else { return Ok(None) };
                Ok(single(headers, name)?.map(|id| checked_id(name, id)).transpose()?.map(str::to_owned))
            }
        }
    }
}

fn verify_standard(
    secrets: &[SigningSecret],
    headers: &HeaderMap,
    body: &[u8],
    now: i64,
) -> Result<String, VerificationError> {
    let id = checked_id(&ID_HEADER, required(headers, &ID_HEADER)?)?;
    if id.contains('.') {
        // It would reach into the timestamp: `a.1` at `2` is signed as `a` at `1` is, of a body that begins with `2.`.
        return Err(malformed(&ID_HEADER, "it contains a full stop"));
    }
    let timestamp = required(headers, &TIMESTAMP_HEADER)?;
    check_time(timestamp, now)?;
    let signatures = decode_list(required(headers, &SIGNATURE_HEADER)?)?;
    let matches = secrets.iter().any(|secret| {
        let mac = mac_of_message(secret, id, timestamp, body);
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    });
    if matches { Ok(id.to_owned()) } else { Err(VerificationError::Mismatch) }
}

/// Digits only, since the number is signed as it is written, and there are many ways to write one.
fn check_time(timestamp: &str, now: i64) -> Result<(), VerificationError> {
    let is_number = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent: i64 = timestamp
        .parse()
        .ok()
        .filter(|_| is_number)
        .ok_or_else(|| malformed(&TIMESTAMP_HEADER, "it is not a number of seconds since 1970"))?;
    let age = now.saturating_sub(sent);
    if age > CLOCK_DIFFERENCE_SECONDS_MAX {
        Err(VerificationError::TooOld { seconds: age })
    } else if age < -CLOCK_DIFFERENCE_SECONDS_MAX {
        Err(VerificationError::FromFuture { seconds: age.saturating_neg() })
    } else {
        Ok(())
    }
}

/// The signatures that were made with a secret. Those of other kinds are not for us.
fn decode_list(list: &str) -> Result<Vec<Vec<u8>>, VerificationError> {
    let ours: Vec<&str> = list.split(' ').filter_map(|word| word.strip_prefix(VERSION_PREFIX)).collect();
    if ours.is_empty() {
        return Err(malformed(&SIGNATURE_HEADER, "it has no signature that begins with v1,"));
    }
    if ours.len() > SIGNATURES_MAX {
        return Err(malformed(&SIGNATURE_HEADER, "it has more signatures than are looked at"));
    }
    let decoded: Vec<Vec<u8>> = ours.iter().filter_map(|text| BASE64.decode(text).ok()).collect();
    if decoded.is_empty() {
        return Err(malformed(&SIGNATURE_HEADER, "what follows v1, is not base64"));
    }
    Ok(decoded)
}

fn decode_prefixed(value: &str, prefix: &str, encoding: SignatureEncoding) -> Result<Vec<u8>, &'static str> {
    let text =
        value.strip_prefix(prefix).ok_or("it does not begin with the prefix that the settings name")?;
    match encoding {
        SignatureEncoding::Hex => hex::decode(text).map_err(|_| "the signature is not hexadecimal"),
        SignatureEncoding::Base64 => BASE64.decode(text).map_err(|_| "the signature is not base64"),
    }
}

/// It is kept and shown, so it has to be short and to be text.
fn checked_id<'a>(header: &HeaderName, id: &'a str) -> Result<&'a str, VerificationError> {
    if !(1..=ID_BYTES_MAX).contains(&id.len()) {
        return Err(malformed(header, "an id has 1 to 128 characters"));
    }
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed(header, "an id has no spaces"));
    }
    Ok(id)
}

fn required<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, VerificationError> {
    single(headers, name)?.ok_or_else(|| VerificationError::HeaderMissing { header: name.clone() })
}

/// The value of a header. Of two nobody could say which one others would take.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, VerificationError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed(name, "it is there more than once"));
    }
    value.to_str().map(Some).map_err(|_| malformed(name, "it is not ASCII text"))
}

fn malformed(header: &HeaderName, problem: &'static str) -> VerificationError {
    VerificationError::Malformed { header: header.clone(), problem }
}

#[cfg(test)]
mod tests;
