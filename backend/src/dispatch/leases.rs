//! The belief that a worker still runs an attempt, renewed by its heartbeats.
//!
//! Leases live in memory and are measured by the time in which workers could be heard ([`Hearing`]), never by a
//! worker's clock. After a restart they are rebuilt from the claims in the store, with their full time ahead of them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, JobId, JobType, WorkerId,
    discovery::{RunningOrder, WORKER_LOST_AFTER},
};
use dashmap::DashMap;

use super::{
    hearing::Hearing,
    ports::{JobChange, StoredClaim},
};
use crate::domain::{Claim, State};

/// A held attempt is lost with its worker: nobody else can have it.
pub const HELD_LEASE: Duration = WORKER_LOST_AFTER;

/// An attempt that is not held belongs to the broker, which delivers its order again when the worker's
/// connection ends. Only when nothing was heard for this long do we look whether it really did: the broker
/// itself needs up to three of its 10 s heartbeats to notice.
pub const DELIVERED_LEASE: Duration = Duration::from_secs(60);

/// How much longer than its timeout an attempt may run before the backend ends it: the worker does so
/// itself, unless it cannot.
pub const TIMEOUT_GRACE: Duration = Duration::from_secs(10);

/// A worker's lease on an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// Its type.
    pub job_type: JobType,
    /// The attempt.
    pub attempt: Attempt,
    /// Its token.
    pub token: AttemptToken,
    /// The execution that has it.
    pub execution_id: ExecutionId,
    /// Who runs it.
    pub worker_id: WorkerId,
    /// Whether only the heartbeat keeps it.
    pub held: bool,
    /// Whether it was asked to stop.
    pub cancelled: bool,
    /// When the worker was last heard of, by the clock of hearing.
    renewed: Duration,
    /// When the backend ends it, by the same clock, if its job has a timeout.
    deadline: Option<Duration>,
}

/// Why a lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// The attempt ran for longer than it may.
    Overdue,
    /// The worker was not heard of for too long.
    Silent,
}

impl Lease {
    fn end(&self, now: Duration) -> Option<LeaseEnd> {
        let patience = if self.held { HELD_LEASE } else { DELIVERED_LEASE };
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            Some(LeaseEnd::Overdue)
        } else if now.saturating_sub(self.renewed) >= patience {
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
    hearing: Arc<Hearing>,
}

impl Leases {
    /// None yet.
    #[must_use]
    pub fn new(hearing: Arc<Hearing>) -> Self {
        Self { leases: DashMap::new(), hearing }
    }

    /// Takes over the claims that an earlier process recorded.
    pub fn restore(&self, stored: StoredClaim) {
        self.put(stored);
    }

    /// Follows a change of a job: a running job has a lease, any other has none.
    pub fn follow(&self, change: &JobChange) {
        let JobChange { job_id, job_type, life, timeout, .. } = change;
        match (&life.claim, life.token, life.state) {
            (Some(claim), Some(token), State::Running) => self.put(StoredClaim {
                job_id: *job_id,
                job_type: job_type.clone(),
                attempt: life.attempt,
                token,
                claim: claim.clone(),
                timeout: *timeout,
                cancelled: life.cancellation.is_some(),
            }),
            _ => {
                self.leases.remove(job_id);
            }
        }
    }

    /// A worker says what it runs. Answers what of it was asked to stop: it may not have heard that.
    pub fn renew(&self, worker_id: &WorkerId, orders: &[RunningOrder]) -> Vec<(JobId, Attempt)> {
        let mut cancelled = Vec::new();
        for order in orders {
            if let Some(mut lease) = self.leases.get_mut(&order.job_id)
                && lease.attempt == order.attempt
                && lease.worker_id == *worker_id
            {
                lease.renewed = self.hearing.time();
                if lease.cancelled {
                    cancelled.push((order.job_id, order.attempt));
                }
            }
        }
        cancelled
    }

    /// The leases whose time is up, and why.
    #[must_use]
    pub fn ended(&self) -> Vec<(Lease, LeaseEnd)> {
        let now = self.hearing.time();
        self.leases.iter().filter_map(|lease| Some((lease.clone(), lease.end(now)?))).collect()
    }

    /// Puts off a lease that cannot be decided yet.
    pub fn postpone(&self, job_ids: &HashSet<JobId>) {
        for job_id in job_ids {
            if let Some(mut lease) = self.leases.get_mut(job_id) {
                lease.renewed = self.hearing.time();
            }
        }
    }

    fn put(&self, running: StoredClaim) {
        let StoredClaim { job_id, job_type, attempt, token, claim, timeout, cancelled } = running;
        let Claim { execution_id, worker_id, held, .. } = claim;
        let now = self.hearing.time();
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
