//! The belief that a worker still runs an attempt, renewed by its heartbeats.
//!
//! Leases live in memory and are measured by the time in which workers could be heard ([`LivenessClock`]), never by a
//! worker's clock. After a restart they are rebuilt from the claims in the store, with their full time ahead of them.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{
    Attempt, AttemptId, AttemptToken, ExecutionId, JobId, JobType, Timestamp, WorkerId,
    discovery::{RunningOrder, WORKER_LOST_AFTER},
    response::Origin,
};
use dashmap::DashMap;

use crate::{
    domain::{Claim, Event, State},
    engine::{
        changes::Observer,
        fleet::{liveness::LivenessClock, overtaking::Overtaking},
        ports::{JobChanged, JobEvent, StoredClaim},
    },
};

/// A held attempt is lost with its worker: nobody else can have it.
pub const HELD_LEASE: Duration = WORKER_LOST_AFTER;

/// How much longer than its timeout an attempt may run before the backend ends it: the worker does so
/// itself, unless it cannot.
pub const TIMEOUT_GRACE: Duration = Duration::from_secs(10);

/// A worker's lease on an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub job_id: JobId,
    pub job_type: JobType,
    pub attempt: Attempt,
    pub token: AttemptToken,
    /// The execution that has it.
    pub execution_id: ExecutionId,
    pub worker_id: WorkerId,
    /// Whether only the heartbeat keeps it.
    pub held: bool,
    /// Whether it was asked to stop.
    pub cancelled: bool,
    /// When the worker was last heard of, by the liveness clock.
    renewed: Duration,
    /// When the backend ends it, by the same clock, if its job has a timeout.
    deadline: Option<Duration>,
}

/// Why a lease is over. That of an attempt that is not held ends by its time alone: its order belongs to the broker, which
/// delivers it again when the worker's connection ends, and the reconciler looks whether it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// The attempt ran for longer than it may.
    Overdue,
    /// The worker that held it was not heard of for too long.
    Silent,
}

impl Lease {
    /// When the worker was last heard of, by the liveness clock.
    #[must_use]
    pub const fn renewed(&self) -> Duration {
        self.renewed
    }

    /// Who has it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            job_id: self.job_id,
            attempt: self.attempt,
            attempt_token: self.token,
            execution_id: self.execution_id,
            worker_id: self.worker_id.clone(),
        }
    }

    fn end(&self, now: Duration) -> Option<LeaseEnd> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            Some(LeaseEnd::Overdue)
        } else if self.held && now.saturating_sub(self.renewed) >= HELD_LEASE {
            Some(LeaseEnd::Silent)
        } else {
            None
        }
    }
}

/// Every lease there is.
#[derive(Debug)]
pub struct Leases {
    leases: DashMap<JobId, Lease>,
    /// Which orders were overtaken by those that workers speak of.
    pub overtaking: Overtaking,
    liveness: Arc<LivenessClock>,
}

/// A running job has a lease, any other has none.
impl Observer for Leases {
    fn after_commit(&self, changes: &[JobChanged]) {
        for change in changes {
            if let Some(number) = change.delivered {
                self.overtaking.delivered(&change.job_type, number);
            }
            let running = change.is.as_ref().filter(|status| status.state == State::Running);
            match running.and_then(|status| Some((status, status.claim.as_ref()?, status.token?))) {
                Some((status, claim, token)) => self.put(StoredClaim {
                    job_id: change.job_id,
                    job_type: change.job_type.clone(),
                    attempt: status.attempt,
                    token,
                    claim: claim.clone(),
                    timeout: change.policy.timeout,
                    cancelled: status.cancellation.is_some(),
                }),
                None => drop(self.leases.remove(&change.job_id)),
            }
        }
    }
}

impl Leases {
    /// None yet.
    #[must_use]
    pub fn new(liveness: Arc<LivenessClock>) -> Self {
        Self { leases: DashMap::new(), overtaking: Overtaking::default(), liveness }
    }

    /// Takes over the claims that an earlier process recorded.
    pub fn restore(&self, stored: StoredClaim) {
        self.put(stored);
    }

    /// A worker says what it runs. Returns what of it was asked to stop: it may not have heard that.
    pub fn renew(&self, worker_id: &WorkerId, orders: &[RunningOrder]) -> Vec<(JobId, Attempt)> {
        let mut cancelled = Vec::new();
        for order in orders {
            if let Some(mut lease) = self.leases.get_mut(&order.job_id)
                && lease.attempt == order.attempt
                && lease.worker_id == *worker_id
            {
                lease.renewed = self.liveness.time();
                if lease.cancelled {
                    cancelled.push((order.job_id, order.attempt));
                }
            }
        }
        cancelled
    }

    /// The attempts that the worker holds, or those of them that are `listed`.
    #[must_use]
    pub fn held_by(&self, worker_id: &WorkerId, listed: Option<&[AttemptId]>) -> Vec<Lease> {
        let is_meant = |lease: &Lease| {
            let attempt = AttemptId { job_id: lease.job_id, attempt: lease.attempt };
            lease.held
                && lease.worker_id == *worker_id
                && listed.is_none_or(|listed| listed.contains(&attempt))
        };
        if listed.is_some_and(<[_]>::is_empty) {
            return Vec::new();
        }
        self.leases.iter().filter(|lease| is_meant(lease)).map(|lease| lease.clone()).collect()
    }

    /// The leases whose time is up, and why.
    #[must_use]
    pub fn ended(&self, limit: usize) -> Vec<(Lease, LeaseEnd)> {
        let now = self.liveness.time();
        self.leases.iter().filter_map(|lease| Some((lease.clone(), lease.end(now)?))).take(limit).collect()
    }

    /// Forgets a lease on what is over.
    pub fn forget(&self, ended: &Lease) {
        let is_same =
            |lease: &Lease| (lease.attempt, lease.execution_id) == (ended.attempt, ended.execution_id);
        self.leases.remove_if(&ended.job_id, |_, lease| is_same(lease));
    }

    /// Forgets whatever lease there is on an attempt that is over.
    pub fn forget_attempt(&self, job_id: JobId, attempt: Attempt) {
        self.leases.remove_if(&job_id, |_, lease| lease.attempt == attempt);
    }

    /// The leases of attempts that are not held: their orders should be with a worker or with the broker.
    #[must_use]
    pub fn delivered(&self) -> Vec<Lease> {
        self.leases.iter().filter(|lease| !lease.held).map(|lease| lease.clone()).collect()
    }

    /// How many attempts are held, and how many are not.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let held = self.leases.iter().filter(|lease| lease.held).count();
        (held, self.leases.len().saturating_sub(held))
    }

    fn put(&self, running: StoredClaim) {
        let StoredClaim { job_id, job_type, attempt, token, claim, timeout, cancelled } = running;
        let Claim { execution_id, worker_id, held, .. } = claim;
        let now = self.liveness.time();
        // News of the same execution do not give it more time.
        let deadline = match self.leases.get(&job_id) {
            Some(known) if known.execution_id == execution_id => known.deadline,
            _ => timeout.map(|timeout| now + timeout + TIMEOUT_GRACE),
        };
        let lease = Lease {
            job_id,
            job_type,
            attempt,
            token,
            execution_id,
            worker_id,
            held,
            cancelled,
            renewed: now,
            deadline,
        };
        self.leases.insert(job_id, lease);
    }
}

/// A worker gave an attempt up whose order is gone.
pub(in crate::engine) fn handed_back(origin: Origin, at: Timestamp) -> JobEvent {
    let job_id = origin.job_id;
    let event = Event::HandedBack { origin, resend: true, message: None, started_at: None, at };
    JobEvent { job_id, event }
}
