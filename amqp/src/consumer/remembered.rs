//! What was subscribed and unsubscribed since the start, for the sessions to come.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Subscription;

/// Changes to the plan, by queue: `Some` is (re)subscribed in every later session, `None` is left out.
#[derive(Default)]
pub(super) struct Remembered(Mutex<BTreeMap<String, Option<Subscription>>>);

impl Remembered {
    pub(super) fn added(&self, subscription: Subscription) {
        self.lock().insert(subscription.queue.clone(), Some(subscription));
    }

    pub(super) fn removed(&self, queue: &str) {
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
        let remembered = Remembered::default();
        let planned = vec![subscription("control", 10), subscription("a", 5)];
        remembered.added(subscription("a", 1));
        remembered.added(subscription("b", 2));
        assert_eq!(
            remembered.apply(planned.clone()),
            [subscription("control", 10), subscription("a", 1), subscription("b", 2)]
        );
        remembered.removed("a");
        assert_eq!(remembered.apply(planned.clone()), [subscription("control", 10), subscription("b", 2)]);
        remembered.forget();
        assert_eq!(remembered.apply(planned.clone()), planned);
    }
}
