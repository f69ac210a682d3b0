//! Deliveries to real receivers on this machine.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helper cannot unwrap fails the test, as it should"
)]

mod addresses;
mod answers;
mod receiver;
mod sick_receivers;

use std::time::Duration;

use crewcall_webhooks::{
    Deliverer, Delivery, DeliveryFailure, MessageId, Outcome, SigningSecret, WebhookUrl,
};

/// More than any delivery here takes, but for those that are to run out of time.
const LONG: Duration = Duration::from_secs(60);

const BODY: &str = r#"{"type":"job.completed","data":{"name":"grüße"}}"#;

/// The time of every try here: Fri, 15 May 2015 15:34:21 GMT.
const NOW: i64 = 1_431_704_061;

/// Delivers once, by what an operator opened.
async fn deliver(url: &str, allow: &str, timeout: Duration) -> Outcome {
    deliver_signed(url, allow, timeout, &SigningSecret::random(), None).await
}

async fn deliver_signed(
    url: &str,
    allow: &str,
    timeout: Duration,
    secret: &SigningSecret,
    retiring: Option<&SigningSecret>,
) -> Outcome {
    let deliverer = Deliverer::new(allow.parse().unwrap(), timeout).unwrap();
    let delivery = Delivery {
        url: &WebhookUrl::parse(url).unwrap(),
        id: &MessageId::new("msg_1").unwrap(),
        timestamp: NOW,
        body: BODY.into(),
        secret,
        retiring,
    };
    // What does not come to an end fails the test, and does not hang it.
    tokio::time::timeout(2 * LONG, deliverer.deliver(delivery)).await.unwrap()
}

fn failure_of(outcome: Outcome) -> DeliveryFailure {
    match outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?} is no failure"),
    }
}
