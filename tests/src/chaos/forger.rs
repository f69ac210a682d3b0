//! Somebody on the broker who is not a worker: repeats what workers answer, and answers for jobs that are not
//! theirs.

use std::{future::Future, time::Duration};

use crewcall_amqp::{
    Consumer, ConsumerEvent, Declaration, Delivery, LinkConfig, OutboundMessage, Publisher, PublisherOptions,
    Subscription,
};
use crewcall_proto::{AttemptToken, ExecutionId, JobType, MessageKind, Topology};
use rand::Rng;
use serde_json::{Value, json};
use tokio::time::interval;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::submission_log::SubmissionLog;
use crate::raw_worker::RawWorker;

/// How often each response is sent again.
const COPIES: usize = 3;

/// How often a response is forged.
const FORGED_EVERY: Duration = Duration::from_millis(50);

/// The attempts that forged responses are about: any of the first.
const FORGED_ATTEMPTS_MAX: u32 = 3;

/// What the forger calls itself, and all that it says. No job may ever tell of it.
pub(super) const FORGER: &str = "forger";

/// Sends again whatever workers answer, until `over`.
///
/// # Errors
///
/// Nothing: while the broker is away there is nothing to repeat.
pub(super) async fn repeat(url: &str, over: impl Future<Output = ()>) -> anyhow::Result<()> {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let names = Topology::default();
    let link = LinkConfig::new(url, FORGER);
    let queue = format!("{FORGER}.{}", uuid::Uuid::new_v4());
    let declarations = vec![
        Declaration::ExclusiveQueue { name: queue.clone() },
        Declaration::Binding {
            queue: queue.clone(),
            exchange: names.response_exchange(),
            routing_key: "#".to_owned(),
        },
    ];
    let subscription = Subscription { tag: queue.clone(), queue, prefetch: 100, exclusive: true };
    let publisher = Publisher::start(link.clone(), Vec::new(), PublisherOptions::default(), &stop, &tracker);
    let (_consumer, mut events) = Consumer::start(link, declarations, vec![subscription], &stop, &tracker);
    let repeating = async {
        while let Some(event) = events.recv().await {
            let ConsumerEvent::Delivery(delivery) = event else { continue };
            for _copy in 0..COPIES {
                // One that gets lost is one less.
                let _ = publisher.publish(copy(&names, &delivery)).await;
            }
            let _ = delivery.ack().await; // as above
        }
    };
    tokio::select! {
        () = over => {}
        () = repeating => {}
    }
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(())
}

/// The same message, straight into the backend's queue: through the exchange it would come back to us.
fn copy(names: &Topology, delivery: &Delivery) -> OutboundMessage {
    let kind = delivery.routing_key.split('.').next().and_then(MessageKind::from_word);
    OutboundMessage {
        exchange: String::new(),
        routing_key: kind.map_or_else(|| names.dead(), |kind| names.response_queue(kind)),
        body: delivery.body.clone(),
        properties: delivery.properties.clone(),
        mandatory: false,
    }
}

/// Answers for jobs that were accepted, without their tokens, and sends what nobody can read, until `over`.
///
/// # Errors
///
/// Nothing: what the broker does not take is not forged.
pub(super) async fn forge(
    url: &str,
    submissions: &SubmissionLog,
    over: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let raw_worker = RawWorker::start(url);
    let forging = async {
        let mut ticks = interval(FORGED_EVERY);
        loop {
            ticks.tick().await;
            let Some((job_id, job_type)) = submissions.any_accepted() else { continue };
            // As above.
            let _ = forge_one(&raw_worker, &job_id, &job_type).await;
        }
    };
    tokio::select! {
        () = over => {}
        () = forging => {}
    }
    raw_worker.vanish().await;
    Ok(())
}

async fn forge_one(raw_worker: &RawWorker, job_id: &str, job_type: &str) -> anyhow::Result<()> {
    let (choice, attempt) = {
        let mut dice = rand::rng();
        (dice.random_range(0..5), dice.random_range(1..=FORGED_ATTEMPTS_MAX))
    };
    let job_type = JobType::new(job_type)?;
    let origin = |rest: Value| {
        let mut response = json!({
            "job_id": job_id,
            "attempt": attempt,
            "attempt_token": AttemptToken::generate(),
            "execution_id": ExecutionId::generate(),
            "worker_id": FORGER,
        });
        if let (Value::Object(response), Value::Object(rest)) = (&mut response, rest) {
            response.extend(rest);
        }
        response
    };
    match choice {
        0 => {
            let result = json!({"result": {"text": FORGER}, "started_at": 0, "finished_at": 1});
            raw_worker.respond(MessageKind::Completed, &job_type, &origin(result)).await
        }
        1 => {
            let error = json!({"kind": "handler", "message": FORGER, "retryable": false, "finished_at": 1});
            raw_worker.respond(MessageKind::Error, &job_type, &origin(error)).await
        }
        2 => raw_worker.respond(MessageKind::Held, &job_type, &origin(json!({"seq": 9, "at": 1}))).await,
        3 => {
            let news = json!({"seq": 9, "kind": "progress", "percent": 99, "message": FORGER, "at": 1});
            raw_worker.respond(MessageKind::Progression, &job_type, &origin(news)).await
        }
        _ => {
            let exchange = Topology::default().response_exchange();
            raw_worker.send(&exchange, "completed.test.echo", vec![0xc1; 40], "application/msgpack").await
        }
    }
}
