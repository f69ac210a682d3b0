//! What people do to webhooks. They are paused, resumed and moved as the consumers that they have.

use std::sync::Arc;

use crewcall_proto::Timestamp;
use crewcall_webhooks::{ALLOW_VARIABLE, SigningSecret, WebhookUrl};

use crate::{
    domain::{
        ConsumerName, ConsumerSettings, Problem, Reaction, SubjectPattern, Then, WebhookName,
        webhook::{DELIVERIES_MAX, WEBHOOKS_MAX},
    },
    engine::{
        Caller, ConsumerError, Engine, Moved, Put,
        ports::{StoreError, WebhookChange, WebhookChanged},
        rfc3339::rfc3339,
    },
};

/// Why something was not done to a webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The settings are not valid.
    #[error("the webhook has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    #[error("there is no such webhook")]
    Unknown,
    #[error("there are {WEBHOOKS_MAX} webhooks already")]
    TooMany,
    /// Its secret was rotated less than a day ago.
    #[error(
        "the secret was rotated a short time ago, and the one before signs until {}: a third would leave a receiver behind. Rotate it again after that, or delete the webhook and make it anew",
        rfc3339(*until)
    )]
    Rotating { until: Timestamp },
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A webhook was set.
#[derive(Debug)]
pub struct WebhookPut {
    pub put: Put,
    /// Its secret, if it was made just now: it is told this once.
    pub made: Option<SigningSecret>,
}

impl Engine {
    /// Makes a webhook, or changes where it leads to and what it wants: it keeps its secret and its place in the log then.
    ///
    /// # Errors
    ///
    /// [`WebhookError`] when nothing changes.
    pub async fn put_webhook(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WebhookName,
        url: &str,
        (subjects, condition): (Vec<SubjectPattern>, Option<String>),
    ) -> Result<WebhookPut, WebhookError> {
        let settings = ConsumerSettings {
            subjects,
            condition,
            then: Then::Webhook(name.clone()),
            in_flight_max: DELIVERIES_MAX,
        };
        let mut problems = Reaction::of(&settings, self.clock.now()).err().unwrap_or_default();
        let url = self.checked_url(url).map_err(|message| problems.push(Problem::new("/url", message))).ok();
        let Some(url) = url.filter(|_| problems.is_empty()) else {
            return Err(WebhookError::Invalid(problems));
        };
        if let Some(known) = self.store.consumer(&ConsumerName::of_webhook(name)) {
            // What was looked at under the settings before is not looked at again under these, whatever dies when.
            self.keep_places(std::slice::from_ref(&known)).await?;
        }
        tracing::info!(webhook = %name, ?url, by = caller.by(), "A webhook is set.");
        let secret = SigningSecret::random();
        let made = secret.clone();
        let change =
            WebhookChange::Put { url, settings: Arc::new(settings), secret, by: caller.by().to_owned() };
        let put = match self.change_webhook(name, change).await? {
            WebhookChanged::Created(_) => Put::Created,
            WebhookChanged::Changed(_) => Put::Changed,
            _ => Put::Unchanged,
        };
        Ok(WebhookPut { put, made: (put == Put::Created).then_some(made) })
    }

    /// Gives a webhook a new secret, which is returned. Messages are signed with the one before as well for
    /// [`RETIRING_FOR`](crate::domain::webhook::RETIRING_FOR).
    ///
    /// # Errors
    ///
    /// [`WebhookError`] when nothing changes.
    pub async fn rotate_webhook(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WebhookName,
    ) -> Result<SigningSecret, WebhookError> {
        tracing::info!(webhook = %name, by = caller.by(), "The secret of a webhook is rotated.");
        let secret = SigningSecret::random();
        let change = WebhookChange::Rotate { secret: secret.clone(), by: caller.by().to_owned() };
        self.change_webhook(name, change).await.map(|_| secret)
    }

    /// Pauses a webhook: events wait for it in the log. What is tried again later is still tried.
    ///
    /// # Errors
    ///
    /// [`WebhookError`] when nothing changes.
    pub async fn pause_webhook(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WebhookName,
        reason: Option<String>,
    ) -> Result<(), WebhookError> {
        let paused = self.pause_consumer(caller, &ConsumerName::of_webhook(name), reason).await;
        paused.map_err(of_its_consumer)
    }

    /// Ends the pause of a webhook: it goes on where it stood, or passes over what came meanwhile. Returns how it moved.
    ///
    /// # Errors
    ///
    /// [`WebhookError`] when nothing changes.
    pub async fn resume_webhook(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WebhookName,
        from_now: bool,
        reason: Option<String>,
    ) -> Result<Moved, WebhookError> {
        let resumed = self.resume_consumer(caller, &ConsumerName::of_webhook(name), from_now, reason).await;
        resumed.map_err(of_its_consumer)
    }

    /// Deletes a webhook. Deliveries that are not done fail: there is nowhere to deliver to.
    ///
    /// # Errors
    ///
    /// [`WebhookError`] when nothing changes.
    pub async fn delete_webhook(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WebhookName,
    ) -> Result<(), WebhookError> {
        tracing::info!(webhook = %name, by = caller.by(), "A webhook is deleted.");
        self.change_webhook(name, WebhookChange::Delete).await?;
        self.consumption.forget(&ConsumerName::of_webhook(name));
        Ok(())
    }

    async fn change_webhook(
        self: &Arc<Self>,
        name: &WebhookName,
        change: WebhookChange,
    ) -> Result<WebhookChanged, WebhookError> {
        let (engine, name) = (Arc::clone(self), name.clone());
        let changed = self.to_its_end(async move {
            let changed = engine.store.change_webhook(&name, change).await?;
            engine.consumption.wake();
            Ok::<_, StoreError>(changed)
        });
        match changed.await? {
            WebhookChanged::Unknown => Err(WebhookError::Unknown),
            WebhookChanged::TooMany => Err(WebhookError::TooMany),
            WebhookChanged::Rotating { until } => Err(WebhookError::Rotating { until }),
            changed => Ok(changed),
        }
    }

    /// The URL, if a webhook may lead there.
    fn checked_url(&self, text: &str) -> Result<WebhookUrl, String> {
        let url = WebhookUrl::parse(text).map_err(|invalid| invalid.to_string())?;
        url.check_address(&self.webhook_allow).map_err(|invalid| invalid.to_string())?;
        if !url.is_protected(&self.webhook_allow) {
            return Err(format!(
                "what is sent to an http:// URL can be read on its way: give an https:// one, or open the receiver's network with {ALLOW_VARIABLE}"
            ));
        }
        Ok(url)
    }
}

/// What is known of a webhook's consumer, said of the webhook.
fn of_its_consumer(error: ConsumerError) -> WebhookError {
    match error {
        ConsumerError::Store(error) => WebhookError::Store(error),
        // Nothing else can be wrong with a pause, or with its end.
        _ => WebhookError::Unknown,
    }
}
