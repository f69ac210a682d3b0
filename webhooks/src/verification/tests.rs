use http::HeaderValue;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::{MessageId, Signature};

const NOW: i64 = 1_614_265_330;
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn published_secret() -> SigningSecret {
    SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
}

fn standard(secrets: &[SigningSecret]) -> Verification {
    Verification::Standard { secrets: secrets.to_vec() }
}

/// The headers of the message that Standard Webhooks publishes, with other signatures.
fn published(signatures: &str) -> HeaderMap {
    headers(&[("webhook-id", ID), ("webhook-timestamp", "1614265330"), ("webhook-signature", signatures)])
}

fn headers(named: &[(&'static str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    named.iter().map(header).collect()
}

fn github(prefix: &str, encoding: SignatureEncoding) -> Verification {
    Verification::HmacSha256 {
        header: HeaderName::from_static("x-hub-signature-256"),
        secret: SharedSecret::new("It's a Secret to Everybody").unwrap(),
        prefix: prefix.to_owned(),
        encoding,
        delivery_id_header: Some(HeaderName::from_static("x-github-delivery")),
    }
}

#[test]
fn the_published_message_verifies() {
    let verification = standard(&[published_secret()]);
    assert_eq!(verification.verify(&published(SIGNED), BODY, NOW).unwrap().as_deref(), Some(ID));
    let unpadded = SIGNED.trim_end_matches('=');
    assert!(verification.verify(&published(unpadded), BODY, NOW).is_ok(), "padding is decoration");
}

#[test]
fn one_of_several_signatures_and_one_of_several_secrets_suffice() {
    let both = standard(&[SigningSecret::random(), published_secret()]);
    let other = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    for signatures in
        [format!("{other} {SIGNED}"), format!("{SIGNED} v1a,AAAA"), format!("v1,?? v2,x  {SIGNED}")]
    {
        assert!(both.verify(&published(&signatures), BODY, NOW).is_ok(), "{signatures}");
    }
    assert_eq!(both.verify(&published(other), BODY, NOW), Err(VerificationError::Mismatch));
    let neither = standard(&[SigningSecret::random(), SigningSecret::random()]);
    assert_eq!(neither.verify(&published(SIGNED), BODY, NOW), Err(VerificationError::Mismatch));
    assert_eq!(standard(&[]).verify(&published(SIGNED), BODY, NOW), Err(VerificationError::Mismatch));
}

/// A comparison that ends with the shorter of the two would take these.
#[test]
fn a_part_of_a_signature_is_no_signature() {
    let verification = standard(&[published_secret()]);
    for part in ["v1,", "v1,gw==", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1A=="] {
        assert_eq!(
            verification.verify(&published(part), BODY, NOW),
            Err(VerificationError::Mismatch),
            "{part}"
        );
    }
}

#[test]
fn a_message_may_be_five_minutes_away_and_not_a_second_more() {
    let verify = |now| standard(&[published_secret()]).verify(&published(SIGNED), BODY, now);
    assert!(verify(NOW + 300).is_ok() && verify(NOW - 300).is_ok());
    assert_eq!(verify(NOW + 301), Err(VerificationError::TooOld { seconds: 301 }));
    assert_eq!(verify(NOW - 301), Err(VerificationError::FromFuture { seconds: 301 }));
    assert_eq!(verify(i64::MIN).unwrap_err(), VerificationError::FromFuture { seconds: i64::MAX });
}

#[test]
fn what_is_missing_or_malformed_is_named() {
    let verify = |headers: &HeaderMap| {
        let error = standard(&[published_secret()]).verify(headers, BODY, NOW).unwrap_err();
        error.to_string()
    };
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = published(SIGNED);
        headers.remove(name);
        assert_eq!(verify(&headers), format!("the header {name} is missing"));
        headers = published(SIGNED);
        headers.append(name, HeaderValue::from_static("1614265330"));
        assert_eq!(verify(&headers), format!("the header {name} is malformed: it is there more than once"));
    }
    for (name, value, problem) in [
        ("webhook-id", "", "an id has 1 to 128 characters"),
        ("webhook-id", &"x".repeat(129), "an id has 1 to 128 characters"),
        ("webhook-id", "two words", "an id has no spaces"),
        ("webhook-id", "msg.1", "it contains a full stop"),
        ("webhook-timestamp", "now", "it is not a number of seconds since 1970"),
        ("webhook-timestamp", "+1614265330", "it is not a number of seconds since 1970"),
        ("webhook-timestamp", "", "it is not a number of seconds since 1970"),
        ("webhook-timestamp", "99999999999999999999", "it is not a number of seconds since 1970"),
        ("webhook-signature", "g0hM9SsE", "it has no signature that begins with v1,"),
        ("webhook-signature", "v1a,AAAA", "it has no signature that begins with v1,"),
        ("webhook-signature", "v1,not-base64", "what follows v1, is not base64"),
        ("webhook-signature", &[SIGNED; 17].join(" "), "it has more signatures than are looked at"),
    ] {
        let mut headers = published(SIGNED);
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        assert_eq!(verify(&headers), format!("the header {name} is malformed: {problem}"));
    }
}

/// `msg` at `1614265330` with the body `1614265331.{}` must not pass for `msg.1614265330` at `1614265331` with `{}`.
#[test]
fn the_parts_of_a_message_cannot_be_moved() {
    let secret = published_secret();
    let signature =
        Signature::new(&MessageId::new("msg").unwrap(), NOW, b"1614265331.{}", &secret, None).headers();
    let verification = standard(&[secret]);
    assert!(verification.verify(&signature, b"1614265331.{}", NOW).is_ok());
    let mut moved = signature;
    moved.insert("webhook-id", HeaderValue::from_static("msg.1614265330"));
    moved.insert("webhook-timestamp", HeaderValue::from_static("1614265331"));
    assert!(verification.verify(&moved, b"{}", NOW).is_err());
}

/// From GitHub's documentation of how deliveries are checked.
#[test]
fn a_delivery_as_github_documents_it_verifies() {
    const HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let verify = |value: &str, body: &[u8]| {
        let headers = headers(&[("x-hub-signature-256", value), ("x-github-delivery", "72d3162e-cc78")]);
        github("sha256=", SignatureEncoding::Hex).verify(&headers, body, NOW)
    };
    let signed = format!("sha256={HEX}");
    assert_eq!(verify(&signed, b"Hello, World!").unwrap().as_deref(), Some("72d3162e-cc78"));
    assert!(verify(&format!("sha256={}", HEX.to_uppercase()), b"Hello, World!").is_ok());
    assert_eq!(verify(&signed, b"Hello, World?"), Err(VerificationError::Mismatch));
    assert_eq!(verify(&signed[..71 - 2], b"Hello, World!"), Err(VerificationError::Mismatch), "a part of it");
    assert_eq!(verify("sha256=", b"Hello, World!"), Err(VerificationError::Mismatch));
    for (value, problem) in [
        (HEX, "it does not begin with the prefix that the settings name"),
        ("sha256=hello", "the signature is not hexadecimal"),
    ] {
        let error = verify(value, b"Hello, World!").unwrap_err().to_string();
        assert_eq!(error, format!("the header x-hub-signature-256 is malformed: {problem}"));
    }
}

#[test]
fn a_signature_may_be_base64_without_a_prefix_or_an_id() {
    let verification = github("", SignatureEncoding::Base64);
    // By `printf 'Hello, World!' | openssl dgst -sha256 -hmac "It's a Secret to Everybody" -binary | base64`.
    let signed = "dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsEPhc=";
    let verify = |named: &[(&'static str, &str)]| verification.verify(&headers(named), b"Hello, World!", NOW);
    assert_eq!(verify(&[("x-hub-signature-256", signed)]), Ok(None), "an id is not required");
    assert_eq!(
        verify(&[("x-github-delivery", "1")]).unwrap_err().to_string(),
        "the header x-hub-signature-256 is missing"
    );
    let two_words = verify(&[("x-hub-signature-256", signed), ("x-github-delivery", "two words")]);
    assert_eq!(
        two_words.unwrap_err().to_string(),
        "the header x-github-delivery is malformed: an id has no spaces"
    );
}

#[test]
fn an_error_gives_nothing_away() {
    let error = standard(&[published_secret()]).verify(&published(SIGNED), b"{}", NOW).unwrap_err();
    let expected = Signature::new(&MessageId::new(ID).unwrap(), NOW, b"{}", &published_secret(), None);
    let expected = expected.headers()["webhook-signature"].to_str().unwrap().to_owned();
    for secret in ["MfKQ9r8G", &expected[3..], &SIGNED[3..]] {
        assert!(!format!("{error:?} {error}").contains(secret), "{error}");
    }
}

/// A message, and the position of one of the bits of `length` bytes.
fn bit(length: usize) -> impl Strategy<Value = usize> {
    0..length * 8
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_with_one_bit_flipped_it_does_not(
        id in "[A-Za-z0-9_-]{1,128}",
        timestamp in 0_i64..4_102_444_800,
        body in proptest::collection::vec(any::<u8>(), 1..200),
        key in proptest::collection::vec(any::<u8>(), 24..=64),
        bits in (bit(128), bit(200), bit(64), bit(32)),
    ) {
        let secret_of = |key: &[u8]| SigningSecret::parse(&format!("whsec_{}", BASE64.encode(key))).unwrap();
        let secret = secret_of(&key);
        let headers = Signature::new(&MessageId::new(id.clone()).unwrap(), timestamp, &body, &secret, None).headers();
        let verification = standard(&[secret]);
        prop_assert_eq!(verification.verify(&headers, &body, timestamp), Ok(Some(id.clone())));

        let other_body = flipped(&body, bits.1 % (body.len() * 8));
        prop_assert_eq!(verification.verify(&headers, &other_body, timestamp), Err(VerificationError::Mismatch));

        let other_key = flipped(&key, bits.2 % (key.len() * 8));
        let other_secret = standard(&[secret_of(&other_key)]);
        prop_assert_eq!(other_secret.verify(&headers, &body, timestamp), Err(VerificationError::Mismatch));

        let with = |name: &'static str, value: &[u8]| {
            let mut headers = headers.clone();
            headers.insert(name, HeaderValue::from_bytes(value).ok()?);
            Some(headers)
        };
        let other_id = flipped(id.as_bytes(), bits.0 % (id.len() * 8));
        if let Some(headers) = with("webhook-id", &other_id) {
            prop_assert!(verification.verify(&headers, &body, timestamp).is_err());
        }
        let later = (timestamp + 1).to_string();
        if let Some(headers) = with("webhook-timestamp", later.as_bytes()) {
            prop_assert_eq!(verification.verify(&headers, &body, timestamp), Err(VerificationError::Mismatch));
        }
        let signature = BASE64.decode(&headers["webhook-signature"].as_bytes()[3..]).unwrap();
        let other = format!("v1,{}", BASE64.encode(flipped(&signature, bits.3 % (signature.len() * 8))));
        if let Some(headers) = with("webhook-signature", other.as_bytes()) {
            prop_assert_eq!(verification.verify(&headers, &body, timestamp), Err(VerificationError::Mismatch));
        }
    }
}
