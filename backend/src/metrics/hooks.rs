//! What comes in at hooks.

use dashmap::DashSet;
use prometheus::IntCounterVec;

use super::{Metrics, registrar::Registrar};
use crate::domain::HookName;

/// How many hooks get labels of their own; the rest share [`OTHERS`]. Each costs four time series.
const HOOK_LABELS_MAX: usize = 200;

/// The label of those beyond [`HOOK_LABELS_MAX`]. No hook has this name.
const OTHERS: &str = "_other";

/// What became of a delivery.
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
    const ALL: [Self; 4] = [Self::Accepted, Self::Repeated, Self::Unverified, Self::Invalid];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Unverified => "unverified",
            Self::Invalid => "invalid",
        }
    }
}

pub(super) struct HookMetrics {
    own: DashSet<HookName>,
    deliveries: IntCounterVec,
}

impl HookMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        Self {
            own: DashSet::new(),
            deliveries: make.counters(
                "hook_deliveries_total",
                "Requests to hooks that there are, by what became of them.",
                &["hook", "outcome"],
            ),
        }
    }

    /// The hook's label.
    fn label<'a>(&self, name: &'a HookName) -> &'a str {
        let is_own =
            self.own.contains(name) || (self.own.len() < HOOK_LABELS_MAX && self.own.insert(name.clone()));
        if is_own { name.as_str() } else { OTHERS }
    }
}

impl Metrics {
    /// This became of a delivery to a hook that there is.
    pub(crate) fn hook_delivery(&self, hook: &HookName, outcome: HookOutcome) {
        let label = self.hooks.label(hook);
        self.hooks.deliveries.with_label_values(&[label, outcome.as_str()]).inc();
    }

    /// Which hooks there are. What is told of those that are gone ends.
    pub(crate) fn set_hooks(&self, hooks: &[HookName]) {
        let metrics = &self.hooks;
        metrics.own.retain(|name| {
            let stays = hooks.contains(name);
            if !stays {
                for outcome in HookOutcome::ALL {
                    // An error means that there was nothing.
                    let _ = metrics.deliveries.remove_label_values(&[name.as_str(), outcome.as_str()]);
                }
            }
            stays
        });
        for name in hooks {
            let label = metrics.label(name);
            // The series of a known hook begin at zero.
            for outcome in HookOutcome::ALL {
                metrics.deliveries.with_label_values(&[label, outcome.as_str()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_in_labels_are_bounded_and_those_that_go_make_room() {
        let metrics = Metrics::default();
        let named = |number: usize| format!("h{number}").parse::<HookName>().unwrap();
        let hooks: Vec<HookName> = (0..=HOOK_LABELS_MAX).map(named).collect();
        metrics.set_hooks(&hooks);
        hooks.iter().for_each(|hook| metrics.hook_delivery(hook, HookOutcome::Accepted));
        let text = metrics.render();
        assert_eq!(text.matches("crewcall_hook_deliveries_total{").count(), 4 * (HOOK_LABELS_MAX + 1));
        assert!(text.contains("crewcall_hook_deliveries_total{hook=\"_other\",outcome=\"accepted\"} 1\n"));
        assert!(text.contains("crewcall_hook_deliveries_total{hook=\"h0\",outcome=\"invalid\"} 0\n"));
        metrics.set_hooks(&hooks[1..]);
        let text = metrics.render();
        assert!(!text.contains("hook=\"h0\"") && text.contains("hook=\"h200\""), "{text}");
    }
}
