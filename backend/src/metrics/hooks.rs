//! What comes in at hooks, and what goes out to webhooks.

use super::{Metrics, named_outcomes::NamedOutcomes, registrar::Registrar};
use crate::domain::{HookName, WebhookName};

/// What became of a delivery to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookOutcome {
    /// It is an event now.
    Accepted,
    /// It was one already.
    Repeated,
    /// Its signature, or its time, is not as it has to be.
    Unverified,
    /// It is from the sender, and cannot be an event.
    Invalid,
}

impl HookOutcome {
    const ALL: [&'static str; 4] = ["accepted", "repeated", "unverified", "invalid"];

    const fn as_str(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

/// What became of one try to deliver an event to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookTry {
    /// The receiver has it.
    Delivered,
    /// The receiver does not have it, or did not say that it has.
    Failed,
    /// The receiver wants no more, ever.
    Gone,
}

impl WebhookTry {
    const ALL: [&'static str; 3] = ["delivered", "failed", "gone"];

    const fn as_str(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

pub(super) struct HookMetrics {
    deliveries: NamedOutcomes,
    tries: NamedOutcomes,
}

impl HookMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        let deliveries =
            ("hook_deliveries_total", "Requests to hooks that there are, by what became of them.");
        let tries = ("webhook_tries_total", "Tries to deliver events to webhooks, by what became of them.");
        Self {
            deliveries: NamedOutcomes::new(make, deliveries, "hook", &HookOutcome::ALL),
            tries: NamedOutcomes::new(make, tries, "webhook", &WebhookTry::ALL),
        }
    }
}

impl Metrics {
    /// This became of a delivery to a hook that there is.
    pub(crate) fn hook_delivery(&self, hook: &HookName, outcome: HookOutcome) {
        self.hooks.deliveries.count(hook.as_str(), outcome.as_str());
    }

    /// This became of a try to deliver an event.
    pub(crate) fn webhook_tried(&self, webhook: &WebhookName, outcome: WebhookTry) {
        self.hooks.tries.count(webhook.as_str(), outcome.as_str());
    }

    /// Which hooks there are. What is told of those that are gone ends.
    pub(crate) fn set_hooks<'a>(&self, hooks: impl Iterator<Item = &'a HookName>) {
        self.hooks.deliveries.set(hooks.map(HookName::as_str));
    }

    /// The same of webhooks.
    pub(crate) fn set_webhooks<'a>(&self, webhooks: impl Iterator<Item = &'a WebhookName>) {
        self.hooks.tries.set(webhooks.map(WebhookName::as_str));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::named_outcomes::NAME_LABELS_MAX;

    #[test]
    fn hooks_in_labels_are_bounded_and_those_that_go_make_room() {
        let metrics = Metrics::default();
        let named = |number: usize| format!("h{number}").parse::<HookName>().unwrap();
        let hooks: Vec<HookName> = (0..=NAME_LABELS_MAX).map(named).collect();
        metrics.set_hooks(hooks.iter());
        hooks.iter().for_each(|hook| metrics.hook_delivery(hook, HookOutcome::Accepted));
        let text = metrics.render();
        assert_eq!(text.matches("crewcall_hook_deliveries_total{").count(), 4 * (NAME_LABELS_MAX + 1));
        assert_eq!(text.matches("{hook=\"_other\",outcome=\"accepted\"} 1\n").count(), 1);
        assert!(text.contains("outcome=\"invalid\"} 0\n"));
        let others = hooks.iter().find(|hook| !text.contains(&format!("\"{hook}\""))).unwrap();
        metrics.set_hooks(hooks.iter().filter(|hook| **hook != hooks[0]));
        let text = metrics.render();
        assert!(!text.contains("hook=\"h0\"") && text.contains(&format!("hook=\"{others}\"")), "{text}");
    }

    #[test]
    fn tries_of_a_webhook_are_told_by_their_outcome() {
        let metrics = Metrics::default();
        let billing: WebhookName = "billing".parse().unwrap();
        metrics.set_webhooks([&billing].into_iter());
        metrics.webhook_tried(&billing, WebhookTry::Gone);
        let text = metrics.render();
        assert!(text.contains("crewcall_webhook_tries_total{outcome=\"gone\",webhook=\"billing\"} 1\n"));
        assert!(text.contains("crewcall_webhook_tries_total{outcome=\"failed\",webhook=\"billing\"} 0\n"));
    }
}
