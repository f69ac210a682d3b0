//! The belief that a worker still runs an attempt, renewed by its heartbeats.
//!
//! Leases live in memory and are measured by this process's monotonic clock, never by a worker's. After a
//! restart they are rebuilt from the claims in the store, with their full time ahead of them.

use std::{collections::HashSet, time::Duration};

use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, JobId, JobType, WorkerId,
    discovery::{RunningOrder, WORKER_LOST_AFTER},
};
use dashmap::DashMap;
use tokio::time::Instant;

use super::ports::StoredClaim;
use crate::domain::{Claim, Life, State};

/// A held attempt is lost with its worker: nobody else can have it.
pub const HELD_LEASE: Duration = WORKER_LOST_AFTER;

/// An attempt that is not held belongs to the broker, which delivers its order again when the worker's
/// connection ends. Only when nothing was heard for this long do we look whether it really did: the broker
/// itself needs up to three of its 10 s heartbeats to notice.
pub const DELIVERED_LEASE: Duration = Duration::from_secs(60);

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
    renewed: Instant,
}

impl Lease {
    fn expired(&self) -> bool {
        self.renewed.elapsed() >= if self.held { HELD_LEASE } else { DELIVERED_LEASE }
    }
}

/// Every lease there is.
#[derive(Debug, Default)]
pub struct Leases {
    leases: DashMap<JobId, Lease>,
}

impl Leases {
    /// Takes over the claims that an earlier process recorded.
    pub fn restore(&self, stored: StoredClaim) {
        let StoredClaim { job_id, job_type, attempt, token, claim } = stored;
        self.put(job_id, &job_type, attempt, token, &claim);
    }

    /// Follows a change of a job: a running job has a lease, any other has none.
    pub fn follow(&self, job_id: JobId, job_type: &JobType, life: &Life) {
        match (&life.claim, life.token, life.state) {
            (Some(claim), Some(token), State::Running) => {
                self.put(job_id, job_type, life.attempt, token, claim);
            }
            _ => {
                self.leases.remove(&job_id);
            }
        }
    }

    /// A worker says what it runs.
    pub fn renew(&self, worker_id: &WorkerId, orders: &[RunningOrder]) {
        for order in orders {
            if let Some(mut lease) = self.leases.get_mut(&order.job_id)
                && lease.attempt == order.attempt
                && lease.worker_id == *worker_id
            {
                lease.renewed = Instant::now();
            }
        }
    }

    /// Nobody could be heard until now: gives every lease its full time again.
    pub fn forgive(&self) {
        for mut lease in self.leases.iter_mut() {
            lease.renewed = Instant::now();
        }
    }

    /// The leases whose time is up.
    #[must_use]
    pub fn expired(&self) -> Vec<Lease> {
        self.leases.iter().filter(|lease| lease.expired()).map(|lease| lease.clone()).collect()
    }

    /// Puts off a lease that cannot be decided yet.
    pub fn postpone(&self, job_ids: &HashSet<JobId>) {
        for job_id in job_ids {
            if let Some(mut lease) = self.leases.get_mut(job_id) {
                lease.renewed = Instant::now();
            }
        }
    }

    fn put(&self, job_id: JobId, job_type: &JobType, attempt: Attempt, token: AttemptToken, claim: &Claim) {
        let lease = Lease {
            job_id,
            job_type: job_type.clone(),
            attempt,
            token,
            execution_id: claim.execution_id,
            worker_id: claim.worker_id.clone(),
            held: claim.held,
            renewed: Instant::now(),
        };
        self.leases.insert(job_id, lease);
    }
}
