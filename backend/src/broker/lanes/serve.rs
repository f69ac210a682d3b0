//! The way of an order: in its turn, to the shared link or apart, until the broker answers.

use std::pin::{Pin, pin};

use crewcall_amqp::{LinkState, Publication, PublishError, Published, Publisher};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Duration, Instant, sleep_until, timeout},
};

use super::{
    Lanes, STUCK_AFTER, TRIED_AFTER, UNCONFIRMED_PER_TYPE_MAX,
    lane::{Lane, Mode},
    parcel::Parcel,
};

/// How long an order is waited for before anybody looks at the link: nearly all are confirmed within milliseconds.
const USUAL_MAX: Duration = Duration::from_secs(1);

/// How long a trial may take; then it is given up with its channel, and made again on a new one.
const TRIAL_MAX: Duration = Duration::from_secs(60);

/// How long the broker may take to answer a question that costs it nothing.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What the broker says of an order.
type Answer = Result<Published, PublishError>;

/// How far an order got in its turn.
enum Sent<'a> {
    Answered(Answer),
    /// It is on its way on the shared link.
    Together {
        publication: Publication,
        place: OwnedSemaphorePermit,
    },
    /// It went alone, as the first of a session, and its queue is stuck.
    Alone {
        answer: BoxFuture<'a, Answer>,
        _place: OwnedSemaphorePermit,
    },
    /// It goes apart from the other types.
    Apart,
}

impl Lanes {
    /// Sends the orders of a lane in their order, and answers for each when it is over. Ends when none is left.
    pub(super) async fn serve(&self, lane: &Lane) {
        let mut open = FuturesUnordered::new();
        loop {
            let next =
                if open.len() < UNCONFIRMED_PER_TYPE_MAX { lane.next(self.with_bundles) } else { None };
            match next {
                Some(parcel) => {
                    let sent = {
                        let mut sending = pin!(self.send(lane, &parcel));
                        loop {
                            tokio::select! {
                                biased;
                                sent = &mut sending => break sent,
                                Some(()) = open.next() => {}
                            }
                        }
                    };
                    open.push(self.conclude(lane, parcel, sent));
                }
                None if open.is_empty() => {
                    if lane.rest() {
                        return;
                    }
                }
                None => {
                    tokio::select! {
                        Some(()) = open.next() => {}
                        () = lane.arrived.notified() => {}
                    }
                }
            }
        }
    }

    /// Sends orders whose turn has come. Their message is made only now: many may wait, and each would take its bytes.
    async fn send(&self, lane: &Lane, parcel: &Parcel) -> Sent<'_> {
        let mut mode = lane.mode.subscribe();
        let place = loop {
            if *mode.borrow_and_update() != Mode::Together {
                return Sent::Apart;
            }
            tokio::select! {
                biased;
                Ok(place) = lane.together.clone().acquire_owned() => break place,
                _ = mode.changed() => {}
            }
        };
        let message = match self.shared.message(parcel.orders()) {
            Ok(message) => message,
            Err(error) => return Sent::Answered(Err(error)),
        };
        if lane.is_proven(self.shared.link.session()) {
            return match self.shared.link.send(message).await {
                Ok(publication) => Sent::Together { publication, place },
                Err(error) => Sent::Answered(Err(error)),
            };
        }
        // The first of a session goes alone: its queue may have no leader, and then the channel waits for one. The others
        // wait for it.
        let mut answer: BoxFuture<'_, Answer> = Box::pin(self.trials.publish_alone(message, TRIAL_MAX));
        match self.answered_in_time(lane, &self.trials, answer.as_mut()).await {
            Some(answer) => {
                if answer.is_ok() {
                    lane.prove(self.shared.link.session());
                }
                Sent::Answered(answer)
            }
            None => {
                lane.part();
                Sent::Alone { answer, _place: place }
            }
        }
    }

    /// Waits until what was sent is over, whichever way it takes, and tells whoever enqueued it.
    async fn conclude(&self, lane: &Lane, parcel: Parcel, mut sent: Sent<'_>) {
        let answer = loop {
            match sent {
                Sent::Answered(answer) => break answer,
                Sent::Together { publication, place } => {
                    break self.answer_together(lane, &parcel, publication, place).await;
                }
                Sent::Alone { mut answer, _place } => {
                    let answer = tokio::select! {
                        biased;
                        answer = &mut answer => answer,
                        Some(answer) = self.publish_apart(lane, &parcel, STUCK_AFTER) => answer,
                    };
                    if answer.is_ok() {
                        lane.prove(self.shared.link.session());
                    }
                    break answer;
                }
                Sent::Apart => match self.publish_apart(lane, &parcel, Duration::ZERO).await {
                    Some(answer) => break answer,
                    None => sent = self.send(lane, &parcel).await,
                },
            }
        };
        self.judge(lane, answer.is_ok());
        let confirmed = self.shared.confirmed(parcel.orders(), answer).await;
        if confirmed.is_ok() {
            self.metrics.orders_sent_together(parcel.orders().len());
        }
        parcel.answer(&confirmed);
    }

    async fn answer_together(
        &self,
        lane: &Lane,
        parcel: &Parcel,
        mut publication: Publication,
        place: OwnedSemaphorePermit,
    ) -> Answer {
        if let Ok(answer) = timeout(USUAL_MAX, publication.answer()).await {
            return answer;
        }
        if let Some(answer) = self.answered_in_time(lane, &self.shared.link, pin!(publication.answer())).await
        {
            return answer;
        }
        lane.part();
        publication.release_place();
        tokio::select! {
            biased;
            answer = publication.answer() => answer,
            // What was sent may be confirmed with the others, so it gets a moment when they are.
            Some(answer) = self.publish_apart(lane, parcel, STUCK_AFTER) => {
                // On the shared link it is still open, and counts there until that is over.
                drop(self.tasks.errand("an order that is still open", async move {
                    let _ = publication.answer().await;
                    drop(place);
                }));
                answer
            }
        }
    }

    /// The broker's answer; `None` when the queue is stuck: the broker is there and reads from us, and still does not
    /// confirm.
    async fn answered_in_time(
        &self,
        lane: &Lane,
        link: &Publisher,
        mut answer: Pin<&mut (impl Future<Output = Answer> + ?Sized)>,
    ) -> Option<Answer> {
        let mut link = link.state();
        link.borrow_and_update();
        let mut deadline = Instant::now() + STUCK_AFTER;
        loop {
            tokio::select! {
                biased;
                answer = answer.as_mut() => return Some(answer),
                // Connected, blocked or lost: it had no fair chance before.
                Ok(()) = link.changed() => deadline = Instant::now() + STUCK_AFTER,
                () = sleep_until(deadline) => {
                    let connected = matches!(&*link.borrow(), LinkState::Connected { .. });
                    if connected && (lane.is_stuck() || self.broker_answers().await) {
                        return None;
                    }
                    deadline = Instant::now() + STUCK_AFTER;
                }
            }
        }
    }

    /// Whether the broker reads what the shared link sends.
    async fn broker_answers(&self) -> bool {
        matches!(timeout(ANSWER_MAX, self.shared.link.queue_depth(&self.unknown.queue)).await, Ok(Ok(_)))
    }

    /// Publishes alone: one order of a stuck queue at a time, and only after a rest; for a queue that confirms again, after
    /// `patience`. `None` when the type goes together with all others again.
    async fn publish_apart(&self, lane: &Lane, parcel: &Parcel, patience: Duration) -> Option<Answer> {
        let mut mode = lane.mode.subscribe();
        loop {
            let now = *mode.borrow_and_update();
            let (places, not_before) = match now {
                Mode::Together => return None,
                Mode::Stuck(since) => (UNCONFIRMED_PER_TYPE_MAX, since + TRIED_AFTER),
                Mode::Apart => (1, Instant::now() + patience),
            };
            let place = async {
                sleep_until(not_before).await;
                lane.apart.acquire_many(u32::try_from(places).unwrap_or(1)).await
            };
            tokio::select! {
                biased;
                _ = mode.changed() => {}
                _place = place => {
                    let answer = tokio::select! {
                        biased;
                        () = lane.replaced.notified() => continue,
                        answer = async { self.trials.publish_alone(self.shared.message(parcel.orders())?, TRIAL_MAX).await } => answer,
                    };
                    if matches!(answer, Err(PublishError::Unknown(_))) {
                        lane.part();
                    }
                    return Some(answer);
                }
            }
        }
    }

    /// A queue that confirms is not stuck. It goes together with the others again when nothing is open from before.
    fn judge(&self, lane: &Lane, confirmed: bool) {
        if !confirmed || *lane.mode.borrow() == Mode::Together {
            return;
        }
        let settled = lane.together.available_permits() == UNCONFIRMED_PER_TYPE_MAX;
        let before = lane.mode.send_replace(if settled { Mode::Together } else { Mode::Apart });
        if matches!(before, Mode::Stuck(_)) {
            lane.replacement_is_over();
            tracing::info!(queue = lane.queue, "A queue confirms again.");
            self.recovered.send_modify(|count| *count += 1);
        }
    }
}
