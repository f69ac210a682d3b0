//! Orders that came back to a worker: it asks whether they are still wanted before it runs them.

use std::{collections::BTreeMap, time::Duration};

use crewcall_proto::{AttemptId, ExecutionId, WorkerId, control::Control, response::Origin};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::Discovery;
use crate::engine::fleet::leases::handed_back;

/// How long the store may take to say whether orders are wanted. A worker does not wait much longer, and other workers
/// want to be heard.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl Discovery {
    /// Tells workers whether orders are still wanted that came back to them. One that hears nothing runs them.
    pub(super) async fn answer(&self, asked: Vec<(WorkerId, AttemptId)>) {
        if asked.is_empty() {
            return;
        }
        let jobs = asked.iter().map(|(_, attempt)| attempt.job_id).collect();
        let standings = match timeout(ANSWER_WITHIN, self.store.standings(jobs)).await {
            Ok(Ok(standings)) => standings,
            Ok(Err(error)) => return tracing::warn!(%error, "Workers that ask about orders get no answer."),
            Err(_) => return tracing::warn!("Workers that ask about orders get no answer in time."),
        };
        let (mut answers, mut given_up) = (Vec::new(), Vec::new());
        let mut wanted = BTreeMap::<WorkerId, Vec<AttemptId>>::new();
        for ((worker_id, attempt), standing) in asked.into_iter().zip(standings) {
            let AttemptId { job_id, attempt: number } = attempt;
            match standing {
                Some(standing) if !standing.wants(number) => {
                    let token = standing.token.filter(|_| standing.cancelled && number == standing.attempt);
                    given_up.extend(token.map(|token| {
                        let origin = Origin {
                            job_id,
                            attempt: number,
                            attempt_token: token,
                            execution_id: ExecutionId::generate(),
                            worker_id: worker_id.clone(),
                        };
                        handed_back(origin, self.clock.now())
                    }));
                    answers.push((worker_id, Control::Revoke { job_id, attempt: number }));
                }
                // A job that is not here may be somebody else's: its order is not ours to drop.
                Some(_) | None => wanted.entry(worker_id).or_default().push(attempt),
            }
        }
        answers
            .extend(wanted.into_iter().map(|(worker_id, orders)| (worker_id, Control::Proceed { orders })));
        // A job that was told to stop is over with its order, for whoever ran it has lost that.
        if let Err(error) = self.changes.record(given_up).await {
            tracing::warn!(%error, "Cancelled jobs whose orders came back end when their leases do.");
        }
        join_all(answers.iter().map(|(worker_id, control)| self.send_answer(worker_id, control))).await;
    }

    async fn send_answer(&self, worker_id: &WorkerId, control: &Control) {
        let content_type = self.registry.content_type(worker_id);
        if let Err(error) = self.broker.send_to_worker(worker_id, content_type, control).await {
            tracing::warn!(worker.id = %worker_id, %error, "A worker that asked about orders got no answer.");
        }
    }
}
