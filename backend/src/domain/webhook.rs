//! Webhooks: to whom events are delivered over HTTP, and what the job of a delivery says. Which events, and how far it got, says
//! the consumer of the webhook.

use std::{collections::BTreeMap, time::Duration};

use crewcall_expressions::Json;
use crewcall_proto::{JsonObject, Timestamp};
use crewcall_webhooks::{SigningSecret, WebhookUrl};

use super::{Submission, WebhookName, reserved::WEBHOOK_TYPE};

/// How many webhooks there may be: each is a consumer, which has the same limit.
pub const WEBHOOKS_MAX: usize = 1_000;

/// How many deliveries to one webhook may be unfinished; further events wait in the log. Most of them wait for their next try, which
/// takes up to three days: so many may come to a receiver that is down before the others wait as well.
pub const DELIVERIES_MAX: u32 = super::consumer::IN_FLIGHT_MAX;

/// For how long both secrets sign after a rotation: long enough for people to bring the new one to the receiver.
pub const RETIRING_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a delivery is tried: as often as the plan of retries has moments, which takes three days.
pub const ATTEMPTS_MAX: i64 = 10;

/// Where events are delivered to. `Debug` shows neither secret, and of the URL its origin only.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub name: WebhookName,
    pub url: WebhookUrl,
    /// What signs.
    pub secret: SigningSecret,
    /// What signs as well, for a while.
    pub retiring: Option<RetiringSecret>,
    pub created_at: Timestamp,
    /// Who made it, as they call themselves.
    pub created_by: String,
    /// When its URL, its secret or its selection changed last.
    pub changed_at: Timestamp,
    pub changed_by: String,
    /// Counts those changes.
    pub revision: u64,
}

/// A secret that was rotated out.
#[derive(Debug, Clone)]
pub struct RetiringSecret {
    pub secret: SigningSecret,
    /// From then on it does not sign any more.
    pub until: Timestamp,
}

impl Webhook {
    /// The second secret that signs at this time.
    #[must_use]
    pub fn retiring_at(&self, now: Timestamp) -> Option<&RetiringSecret> {
        self.retiring.as_ref().filter(|retiring| now < retiring.until)
    }

    /// The same with another secret; the one that it had retires.
    #[must_use]
    pub fn rotated(&self, secret: SigningSecret, now: Timestamp, by: String) -> Self {
        let until = now.plus_millis(i64::try_from(RETIRING_FOR.as_millis()).unwrap_or(i64::MAX));
        let retiring = RetiringSecret { secret: self.secret.clone(), until };
        Self {
            secret,
            retiring: Some(retiring),
            changed_at: now,
            changed_by: by,
            revision: self.revision + 1,
            ..self.clone()
        }
    }
}

/// The job that delivers an event, as templates. No URL and no secret is in it: whoever delivers asks for them, so they are those of
/// the moment of each try.
#[must_use]
pub fn delivery(webhook: &WebhookName) -> Submission {
    let text = |text: &str| Json::String(text.to_owned());
    let message = JsonObject::from_iter([
        ("type".to_owned(), text("${{ event.subject }}")),
        ("timestamp".to_owned(), text("${{ event.recorded_at }}")),
        ("data".to_owned(), text("${{ event.data }}")),
    ]);
    let parameters = JsonObject::from_iter([
        ("webhook".to_owned(), text(webhook.as_str())),
        ("message".to_owned(), Json::Object(message)),
        ("sequence".to_owned(), text("${{ event.sequence }}")),
    ]);
    Submission {
        job_type: WEBHOOK_TYPE.to_owned(),
        parameters,
        max_attempts: Some(ATTEMPTS_MAX),
        labels: BTreeMap::from([("webhook".to_owned(), webhook.to_string())]),
        ..Submission::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> Webhook {
        let at = Timestamp::from_millis(0);
        Webhook {
            name: "billing".parse().unwrap(),
            url: WebhookUrl::parse("https://hooks.example/in?key=hidden").unwrap(),
            secret: SigningSecret::random(),
            retiring: None,
            created_at: at,
            created_by: "ada".to_owned(),
            changed_at: at,
            changed_by: "ada".to_owned(),
            revision: 1,
        }
    }

    #[test]
    fn a_secret_that_is_rotated_out_signs_for_a_day() {
        let before = webhook();
        let now = Timestamp::from_millis(5);
        let after = before.rotated(SigningSecret::random(), now, "eve".to_owned());
        assert_ne!(after.secret.reveal(), before.secret.reveal());
        assert_eq!((after.revision, after.changed_at, &*after.changed_by), (2, now, "eve"));
        let day = i64::try_from(RETIRING_FOR.as_millis()).unwrap();
        let retiring = after.retiring_at(now.plus_millis(day - 1)).unwrap();
        assert_eq!(retiring.secret.reveal(), before.secret.reveal());
        assert!(after.retiring_at(now.plus_millis(day)).is_none());
        assert!(before.retiring_at(now).is_none());
        let third = after.rotated(SigningSecret::random(), now, "eve".to_owned());
        assert_eq!(third.retiring.unwrap().secret.reveal(), after.secret.reveal(), "there are two at most");
    }

    #[test]
    fn no_secret_and_no_path_is_shown_by_accident() {
        let webhook = webhook();
        let shown = format!(
            "{webhook:?} {:?}",
            webhook.rotated(SigningSecret::random(), webhook.created_at, String::new())
        );
        assert!(!shown.contains("whsec_") && !shown.contains("hidden"), "{shown}");
        let job = delivery(&webhook.name);
        assert!(!format!("{job:?}").contains("hooks.example"));
    }
}
