//! What is read of a store in memory, and the commands that change it.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_backend::{
    domain::{AttemptRecord, Cause, Consumer, ConsumerName, Job, NewEvent, PublishedEvent, Sequence, State},
    engine::{
        ports::{
            Accepted, Appended, Applied, ConsumerChange, ConsumerChanged, ConsumerStep, Consumers, Count,
            Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, Emission, Events, IdempotencyKey,
            InFlight, Inserted, JobEvent, JobQuery, Jobs, LogBounds, Standing, Stepped, StoreError,
            StoredClaim, Written,
        },
        rules::{
            AppendEmissions, AppendEvents, ApplyEvents, ChangeConsumer, Consume, DeleteEvents,
            DeleteFinished, DispatchDue, ExpireDue, NewJob, ReleaseDue, ReleaseUnroutable, StateCounts,
            StoreJobs, SubmittedBefore, counted,
        },
    },
};
use crewcall_proto::{AttemptId, JobId, JobType, Timestamp};

use super::{
    MemoryStore,
    disk::{Disk, Kept},
};

fn matches(query: &JobQuery, job: &Job) -> bool {
    (query.states.is_empty() || query.states.contains(&job.status.state))
        && query
            .job_type
            .as_ref()
            .is_none_or(|pattern| glob(pattern.as_bytes(), job.job_type.as_str().as_bytes()))
        && query.labels.iter().all(|(name, value)| job.labels.get(name) == Some(value))
        && query.created_after.is_none_or(|after| job.created_at >= after)
        && query.created_before.is_none_or(|before| job.created_at < before)
        && query.ids.as_ref().is_none_or(|ids| ids.contains(&job.id))
        && query.before.is_none_or(|before| job.id < before)
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| glob(rest, &text[skipped..])),
        ([one, pattern @ ..], [other, text @ ..]) if one == other => glob(pattern, text),
        _ => false,
    }
}

impl Disk {
    fn newest<'a>(&'a self, query: &'a JobQuery) -> impl Iterator<Item = &'a Job> {
        let jobs = self.jobs.values().rev().map(|kept| &kept.job);
        jobs.filter(|job| matches(query, job)).take(query.limit)
    }

    fn in_state(&self, state: State) -> impl Iterator<Item = &Kept> {
        self.jobs.values().filter(move |kept| kept.job.status.state == state)
    }
}

#[async_trait]
impl Jobs for MemoryStore {
    async fn insert(&self, jobs: Vec<Accepted>) -> Result<Written<Vec<Inserted>>, StoreError> {
        self.run(StoreJobs(jobs.into_iter().map(|job| NewJob::new(job).unwrap()).collect())).await
    }

    async fn submitted_before(&self, key: &IdempotencyKey) -> Result<Option<Inserted>, StoreError> {
        self.run(SubmittedBefore(key.clone())).await.map(|written| written.value)
    }

    async fn apply(&self, events: Vec<JobEvent>) -> Result<Written<Vec<Applied>>, StoreError> {
        self.run(ApplyEvents(events)).await
    }

    async fn dispatch_due(
        &self,
        job_type: &JobType,
        window: usize,
        limit: usize,
    ) -> Result<Written<Option<Duration>>, StoreError> {
        self.run(DispatchDue { job_type: job_type.clone(), window, limit }).await
    }

    async fn confirm_dispatches(&self, up_to: DispatchNumber) -> Result<(), StoreError> {
        self.write(|disk| disk.confirmed = disk.confirmed.max(up_to))
    }

    async fn unconfirmed_dispatches(
        &self,
        after: DispatchNumber,
        limit: usize,
    ) -> Result<Vec<Dispatch>, StoreError> {
        self.read(|disk, _| {
            let above = after.max(disk.confirmed);
            let numbered = disk.in_state(State::Dispatched).filter_map(|kept| Some((kept.number?, kept)));
            let mut open: Vec<_> = numbered.filter(|(number, _)| *number > above).collect();
            open.sort_by_key(|(number, _)| *number);
            let dispatch = |(number, kept): (DispatchNumber, &Kept)| Dispatch {
                number,
                job: kept.job.clone().into(),
                sent_before: true,
            };
            open.into_iter().take(limit).map(dispatch).collect()
        })
    }

    async fn dispatch_marks(&self) -> Result<DispatchMarks, StoreError> {
        self.read(|disk, _| DispatchMarks { confirmed: disk.confirmed, issued: disk.issued })
    }

    async fn release_due(&self, limit: usize) -> Result<Written<Option<Timestamp>>, StoreError> {
        self.run(ReleaseDue { limit }).await
    }

    async fn expire_due(&self, limit: usize) -> Result<Written<Option<Timestamp>>, StoreError> {
        self.run(ExpireDue { limit }).await
    }

    async fn release_unroutable(&self, job_type: &JobType, limit: usize) -> Result<Written<()>, StoreError> {
        self.run(ReleaseUnroutable { job_type: job_type.clone(), limit }).await
    }

    async fn ready_types(&self) -> Result<Vec<JobType>, StoreError> {
        let mut types: Vec<JobType> =
            self.read(|disk, _| disk.in_state(State::Ready).map(|kept| kept.job.job_type.clone()).collect())?;
        types.sort_unstable();
        types.dedup();
        Ok(types)
    }

    async fn claims(&self, after: Option<JobId>, limit: usize) -> Result<Vec<StoredClaim>, StoreError> {
        self.read(|disk, _| {
            let running = disk.in_state(State::Running).map(|kept| &kept.job);
            let above = running.filter(|job| after.is_none_or(|after| job.id > after));
            let claim = |job: &Job| {
                Some(StoredClaim {
                    job_id: job.id,
                    job_type: job.job_type.clone(),
                    attempt: job.status.attempt,
                    token: job.status.token?,
                    claim: job.status.claim.clone()?,
                    timeout: job.policy.timeout,
                    cancelled: job.status.cancellation.is_some(),
                })
            };
            above.filter_map(claim).take(limit).collect()
        })
    }

    async fn dispatched(&self, job_type: &JobType, limit: usize) -> Result<Vec<DispatchedOrder>, StoreError> {
        self.read(|disk, _| {
            let order = |kept: &Kept| {
                Some(DispatchedOrder {
                    job_id: kept.job.id,
                    attempt: kept.job.status.attempt,
                    token: kept.job.status.token?,
                    number: kept.number?,
                })
            };
            let of_type = disk.in_state(State::Dispatched).filter(|kept| kept.job.job_type == *job_type);
            let mut orders: Vec<_> = of_type.filter_map(order).collect();
            orders.sort_by_key(|order| order.number);
            orders.truncate(limit);
            orders
        })
    }

    async fn standings(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Standing>>, StoreError> {
        self.read(|disk, _| {
            let standing = |id: &JobId| {
                let job = &disk.jobs.get(id)?.job;
                let status = &job.status;
                let (state, attempt, token) = (status.state, status.attempt, status.token);
                Some(Standing {
                    job_type: job.job_type.clone(),
                    state,
                    attempt,
                    token,
                    cancelled: status.cancellation.is_some(),
                })
            };
            jobs.iter().map(standing).collect()
        })
    }

    async fn revoked(&self, limit: usize) -> Result<Vec<(JobType, AttemptId)>, StoreError> {
        self.read(|disk, _| {
            let mut newest: Vec<&Kept> = disk.in_state(State::Cancelled).collect();
            newest.sort_by_key(|kept| Reverse(kept.job.status.finished_at));
            newest.truncate(limit);
            newest.reverse();
            let has_no_end = |kept: &&Kept| {
                let status = &kept.job.status;
                status.token.is_some() && kept.attempts.iter().all(|ended| ended.attempt != status.attempt)
            };
            let revoked = newest.into_iter().filter(has_no_end).map(|Kept { job, .. }| {
                (job.job_type.clone(), AttemptId { job_id: job.id, attempt: job.status.attempt })
            });
            revoked.collect()
        })
    }

    async fn get(&self, id: JobId) -> Result<Option<(Job, Vec<AttemptRecord>)>, StoreError> {
        self.read(|disk, _| disk.jobs.get(&id).map(|kept| (kept.job.clone(), kept.attempts.clone())))
    }

    async fn list(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError> {
        self.read(|disk, _| {
            let (mut jobs, mut bytes) = (Vec::new(), 0);
            for job in disk.newest(query) {
                bytes += serde_json::to_string(&job.parameters).unwrap().len();
                bytes += job.status.result.as_ref().map_or(0, String::len);
                jobs.push(job.clone());
                if query.bytes_max.is_some_and(|bytes_max| bytes >= bytes_max) {
                    break;
                }
            }
            jobs
        })
    }

    async fn list_ids(&self, query: &JobQuery) -> Result<Vec<JobId>, StoreError> {
        self.read(|disk, _| disk.newest(query).map(|job| job.id).collect())
    }

    async fn delete_finished(
        &self,
        state: State,
        kept_for: Duration,
        limit: usize,
    ) -> Result<Written<()>, StoreError> {
        self.run(DeleteFinished { state, kept_for, limit }).await
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        self.read(|_, rules| {
            let mut types: Vec<(&JobType, StateCounts)> = rules.counts.all().collect();
            types.sort_unstable_by_key(|(job_type, _)| (*job_type).clone());
            types.into_iter().flat_map(|(job_type, counts)| counted(job_type, counts)).collect()
        })
    }

    fn in_flight(&self, job_type: &JobType) -> InFlight {
        self.read(|_, rules| {
            let counts = rules.counts.all().find(|(of, _)| *of == job_type).map(|(_, counts)| counts);
            counts.unwrap_or_default().in_flight()
        })
        .unwrap_or_default()
    }

    async fn counts_of(&self, job_type: &JobType) -> Result<Vec<Count>, StoreError> {
        let counts = self.counts().await?;
        Ok(counts.into_iter().filter(|count| count.job_type == *job_type).collect())
    }

    async fn oldest(
        &self,
        job_types: Vec<JobType>,
        states: &'static [State],
    ) -> Result<Vec<(JobType, Timestamp)>, StoreError> {
        self.read(|disk, _| {
            let oldest = |job_type: JobType| {
                let jobs = disk.jobs.values().map(|kept| &kept.job);
                let meant = jobs.filter(|job| job.job_type == job_type && states.contains(&job.status.state));
                let created_at = meant.map(|job| job.created_at).min()?;
                Some((job_type, created_at))
            };
            job_types.into_iter().filter_map(oldest).collect()
        })
    }
}

#[async_trait]
impl Events for MemoryStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Written<Vec<Appended>>, StoreError> {
        self.run(AppendEvents(events)).await
    }

    async fn append_emissions(
        &self,
        emissions: Vec<Emission>,
    ) -> Result<Written<Vec<Option<Appended>>>, StoreError> {
        self.run(AppendEmissions(emissions)).await
    }

    async fn events_after(
        &self,
        after: Sequence,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<PublishedEvent>, StoreError> {
        self.read(|disk, _| {
            let mut bytes = 0;
            let fits = |event: &&PublishedEvent| {
                let fits = bytes < bytes_max;
                bytes += event.data.len();
                fits
            };
            disk.events
                .range(after.next()..)
                .map(|(_, event)| event)
                .take(limit)
                .take_while(fits)
                .cloned()
                .collect()
        })
    }

    async fn event(&self, sequence: Sequence) -> Result<Option<PublishedEvent>, StoreError> {
        self.read(|disk, _| disk.events.get(&sequence).cloned())
    }

    async fn log_bounds(&self) -> Result<LogBounds, StoreError> {
        self.read(|disk, _| {
            let oldest = disk.events.keys().next().copied();
            LogBounds { oldest: oldest.unwrap_or_else(|| disk.sequenced.next()), head: disk.sequenced }
        })
    }

    async fn delete_events(
        &self,
        kept_for: Duration,
        held_for: Duration,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.run(DeleteEvents { kept_for, held_for, limit }).await.map(|written| written.value)
    }
}

#[async_trait]
impl Consumers for MemoryStore {
    fn consumers(&self) -> Vec<Arc<Consumer>> {
        self.read(|_, rules| rules.consumers.all().cloned().collect()).unwrap_or_default()
    }

    fn consumer(&self, name: &ConsumerName) -> Option<Arc<Consumer>> {
        self.read(|_, rules| rules.consumers.get(name).cloned()).ok().flatten()
    }

    async fn change_consumer(
        &self,
        name: &ConsumerName,
        change: ConsumerChange,
    ) -> Result<ConsumerChanged, StoreError> {
        self.run(ChangeConsumer { name: name.clone(), change }).await.map(|written| written.value)
    }

    async fn consume(&self, step: ConsumerStep) -> Result<Written<Stepped>, StoreError> {
        self.run(Consume::new(step).unwrap()).await
    }

    async fn cause(&self, job_id: JobId) -> Result<Option<Cause>, StoreError> {
        self.read(|disk, _| disk.cause(job_id).map(|cause| cause.as_ref().clone()))
    }
}
