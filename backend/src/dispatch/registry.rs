//! Which workers are there, and what they are doing: a cache that their messages rebuild.

use std::time::Duration;

use crewcall_proto::{
    Attempt, ContentType, JobId, JobType, Timestamp, WorkerId,
    discovery::{Announcement, Heartbeat, RunningOrder, WORKER_LOST_AFTER, WorkerStatus},
};
use dashmap::DashMap;
use tokio::time::Instant;

/// How long a lost worker is still shown, so that an operator sees that it was there.
pub const LOST_WORKER_SHOWN_FOR: Duration = Duration::from_secs(600);

/// How many workers are remembered. The registry lives in memory; ten thousand take some 50 MB.
pub const WORKERS_MAX: usize = 20_000;

/// A worker as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// What it announced.
    pub announcement: Announcement,
    /// What it is about.
    pub presence: Presence,
    /// How many of its slots are taken.
    pub slots_busy: u32,
    /// What it runs.
    pub orders: Vec<RunningOrder>,
    /// When it announced itself, by our clock.
    pub announced_at: Timestamp,
    /// When it was last heard of, by our clock.
    pub last_seen_at: Timestamp,
    heard: Instant,
}

/// Whether a worker is there, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Nothing to do.
    Idle,
    /// At work.
    Busy,
    /// Finishing what runs.
    Draining,
    /// Silent for longer than [`WORKER_LOST_AFTER`].
    Lost,
}

impl Presence {
    /// Every presence.
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
#[derive(Debug, Default)]
pub struct Registry {
    workers: DashMap<WorkerId, Worker>,
}

impl Registry {
    /// Takes an announcement. `false` when the registry is full of others.
    pub fn announced(&self, announcement: Announcement, now: Timestamp) -> bool {
        let id = announcement.worker_id.clone();
        if self.workers.len() >= WORKERS_MAX && !self.workers.contains_key(&id) {
            return false;
        }
        let before =
            self.workers.get(&id).map(|known| (known.presence, known.slots_busy, known.orders.clone()));
        let (presence, slots_busy, orders) = match before {
            Some((Presence::Lost, ..)) | None => (Presence::Idle, 0, Vec::new()),
            Some(known) => known,
        };
        let worker = Worker {
            announcement,
            presence,
            slots_busy,
            orders,
            announced_at: now,
            last_seen_at: now,
            heard: Instant::now(),
        };
        self.workers.insert(id, worker);
        true
    }

    /// Takes a heartbeat. `false` when the worker is not known, or was given up: it has to announce itself again.
    pub fn heartbeat(&self, heartbeat: &Heartbeat, now: Timestamp) -> bool {
        let Some(mut worker) = self.workers.get_mut(&heartbeat.worker_id) else { return false };
        if worker.presence == Presence::Lost {
            return false;
        }
        worker.presence = match heartbeat.status {
            WorkerStatus::Idle => Presence::Idle,
            WorkerStatus::Draining => Presence::Draining,
            WorkerStatus::Busy | WorkerStatus::Unknown => Presence::Busy,
        };
        worker.slots_busy = heartbeat.slots_busy;
        worker.orders.clone_from(&heartbeat.orders);
        worker.last_seen_at = now;
        worker.heard = Instant::now();
        true
    }

    /// Forgets a worker that said goodbye.
    pub fn goodbye(&self, worker_id: &WorkerId) -> Option<Worker> {
        self.workers.remove(worker_id).map(|(_, worker)| worker)
    }

    /// Nobody could be heard until now: gives every worker the full time again to be heard of.
    pub fn forgive(&self) {
        for mut worker in self.workers.iter_mut() {
            worker.heard = Instant::now();
        }
    }

    /// Marks the workers lost that were silent for too long, and answers them; forgets those lost long ago.
    pub fn give_up_silent(&self) -> Vec<Worker> {
        self.workers.retain(|_, worker| {
            worker.presence != Presence::Lost || worker.heard.elapsed() < LOST_WORKER_SHOWN_FOR
        });
        let mut lost = Vec::new();
        for mut worker in self.workers.iter_mut() {
            if worker.presence != Presence::Lost && worker.heard.elapsed() >= WORKER_LOST_AFTER {
                worker.presence = Presence::Lost;
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

    /// In which encoding a worker wants to be spoken to.
    #[must_use]
    pub fn content_type(&self, worker_id: &WorkerId) -> ContentType {
        self.workers
            .get(worker_id)
            .map_or_else(ContentType::default, |worker| worker.announcement.content_type)
    }

    /// In which encoding orders of the type go out. Whoever announced with MessagePack reads JSON as well, but
    /// not the other way round, and nobody knows who takes an order from the queue: so MessagePack is only for
    /// types whose workers all announced with it.
    #[must_use]
    pub fn order_encoding(&self, job_type: &JobType) -> ContentType {
        let mut encoding = ContentType::Json;
        for worker in &self.workers {
            let serves = worker.announcement.types.iter().any(|announced| announced.job_type == *job_type);
            match (serves, worker.announcement.content_type) {
                (true, ContentType::Json) => return ContentType::Json,
                (true, ContentType::MessagePack) => encoding = ContentType::MessagePack,
                (false, _) => {}
            }
        }
        encoding
    }

    /// How many workers serve the type now, and with how many slots.
    #[must_use]
    pub fn capacity(&self, job_type: &JobType) -> Capacity {
        let mut capacity = Capacity::default();
        for worker in &self.workers {
            let serves = worker.announcement.types.iter().any(|announced| announced.job_type == *job_type);
            if serves && worker.presence != Presence::Lost {
                capacity.workers += 1;
                capacity.slots += usize::try_from(worker.announcement.slots).unwrap_or(usize::MAX);
            }
        }
        capacity
    }

    /// Whether a worker that is there says that it runs this attempt.
    #[must_use]
    pub fn runs(&self, job_id: JobId, attempt: Attempt) -> bool {
        self.workers.iter().any(|worker| {
            worker.presence != Presence::Lost
                && worker.orders.iter().any(|order| order.job_id == job_id && order.attempt == attempt)
        })
    }
}

/// What a type's workers can do at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// How many workers.
    pub workers: usize,
    /// How many slots in all.
    pub slots: usize,
}
