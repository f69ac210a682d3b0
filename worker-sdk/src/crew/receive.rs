//! What comes in: instructions, orders, and the ends of attempts.

use std::sync::Arc;

use crewcall_amqp::{AckError, Delivery};
use crewcall_proto::{
    AttemptId, ContentType, DecodeError, JobType, Order, PROTOCOL_VERSION, codec,
    control::{Control, RefusedType},
    response::ErrorKind,
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Crew;
use crate::{
    attempt::{AttemptEnd, AttemptRun, Conclusion, Execution, Hold, HoldSignal, response, subject},
    context::{JobContext, StopCause},
    error::Failure,
    handler::ServedType,
    limits::{ASK_GATHER, ASK_PATIENCE},
    mutant::mutant,
    orders::{Admission, Begun, Cancellation, Deliveries, Leftovers, OrderKey, WaitingOrder},
    outbox::TRACEPARENT,
    progress::ProgressBoard,
    session::is_control_queue,
    worker::WorkerError,
};

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settlement {
    /// Done with: the broker forgets it.
    Acknowledge,
    /// Back to its queue, for another delivery.
    GiveBack,
    /// To the dead letters, where the backend concludes it.
    SetAside,
}

impl Crew {
    pub(super) fn received(&mut self, delivery: Delivery) {
        if is_control_queue(&self.outbox.topology, &self.outbox.worker_id, &delivery.queue) {
            self.instructed(&delivery);
            self.settle(vec![delivery], Settlement::Acknowledge);
        } else {
            self.ordered(delivery);
        }
    }

    fn instructed(&mut self, delivery: &Delivery) {
        let control = match decoded::<Control>(delivery) {
            Ok(control) => control,
            Err(error) => return self.count_malformed(delivery, &error),
        };
        match control {
            Control::Welcome { types, refused, revoked } => {
                revoked.into_iter().for_each(|attempt| self.revoked(attempt));
                tell_refused(&types, &refused);
                self.welcomed(types);
            }
            Control::Refused { reason } => {
                tracing::error!(
                    reason,
                    "The backend does not take the announcement as it was sent: change the worker"
                );
            }
            Control::Cancel { .. } if mutant("cancel_ignored") => {}
            Control::Cancel { job_id, attempt } => match self.orders.cancel(job_id, attempt) {
                Cancellation::Told | Cancellation::Unknown => {}
                Cancellation::NotBegun(waiting) => {
                    let cause = StopCause::Cancelled;
                    let failure =
                        Failure::new(cause.kind(), cause.is_retryable(), "the job was cancelled".to_owned());
                    self.answer_without_running(*waiting, failure);
                }
            },
            Control::Revoke { job_id, attempt } => self.revoked(AttemptId { job_id, attempt }),
            Control::Proceed { orders } => self.orders.proceed(&orders),
            Control::Drain => self.pause(true),
            Control::Resume => self.pause(false),
            Control::Announce => self.announce(),
            Control::Unknown => {
                tracing::debug!("An instruction of a kind that this version does not know is ignored");
            }
        }
    }

    fn welcomed(&mut self, types: Vec<JobType>) {
        self.awaits_welcome = false;
        let known = self.welcomed.len();
        self.welcomed.extend(types.into_iter().filter(|job_type| self.worker.served(job_type).is_some()));
        self.session.want_again();
        if self.welcomed.len() > known {
            tracing::info!(
                worker.id = %self.outbox.worker_id,
                types = self.welcomed.iter().map(JobType::as_str).collect::<Vec<_>>().join(" "),
                "The backend has made the queues: the worker takes orders"
            );
        }
    }

    fn revoked(&mut self, AttemptId { job_id, attempt }: AttemptId) {
        let deliveries = self.orders.revoke(job_id, attempt);
        self.settle(deliveries, Settlement::Acknowledge);
    }

    fn pause(&mut self, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            let takes = if paused { "no more orders until it is told to resume" } else { "orders again" };
            tracing::info!(worker.id = %self.outbox.worker_id, "The worker was told to take {takes}");
            self.heartbeat_due(); // whoever told it sees that it heard
        }
    }

    pub(super) fn ordered(&mut self, delivery: Delivery) {
        let order = match decoded::<Order>(&delivery) {
            Ok(order) => order,
            Err(error) => {
                self.count_malformed(&delivery, &error);
                return self.settle(vec![delivery], Settlement::SetAside);
            }
        };
        let traceparent = delivery.properties.header_text(TRACEPARENT).map(str::to_owned);
        let returns = delivery.properties.delivery_count();
        let redelivered = delivery.redelivered || returns > 0;
        let refusal = self.refusal(&order);
        let deliveries = Deliveries::one(delivery);
        let now = Instant::now();
        let asks_until = redelivered.then(|| now + ASK_PATIENCE);
        let waiting = WaitingOrder { order, redelivered, returns, traceparent, asks_until, deliveries };
        if let Some(failure) = refusal {
            return self.answer_without_running(waiting, failure);
        }
        if redelivered {
            self.ask_at.get_or_insert(now + ASK_GATHER);
        }
        match self.orders.admit(waiting) {
            Admission::Taken => {}
            Admission::Forget(deliveries) => self.settle(deliveries, Settlement::Acknowledge),
            Admission::AnswerAgain(answer, deliveries) => {
                let outbox = Arc::clone(&self.outbox);
                self.tasks.spawn(async move {
                    if outbox.deliver(&answer).await.is_ok() {
                        settle(deliveries, Settlement::Acknowledge).await;
                    }
                });
            }
        }
    }

    /// Why an order cannot be taken at all, if it cannot.
    fn refusal(&self, order: &Order) -> Option<Failure> {
        let refuse = |message| Some(Failure::new(ErrorKind::Malformed, false, message));
        if order.protocol > PROTOCOL_VERSION {
            return refuse(format!(
                "the order speaks protocol {}, the worker {PROTOCOL_VERSION}: update the worker",
                order.protocol
            ));
        }
        if self.worker.served(&order.job_type).is_none() {
            return refuse(format!(
                "the order is of type {}, which the worker that it was sent to does not serve",
                order.job_type
            ));
        }
        None
    }

    /// Answers an order whose handler never ran.
    fn answer_without_running(&self, waiting: WaitingOrder<Delivery>, failure: Failure) {
        let WaitingOrder { order, redelivered, traceparent, deliveries, .. } = waiting;
        tracing::warn!(
            job.id = %order.job_id,
            job.r#type = %order.job_type,
            attempt = order.attempt.get(),
            error = %failure,
            "The attempt was not begun"
        );
        let subject = subject(&order, traceparent.as_deref());
        let outbox = Arc::clone(&self.outbox);
        let answer = response(&outbox, &order, &subject, &Execution::not_begun(redelivered), Err(failure));
        self.tasks.spawn(async move {
            let settlement = match answer {
                Ok(answer) if outbox.deliver(&answer).await.is_ok() => Settlement::Acknowledge,
                Ok(_) => Settlement::GiveBack,
                Err(_) => Settlement::SetAside,
            };
            settle(deliveries.into_vec(), settlement).await;
        });
    }

    /// Begins with waiting orders, as many as there are free slots.
    pub(super) fn begin_orders(&mut self) {
        if !self.takes_orders() {
            return;
        }
        let now = Instant::now();
        while let Some(waiting) =
            self.orders.next_to_begin(now, |job_type| self.rests.is_resting(job_type, now))
        {
            match self.worker.served(&waiting.order.job_type).cloned() {
                Some(served) => self.begin(served, waiting),
                None => unreachable!("an order of a type that is not served was refused when it came"),
            }
        }
    }

    fn begin(&mut self, served: ServedType, waiting: WaitingOrder<Delivery>) {
        let WaitingOrder { order, redelivered, returns, traceparent, mut deliveries, .. } = waiting;
        if mutant("order_acked_early") {
            self.settle(deliveries.take(), Settlement::Acknowledge);
        }
        let (board, news) = ProgressBoard::new(None);
        let job = JobContext::new(&order, board);
        let (after, done) = (self.worker.settings.hold_after, self.held_sender.clone());
        let (execution, signal) = (Execution::beginning(redelivered), Arc::<HoldSignal>::default());
        let begun = Begun { execution, returns, hold: Arc::clone(&signal) };
        self.orders.began(OrderKey::of(&order), job.clone(), begun, deliveries);
        tracing::debug!(
            job.id = %order.job_id,
            job.r#type = %order.job_type,
            attempt = order.attempt.get(),
            redelivered,
            "The attempt begins"
        );
        let (outbox, handlers) = (Arc::clone(&self.outbox), self.handlers.clone());
        let hold = Hold { after, signal, done };
        let attempt = AttemptRun {
            served,
            order,
            job,
            news,
            redelivered,
            traceparent,
            outbox,
            handlers,
            hold,
            execution,
        };
        self.attempts.spawn(attempt.run());
    }

    pub(super) fn attempt_ended(&mut self, ended: AttemptEnd) {
        let Leftovers { deliveries, took, lingers } = self.orders.ended(&ended.key);
        self.door.ended(took, usize::try_from(self.worker.slots).unwrap_or(usize::MAX));
        if let Some(gone) = lingers {
            tracing::warn!(
                job.r#type = %ended.job_type,
                lingering = self.orders.lingering(),
                "A handler goes on although its attempt was stopped: its slot stays taken until it ends"
            );
            self.lingering.spawn(gone.cancelled_owned());
        }
        match ended.conclusion {
            Conclusion::Reported { answer, completed } => {
                if completed {
                    self.rests.end(&ended.job_type);
                }
                self.orders.answered(ended.key, *answer);
                self.settle(deliveries, Settlement::Acknowledge);
            }
            // Not now: while the type is consumed, the broker would return them to this very worker.
            Conclusion::GiveBack => {
                self.orders.give_back_later(&ended.job_type, deliveries);
                if ended.leave.is_none() {
                    let pause = self.rests.begin(&ended.job_type, Instant::now());
                    tracing::info!(
                        job.r#type = %ended.job_type,
                        pause_seconds = pause.as_secs(),
                        "The handler gave its order back: the type rests here, so that another worker gets it"
                    );
                }
            }
            Conclusion::SetAside => self.settle(deliveries, Settlement::SetAside),
        }
        if let Some(failure) = ended.leave {
            let message = failure.to_string();
            self.leave(Err(WorkerError::HandlerFailed { job_type: ended.job_type, message }));
        }
    }

    /// The backend knows that an attempt is held here.
    pub(super) fn on_held(&mut self, key: &OrderKey) {
        if self.orders.hold(key) {
            tracing::info!(
                job.id = %key.job_id(),
                attempt = key.attempt().get(),
                "The attempt is held: heartbeats keep it from now on"
            );
        }
    }

    /// Settles deliveries in the background: a broker that is slow to take it holds up nothing.
    pub(super) fn settle(&self, deliveries: Vec<Delivery>, settlement: Settlement) {
        if !deliveries.is_empty() {
            self.tasks.spawn(settle(deliveries, settlement));
        }
    }

    fn count_malformed(&mut self, delivery: &Delivery, error: &DecodeError) {
        self.malformed += 1;
        tracing::warn!(
            queue = &*delivery.queue,
            message.id = delivery.properties.message_id.as_deref().unwrap_or_default(),
            code = error.code(),
            %error,
            malformed = self.malformed,
            "A message cannot be read and is put aside"
        );
    }
}

/// The worker goes on without, so whoever runs it has to read of it.
fn tell_refused(types: &[JobType], refused: &[RefusedType]) {
    for RefusedType { job_type, reason } in refused {
        if types.contains(job_type) {
            tracing::error!(job.r#type = %job_type, reason, "The backend serves a type, but not as it was announced");
        } else {
            tracing::error!(job.r#type = %job_type, reason, "The backend refuses a type: this worker gets no jobs of it");
        }
    }
}

pub(super) async fn settle(deliveries: Vec<Delivery>, settlement: Settlement) {
    for delivery in deliveries {
        let settled = match settlement {
            Settlement::Acknowledge => delivery.ack().await,
            Settlement::GiveBack => delivery.nack(true).await,
            Settlement::SetAside => delivery.nack(false).await,
        };
        match settled {
            Ok(()) => {}
            // It comes again, and is answered from memory then.
            Err(AckError::SessionGone) => {
                tracing::debug!(queue = &*delivery.queue, "The session ended before a delivery was settled");
            }
        }
    }
}

fn decoded<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, DecodeError> {
    let content_type = match delivery.properties.content_type.as_deref() {
        Some(content_type) => content_type.parse()?,
        None => ContentType::default(),
    };
    codec::decode(content_type, &delivery.body)
}
