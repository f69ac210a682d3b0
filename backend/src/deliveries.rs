//! What the worker that delivers to webhooks is told by the backend in whose process it runs, and tells it. Secrets go this way
//! only: none is in an order.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{JobType, Timestamp, WorkerId};
use crewcall_webhooks::{AllowedNetworks, SigningSecret, WebhookUrl};
use tokio::time::sleep;

use crate::{
    clock::Clock,
    domain::{Pause, State, Webhook, WebhookName},
    engine::ports::{Store, StoreError, WebhookChange},
    metrics::Metrics,
};
pub use crate::{domain::reserved::WEBHOOK_TYPE, metrics::WebhookTry};

/// How often is looked whether somebody made the first webhook. Looking costs a lock.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Who paused a webhook that no person paused.
const BY: &str = "crewcall";

/// The reserved type's door into the backend.
#[derive(Clone)]
pub struct Deliveries {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) worker_id: WorkerId,
    pub(crate) allowed: AllowedNetworks,
}

/// Where a delivery goes to, as of the moment of a try.
pub struct Destination {
    webhook: Arc<Webhook>,
    now: Timestamp,
}

impl Destination {
    /// Where to.
    #[must_use]
    pub fn url(&self) -> &WebhookUrl {
        &self.webhook.url
    }

    /// What signs.
    #[must_use]
    pub fn secret(&self) -> &SigningSecret {
        &self.webhook.secret
    }

    /// What signs as well, for a day after a rotation.
    #[must_use]
    pub fn retiring(&self) -> Option<&SigningSecret> {
        self.webhook.retiring_at(self.now).map(|retiring| &retiring.secret)
    }
}

impl Deliveries {
    /// The id of the one worker that may announce the reserved types. It is random, and new at every start.
    #[must_use]
    pub fn worker_id(&self) -> &WorkerId {
        &self.worker_id
    }

    /// Which networks besides the public internet may be connected to.
    #[must_use]
    pub fn allowed(&self) -> &AllowedNetworks {
        &self.allowed
    }

    /// Waits until there is a webhook, or a delivery that is not done: until then no worker is needed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn wanted(&self) -> Result<(), StoreError> {
        let Ok(job_type) = JobType::new(WEBHOOK_TYPE) else { return std::future::pending().await };
        loop {
            let counts = self.store.counts_of(&job_type).await?;
            let is_open = counts.iter().any(|count| !State::is_terminal(count.state) && count.jobs > 0);
            if is_open || !self.store.webhooks().is_empty() {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Where deliveries to this webhook go now; `None` when there is none of that name.
    #[must_use]
    pub fn destination(&self, webhook: &str) -> Option<Destination> {
        let webhook = self.store.webhook(&webhook.parse().ok()?)?;
        Some(Destination { webhook, now: self.clock.now() })
    }

    /// The time that receivers hold against their own, in seconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.clock.wall().as_millis() / 1_000
    }

    /// This became of a try.
    pub fn tried(&self, destination: &Destination, outcome: WebhookTry) {
        self.metrics.webhook_tried(&destination.webhook.name, outcome);
    }

    /// The receiver wants no more: the webhook is paused, unless somebody changed it since this try began.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when that could not be stored.
    pub async fn disable(&self, destination: &Destination) -> Result<(), StoreError> {
        let Webhook { name, revision, .. } = destination.webhook.as_ref();
        tracing::warn!(webhook = %name, "The receiver of a webhook wants no more messages: it is paused.");
        let reason = "the receiver answered 410 Gone: it wants no more".to_owned();
        let pause = Pause { by: BY.to_owned(), reason: Some(reason), at: self.clock.now() };
        let change = WebhookChange::Disable { pause, revision: *revision };
        let name: &WebhookName = name;
        self.store.change_webhook(name, change).await.map(drop)
    }
}
