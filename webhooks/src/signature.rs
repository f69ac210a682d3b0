use std::fmt;

use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::{SigningSecret, limits::ID_BYTES_MAX, secret::BASE64};

/// The header with the id of the message, the same at every try.
pub(crate) const ID_HEADER: HeaderName = HeaderName::from_static("webhook-id");
/// The header with the time of the try, in seconds since 1970.
pub(crate) const TIMESTAMP_HEADER: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The header with the signatures, separated by spaces.
pub(crate) const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("webhook-signature");

/// What a signature by HMAC-SHA256 begins with. Others (`v1a,`) are made with keys that nobody has to share.
pub(crate) const VERSION_PREFIX: &str = "v1,";

/// The id of a message: 1 to 128 letters, digits, hyphens and underscores. Receivers tell repeated messages apart by it. It
/// has no full stop, which separates it from the timestamp in what is signed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageId(String);

/// A text is no id of a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a message has 1 to {ID_BYTES_MAX} letters, digits, hyphens and underscores")]
pub struct InvalidMessageId;

/// The headers by which a receiver sees who sent a message, and that nobody changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    id: MessageId,
    timestamp: i64,
    signatures: String,
}

impl MessageId {
    /// Takes a text as an id.
    ///
    /// # Errors
    ///
    /// When it has other characters than an id may have, none, or too many.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidMessageId> {
        let text = text.into();
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fits = (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_part);
        if fits { Ok(Self(text)) } else { Err(InvalidMessageId) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Signature {
    /// Signs a message as it is sent at `timestamp`, in seconds since 1970. While a secret is rotated, the `retiring` one signs
    /// too, so that receivers may change to the new one when they like.
    #[must_use]
    pub fn new(
        id: &MessageId,
        timestamp: i64,
        body: &[u8],
        secret: &SigningSecret,
        retiring: Option<&SigningSecret>,
    ) -> Self {
        let sign = |secret: &SigningSecret| {
            let mac = mac_of_message(secret, id.as_str(), &timestamp.to_string(), body);
            format!("{VERSION_PREFIX}{}", BASE64.encode(mac.finalize().into_bytes()))
        };
        let signatures: Vec<String> = [Some(secret), retiring].into_iter().flatten().map(sign).collect();
        Self { id: id.clone(), timestamp, signatures: signatures.join(" ") }
    }

    /// The headers to send: `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(ID_HEADER, value(self.id.as_str()));
        headers.insert(TIMESTAMP_HEADER, self.timestamp.into());
        headers.insert(SIGNATURE_HEADER, value(&self.signatures));
        headers
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("an id and base64 fit a header")
}

/// The HMAC of a message by Standard Webhooks: over its id, its timestamp and its body, separated by full stops.
pub(crate) fn mac_of_message(secret: &SigningSecret, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = secret.mac();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({})", self.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(text).unwrap()
    }

    fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
        headers[name].to_str().unwrap()
    }

    /// From the tests of Standard Webhooks' own libraries.
    #[test]
    fn signatures_are_those_that_the_standard_publishes() {
        for (key, id, timestamp, body, expected) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            let id = MessageId::new(id).unwrap();
            let headers = Signature::new(&id, timestamp, body.as_bytes(), &secret(key), None).headers();
            assert_eq!(header(&headers, &SIGNATURE_HEADER), expected);
            assert_eq!(header(&headers, &ID_HEADER), id.as_str());
            assert_eq!(header(&headers, &TIMESTAMP_HEADER), timestamp.to_string());
        }
    }

    #[test]
    fn both_secrets_sign_while_one_is_retiring() {
        let (new, old) = (SigningSecret::random(), SigningSecret::random());
        let id = MessageId::new("msg_1").unwrap();
        let signed =
            |secret, retiring| Signature::new(&id, 1_700_000_000, b"{}", secret, retiring).signatures;
        assert_eq!(
            signed(&new, Some(&old)),
            format!("{} {}", signed(&new, None), signed(&old, None)),
            "the new one first"
        );
    }

    #[test]
    fn an_id_cannot_reach_into_what_else_is_signed() {
        for id in ["msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "018f3c1e-7b1a-7000-8000-000000000000"] {
            assert_eq!(MessageId::new(id).unwrap().to_string(), id);
        }
        for id in ["", "msg.1700000000", "two words", "a\r\nx-evil: 1", "ü", &"x".repeat(129)] {
            assert_eq!(MessageId::new(id).unwrap_err(), InvalidMessageId, "{id}");
        }
    }
}
