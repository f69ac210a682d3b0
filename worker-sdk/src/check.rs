//! `--check`: tries what a worker needs, in the order in which it needs it, and says what to do.

use std::time::Duration;

use crewcall_amqp::{
    Consumer, Declaration, LinkConfig, LinkState, OutboundMessage, Published, Publisher, PublisherOptions,
};
use crewcall_proto::MessageKind;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    announce, checked_worker::CheckedWorker, limits::CHECK_TIMEOUT, response_publisher::ResponsePublisher,
};

/// A sentence, of something good or of something bad.
pub(crate) type Finding = Result<String, String>;

/// Checks the job types, then the broker.
pub(crate) async fn check(worker: &CheckedWorker) -> Vec<Finding> {
    let mut findings = types(worker);
    findings.extend(broker(worker).await);
    findings
}

fn types(worker: &CheckedWorker) -> Vec<Finding> {
    let served = worker.types.iter().map(|served| Ok(format!("{} can be served", served.job_type())));
    let unavailable = worker.unavailable.iter().map(|unavailable| {
        Err(format!("{} cannot be served here: {}", unavailable.job_type, unavailable.reason))
    });
    let mut findings: Vec<Finding> = served.chain(unavailable).collect();
    if findings.is_empty() {
        findings.push(Err("no job type: give the worker one with .job(…)".to_owned()));
    }
    findings
}

async fn broker(worker: &CheckedWorker) -> Vec<Finding> {
    let config = LinkConfig::new(&worker.settings.amqp_url, format!("{} check", worker.name));
    if let Err(error) = config.validate() {
        return vec![Err(format!("CREWCALL_AMQP_URL cannot be used: {error}"))];
    }
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let findings = exchanges(worker, &config, &stop, &tracker).await;
    stop.cancel();
    tracker.close();
    // A link that does not close in time holds up nothing: the process ends now.
    let _ = timeout(CHECK_TIMEOUT, tracker.wait()).await;
    findings
}

async fn exchanges(
    worker: &CheckedWorker,
    config: &LinkConfig,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) -> Vec<Finding> {
    let url = config.redacted_url();
    let options = PublisherOptions { confirm_timeout: CHECK_TIMEOUT, ..PublisherOptions::default() };
    let publisher = Publisher::start(config.clone(), Vec::new(), options, stop, tracker);
    if let Err(reason) = up(publisher.state()).await {
        return vec![Err(format!(
            "the broker at {url} cannot be used: {reason}. Check CREWCALL_AMQP_URL, and that RabbitMQ runs there"
        ))];
    }
    let responses = ResponsePublisher {
        publisher,
        topology: worker.settings.topology.clone(),
        content_type: worker.settings.content_type,
        worker_id: worker.settings.worker_id.clone(),
        name: worker.name.clone(),
    };
    let mut findings = vec![Ok(format!("the broker at {url} can be reached"))];
    findings.push(control(&responses, config, stop, tracker).await);
    // A goodbye of a worker that nobody knows changes nothing, nor does a response that no queue is bound for.
    let goodbye = responses
        .discovery(MessageKind::Goodbye, &announce::goodbye(&responses.worker_id, "check", Vec::new()));
    let response = OutboundMessage {
        exchange: responses.topology.response_exchange(),
        routing_key: "check".to_owned(),
        mandatory: true,
        ..OutboundMessage::default()
    };
    for message in [goodbye.unwrap_or_default(), response] {
        findings.push(publish(&responses, message).await);
    }
    findings
}

/// Tries to receive instructions, as the worker would.
async fn control(
    responses: &ResponsePublisher,
    config: &LinkConfig,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) -> Finding {
    let exchange = responses.topology.control_exchange();
    let queue =
        responses.topology.control_queue(&responses.worker_id, &format!("check-{}", Uuid::new_v4().simple()));
    let routing_key = responses.topology.control_key_worker(&responses.worker_id);
    let declarations = vec![
        Declaration::ExclusiveQueue { name: queue.clone() },
        Declaration::Binding { queue, exchange: exchange.clone(), routing_key },
    ];
    let (consumer, _events) = Consumer::start(config.clone(), declarations, Vec::new(), stop, tracker);
    match up(consumer.state()).await {
        Ok(()) => Ok(format!("instructions can be received from exchange {exchange}")),
        Err(reason) => {
            Err(format!("instructions cannot be received from exchange {exchange}: {reason}{ADVICE}"))
        }
    }
}

/// What to do about an exchange that is not there or must not be used.
const ADVICE: &str = ". Start the backend (`crewcall serve`) with the same AMQP URL and prefix; it declares the \
                      exchanges. If it runs, check the rights of the broker's user";

async fn publish(responses: &ResponsePublisher, message: OutboundMessage) -> Finding {
    let exchange = message.exchange.clone();
    match timeout(CHECK_TIMEOUT, responses.publisher.publish(message)).await {
        // Returned means that the exchange is there and that nothing is bound for this key.
        Ok(Ok(Published::Confirmed | Published::Returned { .. })) => {
            Ok(format!("messages can be published to exchange {exchange}"))
        }
        Ok(Err(error)) => Err(format!("{error}{ADVICE}")),
        Err(_) => Err(format!("the broker did not confirm a message to exchange {exchange} in time{ADVICE}")),
    }
}

/// Waits until a link is up, or for the reason why its first attempt failed.
async fn up(mut state: tokio::sync::watch::Receiver<LinkState>) -> Result<(), String> {
    let settled = |state: &LinkState| {
        state.is_connected() || matches!(state, LinkState::Connecting { last_error: Some(_), .. })
    };
    match timeout(CHECK_TIMEOUT, state.wait_for(settled)).await {
        Ok(Ok(state)) => match &*state {
            LinkState::Connecting { last_error: Some(error), .. } => Err(error.to_string()),
            _ => Ok(()),
        },
        Ok(Err(_)) => Err("the link was stopped".to_owned()),
        Err(_) => Err(format!("no answer within {} s", Duration::as_secs(&CHECK_TIMEOUT))),
    }
}
