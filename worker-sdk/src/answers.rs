//! Answers that travel together: those to orders that came in bundles, so that a message for each does not limit the broker.
//!
//! An answer goes out at once when none of its kind and type is under way. Those that come meanwhile wait for its confirm, and
//! go out as one message then; no clock is in it. So an idle worker answers as fast as ever, and a busy one in few messages.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crewcall_amqp::{OutboundMessage, PublishError};
use crewcall_proto::{MessageKind, bundle};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use crate::{
    limits::{ANSWERING_MAX, ANSWERS_BYTES_MAX, ANSWERS_UNDER_WAY_MAX},
    response_publisher::ResponsePublisher,
};

/// Collects answers and publishes them.
pub(crate) struct Answers {
    responses: Arc<ResponsePublisher>,
    tasks: TaskTracker,
    /// By routing key, which is a kind and a type.
    lanes: Mutex<HashMap<String, Lane<Answer>>>,
    /// How many attempts only wait for the confirm of their answers.
    answering: AtomicUsize,
    slot_left: Notify,
}

/// An attempt has left its slot, and only waits for the confirm of its answer, until this is dropped.
pub(crate) struct SlotLeft(Arc<Answers>);

impl Drop for SlotLeft {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer, and who waits for its confirm.
struct Answer {
    message: OutboundMessage,
    confirmed: oneshot::Sender<Result<OutboundMessage, PublishError>>,
}

impl Answers {
    /// Publishing goes on in `tasks`, also when nobody waits for it any more.
    pub(crate) fn new(responses: Arc<ResponsePublisher>, tasks: TaskTracker) -> Self {
        let (lanes, answering, slot_left) = (Mutex::default(), AtomicUsize::new(0), Notify::new());
        Self { responses, tasks, lanes, answering, slot_left }
    }

    /// The handler of an attempt is done. Its answer waits for others to travel with, so the next order need not wait for it:
    /// otherwise no more answers than there are slots would ever go together.
    pub(crate) fn leave_slot(self: &Arc<Self>) -> SlotLeft {
        self.answering.fetch_add(1, Ordering::Relaxed);
        self.slot_left.notify_one();
        SlotLeft(Arc::clone(self))
    }

    /// Waits until a slot is left.
    pub(crate) async fn slot_left(&self) {
        self.slot_left.notified().await;
    }

    /// How many attempts that are here need no slot any more.
    pub(crate) fn slots_left(&self) -> usize {
        self.answering.load(Ordering::Relaxed).min(ANSWERING_MAX)
    }

    /// Publishes an answer, alone or with others, until the broker has it; returns it then.
    ///
    /// # Errors
    ///
    /// As for [`ResponsePublisher::deliver`].
    pub(crate) async fn deliver(
        self: &Arc<Self>,
        message: OutboundMessage,
    ) -> Result<OutboundMessage, PublishError> {
        // Such as that of a trace, which is of one attempt.
        if !message.properties.headers.is_empty() {
            return self.responses.deliver(&message).await.map(|()| message);
        }
        let (confirmed, confirm) = oneshot::channel();
        let due = {
            let mut lanes = self.lanes();
            let lane = match lanes.get_mut(&message.routing_key) {
                Some(lane) => lane,
                None => lanes.entry(message.routing_key.clone()).or_default(),
            };
            let bytes = message.body.len();
            lane.add(Answer { message, confirmed }, bytes)
        };
        if let Some(answers) = due {
            self.tasks.spawn(Arc::clone(self).publish(answers));
        }
        // Whoever publishes is gone only when the worker is.
        confirm.await.unwrap_or(Err(PublishError::Stopped))
    }

    /// Publishes answers, and after them what has come meanwhile, until there is nothing more.
    async fn publish(self: Arc<Self>, mut answers: Vec<Answer>) {
        loop {
            let published = self.publish_together(&answers).await;
            let next = answers
                .first()
                .and_then(|answer| self.lanes().get_mut(&answer.message.routing_key)?.confirm());
            for Answer { message, confirmed } in answers {
                // An attempt that was aborted does not wait for it.
                let _ = confirmed.send(published.clone().map(|()| message));
            }
            match next {
                Some(next) => answers = next,
                None => return,
            }
        }
    }

    async fn publish_together(&self, answers: &[Answer]) -> Result<(), PublishError> {
        if let [answer] = answers {
            return self.responses.deliver(&answer.message).await;
        }
        let messages: Vec<&OutboundMessage> = answers.iter().map(|answer| &answer.message).collect();
        let kind = messages.first().and_then(|first| first.properties.message_type.as_deref());
        let kind = kind.and_then(MessageKind::from_word).unwrap_or(MessageKind::Completed);
        match self.responses.bundle(kind, &messages) {
            Ok(bundle) => self.responses.deliver(&bundle).await,
            Err(error) => {
                tracing::error!(message.kind = %kind, %error, "Responses cannot travel together; each goes alone.");
                for message in messages {
                    self.responses.deliver(message).await?;
                }
                Ok(())
            }
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Lane<Answer>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answers of one kind and type: which go together, and when. Pure.
struct Lane<A> {
    /// What waits, with its size.
    waiting: VecDeque<(A, usize)>,
    /// The sum of the sizes.
    bytes: usize,
    /// How many messages are not confirmed.
    under_way: usize,
}

impl<A> Default for Lane<A> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, under_way: 0 }
    }
}

impl<A> Lane<A> {
    /// Takes an answer in. Returns what is to be published now, if anything is: then call [`confirm`](Self::confirm) once it
    /// is confirmed.
    fn add(&mut self, answer: A, bytes: usize) -> Option<Vec<A>> {
        self.waiting.push_back((answer, bytes));
        self.bytes += bytes;
        self.next()
    }

    /// A message is confirmed. Returns what is to be published next.
    fn confirm(&mut self) -> Option<Vec<A>> {
        self.under_way -= 1;
        self.next()
    }

    fn next(&mut self) -> Option<Vec<A>> {
        let is_full = self.waiting.len() >= bundle::MESSAGES_MAX || self.bytes >= ANSWERS_BYTES_MAX;
        let is_due = match self.under_way {
            0 => !self.waiting.is_empty(),
            under_way => is_full && under_way < ANSWERS_UNDER_WAY_MAX,
        };
        if !is_due {
            return None;
        }
        self.under_way += 1;
        let (mut taken, mut bytes) = (Vec::with_capacity(self.waiting.len().min(bundle::MESSAGES_MAX)), 0);
        while let Some((_, size)) = self.waiting.front()
            && taken.len() < bundle::MESSAGES_MAX
            && (taken.is_empty() || bytes + size <= ANSWERS_BYTES_MAX)
        {
            bytes += size;
            taken.extend(self.waiting.pop_front().map(|(answer, _)| answer));
        }
        self.bytes -= bytes;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = bundle::MESSAGES_MAX;

    /// Adds so many small answers; returns how many go out with each message.
    fn add(lane: &mut Lane<usize>, answers: usize) -> Vec<usize> {
        (0..answers).filter_map(|answer| lane.add(answer, 100)).map(|sent| sent.len()).collect()
    }

    #[test]
    fn an_answer_goes_out_at_once_and_what_comes_meanwhile_together_after_its_confirm() {
        let mut lane = Lane::default();
        assert_eq!(lane.add("a", 1), Some(vec!["a"]));
        assert_eq!(lane.add("b", 1), None);
        assert_eq!(lane.add("c", 1), None);
        assert_eq!(lane.confirm(), Some(vec!["b", "c"]));
        assert_eq!(lane.add("d", 1), None);
        assert_eq!(lane.confirm(), Some(vec!["d"]));
        assert_eq!(lane.confirm(), None);
        assert_eq!(lane.add("e", 1), Some(vec!["e"]), "none is under way any more");
    }

    #[test]
    fn full_ones_do_not_wait_but_no_more_than_a_few_are_under_way() {
        let mut lane = Lane::default();
        assert_eq!(add(&mut lane, 1 + 5 * MAX), [1, MAX, MAX, MAX]);
        assert_eq!(lane.confirm().unwrap().len(), MAX);
        assert_eq!(lane.confirm().unwrap().len(), MAX);
        assert_eq!(add(&mut lane, 3), [0; 0], "it is not full");
        let rest: Vec<_> = (0..ANSWERS_UNDER_WAY_MAX).map(|_| lane.confirm()).collect();
        assert_eq!(rest, [None, None, None, Some(vec![0, 1, 2])]);
    }

    #[test]
    fn answers_keep_their_order_and_none_is_lost_or_sent_twice() {
        let (mut lane, mut sent, mut under_way, mut random) = (Lane::default(), Vec::new(), 0_usize, 1_u64);
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for answer in 0..20_000 {
            let bytes = usize::try_from(next(40_000)).unwrap();
            let mut due = vec![lane.add((answer, bytes), bytes)];
            while under_way > 0 && next(8) == 0 {
                under_way -= 1;
                due.push(lane.confirm());
            }
            for answers in due.into_iter().flatten() {
                let size: usize = answers.iter().map(|(_, bytes)| bytes).sum();
                assert!(size <= ANSWERS_BYTES_MAX && answers.len() <= MAX);
                sent.extend(answers.into_iter().map(|(answer, _)| answer));
                under_way += 1;
            }
            assert!(under_way <= ANSWERS_UNDER_WAY_MAX);
        }
        while under_way > 0 {
            under_way -= 1;
            let answers = lane.confirm().into_iter().flatten().map(|(answer, _)| answer);
            let before = sent.len();
            sent.extend(answers);
            under_way += usize::from(sent.len() > before);
        }
        assert!(sent.into_iter().eq(0..20_000));
    }

    #[test]
    fn a_large_answer_goes_alone() {
        let mut lane = Lane::default();
        lane.add("small", 1);
        assert_eq!(lane.add("little", 10), None);
        assert_eq!(lane.add("large", 2 * ANSWERS_BYTES_MAX), Some(vec!["little"]), "it is as good as full");
        assert_eq!(lane.confirm(), Some(vec!["large"]));
        assert_eq!((lane.bytes, lane.confirm(), lane.confirm()), (0, None, None));
    }
}
