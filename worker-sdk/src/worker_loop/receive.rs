//! What comes in: instructions, orders, and the ends of attempts.

use std::sync::Arc;

use crewcall_amqp::{AckError, Delivery};
use crewcall_proto::{
    AttemptId, ContentType, DecodeError, JobType, MessageKind, Order, PROTOCOL_VERSION, TRACEPARENT,
    TraceParent, bundle, codec,
    control::{Control, FEATURE_EVENTS, RefusedType},
    response::{ErrorKind, Origin},
};
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::WorkerLoop;
use crate::{
    attempt::{AttemptEnd, AttemptRun, Conclusion, reference, response},
    context::JobContext,
    emitter::Emitter,
    error::Failure,
    event_publisher::AttemptEvents,
    execution::Execution,
    handler::ServedType,
    hold::{Hold, HoldSignal},
    in_flight_orders::{Admission, Begun, Cancellation, EndedOrder},
    limits::{ASK_GATHER, ASK_PATIENCE},
    mutant::mutant,
    order_delivery::{OrderDelivery, Settlement},
    order_key::OrderKey,
    progress::ProgressBoard,
    response_publisher::{JobReference, ResponsePublisher},
    session::is_control_queue,
    stop_cause::StopCause,
    traces::AttemptSpan,
    waiting_orders::{Deliveries, WaitingOrder},
    worker_error::WorkerError,
};

impl WorkerLoop {
    pub(super) fn on_delivery(&mut self, delivery: Delivery) {
        if is_control_queue(&self.responses.topology, &self.responses.worker_id, &delivery.queue) {
            self.on_control(&delivery);
            self.settle(vec![OrderDelivery::Alone(delivery)], Settlement::Acknowledge);
        } else {
            self.on_order(delivery);
        }
    }

    fn on_control(&mut self, delivery: &Delivery) {
        let control = match decode::<Control>(delivery) {
            Ok(control) => control,
            Err(error) => return self.count_malformed(delivery, &error),
        };
        match control {
            Control::Welcome { types, refused, revoked, features } => {
                revoked.into_iter().for_each(|attempt| self.revoke(attempt));
                log_refused(&types, &refused);
                self.follow_features(&features);
                self.on_welcome(types);
            }
            Control::Refused { reason } => {
                tracing::error!(
                    reason,
                    "The backend does not take the announcement as it was sent: change the worker."
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
            Control::Revoke { job_id, attempt } => self.revoke(AttemptId { job_id, attempt }),
            Control::Proceed { orders } => self.orders.proceed(&orders),
            Control::Drain => self.set_drained(true),
            Control::Resume => self.set_drained(false),
            Control::Announce => self.announce(),
            Control::Unknown => {
                tracing::debug!("An instruction of a kind that this version does not know is ignored.");
            }
        }
    }

    fn on_welcome(&mut self, types: Vec<JobType>) {
        self.awaits_welcome = false;
        let known = self.welcomed.len();
        self.welcomed.extend(types.into_iter().filter(|job_type| self.worker.served(job_type).is_some()));
        self.session.want_again();
        if self.welcomed.len() > known {
            tracing::info!(
                worker.id = %self.responses.worker_id,
                types = self.welcomed.iter().map(JobType::as_str).collect::<Vec<_>>().join(" "),
                "The backend has made the queues: the worker takes orders."
            );
        }
    }

    /// What the backend can do. Another one, older or newer, may have taken over.
    fn follow_features(&self, features: &[String]) {
        let events_taken = features.iter().any(|feature| feature == FEATURE_EVENTS);
        let were_taken = self.events.taken.send_replace(events_taken);
        let emits = self.worker.types.iter().any(|served| !served.emits.is_empty());
        // Once for each announcement: a backend may welcome again and again.
        if emits && !events_taken && (were_taken || self.awaits_welcome) {
            tracing::warn!(
                worker.id = %self.responses.worker_id,
                "The backend is older than events of workers: what handlers emit fails until it is updated."
            );
        }
    }

    fn revoke(&mut self, AttemptId { job_id, attempt }: AttemptId) {
        let deliveries = self.orders.revoke(job_id, attempt);
        self.settle(deliveries, Settlement::Acknowledge);
    }

    fn set_drained(&mut self, drained: bool) {
        if self.drained_by_operator != drained {
            self.drained_by_operator = drained;
            let worker_id = &self.responses.worker_id;
            if drained {
                tracing::info!(worker.id = %worker_id, "The worker was told to take no more orders until it is told to resume.");
            } else {
                tracing::info!(worker.id = %worker_id, "The worker was told to take orders again.");
            }
            self.on_heartbeat_due(); // whoever told it sees that it heard
        }
    }

    /// An order came, or several in one message.
    pub(super) fn on_order(&mut self, delivery: Delivery) {
        let message_type = delivery.properties.message_type.as_deref();
        if message_type.is_some_and(|word| bundle::is_bundle_of(MessageKind::Order, word)) {
            return self.on_bundle(delivery);
        }
        let order = match decode::<Order>(&delivery) {
            Ok(order) => order,
            Err(error) => {
                self.count_malformed(&delivery, &error);
                return self.settle(vec![OrderDelivery::Alone(delivery)], Settlement::Reject);
            }
        };
        let traceparent = delivery.properties.header_text(TRACEPARENT).and_then(|it| it.parse().ok());
        let returns = delivery.properties.delivery_count();
        let redelivered = delivery.redelivered || returns > 0;
        let deliveries = Deliveries::one(OrderDelivery::Alone(delivery));
        let asks_until = redelivered.then(|| Instant::now() + ASK_PATIENCE);
        self.take_in(WaitingOrder {
            order,
            redelivered,
            returns,
            traceparent,
            asks_until,
            patient_until: None,
            deliveries,
        });
    }

    pub(super) fn take_in(&mut self, arrived: WaitingOrder<OrderDelivery<Delivery>>) {
        if let Some(failure) = self.refusal(&arrived.order) {
            return self.answer_without_running(arrived, failure);
        }
        if arrived.asks() {
            self.ask_at.get_or_insert(Instant::now() + ASK_GATHER);
        }
        match self.orders.admit(arrived) {
            Admission::Taken => {}
            Admission::Forget(deliveries) => self.settle(deliveries, Settlement::Acknowledge),
            Admission::SendAnew(deliveries) => self.settle(deliveries, Settlement::GiveBack),
            Admission::AnswerAgain(answer, deliveries) => {
                let responses = Arc::clone(&self.responses);
                self.tasks.spawn(async move {
                    if responses.deliver(&answer).await.is_ok() {
                        settle(&responses, deliveries, Settlement::Acknowledge).await;
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
    fn answer_without_running(&self, waiting: WaitingOrder<OrderDelivery<Delivery>>, failure: Failure) {
        let WaitingOrder { order, redelivered, traceparent, deliveries, .. } = waiting;
        tracing::warn!(
            job.id = %order.job_id,
            job.r#type = %order.job_type,
            attempt = order.attempt.get(),
            error = %failure,
            "The attempt was not begun."
        );
        let reference = reference(&order, traceparent.as_ref());
        let responses = Arc::clone(&self.responses);
        let answer =
            response(&responses, &order, &reference, &Execution::not_begun(redelivered), Err(failure));
        self.tasks.spawn(async move {
            let settlement = match answer {
                Ok(answer) if responses.deliver(&answer).await.is_ok() => Settlement::Acknowledge,
                Ok(_) => Settlement::GiveBack,
                Err(_) => Settlement::Reject,
            };
            settle(&responses, deliveries.into_vec(), settlement).await;
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

    fn begin(&mut self, served: ServedType, waiting: WaitingOrder<OrderDelivery<Delivery>>) {
        let WaitingOrder { order, redelivered, returns, traceparent, patient_until, mut deliveries, .. } =
            waiting;
        if mutant("order_acked_early") {
            self.settle(deliveries.take(), Settlement::Acknowledge);
        }
        let (board, news) = ProgressBoard::new(None);
        let ResponsePublisher { topology, worker_id, .. } = &*self.responses;
        let span = AttemptSpan::begin(&self.traces, topology, worker_id, &order, traceparent.as_ref());
        let (execution, signal) = (Execution::beginning(redelivered), Arc::<HoldSignal>::default());
        let traceparent = span.traceparent().or(traceparent);
        let emitter = self.emitter(&served, &order, &execution, traceparent.clone());
        let job = JobContext::new(&order, traceparent, board, emitter);
        let (after, done) = (self.worker.settings.hold_after, self.held_sender.clone());
        let begun = Begun { execution, returns, hold: Arc::clone(&signal) };
        self.orders.begin(OrderKey::of(&order), job.clone(), begun, deliveries);
        tracing::debug!(
            job.id = %order.job_id,
            job.r#type = %order.job_type,
            attempt = order.attempt.get(),
            redelivered,
            "The attempt begins."
        );
        let (responses, metrics) = (Arc::clone(&self.responses), Arc::clone(&self.metrics));
        let handlers = self.handlers.clone();
        // Who sends orders in bundles reads answers in bundles.
        let answers = patient_until.map(|_| Arc::clone(&self.answers));
        let hold = Hold { after, signal, done };
        let attempt = AttemptRun {
            served,
            order,
            job,
            news,
            redelivered,
            responses,
            answers,
            handlers,
            hold,
            metrics,
            span,
            execution,
        };
        self.attempts.spawn(attempt.run());
    }

    /// What takes the events of an attempt.
    fn emitter(
        &self,
        served: &ServedType,
        order: &Order,
        execution: &Execution,
        traceparent: Option<TraceParent>,
    ) -> Emitter {
        let events = AttemptEvents {
            publisher: Arc::clone(&self.events),
            origin: Origin {
                job_id: order.job_id,
                attempt: order.attempt,
                attempt_token: order.attempt_token,
                execution_id: execution.id,
                worker_id: self.responses.worker_id.clone(),
            },
            job_type: order.job_type.clone(),
            traceparent,
        };
        Emitter::new(order.job_type.clone(), Arc::clone(&served.emits), Box::new(events))
    }

    pub(super) fn on_attempt_ended(&mut self, ended: AttemptEnd) {
        let EndedOrder { deliveries, took, unfinished } = self.orders.end(&ended.key);
        self.door.count_end(took, usize::try_from(self.worker.slots).unwrap_or(usize::MAX));
        if let Some(handler_ended) = unfinished {
            tracing::warn!(
                job.r#type = %ended.job_type,
                unfinished_handlers = self.orders.unfinished_handlers(),
                "A handler goes on although its attempt was stopped: its slot stays taken until it ends."
            );
            self.unfinished_handlers.spawn(handler_ended.cancelled_owned());
        }
        match ended.conclusion {
            Conclusion::Reported { answer, completed } => {
                if completed {
                    self.rests.end(&ended.job_type);
                }
                self.orders.remember_answer(ended.key, *answer);
                self.settle(deliveries, Settlement::Acknowledge);
            }
            // Not now: while the type is consumed, the broker would return them to this very worker.
            Conclusion::GiveBack => {
                self.orders.give_back_later(&ended.job_type, deliveries);
                if ended.ends_worker.is_none() {
                    let pause = self.rests.begin(&ended.job_type, Instant::now());
                    tracing::info!(
                        job.r#type = %ended.job_type,
                        pause_seconds = pause.as_secs(),
                        "The handler gave its order back: the type rests here, so that another worker gets it."
                    );
                }
            }
            Conclusion::Reject => self.settle(deliveries, Settlement::Reject),
        }
        if let Some(failure) = ended.ends_worker {
            self.begin_shutdown(Err(WorkerError::HandlerFailed { job_type: ended.job_type, failure }));
        }
    }

    /// The backend knows that an attempt is held here.
    pub(super) fn on_held(&mut self, key: &OrderKey) {
        if self.orders.hold(key) {
            tracing::info!(
                job.id = %key.job_id(),
                attempt = key.attempt().get(),
                "The attempt is held: heartbeats keep it from now on."
            );
        }
    }

    /// Settles deliveries in the background: a broker that is slow to take it holds up nothing.
    pub(super) fn settle(&self, deliveries: Vec<OrderDelivery<Delivery>>, settlement: Settlement) {
        if settlement == Settlement::Acknowledge {
            // Here and now: for most orders of a bundle there is nothing to tell the broker.
            let due: Vec<_> = deliveries.into_iter().filter_map(OrderDelivery::acknowledge).collect();
            if !due.is_empty() {
                self.tasks.spawn(async move {
                    for (delivery, settlement) in due {
                        tell_broker(&delivery, settlement).await;
                    }
                });
            }
        } else if !deliveries.is_empty() {
            let responses = Arc::clone(&self.responses);
            self.tasks.spawn(async move { settle(&responses, deliveries, settlement).await });
        }
    }

    pub(super) fn count_malformed(&mut self, delivery: &Delivery, error: &DecodeError) {
        self.malformed += 1;
        tracing::warn!(
            queue = &*delivery.queue,
            message.id = delivery.properties.message_id.as_deref().unwrap_or_default(),
            code = error.code(),
            %error,
            malformed = self.malformed,
            "A message cannot be read and is rejected."
        );
    }
}

/// The worker goes on without them, so whoever runs it has to read about it.
fn log_refused(types: &[JobType], refused: &[RefusedType]) {
    for RefusedType { job_type, reason } in refused {
        if types.contains(job_type) {
            tracing::error!(job.r#type = %job_type, reason, "The backend serves a type, but not as it was announced.");
        } else {
            tracing::error!(job.r#type = %job_type, reason, "The backend refuses a type: this worker gets no jobs of it.");
        }
    }
}

/// Settles deliveries. The share of a bundle cannot go back alone, nor be rejected: the backend is told to send its order
/// anew, and if that is not known to have arrived, the whole bundle goes back.
pub(super) async fn settle(
    responses: &ResponsePublisher,
    deliveries: Vec<OrderDelivery<Delivery>>,
    settlement: Settlement,
) {
    let settle = async |delivery| {
        let due = match delivery {
            OrderDelivery::Share(share) if settlement != Settlement::Acknowledge => {
                let (job_id, job_type) = (share.key().job_id(), share.job_type());
                let reference = JobReference { job_id, job_type, traceparent: None };
                let execution = Execution::not_begun(false);
                let is_told = responses.hand_back(&reference, share.key(), &execution, true, None).await;
                share.settle(is_told)
            }
            OrderDelivery::Alone(delivery) => Some((delivery, settlement)),
            share @ OrderDelivery::Share(_) => share.acknowledge(),
        };
        if let Some((delivery, settlement)) = due {
            tell_broker(&delivery, settlement).await;
        }
    };
    // Together, for each of those that go back waits for a confirm.
    join_all(deliveries.into_iter().map(settle)).await;
}

async fn tell_broker(delivery: &Delivery, settlement: Settlement) {
    let settled = match settlement {
        Settlement::Acknowledge => delivery.ack().await,
        Settlement::GiveBack => delivery.nack(true).await,
        Settlement::Reject => delivery.nack(false).await,
    };
    match settled {
        Ok(()) => {}
        // It comes again, and is answered from memory then.
        Err(AckError::SessionGone) => {
            tracing::debug!(queue = &*delivery.queue, "The session ended before a delivery was settled.");
        }
    }
}

fn decode<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, DecodeError> {
    codec::decode(content_type(delivery)?, &delivery.body)
}

pub(super) fn content_type(delivery: &Delivery) -> Result<ContentType, DecodeError> {
    delivery.properties.content_type.as_deref().map_or_else(|| Ok(ContentType::default()), str::parse)
}
