//! Which workers are there, and what they are doing: a cache that their messages rebuild.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use crewcall_proto::{
    Attempt, ContentType, JobId, JobType, JsonObject, Timestamp, WorkerId,
    control::Control,
    discovery::{
        AnnouncedType, Announcement, EmittedSubject, Heartbeat, RunningOrder, WORKER_LOST_AFTER,
        WorkerStatus as ReportedStatus,
    },
};
use dashmap::{DashMap, Entry};

mod workers_of_type;

pub(crate) use self::workers_of_type::Capacity;
use self::workers_of_type::WorkersOfType;
use crate::{domain::waiting::Staff, engine::fleet::liveness::LivenessClock};

/// How long a lost worker is still shown, so that an operator sees that it was there.
pub(crate) const LOST_WORKER_SHOWN_FOR: Duration = Duration::from_secs(600);

/// How many workers are remembered. The registry lives in memory; ten thousand take some 50 MB.
pub(crate) const WORKERS_MAX: usize = 20_000;

/// A worker as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// What it announced; of its types the names, and whether they come in bundles; the catalogue knows the rest.
    pub announcement: Announcement,
    /// What it is about.
    pub status: WorkerStatus,
    /// How many of its slots are taken.
    pub slots_busy: u32,
    pub orders: Vec<RunningOrder>,
    /// Whether somebody told it to drain, and not to resume since. Its own word for it, [`WorkerStatus::Draining`], may
    /// also be about a drain of its own.
    pub drained: bool,
    /// Whether somebody told it to resume, and it has not said since that it does.
    resuming: bool,
    /// When it announced itself, by our clock.
    pub announced_at: Timestamp,
    /// When it was last heard of, by our clock.
    pub last_seen_at: Timestamp,
    /// When it was last heard of, by the liveness clock.
    heard: Duration,
}

impl Worker {
    /// How many attempts it runs at once; [`Announcement::SLOTS_MAX`] bounds it.
    pub(in crate::engine) fn slots(&self) -> usize {
        usize::try_from(self.announcement.slots).unwrap_or(usize::MAX)
    }

    /// How many of them are taken, as it said last.
    pub(in crate::engine) fn slots_taken(&self) -> usize {
        usize::try_from(self.slots_busy).unwrap_or(usize::MAX).min(self.slots())
    }
}

/// Whether a worker is there, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkerStatus {
    Idle,
    Busy,
    Draining,
    /// Silent for longer than [`WORKER_LOST_AFTER`].
    Lost,
}

impl WorkerStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Busy, Self::Draining, Self::Lost];

    /// The word in the API and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

/// Every worker that was heard of.
#[derive(Debug)]
pub struct Registry {
    workers: DashMap<WorkerId, Worker>,
    /// Sums over the workers of each type: they are asked for with every job. Locked after the worker.
    by_type: DashMap<JobType, WorkersOfType>,
    liveness: Arc<LivenessClock>,
}

impl Registry {
    /// Nobody yet.
    #[must_use]
    pub fn new(liveness: Arc<LivenessClock>) -> Self {
        Self { workers: DashMap::new(), by_type: DashMap::new(), liveness }
    }

    /// Takes an announcement. `false` when the registry is full of others.
    pub fn announced(&self, mut announcement: Announcement, now: Timestamp) -> bool {
        let id = announcement.worker_id.clone();
        if self.workers.len() >= WORKERS_MAX && !self.workers.contains_key(&id) {
            return false;
        }
        announcement.types = announcement.types.into_iter().map(named_only).collect();
        let mut worker = Worker {
            announcement,
            status: WorkerStatus::Idle,
            slots_busy: 0,
            orders: Vec::new(),
            drained: false,
            resuming: false,
            announced_at: now,
            last_seen_at: now,
            heard: self.liveness.time(),
        };
        match self.workers.entry(id) {
            Entry::Occupied(mut known) => {
                let before = known.get();
                // A process that is started anew under the same name is not drained.
                let is_the_same = before.announcement.started_at == worker.announcement.started_at;
                worker.drained = before.drained && is_the_same;
                worker.resuming = before.resuming && is_the_same;
                if before.status != WorkerStatus::Lost {
                    (worker.status, worker.slots_busy) = (before.status, before.slots_busy);
                    worker.orders.clone_from(&before.orders);
                }
                self.count(before, WorkersOfType::leave);
                self.count(&worker, WorkersOfType::join);
                known.insert(worker);
            }
            Entry::Vacant(place) => {
                self.count(&worker, WorkersOfType::join);
                place.insert(worker);
            }
        }
        true
    }

    /// Takes a heartbeat. `false` when the worker is not known, or was given up: it has to announce itself again.
    pub fn heartbeat(&self, heartbeat: &Heartbeat, now: Timestamp) -> bool {
        let Some(mut worker) = self.workers.get_mut(&heartbeat.worker_id) else { return false };
        if worker.status == WorkerStatus::Lost {
            return false;
        }
        let status = match heartbeat.status {
            ReportedStatus::Idle => WorkerStatus::Idle,
            ReportedStatus::Draining => WorkerStatus::Draining,
            ReportedStatus::Busy | ReportedStatus::Unknown => WorkerStatus::Busy,
        };
        // Most heartbeats say what the one before said, and a worker may have hundreds of types.
        if (status, heartbeat.slots_busy) != (worker.status, worker.slots_busy) {
            self.count(&worker, WorkersOfType::leave);
            (worker.status, worker.slots_busy) = (status, heartbeat.slots_busy);
            self.count(&worker, WorkersOfType::join);
        }
        worker.orders.clone_from(&heartbeat.orders);
        worker.last_seen_at = now;
        worker.heard = self.liveness.time();
        true
    }

    /// Somebody drains a worker, or lets it resume. Returns whether it was drained before.
    pub fn set_drained(&self, worker_id: &WorkerId, drained: bool) -> bool {
        let worker = self.workers.get_mut(worker_id);
        worker.is_some_and(|mut worker| {
            worker.resuming = !drained;
            std::mem::replace(&mut worker.drained, drained)
        })
    }

    /// What a worker was told and did not do, as its heartbeat shows: an instruction is lost with the connection of a
    /// worker that reconnects just then. A drain that is the worker's own is left alone.
    pub fn missed(&self, heartbeat: &Heartbeat) -> Option<Control> {
        let mut worker = self.workers.get_mut(&heartbeat.worker_id)?;
        match heartbeat.status {
            ReportedStatus::Draining => worker.resuming.then_some(Control::Resume),
            ReportedStatus::Idle | ReportedStatus::Busy => {
                worker.resuming = false;
                worker.drained.then_some(Control::Drain)
            }
            ReportedStatus::Unknown => None,
        }
    }

    /// Forgets a worker that said goodbye.
    pub fn goodbye(&self, worker_id: &WorkerId) -> Option<Worker> {
        let (_, worker) = self.workers.remove_if(worker_id, |_, worker| {
            self.count(worker, WorkersOfType::leave);
            true
        })?;
        Some(worker)
    }

    /// Marks the workers lost that were silent for too long, and answers them; forgets those lost long ago.
    pub fn mark_lost(&self) -> Vec<Worker> {
        let now = self.liveness.time();
        self.workers.retain(|_, worker| {
            let kept = worker.status != WorkerStatus::Lost
                || now.saturating_sub(worker.heard) < LOST_WORKER_SHOWN_FOR;
            if !kept {
                self.count(worker, WorkersOfType::leave);
            }
            kept
        });
        let mut lost = Vec::new();
        for mut worker in self.workers.iter_mut() {
            if worker.status != WorkerStatus::Lost && now.saturating_sub(worker.heard) >= WORKER_LOST_AFTER {
                self.count(&worker, WorkersOfType::leave);
                worker.status = WorkerStatus::Lost;
                self.count(&worker, WorkersOfType::join);
                lost.push(worker.clone());
            }
        }
        lost
    }

    /// One worker.
    #[must_use]
    pub fn worker(&self, worker_id: &WorkerId) -> Option<Worker> {
        self.workers.get(worker_id).map(|worker| worker.clone())
    }

    /// Whether a worker announced that its jobs of the type publish this event.
    #[must_use]
    pub fn emits(&self, worker_id: &WorkerId, job_type: &JobType, subject: &str) -> bool {
        self.workers.get(worker_id).is_some_and(|worker| {
            let of_type =
                worker.announcement.types.iter().filter(|announced| announced.job_type == *job_type);
            of_type.flat_map(|announced| &announced.emits).any(|emitted| emitted.subject == subject)
        })
    }

    /// Every worker, by name and id.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        let mut workers: Vec<Worker> = self.workers.iter().map(|worker| worker.clone()).collect();
        workers.sort_by(|a, b| {
            let key =
                |worker: &Worker| (worker.announcement.name.clone(), worker.announcement.worker_id.clone());
            key(a).cmp(&key(b))
        });
        workers
    }

    /// Shows every worker, in no order, without a copy.
    pub fn for_each(&self, mut look: impl FnMut(&Worker)) {
        self.workers.iter().for_each(|worker| look(&worker));
    }

    /// In which encoding a worker wants to be spoken to. One that is not known, as after a restart of the backend, reads JSON
    /// in any case.
    #[must_use]
    pub fn content_type(&self, worker_id: &WorkerId) -> ContentType {
        self.workers.get(worker_id).map_or(ContentType::Json, |worker| worker.announcement.content_type)
    }

    /// In which encoding orders of the type go out. Whoever announced with MessagePack reads JSON as well, but
    /// not the other way round, and nobody knows who takes an order from the queue: so MessagePack is only for
    /// types whose workers all announced with it.
    #[must_use]
    pub fn order_encoding(&self, job_type: &JobType) -> ContentType {
        match self.workers_of(job_type) {
            WorkersOfType { known: 1.., json_only: 0, .. } => ContentType::MessagePack,
            _ => ContentType::Json,
        }
    }

    /// Who serves the type now, if orders of it may come several in one message: all of its workers have to read that, also those
    /// that were lost and may come back, for nobody knows who takes a message from the queue.
    #[must_use]
    pub fn bundling(&self, job_type: &JobType) -> Option<Capacity> {
        let workers = self.workers_of(job_type);
        (workers.capacity.workers > 0 && workers.singly == 0).then_some(workers.capacity)
    }

    /// How many workers serve the type now, and with how many slots.
    #[must_use]
    pub fn capacity(&self, job_type: &JobType) -> Capacity {
        self.workers_of(job_type).capacity
    }

    /// Who serves the type now, and what they do.
    #[must_use]
    pub fn staff(&self, job_type: &JobType) -> Staff {
        self.workers_of(job_type).staff()
    }

    /// The types that workers serve who are there.
    #[must_use]
    pub fn served(&self) -> Vec<JobType> {
        let there = self.by_type.iter().filter(|workers| workers.capacity.workers > 0);
        there.map(|workers| workers.key().clone()).collect()
    }

    /// Every attempt that a worker who is there says that it runs.
    #[must_use]
    pub fn running(&self) -> HashSet<(JobId, Attempt)> {
        let there = self.workers.iter().filter(|worker| worker.status != WorkerStatus::Lost);
        there
            .flat_map(|worker| {
                worker.orders.iter().map(|order| (order.job_id, order.attempt)).collect::<Vec<_>>()
            })
            .collect()
    }

    fn workers_of(&self, job_type: &JobType) -> WorkersOfType {
        self.by_type.get(job_type).map_or_else(WorkersOfType::default, |workers| *workers)
    }

    fn count(&self, worker: &Worker, change: fn(&mut WorkersOfType, &Worker, bool)) {
        // A type may be announced twice.
        let mut distinct: HashMap<&JobType, bool> = HashMap::new();
        for announced in &worker.announcement.types {
            *distinct.entry(&announced.job_type).or_insert(true) &= announced.bundles;
        }
        for (job_type, bundles) in distinct {
            let mut workers = self.by_type.entry(job_type.clone()).or_default();
            change(&mut workers, worker, bundles);
            if workers.known == 0 {
                drop(workers);
                self.by_type.remove_if(job_type, |_, workers| workers.known == 0);
            }
        }
    }
}

/// Thousands of workers announce the same schemas, and each may be as large as a message.
fn named_only(announced: AnnouncedType) -> AnnouncedType {
    AnnouncedType {
        job_type: announced.job_type,
        description: String::new(),
        version: String::new(),
        parameters_schema: JsonObject::new(),
        result_schema: JsonObject::new(),
        bundles: announced.bundles,
        emits: announced.emits.into_iter().map(subject_only).collect(),
    }
}

fn subject_only(emitted: EmittedSubject) -> EmittedSubject {
    EmittedSubject { description: String::new(), schema: JsonObject::new(), ..emitted }
}

#[cfg(test)]
mod tests;
