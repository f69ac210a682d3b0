//! A worker that reports more progress than anybody can read, and how long the jobs of others take meanwhile.

use std::{collections::VecDeque, time::Duration};

use crewcall_amqp::{
    Consumer, ConsumerEvent, Delivery, OutboundMessage, Publication, Publisher, Subscription,
};
use crewcall_proto::{
    ExecutionId, JobType, MessageKind, Order, Topology, WorkerId,
    codec::decode,
    discovery::{HEARTBEAT_INTERVAL, RunningOrder},
    response::{Completed, Progression, ProgressionKind},
};
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    PATIENCE, broker::Broker, by_hand, figures::Times, http::Http, latency, limit::confirmed, load::job,
};
use crate::exit::Failure;

/// The type of the one job that the worker reports about.
pub(super) const FLOOD_TYPE: &str = "bench.flood";

/// For how long it sends at most; what is not sent then stays so.
const FLOOD_MAX: Duration = Duration::from_secs(60);
/// How many messages wait for their confirm at once.
const UNCONFIRMED_MAX: usize = 1_000;
/// How often is looked whether the last message has been read.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What was measured.
pub(super) struct Flood {
    /// How many messages there were to be.
    pub(super) wanted: usize,
    /// How many the broker took before it was too late.
    pub(super) sent: usize,
    /// How long it took for these.
    pub(super) took: Duration,
    /// From then until the last of them could be read with the job.
    pub(super) behind: Duration,
    /// How long other jobs took, one after the other, until that was so.
    pub(super) job_times: Times,
}

/// Lets a worker report progress so often, or for as long as it may, and measures other jobs meanwhile.
///
/// # Errors
///
/// When the broker or the backend refuses something, or something does not come in time.
pub(super) async fn run(broker: &Broker, http: &Http, messages: usize) -> Result<Flood, Failure> {
    let worker = FloodWorker::start(broker, http).await?;
    // A task of its own, so that it does not take turns with the clock. It ends with this set.
    let mut flooding = JoinSet::new();
    let client = http.clone();
    flooding.spawn(async move { worker.flood(&client, messages).await });
    let mut job_times = Times::default();
    let (worker, sent, took, behind) = loop {
        job_times.add(latency::one(http).await?);
        if let Some(ended) = flooding.try_join_next() {
            break ended.map_err(Failure::part)??;
        }
    };
    worker.leave(http).await?;
    Ok(Flood { wanted: messages, sent, took, behind, job_times })
}

/// A worker with the order of the one job.
struct FloodWorker {
    publisher: Publisher,
    consumer: Consumer,
    topology: Topology,
    job_type: JobType,
    worker_id: WorkerId,
    execution_id: ExecutionId,
    order: Order,
    delivery: Delivery,
    /// Without it, the consumer would end.
    _events: mpsc::Receiver<ConsumerEvent>,
    unconfirmed: VecDeque<Publication>,
    heartbeat_due: Instant,
    /// Ends the links.
    _links: DropGuard,
}

impl FloodWorker {
    /// It comes, takes the order of a job that is made for it, and says that the job runs.
    async fn start(broker: &Broker, http: &Http) -> Result<Self, Failure> {
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let publisher = broker.publisher(Vec::new(), &stop, &tracker).await?;
        let topology = Topology::new(broker.prefix()).map_err(Failure::part)?;
        let job_type: JobType = FLOOD_TYPE.parse().map_err(Failure::part)?;
        let worker_id = WorkerId::generate();
        let announcement = by_hand::announcement(&worker_id, "bench-flood", &job_type);
        let announced = by_hand::of_itself(&topology, MessageKind::Announce, &announcement)?;
        confirmed(publisher.send(announced).await.map_err(Failure::part)?).await?;
        http.served(FLOOD_TYPE).await?;
        let subscription = Subscription {
            queue: topology.jobs_queue(&job_type),
            prefetch: 1,
            tag: FLOOD_TYPE.to_owned(),
            exclusive: false,
        };
        let (consumer, mut events) =
            Consumer::start(broker.link(), Vec::new(), vec![subscription], &stop, &tracker);
        let id = http.submit(job(FLOOD_TYPE)).await?;
        let delivery = timeout(PATIENCE, first_delivery(&mut events)).await.map_err(Failure::part)??;
        let content_type = delivery.properties.content_type.as_deref().unwrap_or_default();
        let content_type = content_type.parse().map_err(Failure::part)?;
        let order = decode(content_type, &delivery.body).map_err(Failure::part)?;
        let mut worker = Self {
            publisher,
            consumer,
            topology,
            job_type,
            worker_id,
            execution_id: ExecutionId::generate(),
            order,
            delivery,
            _events: events,
            unconfirmed: VecDeque::with_capacity(UNCONFIRMED_MAX),
            heartbeat_due: Instant::now(),
            _links: stop.drop_guard(),
        };
        worker.report(1, None).await?;
        worker.until_confirmed().await?;
        http.until_running(&id).await?;
        Ok(worker)
    }

    /// Reports progress as fast as the broker takes it. Returns how often, how long that took, and how much later the last
    /// was read.
    async fn flood(
        mut self,
        http: &Http,
        messages: usize,
    ) -> Result<(Self, usize, Duration, Duration), Failure> {
        let (began, mut sent) = (Instant::now(), 0);
        while sent + 1 < messages && began.elapsed() < FLOOD_MAX {
            self.heartbeat_if_due().await?;
            sent += 1;
            self.report(sent + 1, Some(99 * sent / messages)).await?;
        }
        // By this one is seen when all that could be read was.
        sent += 1;
        self.report(sent + 1, Some(100)).await?;
        self.until_confirmed().await?;
        let (took, all_sent) = (began.elapsed(), Instant::now());
        while http.get(&format!("/v1/jobs/{}", self.order.job_id)).await?["progress"]["percent"] != 100 {
            if all_sent.elapsed() > PATIENCE {
                return Err(Failure::Part("the last progress message was not read in time".into()));
            }
            self.heartbeat_if_due().await?;
            sleep(LOOK_EVERY).await;
        }
        Ok((self, sent, took, all_sent.elapsed()))
    }

    /// Completes the job, and leaves.
    async fn leave(mut self, http: &Http) -> Result<(), Failure> {
        let at = by_hand::now();
        let completed = Completed {
            job_id: self.order.job_id,
            attempt: self.order.attempt,
            attempt_token: self.order.attempt_token,
            execution_id: self.execution_id,
            worker_id: self.worker_id.clone(),
            result: json!({}),
            events: Vec::new(),
            started_at: at,
            finished_at: at,
        };
        let kind = MessageKind::Completed;
        self.say(by_hand::of_an_attempt(&self.topology, kind, &self.job_type, &completed)?).await?;
        self.until_confirmed().await?;
        self.delivery.ack().await.map_err(Failure::part)?;
        let id = self.order.job_id.to_string();
        let state = http.end_of(&id).await?;
        if state != "completed" {
            return Err(Failure::Part(
                format!("job {id} was completed amid its progress, and is {state}").into(),
            ));
        }
        let goodbye = by_hand::goodbye(&self.worker_id);
        self.say(by_hand::of_itself(&self.topology, MessageKind::Goodbye, &goodbye)?).await?;
        self.until_confirmed().await?;
        self.publisher.close().await;
        self.consumer.close().await;
        Ok(())
    }

    /// Reports the start, or so many percent.
    async fn report(&mut self, seq: usize, percent: Option<usize>) -> Result<(), Failure> {
        let progression = Progression {
            job_id: self.order.job_id,
            attempt: self.order.attempt,
            attempt_token: self.order.attempt_token,
            execution_id: self.execution_id,
            worker_id: self.worker_id.clone(),
            seq: u64::try_from(seq).unwrap_or(u64::MAX),
            kind: if percent.is_some() { ProgressionKind::Progress } else { ProgressionKind::Started },
            percent: percent.and_then(|percent| u8::try_from(percent).ok()),
            message: percent.map(|_| format!("news {seq}")),
            at: by_hand::now(),
        };
        let kind = MessageKind::Progression;
        self.say(by_hand::of_an_attempt(&self.topology, kind, &self.job_type, &progression)?).await
    }

    async fn heartbeat_if_due(&mut self) -> Result<(), Failure> {
        if Instant::now() < self.heartbeat_due {
            return Ok(());
        }
        self.heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
        let Order { job_id, attempt, .. } = self.order;
        let running = RunningOrder { job_id, attempt, held: false, asks: false };
        let heartbeat = by_hand::heartbeat(&self.worker_id, Some(running));
        self.say(by_hand::of_itself(&self.topology, MessageKind::Heartbeat, &heartbeat)?).await
    }

    /// Sends a message, as soon as few enough of those before wait for their confirm.
    async fn say(&mut self, message: OutboundMessage) -> Result<(), Failure> {
        if self.unconfirmed.len() == UNCONFIRMED_MAX
            && let Some(oldest) = self.unconfirmed.pop_front()
        {
            confirmed(oldest).await?;
        }
        self.unconfirmed.push_back(self.publisher.send(message).await.map_err(Failure::part)?);
        Ok(())
    }

    async fn until_confirmed(&mut self) -> Result<(), Failure> {
        for publication in self.unconfirmed.drain(..) {
            confirmed(publication).await?;
        }
        Ok(())
    }
}

/// The first delivery, over as many sessions as it takes: the queue may not be there yet.
async fn first_delivery(events: &mut mpsc::Receiver<ConsumerEvent>) -> Result<Delivery, Failure> {
    loop {
        match events.recv().await {
            Some(ConsumerEvent::Delivery(delivery)) => return Ok(delivery),
            Some(ConsumerEvent::Up { .. } | ConsumerEvent::Down { .. }) => {}
            None => return Err(Failure::Part("the link to the broker has ended".into())),
        }
    }
}
