//! What is done to one webhook, and to its consumer with it.

use std::sync::Arc;

use crewcall_webhooks::{SigningSecret, WebhookUrl};

use super::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted};
use crate::{
    domain::{
        Consumer, ConsumerName, ConsumerSettings, Pause, Start, Webhook, WebhookName, webhook::WEBHOOKS_MAX,
    },
    engine::ports::{ConsumerWrite, WebhookChange, WebhookChanged, WebhookWrite},
};

/// Does something to one webhook.
pub struct ChangeWebhook {
    pub name: WebhookName,
    pub change: WebhookChange,
}

impl Decide for ChangeWebhook {
    type Value = WebhookChanged;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, _: Loaded, rules: &mut Rules) -> Result<Decision<WebhookChanged>, Inconsistent> {
        let Self { name, change } = self;
        let mut decision = Decision::nothing(WebhookChanged::Unknown);
        let known = rules.webhooks.get(&name).map(Arc::clone);
        decision.value = match (known, change) {
            (None, WebhookChange::Put { url, settings, secret, by }) => {
                create(name, (url, settings), (secret, by), rules, &mut decision)
            }
            (None, _) => WebhookChanged::Unknown,
            (Some(known), WebhookChange::Put { url, settings, by, .. }) => {
                put(known, (url, settings), by, rules, &mut decision)?
            }
            (Some(known), WebhookChange::Rotate { secret, by }) => {
                let now = rules.now();
                match known.retiring_at(now) {
                    Some(retiring) => WebhookChanged::Rotating { until: retiring.until },
                    None => {
                        WebhookChanged::Changed(keep(known.rotated(secret, now, by), rules, &mut decision))
                    }
                }
            }
            (Some(known), WebhookChange::Disable { revision, .. }) if revision != known.revision => {
                WebhookChanged::Unchanged(known)
            }
            (Some(known), WebhookChange::Disable { pause, .. }) => {
                disable(known, pause, rules, &mut decision)?
            }
            (Some(known), WebhookChange::Delete) => {
                rules.webhooks.remove(&known.name);
                decision.writes.webhooks.push(WebhookWrite::Deleted(known.name.clone()));
                let consumer = ConsumerName::of_webhook(&known.name);
                rules.consumers.set(&consumer, None);
                decision.writes.consumers.push(ConsumerWrite::Deleted(consumer));
                WebhookChanged::Deleted
            }
        };
        Ok(decision)
    }
}

fn create(
    name: WebhookName,
    (url, settings): (WebhookUrl, Arc<ConsumerSettings>),
    (secret, by): (SigningSecret, String),
    rules: &mut Rules,
    decision: &mut Decision<WebhookChanged>,
) -> WebhookChanged {
    if rules.webhooks.count() >= WEBHOOKS_MAX {
        return WebhookChanged::TooMany;
    }
    let (now, pass) = (rules.now(), rules.consumers.next_pass());
    let consumer = Consumer {
        name: ConsumerName::of_webhook(&name),
        settings,
        start: Start::Now,
        cursor: rules.counts.sequence(),
        first_pass: pass,
        pass,
        pause: None,
        in_flight: 0,
        replays: Vec::new(),
        created_at: now,
        changed_at: now,
        revision: 1,
    };
    keep_consumer(consumer, rules, decision);
    let webhook = Webhook {
        name,
        url,
        secret,
        retiring: None,
        created_at: now,
        created_by: by.clone(),
        changed_at: now,
        changed_by: by,
        revision: 1,
    };
    WebhookChanged::Created(keep(webhook, rules, decision))
}

fn put(
    known: Arc<Webhook>,
    (url, settings): (WebhookUrl, Arc<ConsumerSettings>),
    by: String,
    rules: &mut Rules,
    decision: &mut Decision<WebhookChanged>,
) -> Result<WebhookChanged, Inconsistent> {
    let consumer = consumer_of(&known, rules)?;
    let wants_others = consumer.settings != settings;
    if known.url == url && !wants_others {
        return Ok(WebhookChanged::Unchanged(known));
    }
    let now = rules.now();
    if wants_others {
        let revision = consumer.revision + 1;
        let consumer = Consumer { settings, changed_at: now, revision, ..consumer.as_ref().clone() };
        keep_consumer(consumer, rules, decision);
    }
    let revision = known.revision + 1;
    let webhook = Webhook { url, changed_at: now, changed_by: by, revision, ..known.as_ref().clone() };
    Ok(WebhookChanged::Changed(keep(webhook, rules, decision)))
}

/// Its consumer is paused. One that is paused already stays as it is.
fn disable(
    known: Arc<Webhook>,
    pause: Pause,
    rules: &mut Rules,
    decision: &mut Decision<WebhookChanged>,
) -> Result<WebhookChanged, Inconsistent> {
    let consumer = consumer_of(&known, rules)?;
    if consumer.pause.is_some() {
        return Ok(WebhookChanged::Unchanged(known));
    }
    keep_consumer(Consumer { pause: Some(pause), ..consumer.as_ref().clone() }, rules, decision);
    Ok(WebhookChanged::Changed(known))
}

fn consumer_of(webhook: &Webhook, rules: &Rules) -> Result<Arc<Consumer>, Inconsistent> {
    let consumer = rules.consumers.get(&ConsumerName::of_webhook(&webhook.name)).map(Arc::clone);
    consumer.ok_or(Inconsistent("a webhook has no consumer"))
}

fn keep(webhook: Webhook, rules: &mut Rules, decision: &mut Decision<WebhookChanged>) -> Arc<Webhook> {
    let webhook = rules.webhooks.set(webhook);
    decision.writes.webhooks.push(WebhookWrite::Put(Arc::clone(&webhook)));
    webhook
}

fn keep_consumer(consumer: Consumer, rules: &mut Rules, decision: &mut Decision<WebhookChanged>) {
    let name = consumer.name.clone();
    let kept = rules.consumers.set(&name, Some(consumer));
    decision.writes.consumers.extend(kept.map(ConsumerWrite::Put));
}
