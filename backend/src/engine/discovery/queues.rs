//! The queues of the types that are served. One that cannot be declared concerns its own type alone: everybody who
//! looks is told why, and it is tried again until somebody has mended it.

use crewcall_proto::{JobType, control::Control};
use futures_util::{StreamExt, stream};

use super::{Discovery, features};
use crate::engine::ports::{BrokerError, BrokerStatus, QueueFound};

/// How many queues are replaced side by side: each takes some seconds, in which the broker waits for a leader.
const REPLACED_AT_ONCE: usize = 16;

impl Discovery {
    /// Makes sure that a type that was announced has its queue. Returns whether it has.
    pub async fn declare(&self, job_type: &JobType) -> bool {
        match self.broker.declare_type(job_type).await {
            Ok(found) => {
                if self.catalogue.queue_error(job_type).is_some() {
                    self.mended(job_type).await;
                } else if found == QueueFound::New && self.registry.capacity(job_type).workers > 0 {
                    self.replaced(job_type).await;
                }
                true
            }
            Err(error) => {
                self.queue_errors(job_type, &error);
                false
            }
        }
    }

    /// Tries the queues again that could not be declared.
    pub async fn retry_queue_declarations(&self) {
        for job_type in self.catalogue.queue_errors() {
            if *self.broker.status().borrow() != BrokerStatus::Up {
                return;
            }
            self.declare(&job_type).await;
        }
    }

    /// Replaces the queues that have taken nothing for long, such as those whose leaders RabbitMQ lost, and sends again what
    /// was in them: the store has it.
    pub async fn replace_stuck_queues(&self) {
        let replace = |job_type: JobType| async move {
            // Read before: what the new queue confirms is not lost.
            let lost = self.publisher.confirmed(&job_type).await;
            if !self.broker.replace_queue(&job_type).await {
                return;
            }
            self.welcome_again(&job_type).await;
            let sent = async { self.publisher.send_again(lost?).await };
            match sent.await {
                Ok(orders) => {
                    tracing::warn!(job.r#type = %job_type, orders, "The queue of a type confirmed nothing; it was replaced, and what was in it is sent again.");
                }
                // The reconciler misses them.
                Err(error) => {
                    tracing::warn!(job.r#type = %job_type, %error, "The queue of a type confirmed nothing; it was replaced, and what was in it is sent again later.");
                }
            }
        };
        stream::iter(self.broker.queues_to_replace()).for_each_concurrent(REPLACED_AT_ONCE, replace).await;
    }

    /// The same trouble is told once, however often it is met.
    fn queue_errors(&self, job_type: &JobType, error: &BrokerError) {
        if !self.catalogue.set_queue_error(job_type, error.to_string()) {
            return;
        }
        match error {
            BrokerError::Refused { .. } => {
                tracing::error!(job.r#type = %job_type, %error, "A type has no queue; its workers get no jobs until this is mended.");
            }
            BrokerError::Unavailable { .. } | BrokerError::Closed => {
                tracing::warn!(job.r#type = %job_type, %error, "The queue of a type could not be declared; it is tried again.");
            }
        }
    }

    /// The type's queue was gone, and its workers' subscriptions with it: they are told where to consume again.
    async fn replaced(&self, job_type: &JobType) {
        tracing::warn!(job.r#type = %job_type, "The queue of a type was gone; it is declared anew.");
        self.welcome_again(job_type).await;
    }

    async fn welcome_again(&self, job_type: &JobType) {
        // Nothing is revoked: the queue is new, and these workers were welcomed before.
        let (types, features) = (vec![job_type.clone()], features());
        let welcome = Control::Welcome { types, refused: Vec::new(), revoked: Vec::new(), features };
        if let Err(error) = self.broker.send_to_type(job_type, &welcome).await {
            tracing::warn!(job.r#type = %job_type, %error, "The workers of a type could not be told that it has a new queue.");
        }
    }

    /// The type's workers were welcomed without it: they are asked to announce themselves again.
    async fn mended(&self, job_type: &JobType) {
        if let Err(error) = self.broker.send_to_type(job_type, &Control::Announce).await {
            tracing::warn!(job.r#type = %job_type, %error, "The workers of a type could not be told that it has a queue; they are told later.");
            return;
        }
        self.catalogue.clear_queue_error(job_type);
        tracing::info!(job.r#type = %job_type, "A type has its queue at last.");
    }
}
