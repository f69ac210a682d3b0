//! The worker that delivers events to webhooks: one like any other, but that it runs in the backend's process, where the secrets are.

use std::{error::Error, time::Duration};

use crewcall_backend::{
    Config, Deliveries,
    deliveries::{Destination, WEBHOOK_TYPE, WebhookTry},
    engine::ports::StoreError,
};
use crewcall_webhooks::{
    DELIVERY_TIMEOUT, Deliverer, Delivery, DeliveryFailure, MessageId, Outcome, next_try,
};
use crewcall_worker::{JobContext, JobError, JobOptions, Settings, Worker, WorkerError, prelude::JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

/// How many deliveries are under way at once. Each waits for its receiver, for [`DELIVERY_TIMEOUT`] at most, and holds a connection
/// and a message of up to 256 KiB meanwhile.
const SLOTS: u32 = 64;

/// How long deliveries may go on once the process is to end: less than the backend itself takes. What is not done by then is tried again
/// by the next process, with the same id.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// By how much a wait is longer at most, as a part of it: so that what failed together does not come back together.
const JITTER: f64 = 0.1;

/// An event for a webhook.
#[derive(Debug, Deserialize, JsonSchema)]
struct Parameters {
    /// The webhook.
    webhook: String,
    /// What is sent: type, timestamp and data.
    message: Map<String, Value>,
}

/// What the receiver answered.
#[derive(Debug, Serialize, JsonSchema)]
struct Delivered {
    /// Its status: 200 to 299.
    status: u16,
    /// How long it took, in milliseconds.
    took_ms: u64,
}

/// Delivers until `stop`, from when there is something to deliver on.
///
/// # Errors
///
/// When it cannot be a worker, or the store fails. While the broker is away it waits.
pub(super) async fn run(
    deliveries: Deliveries,
    settings: Settings,
    stop: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    tokio::select! {
        wanted = deliveries.wanted() => wanted?,
        () = stop.cancelled() => return Ok(()),
    }
    let deliverer = Deliverer::new(deliveries.allowed().clone(), DELIVERY_TIMEOUT)?;
    let deliver = move |job: JobContext, parameters: Parameters| {
        let (deliveries, deliverer) = (deliveries.clone(), deliverer.clone());
        async move { deliver(&deliveries, &deliverer, &job, &parameters).await }
    };
    let options = JobOptions::new().description("Delivers an event to a webhook.");
    let worker =
        Worker::new(settings).name("crewcall-webhooks").version(env!("CARGO_PKG_VERSION")).slots(SLOTS);
    match worker.job_with(WEBHOOK_TYPE, deliver, options).run_until(stop).await {
        // The next process tries it again.
        Ok(()) | Err(WorkerError::HandedBack { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What the worker is told: to whom it belongs, and that it is no other.
pub(super) fn settings(config: &Config, deliveries: &Deliveries) -> Settings {
    let mut settings = Settings::default();
    settings.amqp_url.clone_from(&config.amqp_url);
    settings.topology = config.amqp_prefix.clone();
    settings.worker_id = deliveries.worker_id().clone();
    settings.drain_grace = DRAIN_GRACE;
    settings
}

/// One try.
async fn deliver(
    deliveries: &Deliveries,
    deliverer: &Deliverer,
    job: &JobContext,
    Parameters { webhook, message }: &Parameters,
) -> Result<Delivered, JobError> {
    let Some(destination) = deliveries.destination(webhook) else {
        let message = format!("there is no webhook {webhook} any more: there is nowhere to deliver to");
        return Err(JobError::permanent(message).code("webhook_deleted"));
    };
    let body = serde_json::to_vec(message).map_err(|error| JobError::permanent(error.to_string()))?;
    let id = MessageId::new(format!("msg_{}", job.id()));
    let id = id.map_err(|error| JobError::permanent(error.to_string()))?;
    let delivery = Delivery {
        url: destination.url(),
        id: &id,
        timestamp: deliveries.timestamp(),
        body: body.into(),
        secret: destination.secret(),
        retiring: destination.retiring(),
    };
    match deliverer.deliver(delivery).await {
        Outcome::Delivered { status, took } => {
            deliveries.tried(&destination, WebhookTry::Delivered);
            Ok(Delivered { status, took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) })
        }
        Outcome::Gone => {
            deliveries.tried(&destination, WebhookTry::Gone);
            Err(gone(deliveries, &destination).await)
        }
        Outcome::Failed(failure) => {
            deliveries.tried(&destination, WebhookTry::Failed);
            Err(failed(failure, job))
        }
    }
}

/// The webhook is paused before the job ends: whoever sees the one sees the other.
async fn gone(deliveries: &Deliveries, destination: &Destination) -> JobError {
    match deliveries.disable(destination).await {
        Ok(()) => {
            let message = "the receiver answered 410 Gone: it wants no more, and the webhook is paused";
            JobError::permanent(message).code("webhook_gone")
        }
        // It is asked again, and answers the same.
        Err(error) => not_stored(&error),
    }
}

fn not_stored(error: &StoreError) -> JobError {
    JobError::retryable(format!("the receiver answered 410 Gone, which could not be noted: {error}"))
}

fn failed(failure: DeliveryFailure, job: &JobContext) -> JobError {
    let tries = usize::try_from(job.attempt()).unwrap_or(usize::MAX);
    let DeliveryFailure { reason, status, retry_after, permanent, excerpt } = failure;
    let error = match next_try(tries, retry_after) {
        Some(wait) if !permanent => {
            JobError::retryable(reason).retry_after(wait.mul_f64(1.0 + JITTER * fraction(job)))
        }
        _ => JobError::permanent(reason),
    };
    let code = status.map_or("not_delivered".to_owned(), |status| format!("http_{status}"));
    let error = error.code(code);
    match excerpt {
        Some(excerpt) => error.detail(format!("its answer begins: {}", in_one_line(&excerpt))),
        None => error,
    }
}

/// What a stranger wrote, without what a terminal would obey.
fn in_one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A number from 0 to 1, another one for each job: the last eight bits of its id, which are random.
fn fraction(job: &JobContext) -> f64 {
    let last = job.id().as_uuid().as_bytes()[15];
    f64::from(last) / f64::from(u8::MAX)
}
