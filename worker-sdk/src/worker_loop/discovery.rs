//! What the worker says of itself: its announcement, its heartbeats, in the log that its handlers block, and to whoever asks
//! over HTTP.

use std::{pin::pin, sync::Arc};

use crewcall_amqp::LinkState;
use crewcall_proto::{MessageKind, discovery::HEARTBEAT_INTERVAL};
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::WorkerLoop;
use crate::{
    announce,
    handler_runtime::RuntimeState,
    health::{LoopState, Readiness},
    limits::{HANDLERS_BLOCKED_SAID_EVERY, HEARTBEAT_SUSPECTED_AFTER},
};

impl WorkerLoop {
    pub(super) fn announce(&mut self) {
        self.awaits_welcome = true;
        self.announced = true;
        self.publish_soon(MessageKind::Announce, &self.announcement);
        tracing::debug!(worker.id = %self.responses.worker_id, "Announced to the backend.");
    }

    pub(super) fn on_heartbeat_due(&mut self) {
        if self.awaits_welcome && self.generation.is_some() {
            self.announce();
        }
        self.send_heartbeat();
    }

    /// A new session for publishing: the one before may have swallowed a heartbeat, and the lease of what is held here
    /// does not wait for the next.
    pub(super) fn on_publisher_changed(&mut self) {
        let is_up = matches!(*self.publisher_state.borrow_and_update(), LinkState::Connected { .. });
        if is_up {
            self.heartbeat.reset();
            self.send_heartbeat();
        }
    }

    pub(super) fn send_heartbeat(&self) {
        // Also while the consuming link is down: the publishing one may be up, and attempts are running.
        if self.announced {
            let heartbeat = announce::heartbeat(
                &self.responses.worker_id,
                !self.takes_orders(),
                self.orders.slots_busy(),
                self.orders.listed(),
            );
            self.publish_soon(MessageKind::Heartbeat, &heartbeat);
        }
    }

    /// Publishes news of the worker, and drops them if that takes until the next ones are due. Long before that it
    /// doubts the links.
    fn publish_soon(&self, kind: MessageKind, message: &impl Serialize) {
        let message = match self.responses.discovery(kind, message) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(
                    message.kind = %kind,
                    %error,
                    "The worker cannot speak of itself: it serves too much, or its schemas are too large."
                );
                return;
            }
        };
        let (responses, consumer) = (Arc::clone(&self.responses), self.session.consumer());
        self.tasks.spawn(async move {
            let late_at = Instant::now() + HEARTBEAT_INTERVAL;
            let mut published = pin!(responses.publisher.publish(message));
            let ended = match timeout(HEARTBEAT_SUSPECTED_AFTER, &mut published).await {
                Err(_) => {
                    // What swallows one of the two links without a word, such as a firewall, swallows both.
                    responses.publisher.suspect();
                    consumer.suspect();
                    timeout_at(late_at, published).await
                }
                ended => ended,
            };
            match ended {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(message.kind = %kind, %error, "A message to discovery did not get through."),
                Err(_) => {
                    tracing::debug!(message.kind = %kind, "A message to discovery did not get through in time.");
                },
            }
        });
    }

    /// How things are after an event.
    pub(super) fn note_state(&self) {
        self.metrics.set_slots_busy(self.orders.slots_busy());
        let readiness = if self.shutting_down.is_some() {
            Readiness::ShuttingDown
        } else if self.generation.is_none() {
            Readiness::NoSession
        } else if self.welcomed.is_empty() {
            Readiness::NotWelcome
        } else if self.drained_by_operator {
            Readiness::Drained
        } else {
            Readiness::Ready
        };
        self.state.send_replace(LoopState { turned_at: Instant::now(), readiness });
    }

    /// The handlers block their runtime, or do not any more. That harms none but themselves, so it is only said.
    pub(super) fn on_handler_runtime(&mut self, state: RuntimeState) {
        let said_lately = self.blocked_said_at.is_some_and(|at| at.elapsed() < HANDLERS_BLOCKED_SAID_EVERY);
        match state {
            RuntimeState::Blocked if !said_lately => {
                self.blocked_said_at = Some(Instant::now());
                let running = self.orders.running_types();
                let running: Vec<String> =
                    running.iter().map(|(job_type, attempts)| format!("{job_type} ×{attempts}")).collect();
                tracing::warn!(
                    worker.id = %self.responses.worker_id,
                    running = running.join(", "),
                    "The handlers block their runtime: no other handler gets on. Put blocking calls and long \
                     computations into tokio::task::spawn_blocking."
                );
            }
            RuntimeState::Recovered(after) => tracing::info!(
                worker.id = %self.responses.worker_id,
                blocked_seconds = after.as_secs(),
                "The runtime of the handlers runs again."
            ),
            RuntimeState::Blocked | RuntimeState::ShutDown => {}
        }
    }
}
