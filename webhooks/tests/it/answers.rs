//! What receivers answer, and what is made of it.

use std::time::Duration;

use crewcall_webhooks::{DeliveryFailure, Outcome, RETRY_AFTER_MAX, SigningSecret, Verification};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{BODY, LONG, NOW, deliver_signed, failure_of, receiver::Receiver};

/// An answer with these headers, each with its end of line, and an empty body.
fn answer(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n")
}

async fn failure(text: String) -> DeliveryFailure {
    failure_of(Receiver::answering(text).await.deliver().await)
}

#[tokio::test]
async fn a_message_arrives_as_it_was_signed() {
    let receiver = Receiver::answering(answer("200 OK", "")).await;
    let (new, old, foreign) = (SigningSecret::random(), SigningSecret::random(), SigningSecret::random());
    let outcome = deliver_signed(&receiver.url(), "127.0.0.1", LONG, &new, Some(&old)).await;
    assert!(matches!(outcome, Outcome::Delivered { status: 200, took } if took < LONG), "{outcome:?}");

    let request = receiver.request();
    assert_eq!(request.line, "POST /in?key=secret HTTP/1.1");
    assert_eq!(request.body, BODY.as_bytes());
    let headers: HeaderMap = request
        .headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["user-agent"], format!("crewcall/{}", env!("CARGO_PKG_VERSION")));
    for (secret, verifies) in [(new, true), (old, true), (foreign, false)] {
        let verification = Verification::Standard { secrets: vec![secret] };
        let verified = verification.verify(&headers, &request.body, NOW);
        assert_eq!(verified.is_ok(), verifies, "{verified:?}");
    }
}

#[tokio::test]
async fn every_2xx_is_a_delivery() {
    for (text, expected) in
        [("200 OK", 200), ("202 Accepted", 202), ("204 No Content", 204), ("299 Odd", 299)]
    {
        let outcome = Receiver::answering(answer(text, "")).await.deliver().await;
        assert!(matches!(outcome, Outcome::Delivered { status, .. } if status == expected), "{outcome:?}");
    }
}

#[tokio::test]
async fn gone_is_gone() {
    assert_eq!(Receiver::answering(answer("410 Gone", "")).await.deliver().await, Outcome::Gone);
}

#[tokio::test]
async fn everything_else_is_tried_again_since_receivers_are_mended() {
    for (text, status) in [
        ("400 Bad Request", 400),
        ("401 Unauthorized", 401),
        ("404 Not Found", 404),
        ("408 Request Timeout", 408),
        ("425 Too Early", 425),
        ("500 Internal Server Error", 500),
        ("503 Service Unavailable", 503),
    ] {
        let failure = failure(format!("HTTP/1.1 {text}\r\ncontent-length: 5\r\n\r\nsorry")).await;
        assert_eq!(
            failure,
            DeliveryFailure {
                reason: format!("the receiver answered {text}"),
                status: Some(status),
                retry_after: None,
                permanent: false,
                excerpt: Some("sorry".to_owned()),
            }
        );
    }
}

#[tokio::test]
async fn a_busy_receiver_says_when_to_come_again() {
    for (headers, wait) in [
        ("retry-after: 120\r\n", Duration::from_secs(120)),
        ("retry-after: Fri, 15 May 2015 15:39:21 GMT\r\n", Duration::from_secs(300)),
        ("retry-after: 9999999\r\n", RETRY_AFTER_MAX),
    ] {
        let failure = failure(answer("429 Too Many Requests", headers)).await;
        assert_eq!(failure.retry_after, Some(wait), "{headers}");
        assert_eq!((failure.status, failure.permanent, failure.excerpt), (Some(429), false, None));
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_that_its_target_never_sees() {
    let target = Receiver::answering(answer("200 OK", "")).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("location: http://{}/there?key=secret\r\n", target.address);
        let failure = failure(answer(status, &location)).await;
        assert!(!failure.permanent, "{failure:?}");
        assert_eq!(failure.status, status[..3].parse().ok());
        assert_eq!(
            failure.reason,
            format!(
                "the receiver answered {status} and points to http://{}/there: redirects are not followed, give the webhook its new URL",
                target.address
            )
        );
    }
    assert_eq!(target.connections(), 0);
    let nowhere = failure(answer("304 Not Modified", "")).await;
    assert!(nowhere.reason.starts_with("the receiver answered 304 Not Modified: redirects"), "{nowhere:?}");
}
