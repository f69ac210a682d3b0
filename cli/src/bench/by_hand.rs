//! What workers say that are made by hand, message by message, for a measurement.

use crewcall_amqp::{MessageProperties, OutboundMessage};
use crewcall_proto::{
    ContentType, JobType, JsonObject, MessageKind, Timestamp, Topology, WorkerId,
    codec::encode,
    discovery::{AnnouncedType, Announcement, Goodbye, Heartbeat, RunningOrder, Sdk, WorkerStatus},
};
use serde::Serialize;

use crate::exit::Failure;

/// A worker with one slot and one type comes.
pub(super) fn announcement(worker_id: &WorkerId, name: &str, job_type: &JobType) -> Announcement {
    Announcement {
        worker_id: worker_id.clone(),
        name: name.to_owned(),
        version: "1".to_owned(),
        sdk: Sdk { language: "rust".to_owned(), version: "1".to_owned() },
        host: "here".to_owned(),
        pid: std::process::id(),
        slots: 1,
        content_type: ContentType::MessagePack,
        types: vec![AnnouncedType {
            job_type: job_type.clone(),
            description: String::new(),
            version: String::new(),
            parameters_schema: JsonObject::new(),
            result_schema: JsonObject::new(),
            bundles: false,
            emits: Vec::new(),
        }],
        started_at: now(),
    }
}

/// It lives, and runs this, or nothing.
pub(super) fn heartbeat(worker_id: &WorkerId, running: Option<RunningOrder>) -> Heartbeat {
    let is_busy = running.is_some();
    Heartbeat {
        worker_id: worker_id.clone(),
        status: if is_busy { WorkerStatus::Busy } else { WorkerStatus::Idle },
        slots_busy: u32::from(is_busy),
        orders: running.into_iter().collect(),
        at: now(),
    }
}

/// It leaves, and has nothing to hand back.
pub(super) fn goodbye(worker_id: &WorkerId) -> Goodbye {
    let (worker_id, reason) = (worker_id.clone(), "terminated".to_owned());
    Goodbye { worker_id, reason, handed_back: Some(Vec::new()) }
}

/// What a worker says of itself.
///
/// # Errors
///
/// When it cannot be encoded.
pub(super) fn of_itself(
    topology: &Topology,
    kind: MessageKind,
    message: &impl Serialize,
) -> Result<OutboundMessage, Failure> {
    outbound(topology.discovery_exchange(), kind.as_str().to_owned(), kind, message)
}

/// What a worker says of an attempt.
///
/// # Errors
///
/// When it cannot be encoded.
pub(super) fn of_an_attempt(
    topology: &Topology,
    kind: MessageKind,
    job_type: &JobType,
    message: &impl Serialize,
) -> Result<OutboundMessage, Failure> {
    outbound(topology.response_exchange(), topology.response_key(kind, job_type), kind, message)
}

fn outbound(
    exchange: String,
    routing_key: String,
    kind: MessageKind,
    message: &impl Serialize,
) -> Result<OutboundMessage, Failure> {
    Ok(OutboundMessage {
        exchange,
        routing_key,
        body: encode(ContentType::MessagePack, message).map_err(Failure::part)?.into(),
        properties: MessageProperties {
            message_type: Some(kind.as_str().to_owned()),
            content_type: Some(ContentType::MessagePack.as_str().to_owned()),
            persistent: true,
            ..MessageProperties::default()
        },
        mandatory: true, // the backend is there, and has its queues
    })
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}
