//! What was subscribed and unsubscribed since the start, for the sessions to come.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Subscription;

/// Changes to the plan, by queue: `Some` is (re)subscribed in every later session, `None` is left out.
#[derive(Default)]
pub(super) struct SubscriptionOverrides(Mutex<BTreeMap<String, Option<Subscription>>>);

impl SubscriptionOverrides {
    pub(super) fn consume(&self, subscription: Subscription) {
        self.lock().insert(subscription.queue.clone(), Some(subscription));
    }

    pub(super) fn leave_out(&self, queue: &str) {
        self.lock().insert(queue.to_owned(), None);
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// The plan's subscriptions with the changes applied.
    pub(super) fn apply(&self, planned: Vec<Subscription>) -> Vec<Subscription> {
        let changes = self.lock();
        let kept = planned.into_iter().filter(|subscription| !changes.contains_key(&subscription.queue));
        kept.chain(changes.values().flatten().cloned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Subscription>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(queue: &str, prefetch: u16) -> Subscription {
        Subscription { queue: queue.to_owned(), prefetch, tag: "t".to_owned(), exclusive: false }
    }

    #[test]
    fn changes_outlive_the_session_until_they_are_forgotten() {
        let overrides = SubscriptionOverrides::default();
        let planned = vec![subscription("control", 10), subscription("a", 5)];
        overrides.consume(subscription("a", 1));
        overrides.consume(subscription("b", 2));
        assert_eq!(
            overrides.apply(planned.clone()),
            [subscription("control", 10), subscription("a", 1), subscription("b", 2)]
        );
        overrides.leave_out("a");
        assert_eq!(overrides.apply(planned.clone()), [subscription("control", 10), subscription("b", 2)]);
        overrides.forget();
        assert_eq!(overrides.apply(planned.clone()), planned);
    }
}
