//! Webhooks as the API shows them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Moved, hook::Retiring, job::ActorNote, rfc3339, seconds};
use crate::engine::WebhookView;

/// Where events are to be delivered to. Any other field is refused by name.
// Only describes the request: `webhook_settings` reads it, so that every problem is told at once.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewWebhook {
    /// Where to: an `https://` URL of the public internet, or of a network that the operator opened.
    #[schema(example = "https://shop.example/hooks/crewcall", max_length = 2048)]
    url: String,
    /// Which events: 1 to 16 patterns, as in the binding of a topic exchange.
    #[schema(example = json!(["order.paid", "job.failed.#"]), min_items = 1, max_items = 16)]
    subjects: Vec<String>,
    /// A condition that events have to meet besides: CEL, in which `event` is known.
    #[schema(example = "event.data.total > 100", max_length = 1024)]
    r#if: Option<String>,
}

/// All webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// By name.
    pub webhooks: Vec<Webhook>,
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Webhook {
    /// Its name.
    #[schema(example = "shop")]
    pub name: String,
    /// Where events are delivered to.
    #[schema(example = "https://shop.example/hooks/crewcall")]
    pub url: String,
    /// Which events are.
    pub subjects: Vec<String>,
    /// A condition that they have to meet besides.
    pub r#if: Option<String>,
    /// The consumer that makes its deliveries: `POST /v1/consumers/{name}/seek` and `…/replay` repeat events.
    #[schema(example = "webhook:shop")]
    pub consumer: String,
    /// `following` (it has seen everything), `behind` (it goes on), `full` (too many deliveries are not done), `paused`, or `stranded`
    /// (what comes next is deleted).
    pub state: &'static str,
    /// Why it is in that state: a sentence.
    pub reason: String,
    /// Its place in the log: everything up to here was looked at.
    pub cursor: u64,
    /// How many events it has not seen.
    pub lag_events: u64,
    /// How long ago the first of them was recorded.
    #[schema(value_type = f64)]
    pub lag_seconds: serde_json::Number,
    /// How many deliveries are not done: jobs of the type `crewcall.webhook` with the label `webhook`.
    pub in_flight: u32,
    /// Who paused it, if it is paused; `crewcall` when its receiver answered 410.
    pub pause: Option<ActorNote>,
    /// Eight digits of a hash of its secret, by which people tell it from another one.
    #[schema(example = "f74e1720")]
    pub fingerprint: String,
    /// The secret before a rotation, while it signs as well.
    pub retiring: Option<Retiring>,
    /// Its secret: only in the answer to the request that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// When its URL, its selection or its secret changed last.
    #[schema(format = DateTime)]
    pub changed_at: String,
    /// Who changed it.
    pub changed_by: String,
    /// Counts those changes, from 1.
    pub revision: u64,
    /// How it moved, in the answer to a resumption with `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
}

impl From<&WebhookView> for Webhook {
    fn from(view: &WebhookView) -> Self {
        let (webhook, of_it) = (&view.webhook, &view.consumer);
        let (consumer, settings) = (&of_it.consumer, &of_it.consumer.settings);
        Self {
            name: webhook.name.to_string(),
            url: webhook.url.as_str().to_owned(),
            subjects: settings.subjects.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            r#if: settings.condition.clone(),
            consumer: consumer.name.to_string(),
            state: of_it.state.as_str(),
            reason: of_it.reason.clone(),
            cursor: of_it.place.0,
            lag_events: of_it.lag_events(),
            lag_seconds: seconds(of_it.lag),
            in_flight: consumer.in_flight,
            pause: ActorNote::of_pause(consumer.pause.as_ref()),
            fingerprint: view.fingerprint(),
            retiring: view.retiring.as_ref().map(|retiring| Retiring {
                fingerprint: retiring.secret.fingerprint(),
                until: rfc3339(retiring.until),
            }),
            secret: None,
            created_at: rfc3339(webhook.created_at),
            created_by: webhook.created_by.clone(),
            changed_at: rfc3339(webhook.changed_at),
            changed_by: webhook.changed_by.clone(),
            revision: webhook.revision,
            moved: None,
        }
    }
}
