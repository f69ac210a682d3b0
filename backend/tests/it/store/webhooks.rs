//! Webhooks, each with its consumer.

use std::sync::Arc;

use crewcall_backend::{
    domain::{
        ConsumerName, ConsumerSettings, Pause, Then, Webhook, WebhookName, consumer::IN_FLIGHT_MAX,
        webhook::RETIRING_FOR,
    },
    engine::ports::{WebhookChange, WebhookChanged},
};
use crewcall_webhooks::{SigningSecret, WebhookUrl};

use super::under_test::{START, StoreUnderTest};

fn name() -> WebhookName {
    "billing".parse().unwrap()
}

fn consumer() -> ConsumerName {
    ConsumerName::of_webhook(&name())
}

fn put(url: &str, subject: &str) -> WebhookChange {
    let settings = ConsumerSettings {
        subjects: vec![subject.parse().unwrap()],
        condition: None,
        then: Then::Webhook(name()),
        in_flight_max: IN_FLIGHT_MAX,
    };
    WebhookChange::Put {
        url: WebhookUrl::parse(url).unwrap(),
        settings: Arc::new(settings),
        secret: SigningSecret::random(),
        by: "ada".to_owned(),
    }
}

async fn change(tested: &StoreUnderTest, change: WebhookChange) -> WebhookChanged {
    tested.store.change_webhook(&name(), change).await.unwrap()
}

async fn created(tested: &StoreUnderTest) -> Arc<Webhook> {
    let made = change(tested, put("https://a.example/", "order.*")).await;
    let WebhookChanged::Created(webhook) = made else { panic!("{made:?}") };
    webhook
}

fn pause(by: &str) -> Pause {
    Pause { by: by.to_owned(), reason: None, at: START }
}

/// As it is kept, with its secrets.
fn kept(tested: &StoreUnderTest) -> (Webhook, [Option<String>; 2]) {
    let webhook = tested.store.webhook(&name()).unwrap().as_ref().clone();
    let retiring = webhook.retiring.as_ref().map(|retiring| retiring.secret.reveal());
    let secrets = [Some(webhook.secret.reveal()), retiring];
    (webhook, secrets)
}

pub(crate) async fn a_webhook_and_its_consumer_come_change_and_go_together(mut tested: StoreUnderTest) {
    let first = created(&tested).await;
    assert_eq!((first.revision, first.created_at, &*first.created_by), (1, START, "ada"));
    let of_it = tested.store.consumer(&consumer()).unwrap();
    assert_eq!(of_it.settings.then, Then::Webhook(name()));
    let again = change(&tested, put("https://a.example/", "order.*")).await;
    assert!(matches!(again, WebhookChanged::Unchanged(_)), "{again:?}");
    let elsewhere = change(&tested, put("https://b.example/", "order.*")).await;
    let WebhookChanged::Changed(elsewhere) = elsewhere else { panic!("{elsewhere:?}") };
    assert_eq!((elsewhere.revision, elsewhere.secret.reveal()), (2, first.secret.reveal()));
    assert_eq!(tested.store.consumer(&consumer()).unwrap().revision, 1, "it wants the same");
    change(&tested, put("https://b.example/", "job.#")).await;
    assert_eq!(tested.store.consumer(&consumer()).unwrap().revision, 2);
    let before = (kept(&tested).1, tested.store.consumer(&consumer()));
    tested.reopen().await;
    assert_eq!((kept(&tested).1, tested.store.consumer(&consumer())), before);
    assert_eq!(kept(&tested).0.url.as_str(), "https://b.example/");
    assert!(matches!(change(&tested, WebhookChange::Delete).await, WebhookChanged::Deleted));
    assert!(matches!(change(&tested, WebhookChange::Delete).await, WebhookChanged::Unknown));
    assert!(tested.store.webhooks().is_empty() && tested.store.consumer(&consumer()).is_none());
    tested.reopen().await;
    assert!(tested.store.webhook(&name()).is_none() && tested.store.consumer(&consumer()).is_none());
    tested.finish().await;
}

pub(crate) async fn a_secret_is_rotated_and_both_outlive_a_restart(mut tested: StoreUnderTest) {
    let first = created(&tested).await;
    let next = SigningSecret::random();
    let rotate = WebhookChange::Rotate { secret: next.clone(), by: "eve".to_owned() };
    assert!(matches!(change(&tested, rotate).await, WebhookChanged::Changed(_)));
    tested.reopen().await;
    let (webhook, secrets) = kept(&tested);
    assert_eq!(secrets, [Some(next.reveal()), Some(first.secret.reveal())]);
    let day = i64::try_from(RETIRING_FOR.as_millis()).unwrap();
    assert_eq!(webhook.retiring.unwrap().until, START.plus_millis(day));
    assert_eq!((webhook.revision, &*webhook.changed_by), (2, "eve"));
    let third = WebhookChange::Rotate { secret: SigningSecret::random(), by: "eve".to_owned() };
    let refused = change(&tested, third.clone()).await;
    assert!(
        matches!(refused, WebhookChanged::Rotating { until } if until == START.plus_millis(day)),
        "{refused:?}"
    );
    tested.clock.advance(day);
    assert!(
        matches!(change(&tested, third).await, WebhookChanged::Changed(_)),
        "the first is of no use any more"
    );
    tested.finish().await;
}

pub(crate) async fn a_receiver_that_wants_no_more_pauses_the_webhook_that_it_knew(
    mut tested: StoreUnderTest,
) {
    created(&tested).await;
    let paused = |tested: &StoreUnderTest| tested.store.consumer(&consumer()).unwrap().pause.clone();
    let of = |revision| WebhookChange::Disable { pause: pause("crewcall"), revision };
    change(&tested, put("https://b.example/", "order.*")).await;
    assert!(matches!(change(&tested, of(1)).await, WebhookChanged::Unchanged(_)));
    assert_eq!(paused(&tested), None, "it was another then");
    assert!(matches!(change(&tested, of(2)).await, WebhookChanged::Changed(_)));
    let late = WebhookChange::Disable { pause: pause("late"), revision: 2 };
    assert!(matches!(change(&tested, late).await, WebhookChanged::Unchanged(_)), "it is paused already");
    tested.reopen().await;
    assert_eq!(paused(&tested), Some(pause("crewcall")));
    tested.finish().await;
}
