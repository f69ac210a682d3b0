//! Workers that announce themselves and say every five seconds that they live, and do nothing else: as many as a fleet has. They
//! share one connection.

use std::time::Duration;

use crewcall_amqp::{MessageProperties, OutboundMessage, Publisher};
use crewcall_proto::{
    ContentType, JsonObject, MessageKind, Timestamp, Topology, WorkerId,
    codec::encode,
    discovery::{AnnouncedType, Announcement, Goodbye, HEARTBEAT_INTERVAL, Heartbeat, Sdk, WorkerStatus},
};
use serde::Serialize;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{broker::Broker, limit::confirmed};
use crate::exit::Failure;

/// The type that they serve.
pub(super) const IDLE_TYPE: &str = "bench.idle";

/// How many there are in a heartbeat's interval at most, in steps of this length.
const STEP: Duration = Duration::from_millis(100);

/// Workers that are there.
pub(super) struct IdleWorkers {
    stop: CancellationToken,
    speaking: JoinHandle<Result<(), Failure>>,
}

impl IdleWorkers {
    /// So many come.
    ///
    /// # Errors
    ///
    /// When the broker is not there.
    pub(super) async fn start(broker: &Broker, count: usize) -> Result<Self, Failure> {
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        // They say goodbye when they are stopped: the link ends after that.
        let link_stop = CancellationToken::new();
        let publisher = broker.publisher(Vec::new(), &link_stop, &tracker).await?;
        let topology = Topology::new(broker.prefix()).map_err(Failure::part)?;
        let crowd = Crowd { publisher, topology, ids: (0..count).map(|_| WorkerId::generate()).collect() };
        crowd.all_say(MessageKind::Announce, &crowd.ids, announcement).await?;
        let stopped = stop.clone();
        let speaking = tracker.spawn(async move { crowd.live_until(&stopped).await });
        Ok(Self { stop, speaking })
    }

    /// They leave.
    ///
    /// # Errors
    ///
    /// When the broker did not take what they said.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        self.speaking.await.map_err(Failure::part)?
    }
}

struct Crowd {
    publisher: Publisher,
    topology: Topology,
    ids: Vec<WorkerId>,
}

impl Crowd {
    async fn live_until(self, stop: &CancellationToken) -> Result<(), Failure> {
        // A tenth of a second's worth at a time, so that they come evenly.
        let steps = usize::try_from(HEARTBEAT_INTERVAL.as_millis() / STEP.as_millis()).unwrap_or(1).max(1);
        let mut turn = Instant::now();
        'living: loop {
            for some in self.ids.chunks(self.ids.len().div_ceil(steps).max(1)) {
                turn += STEP;
                if stop.run_until_cancelled(sleep_until(turn)).await.is_none() {
                    break 'living;
                }
                let heartbeat = |worker_id: &WorkerId| {
                    let (worker_id, at) = (worker_id.clone(), now());
                    Ok(Heartbeat {
                        worker_id,
                        status: WorkerStatus::Idle,
                        slots_busy: 0,
                        orders: Vec::new(),
                        at,
                    })
                };
                self.all_say(MessageKind::Heartbeat, some, heartbeat).await?;
            }
        }
        let goodbye = |worker_id: &WorkerId| {
            let (worker_id, reason) = (worker_id.clone(), "terminated".to_owned());
            Ok(Goodbye { worker_id, reason, handed_back: Some(Vec::new()) })
        };
        self.all_say(MessageKind::Goodbye, &self.ids, goodbye).await?;
        self.publisher.close().await;
        Ok(())
    }

    /// Some say something each, and are confirmed.
    async fn all_say<M: Serialize>(
        &self,
        kind: MessageKind,
        some: &[WorkerId],
        say: impl Fn(&WorkerId) -> Result<M, Failure>,
    ) -> Result<(), Failure> {
        let mut publications = Vec::with_capacity(some.len());
        for worker_id in some {
            let message = OutboundMessage {
                exchange: self.topology.discovery_exchange(),
                routing_key: kind.as_str().to_owned(),
                body: encode(ContentType::MessagePack, &say(worker_id)?).map_err(Failure::part)?.into(),
                properties: MessageProperties {
                    message_type: Some(kind.as_str().to_owned()),
                    content_type: Some(ContentType::MessagePack.as_str().to_owned()),
                    persistent: true,
                    ..MessageProperties::default()
                },
                mandatory: false,
            };
            publications.push(self.publisher.send(message).await.map_err(Failure::part)?);
        }
        for publication in publications {
            confirmed(publication).await?;
        }
        Ok(())
    }
}

fn announcement(worker_id: &WorkerId) -> Result<Announcement, Failure> {
    Ok(Announcement {
        worker_id: worker_id.clone(),
        name: "bench-idle".to_owned(),
        version: "1".to_owned(),
        sdk: Sdk { language: "rust".to_owned(), version: "1".to_owned() },
        host: "here".to_owned(),
        pid: std::process::id(),
        slots: 1,
        content_type: ContentType::MessagePack,
        types: vec![AnnouncedType {
            job_type: IDLE_TYPE.parse().map_err(Failure::part)?,
            description: String::new(),
            version: String::new(),
            parameters_schema: JsonObject::new(),
            result_schema: JsonObject::new(),
            bundles: true,
        }],
        started_at: now(),
    })
}

fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}
