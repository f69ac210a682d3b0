//! A worker that comes in the middle of a run with a type that nobody knew, and a broker that dies as soon as it has that
//! type's queue. RabbitMQ 3.10 and 4.0 may come back with a queue that nobody leads, which the backend has to replace.

use std::time::Duration;

use anyhow::Context;
use crewcall_dev_broker::DevBroker;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    fault::{NEW_TYPES_PREFIX, QUEUES},
    installation::Installation,
    submission_log::{Outcome, Submission, SubmissionLog, TAG},
    workers::newcomer,
};
use crate::{raw_worker::RawWorker, wait::until};

/// How long the new queue may take to be there; and before that all others, which somebody may have deleted. When other
/// faults strike besides, it takes too long.
const DECLARED_WITHIN: Duration = Duration::from_secs(20);

/// How long the queue may take to be replaced once nothing breaks any more: some 50 s, and a busy machine.
const REPLACED_WITHIN: Duration = Duration::from_secs(100);

/// How often is looked whether it was.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Has a type declared that is new, kills the broker at once, and starts it again when it is `over`. A job of the type
/// waits for it, and when it is done, its queue has been replaced if it had to be.
///
/// # Errors
///
/// When the queue does not come in time, or the broker does not come back.
pub(super) async fn kill_broker_early(
    installation: &Installation,
    submissions: &SubmissionLog,
    over: impl Future<Output = ()>,
    healing: &CancellationToken,
) -> anyhow::Result<()> {
    let mut node = installation.node.lock().await;
    let watcher = RawWorker::start(&installation.amqp_url);
    let declared = timeout(DECLARED_WITHIN, declared(installation, submissions, &node, &watcher)).await;
    let made = match declared.context("the new type has no queue in time").and_then(|declared| declared) {
        Ok(job_type) => {
            node.kill().await?;
            over.await;
            node.restart().await.map(|()| job_type).map_err(anyhow::Error::from)
        }
        Err(error) => Err(error),
    };
    drop(node);
    watcher.vanish().await;
    is_served(installation, &made?, healing).await;
    Ok(())
}

/// Waits until nothing of the type is open. While other things break, that takes as long as it takes.
async fn is_served(installation: &Installation, job_type: &str, healing: &CancellationToken) {
    let open = format!(
        "/v1/jobs?type={job_type}&state=blocked,scheduled,ready,unroutable,dispatched,running&limit=1"
    );
    let served = async {
        loop {
            let answer = timeout(REPLACED_WITHIN, installation.api.json(&open)).await;
            if matches!(answer, Ok(Ok(page)) if page["jobs"].as_array().is_some_and(Vec::is_empty)) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let in_vain = async {
        healing.cancelled().await;
        sleep(REPLACED_WITHIN).await;
    };
    tokio::select! {
        () = served => {}
        () = in_vain => installation.log.trouble(format!("the jobs of {job_type} were not done")),
    }
}

/// Every other queue is known for good when this is over, and that of a new type, which is answered, is there.
async fn declared(
    installation: &Installation,
    submissions: &SubmissionLog,
    node: &DevBroker,
    watcher: &RawWorker,
) -> anyhow::Result<String> {
    let is_there = async |queue: &str| matches!(watcher.depth_of(queue).await, Ok(Some(_)));
    for queue in QUEUES {
        until(queue, DECLARED_WITHIN, async || is_there(queue).await).await?;
    }
    node.sync().await?;
    let mut newcomers = installation.newcomers.lock().await;
    let number = newcomers.len();
    let job_type = format!("{NEW_TYPES_PREFIX}{number}");
    newcomers.push(newcomer(number, &job_type, &installation.amqp_url, installation.folder())?);
    drop(newcomers);
    let queue = format!("crewcall.jobs.{job_type}");
    let submitted = submit(installation, submissions, &job_type);
    let declared = until(&queue, DECLARED_WITHIN, async || is_there(&queue).await);
    let (_, declared) = tokio::join!(submitted, declared);
    declared.map(|_| job_type)
}

/// Whoever asks for it first gets no answer while the backend is away; that is legal.
async fn submit(installation: &Installation, submissions: &SubmissionLog, job_type: &str) {
    let tag = job_type.to_owned();
    let body = json!({"type": job_type, "parameters": {"text": tag}, "labels": {TAG: tag}});
    submissions.record_sending(&Submission::new(tag.clone(), job_type, body.clone()));
    if let Ok(id) = installation.api.submit(body).await {
        submissions.record_answer(&tag, Outcome::Accepted(id));
    }
}
