//! Workers that announce themselves and say every five seconds that they live, and do nothing else: as many as a fleet has. They
//! share one connection.

use std::time::Duration;

use crewcall_amqp::Publisher;
use crewcall_proto::{JobType, MessageKind, Topology, WorkerId, discovery::HEARTBEAT_INTERVAL};
use serde::Serialize;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{broker::Broker, by_hand, limit::confirmed};
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
        let idle: JobType = IDLE_TYPE.parse().map_err(Failure::part)?;
        let announcement = |worker_id: &WorkerId| by_hand::announcement(worker_id, "bench-idle", &idle);
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
                let heartbeat = |worker_id: &WorkerId| by_hand::heartbeat(worker_id, None);
                self.all_say(MessageKind::Heartbeat, some, heartbeat).await?;
            }
        }
        self.all_say(MessageKind::Goodbye, &self.ids, by_hand::goodbye).await?;
        self.publisher.close().await;
        Ok(())
    }

    /// Some say something each, and are confirmed.
    async fn all_say<M: Serialize>(
        &self,
        kind: MessageKind,
        some: &[WorkerId],
        say: impl Fn(&WorkerId) -> M,
    ) -> Result<(), Failure> {
        let mut publications = Vec::with_capacity(some.len());
        for worker_id in some {
            let message = by_hand::of_itself(&self.topology, kind, &say(worker_id))?;
            publications.push(self.publisher.send(message).await.map_err(Failure::part)?);
        }
        for publication in publications {
            confirmed(publication).await?;
        }
        Ok(())
    }
}
