//! Names of consumers, and of their times through the log.

use std::{fmt, str::FromStr, sync::Arc};

use crewcall_proto::JobType;

use super::{WebhookName, run_names::WorkflowName};

/// Counts the times that somebody goes through the log: each consumer once, and once more for each replay, or seek back. A
/// pass makes at most one job of each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pass(pub u64);

/// The name of a consumer. It has the shape of a job type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerName(Arc<str>);

impl ConsumerName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the name of a consumer begins with that is the triggers of a workflow: nobody else can have such a name.
const OF_WORKFLOW: &str = "workflow:";

/// The same of one that is what a webhook wants.
const OF_WEBHOOK: &str = "webhook:";

impl ConsumerName {
    /// That of the consumer that makes runs of a workflow by its triggers.
    #[must_use]
    pub fn of_workflow(workflow: &WorkflowName) -> Self {
        Self(format!("{OF_WORKFLOW}{workflow}").into())
    }

    /// The workflow whose triggers it is; `None` for one that somebody set.
    #[must_use]
    pub fn workflow(&self) -> Option<WorkflowName> {
        self.0.strip_prefix(OF_WORKFLOW)?.parse().ok()
    }

    /// That of the consumer that makes the deliveries to a webhook.
    #[must_use]
    pub fn of_webhook(webhook: &WebhookName) -> Self {
        Self(format!("{OF_WEBHOOK}{webhook}").into())
    }

    /// The webhook whose deliveries it makes; `None` for one that somebody set.
    #[must_use]
    pub fn webhook(&self) -> Option<WebhookName> {
        self.0.strip_prefix(OF_WEBHOOK)?.parse().ok()
    }

    /// Whether it belongs to something else, and is made, changed and deleted with that.
    #[must_use]
    pub fn belongs(&self) -> bool {
        self.workflow().is_some() || self.webhook().is_some()
    }

    /// Reads what was kept, or the name of one that may belong to something else.
    ///
    /// # Errors
    ///
    /// [`InvalidConsumerName`] when it is none.
    pub fn kept(text: &str) -> Result<Self, InvalidConsumerName> {
        let name = Self(text.into());
        if name.belongs() { Ok(name) } else { text.parse() }
    }
}

impl FromStr for ConsumerName {
    type Err = InvalidConsumerName;

    fn from_str(text: &str) -> Result<Self, InvalidConsumerName> {
        match JobType::new(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(InvalidConsumerName { text: text.chars().take(JobType::LENGTH_MAX).collect() }),
        }
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a consumer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the name of a consumer: it is 1 to 128 characters of a-z 0-9 . _ - in dot-separated words, such as \"invoices\""
)]
pub struct InvalidConsumerName {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consumer_of_a_webhook_has_a_name_that_nobody_else_can_have() {
        let webhook: WebhookName = "billing.eu".parse().unwrap();
        let name = ConsumerName::of_webhook(&webhook);
        assert_eq!((name.as_str(), name.webhook()), ("webhook:billing.eu", Some(webhook)));
        assert_eq!(ConsumerName::kept(name.as_str()), Ok(name.clone()));
        assert!(name.belongs() && name.workflow().is_none());
        assert!(name.as_str().parse::<ConsumerName>().is_err());
        assert!(!"webhook.billing".parse::<ConsumerName>().unwrap().belongs());
        for text in ["webhook:", "webhook:Ü", "webhook:a:b", "hook:a", ""] {
            assert!(ConsumerName::kept(text).is_err(), "{text}");
        }
    }
}
