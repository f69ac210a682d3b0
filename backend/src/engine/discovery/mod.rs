//! Announcements, heartbeats and goodbyes: how workers become known, get their queues, and get lost.

mod announcement;

mod questions;

mod queues;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use crewcall_proto::{
    Attempt, AttemptId, ContentType, JobId, JobType, WorkerId,
    control::{Control, FEATURE_EVENTS, RefusedType},
    discovery::{AnnouncedType, Announcement, Goodbye, Heartbeat},
};
use futures_util::{StreamExt, future::join_all, stream};

use crate::{
    clock::Clock,
    domain::reserved::{announcement_refusal, is_reserved},
    engine::{
        changes::Changes,
        fleet::{
            leases::{Lease, Leases, handed_back},
            liveness::LivenessClock,
            registry::{Registry, WORKERS_MAX},
            revocations::Revocations,
        },
        ports::{Broker, LoopbackProbe, Store, StoreError},
        relay::{Relay, publisher::OrderPublisher},
        settings::catalogue::{Catalogue, CatalogueError, TypeUpdate},
    },
    metrics::Metrics,
};

/// How many unroutable jobs are released in one step.
const RELEASE_BATCH_MAX: usize = 500;

/// What this backend can do that earlier ones could not, as workers are told.
fn features() -> Vec<String> {
    vec![FEATURE_EVENTS.to_owned()]
}

/// How many workers are told to stop something at once: each may wait for a slow broker's confirm.
pub const TOLD_AT_ONCE: usize = 32;

/// What a worker said.
#[derive(Debug, Clone)]
pub enum Discovered {
    /// Who it is and what it can do.
    Announced(Announcement),
    /// That it is alive.
    Heartbeat(Heartbeat),
    Goodbye(Goodbye),
    /// A backend said something to itself.
    Probe(LoopbackProbe),
}

impl Discovered {
    fn worker_id(&self) -> Option<&WorkerId> {
        match self {
            Self::Announced(announcement) => Some(&announcement.worker_id),
            Self::Heartbeat(heartbeat) => Some(&heartbeat.worker_id),
            Self::Goodbye(goodbye) => Some(&goodbye.worker_id),
            Self::Probe(_) => None,
        }
    }
}

/// What was done for the types of a batch of announcements: once for all workers that announced them.
#[derive(Default)]
struct Batch {
    /// Whether the queues of types that were known before are there.
    queues: HashMap<JobType, bool>,
    /// Which types have their queues, and their unroutable jobs released.
    served: HashMap<JobType, bool>,
}

/// What a worker is to be told that announced itself.
struct Welcome {
    worker_id: WorkerId,
    content_type: ContentType,
    /// What is wrong with its announcement, if anything is.
    refused: Option<String>,
    /// What was taken; `None` when nothing was.
    control: Option<Control>,
}

/// What became of the types of a worker.
#[derive(Default)]
struct Taken {
    /// Those that the catalogue knows now.
    known: HashSet<JobType>,
    /// Those that have their queues.
    ready: Vec<JobType>,
    /// What was not taken, or not as it was announced.
    refused: Vec<RefusedType>,
}

/// The workers whose announcements could not be read, to be told so.
pub type Unreadable = Mutex<Vec<(WorkerId, ContentType, String)>>;

/// How many of them are told in one step; the others announce themselves again.
const UNREADABLE_MAX: usize = 256;

/// Knows the workers.
pub struct Discovery {
    /// What is asked of jobs.
    pub(in crate::engine) store: Arc<dyn Store>,
    /// The way to the store.
    pub(in crate::engine) changes: Changes,
    /// Who sends jobs to new workers.
    pub(in crate::engine) relay: Arc<Relay>,
    /// Who sends orders again that were lost with a queue.
    pub(in crate::engine) publisher: OrderPublisher,
    pub(in crate::engine) leases: Arc<Leases>,
    /// Which orders are not wanted any more.
    pub(in crate::engine) revocations: Arc<Revocations>,
    pub(in crate::engine) metrics: Arc<Metrics>,
    /// For how long anybody could be heard.
    pub(in crate::engine) liveness: Arc<LivenessClock>,
    pub(in crate::engine) registry: Arc<Registry>,
    /// What they can do.
    pub(in crate::engine) catalogue: Arc<Catalogue>,
    /// The way to them.
    pub(in crate::engine) broker: Arc<dyn Broker>,
    pub(in crate::engine) clock: Arc<dyn Clock>,
    /// Who is to be told that nobody could read what they announced.
    pub(in crate::engine) unreadable: Unreadable,
    /// The worker of this very process, which alone serves the types that are the backend's own.
    pub(in crate::engine) own_worker: WorkerId,
}

impl Discovery {
    /// Takes what workers said, in order. Of several announcements or heartbeats of one worker in a row,
    /// only the last counts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a type, or what was handed back, could not be kept; call again with the same messages.
    pub async fn handle(&self, messages: Vec<Discovered>) -> Result<(), StoreError> {
        let mut welcomes = self.take_unreadable();
        let mut asked = Vec::new();
        let mut last = HashMap::new();
        for (index, message) in messages.iter().enumerate() {
            last.insert((message.worker_id().cloned(), std::mem::discriminant(message)), index);
        }
        let mut batch = Batch { queues: self.look_after_queues(&messages).await, ..Batch::default() };
        for (index, message) in messages.into_iter().enumerate() {
            if last.get(&(message.worker_id().cloned(), std::mem::discriminant(&message))) != Some(&index) {
                continue;
            }
            match message {
                Discovered::Announced(announcement) => {
                    welcomes.push(self.announced(announcement, &mut batch).await?);
                }
                Discovered::Heartbeat(heartbeat) => {
                    self.heartbeat(&heartbeat).await;
                    asked.extend(questions(&heartbeat));
                }
                Discovered::Goodbye(goodbye) => self.goodbye(&goodbye).await?,
                Discovered::Probe(probe) => self.metrics.discovery_reachable(self.liveness.on_probe(probe)),
            }
        }
        // All at once: when a whole fleet comes, it must not wait for one confirm after the other.
        join_all(welcomes.iter().map(|welcome| self.welcome(welcome))).await;
        self.answer(asked).await;
        Ok(())
    }

    /// Looks after the queues of all known types that are announced together, side by side: one after the other, a fleet
    /// of many types would wait for its welcome.
    async fn look_after_queues(&self, messages: &[Discovered]) -> HashMap<JobType, bool> {
        let announced = messages.iter().filter_map(|message| match message {
            Discovered::Announced(announcement) => Some(&announcement.types),
            Discovered::Heartbeat(_) | Discovered::Goodbye(_) | Discovered::Probe(_) => None,
        });
        let names: HashSet<JobType> =
            announced.flatten().map(|announced| announced.job_type.clone()).collect();
        let known = names.into_iter().filter(|job_type| self.catalogue.knows(job_type));
        let look = |job_type| async move {
            let is_there = self.declare(&job_type).await;
            (job_type, is_there)
        };
        stream::iter(known.map(look)).buffer_unordered(TOLD_AT_ONCE).collect().await
    }

    /// An announcement could not be read, but for its sender: it is told with what is heard next.
    pub(in crate::engine) fn unreadable(
        &self,
        worker_id: WorkerId,
        content_type: ContentType,
        reason: String,
    ) {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if unreadable.len() < UNREADABLE_MAX {
            unreadable.push((worker_id, content_type, reason));
        }
    }

    /// The link to discovery is up again: what was said meanwhile may be lost, so everybody is asked to announce
    /// itself.
    pub async fn link_restored(&self) {
        if let Err(error) = self.broker.send_to_all(&Control::Announce).await {
            tracing::warn!(%error, "The workers could not be asked to announce themselves.");
        }
    }

    /// Sends a probe, to learn whether anybody can be heard.
    pub async fn send_probe(&self) {
        if let Err(error) = self.broker.probe(self.liveness.probe()).await {
            tracing::debug!(%error, "A probe was not sent.");
        }
    }

    /// Marks silent workers lost.
    pub fn mark_lost(&self) {
        let lost = self.registry.mark_lost();
        self.metrics.workers_lost(lost.len());
        for worker in lost {
            tracing::warn!(
                worker.id = %worker.announcement.worker_id, worker.name = worker.announcement.name,
                attempts = worker.orders.len(), "A worker fell silent and is taken as lost."
            );
        }
    }

    /// Tells workers to stop attempts, some at once.
    pub async fn send_cancels(&self, stopped: Vec<(WorkerId, JobId, Attempt)>) {
        let tell = |(worker_id, job_id, attempt)| async move {
            self.send_cancel(&worker_id, job_id, attempt).await;
        };
        stream::iter(stopped).for_each_concurrent(TOLD_AT_ONCE, tell).await;
    }

    /// Tells a worker to stop an attempt. What it does not hear is told again when it says that it is still at it.
    pub async fn send_cancel(&self, worker_id: &WorkerId, job_id: JobId, attempt: Attempt) {
        let content_type = self.registry.content_type(worker_id);
        let cancel = Control::Cancel { job_id, attempt };
        if let Err(error) = self.broker.send_to_worker(worker_id, content_type, &cancel).await {
            tracing::warn!(worker.id = %worker_id, job.id = %job_id, %error, "A worker could not be told to stop an attempt.");
        }
    }

    async fn announced(
        &self,
        mut announcement: Announcement,
        batch: &mut Batch,
    ) -> Result<Welcome, StoreError> {
        let worker_id = announcement.worker_id.clone();
        let content_type = announcement.content_type;
        let known = self.registry.worker(&worker_id).is_some();
        let refused = announcement::keep_within_limits(&mut announcement);
        if let Some(reason) = &refused
            && !known
        {
            tracing::warn!(worker.id = %worker_id, reason, "An announcement breaks a limit.");
        }
        let _turn = self.catalogue.changing.lock().await;
        // First the queues, then the word that somebody serves them: an order that came in between would be unroutable.
        let taken = self.serve_all(&worker_id, &announcement.types, batch).await?;
        // Nobody is counted for a type that was not taken.
        announcement.types.retain(|announced| taken.known.contains(&announced.job_type));
        let types = announcement.types.len();
        if !self.registry.announced(announcement.clone(), self.clock.now()) {
            tracing::warn!(worker.id = %worker_id, "A worker is not taken: there are too many.");
            let refused = Some(format!("the backend knows its limit of {WORKERS_MAX} workers"));
            return Ok(Welcome { worker_id, content_type, refused, control: None });
        }
        if !known {
            tracing::info!(
                worker.id = %worker_id, worker.name = announcement.name, worker.host = announcement.host,
                slots = announcement.slots, types, "A worker announced itself."
            );
        }
        for job_type in &taken.ready {
            self.relay.wake(job_type);
        }
        let revoked = self.revoked(&taken.ready).await;
        let features = features();
        let control = Control::Welcome { types: taken.ready, refused: taken.refused, revoked, features };
        Ok(Welcome { worker_id, content_type, refused, control: Some(control) })
    }

    fn take_unreadable(&self) -> Vec<Welcome> {
        let unreadable = std::mem::take(&mut *self.unreadable.lock().unwrap_or_else(PoisonError::into_inner));
        let told = unreadable.into_iter().map(|(worker_id, content_type, reason)| {
            let refused = Some(format!("the announcement cannot be read: {reason}"));
            Welcome { worker_id, content_type, refused, control: None }
        });
        told.collect()
    }

    /// What a worker of these types must not run although its order may still be queued.
    async fn revoked(&self, job_types: &[JobType]) -> Vec<AttemptId> {
        let mut queued = HashSet::new();
        for job_type in self.revocations.types(job_types) {
            let waiting = self.broker.orders_waiting(&job_type).await;
            // What another worker has was revoked there; if it comes back, it is asked about.
            if !waiting.is_ok_and(|waiting| waiting.is_empty()) {
                queued.insert(job_type);
            }
        }
        self.revocations.of(&queued)
    }

    async fn welcome(&self, welcome: &Welcome) {
        let Welcome { worker_id, content_type, refused, control } = welcome;
        if let Some(reason) = refused {
            let refused = Control::Refused { reason: reason.clone() };
            if let Err(error) = self.broker.send_to_worker(worker_id, *content_type, &refused).await {
                tracing::warn!(worker.id = %worker_id, %error, "A worker could not be told what is wrong with its announcement.");
            }
        }
        let Some(control) = control else { return };
        if let Err(error) = self.broker.send_to_worker(worker_id, *content_type, control).await {
            // It announces itself again until it is welcomed.
            tracing::warn!(worker.id = %worker_id, %error, "A worker could not be welcomed.");
            return;
        }
        // Last: whoever was drained before it connected again need not remember it.
        let drained = self.registry.worker(worker_id).is_some_and(|worker| worker.drained);
        if drained
            && let Err(error) = self.broker.send_to_worker(worker_id, *content_type, &Control::Drain).await
        {
            tracing::warn!(worker.id = %worker_id, %error, "A drained worker could not be told so again.");
        }
    }

    /// Takes the types of a worker. What was done for a type of the same batch is not done again.
    async fn serve_all(
        &self,
        worker_id: &WorkerId,
        types: &[AnnouncedType],
        batch: &mut Batch,
    ) -> Result<Taken, StoreError> {
        let mut taken = Taken::default();
        for announced in types {
            let job_type = &announced.job_type;
            let mut refuse = |reason| taken.refused.push(RefusedType { job_type: job_type.clone(), reason });
            if is_reserved(job_type.as_str()) && self.own_worker != *worker_id {
                tracing::warn!(worker.id = %worker_id, job.r#type = %job_type, "A reserved type is not taken.");
                refuse(announcement_refusal(job_type));
                continue;
            }
            let learnt = match self.catalogue.announced(announced).await {
                Ok(learnt) => learnt,
                Err(CatalogueError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(worker.id = %worker_id, job.r#type = %job_type, %error, "An announced type is not taken.");
                    refuse(error.to_string());
                    continue;
                }
            };
            self.metrics.type_announced(job_type);
            if let Some(reason) = self.catalogue.schema_error(job_type) {
                if learnt != TypeUpdate::Known {
                    tracing::warn!(worker.id = %worker_id, job.r#type = %job_type, reason, "A type is served without its schema.");
                }
                refuse(reason);
            }
            let is_served = match batch.served.get(job_type) {
                Some(is_served) => *is_served,
                None => self.serve(job_type, learnt, batch.queues.get(job_type).copied()).await?,
            };
            if !is_served && let Some(trouble) = self.catalogue.queue_error(job_type) {
                refuse(format!("it has no queue: {trouble}"));
            }
            batch.served.insert(job_type.clone(), is_served);
            taken.known.insert(job_type.clone());
            taken.ready.extend(is_served.then(|| job_type.clone()));
        }
        Ok(taken)
    }

    /// Gives a served type its queue, unless somebody just looked after that, and its unroutable jobs back their way.
    async fn serve(
        &self,
        job_type: &JobType,
        learnt: TypeUpdate,
        has_queue: Option<bool>,
    ) -> Result<bool, StoreError> {
        let has_queue = match has_queue {
            Some(has_queue) => has_queue,
            None => self.declare(job_type).await,
        };
        if !has_queue {
            return Ok(false);
        }
        if learnt == TypeUpdate::New {
            tracing::info!(job.r#type = %job_type, "A type was announced for the first time.");
        }
        self.release(job_type).await?;
        Ok(true)
    }

    /// Makes the type's unroutable jobs ready.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they could not be released.
    pub async fn release(&self, job_type: &JobType) -> Result<(), StoreError> {
        loop {
            let released = self.changes.release_unroutable(job_type, RELEASE_BATCH_MAX).await?;
            if released > 0 {
                tracing::info!(job.r#type = %job_type, jobs = released, "Unroutable jobs are released.");
            }
            if released < RELEASE_BATCH_MAX {
                return Ok(());
            }
        }
    }

    async fn heartbeat(&self, heartbeat: &Heartbeat) {
        let stopped = self.leases.renew(&heartbeat.worker_id, &heartbeat.orders);
        let told =
            stopped.into_iter().map(|(job_id, attempt)| (heartbeat.worker_id.clone(), job_id, attempt));
        self.send_cancels(told.collect()).await;
        let control = if self.registry.heartbeat(heartbeat, self.clock.now()) {
            let Some(missed) = self.registry.missed(heartbeat) else { return };
            missed
        } else {
            Control::Announce
        };
        let content_type = self.registry.content_type(&heartbeat.worker_id);
        if let Err(error) = self.broker.send_to_worker(&heartbeat.worker_id, content_type, &control).await {
            // Its next heartbeat says again that it has not heard it.
            tracing::warn!(worker.id = %heartbeat.worker_id, %error, ?control, "A worker could not be told what its heartbeat shows it to have missed.");
        }
    }

    async fn goodbye(&self, goodbye: &Goodbye) -> Result<(), StoreError> {
        let held = self.leases.held_by(&goodbye.worker_id, goodbye.handed_back.as_deref());
        for Lease { job_id, job_type, attempt, .. } in &held {
            tracing::info!(
                job.id = %job_id, job.r#type = %job_type, attempt = attempt.get(), worker.id = %goodbye.worker_id,
                "A held attempt is handed back by its worker, which leaves."
            );
        }
        let now = self.clock.now();
        self.changes.record(held.into_iter().map(|lease| handed_back(lease.origin(), now)).collect()).await?;
        if let Some(worker) = self.registry.goodbye(&goodbye.worker_id) {
            tracing::info!(
                worker.id = %goodbye.worker_id, worker.name = worker.announcement.name, reason = goodbye.reason,
                "A worker said goodbye."
            );
        }
        Ok(())
    }
}

/// The orders that a worker asks about.
fn questions(heartbeat: &Heartbeat) -> impl Iterator<Item = (WorkerId, AttemptId)> {
    let asked = heartbeat.orders.iter().filter(|order| order.asks);
    asked.map(|order| {
        (heartbeat.worker_id.clone(), AttemptId { job_id: order.job_id, attempt: order.attempt })
    })
}
