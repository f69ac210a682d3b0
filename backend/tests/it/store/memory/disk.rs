//! What a store in memory keeps, and how it loads and writes it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use crewcall_backend::{
    domain::{
        AttemptRecord, Blocked, Cause, Consumer, ConsumerName, Hook, HookName, Job, Pass, PublishedEvent,
        Sequence, Slot, State, Webhook, WebhookName, workflow::known::StartedBy,
    },
    engine::{
        ports::{
            ConsumerWrite, DispatchNumber, QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX,
            QuarantineEntry, QuarantinedMessage, StoredJob, StoredType, WorkflowWrite,
        },
        rules::{
            Consumers, FoundEvent, FoundJob, FoundKey, FoundReady, JobCounts, Loaded, NewLogRow, OldEvents,
            OldJob, Rules, Runs, Terms, Wanted, Writes, finished_until, forgotten_until,
        },
    },
};
use crewcall_proto::{Attempt, AttemptToken, JobId, JobType, Timestamp};

use super::{hooks, runs::Shelf, schedules::Agenda};

/// By how much a clock has to be behind to have been set back, in milliseconds.
const ROLLBACK_MIN_MS: i64 = 1_000;

/// A job, with what is kept beside it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) job: Job,
    pub(super) number: Option<DispatchNumber>,
    pub(super) attempts: Vec<AttemptRecord>,
}

/// What outlives a store.
#[derive(Default)]
pub(crate) struct Disk {
    pub(super) jobs: BTreeMap<JobId, Kept>,
    keys: HashMap<String, ([u8; 32], JobId, Timestamp)>,
    pub(super) types: BTreeMap<JobType, StoredType>,
    pub(super) terms: BTreeMap<JobType, Terms>,
    pub(super) quarantine: Vec<QuarantineEntry>,
    quarantined: u64,
    pub(super) issued: DispatchNumber,
    pub(super) confirmed: DispatchNumber,
    pub(super) events: BTreeMap<Sequence, PublishedEvent>,
    event_ids: HashMap<String, FoundEvent>,
    pub(super) sequenced: Sequence,
    consumers: BTreeMap<ConsumerName, Consumer>,
    pub(super) hooks: BTreeMap<HookName, Hook>,
    passes: Pass,
    pub(super) causes: HashMap<JobId, Arc<Cause>>,
    pub(super) shelf: Shelf,
    pub(super) agenda: Agenda,
    pub(super) webhooks: BTreeMap<WebhookName, Webhook>,
    /// What jobs come after, by the job.
    pub(super) links: BTreeMap<JobId, Blocked>,
    time: Option<Timestamp>,
}

impl Disk {
    /// Counts what is there, by a clock that may have been set back since.
    pub(super) fn open(&mut self, now: Timestamp, counts: &mut JobCounts) {
        let behind_ms = self.time.map_or(0, |time| time.as_millis() - now.as_millis());
        if behind_ms >= ROLLBACK_MIN_MS {
            self.set_back(behind_ms);
            self.time = Some(now);
        }
        for Kept { job, .. } in self.jobs.values() {
            counts.load(&job.job_type, job.status.state, 1, u64::from(job.status.occupies_window()));
        }
        let announced = self.types.keys().map(|job_type| (job_type.clone(), true));
        for (job_type, announced) in
            self.terms.keys().map(|job_type| (job_type.clone(), false)).chain(announced)
        {
            let terms = self.terms.get(&job_type).cloned().unwrap_or_default();
            let announced = announced || self.types.contains_key(&job_type);
            counts.load_terms(&job_type, Terms { announced, ..terms });
        }
    }

    /// The consumers, with their unfinished jobs and runs.
    pub(super) fn consumers(&self, runs: &Runs) -> Consumers {
        let bare = |consumer: &Consumer| Consumer { in_flight: 0, ..consumer.clone() };
        let is_open = |id: &JobId| self.jobs.get(id).is_some_and(|kept| !kept.job.status.state.is_terminal());
        let open = self.causes.iter().filter(|(id, _)| is_open(id));
        let open = open.map(|(id, cause)| (*id, cause.as_ref().clone())).chain(self.agenda.open_causes());
        let mut consumers = Consumers::new(self.consumers.values().map(bare), open, self.passes);
        for run in runs.open() {
            if let StartedBy::Event(made_of) = &run.info.started_by {
                consumers.count_made(made_of, 1);
            }
        }
        consumers.commit();
        consumers
    }

    /// Whether there is nothing of any job.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.keys.is_empty() && self.shelf.runs.is_empty()
    }

    fn set_back(&mut self, behind_ms: i64) {
        self.shelf.set_back(behind_ms);
        for Kept { job, .. } in self.jobs.values_mut() {
            let named = job.policy.run_at.is_some() && job.status.attempt == Attempt::FIRST;
            let waits = matches!(job.status.state, State::Blocked | State::Scheduled) && !named;
            if waits || job.status.state == State::Ready {
                job.status.due_at = job.status.due_at.plus_millis(-behind_ms);
            }
        }
        for terms in self.terms.values_mut() {
            terms.slot = terms.slot.map(|Slot(nanoseconds)| Slot(nanoseconds - behind_ms * 1_000_000));
        }
    }

    /// Why a job was made that nobody submitted.
    pub(super) fn cause(&self, id: JobId) -> Option<Arc<Cause>> {
        self.causes.get(&id).cloned().or_else(|| self.agenda.cause(id).map(Arc::new))
    }

    fn emissions(&self, jobs: Vec<JobId>, ids: Vec<String>, now: Timestamp) -> Loaded {
        let ended = |id: &JobId| Some((*id, self.jobs.get(id)?.attempts.iter()));
        let tokens = jobs
            .iter()
            .filter_map(ended)
            .flat_map(|(id, ended)| ended.filter_map(move |ended| Some((id, ended.attempt, ended.token?))));
        let tokens = tokens.collect();
        let Loaded { events, .. } = self.load(Wanted::Events(ids), now);
        Loaded { tokens, events, ..self.load(Wanted::JobsAndCauses(jobs), now) }
    }

    pub(super) fn load(&self, wanted: Wanted, now: Timestamp) -> Loaded {
        let none = Loaded::default();
        match wanted {
            Wanted::Nothing => none,
            Wanted::Jobs(ids) => {
                let jobs = ids.into_iter().filter_map(|id| Some((id, found(self.jobs.get(&id)?))));
                Loaded { jobs: jobs.collect(), ..none }
            }
            Wanted::JobsAndCauses(ids) => {
                let cause = |id: &JobId| Some((*id, self.cause(*id)?));
                let causes = ids.iter().filter_map(cause).collect();
                Loaded { causes, ..self.load(Wanted::Jobs(ids), now) }
            }
            Wanted::Emissions { jobs, ids } => self.emissions(jobs, ids, now),
            Wanted::Keys { names, jobs } => {
                let known = names.into_iter().filter_map(|name| {
                    let (body_hash, id, at) = self.keys.get(&name)?;
                    let job = Arc::new(self.jobs.get(id)?.job.clone());
                    (*at > forgotten_until(now)).then_some((name, FoundKey { body_hash: *body_hash, job }))
                });
                Loaded { keys: known.collect(), ..self.load(Wanted::Jobs(jobs), now) }
            }
            Wanted::Ready { job_type, limit } => {
                let is_ready =
                    |kept: &&Kept| kept.job.status.state == State::Ready && kept.job.job_type == job_type;
                let mut ready: Vec<&Kept> = self.jobs.values().filter(is_ready).collect();
                ready.sort_by_key(|Kept { job, .. }| (Reverse(job.priority), job.status.due_at, job.id));
                let ready = ready.into_iter().take(limit);
                let ready =
                    ready.map(|kept| FoundReady { row: 0, number: kept.number, job: kept.job.clone() });
                Loaded { ready: ready.collect(), ..none }
            }
            Wanted::Unroutable { job_type, limit } => {
                let is_meant = |kept: &&Kept| {
                    kept.job.status.state == State::Unroutable && kept.job.job_type == job_type
                };
                Loaded {
                    waiting: self.jobs.values().filter(is_meant).take(limit).map(found).collect(),
                    ..none
                }
            }
            Wanted::Scheduled { until, limit } => {
                let due = |job: &Job| (job.status.state == State::Scheduled).then_some(job.status.due_at);
                self.waiting_until(due, until, limit)
            }
            Wanted::Expiring { until, limit } => self.waiting_until(expires, until, limit),
            Wanted::Finished { state, kept_for, limit } => {
                Loaded { old: self.finished(state, finished_until(now, kept_for), limit), ..none }
            }
            Wanted::Events(ids) => {
                let known = ids.into_iter().filter_map(|id| {
                    let found = self.event_ids.get(&id)?.clone();
                    Some((id, found))
                });
                Loaded { events: known.collect(), ..none }
            }
            Wanted::LastVersion(_) | Wanted::RunKey(_) | Wanted::Run(_) | Wanted::FinishedRuns { .. } => {
                self.load_runs(wanted, now)
            }
            Wanted::FiredTicks { schedule, after, to } => {
                let fired = self.agenda.fired(schedule, after, to);
                Loaded { fired_ticks: fired.into_iter().collect(), ..none }
            }
            Wanted::OldEvents { kept_for, held_for, passed, limit } => {
                let until = [finished_until(now, kept_for), finished_until(now, held_for)];
                Loaded { old_events: self.old_events(until, passed, limit), ..none }
            }
        }
    }

    fn load_runs(&self, wanted: Wanted, now: Timestamp) -> Loaded {
        let none = Loaded::default();
        match wanted {
            Wanted::LastVersion(name) => Loaded { last_version: self.shelf.last_version(&name), ..none },
            Wanted::RunKey(key) => Loaded { run_key: self.shelf.run_key(&key, now), ..none },
            Wanted::Run(id) => {
                let kept = self.shelf.runs.get(&id);
                Loaded { run: kept.map(|kept| kept.stored.as_ref().clone()), ..none }
            }
            Wanted::FinishedRuns { kept_for, limit } => {
                let until = finished_until(now, kept_for);
                let (jobs, old_runs) = self.shelf.finished(until, limit, &self.jobs);
                Loaded { old: jobs.iter().map(|id| old_job(&self.jobs[id].job)).collect(), old_runs, ..none }
            }
            _ => none,
        }
    }

    fn finished(&self, state: State, until: Timestamp, limit: usize) -> Vec<OldJob> {
        let is_old = |kept: &&Kept| {
            let status = &kept.job.status;
            let is_item = self.causes.get(&kept.job.id).is_some_and(|cause| cause.item().is_some());
            status.state == state && status.finished_at.is_some_and(|at| at < until) && !is_item
        };
        let mut old: Vec<&Kept> = self.jobs.values().filter(is_old).collect();
        old.sort_by_key(|kept| kept.job.status.finished_at);
        old.into_iter().take(limit).map(|Kept { job, .. }| old_job(job)).collect()
    }

    fn old_events(
        &self,
        [until, held_until]: [Timestamp; 2],
        passed: Option<Sequence>,
        limit: usize,
    ) -> OldEvents {
        let is_old = |event: &&PublishedEvent| {
            let is_passed = passed.is_none_or(|passed| event.sequence <= passed);
            event.recorded_at < if is_passed { until } else { until.min(held_until) }
        };
        let old = self.events.values().take(limit).take_while(is_old);
        let up_to = old.clone().last().map(|event| event.sequence).unwrap_or_default();
        OldEvents { count: old.count(), up_to }
    }

    fn waiting_until(
        &self,
        time: impl Fn(&Job) -> Option<Timestamp>,
        until: Timestamp,
        limit: usize,
    ) -> Loaded {
        let timed = self.jobs.values().filter_map(|kept| Some((time(&kept.job)?, kept)));
        let mut timed: Vec<(Timestamp, &Kept)> = timed.collect();
        timed.sort_by_key(|(at, _)| *at);
        let due = timed.iter().take_while(|(at, _)| *at <= until).count().min(limit);
        Loaded {
            waiting: timed[..due].iter().map(|(_, kept)| found(kept)).collect(),
            next_at: timed.get(due).map(|(at, _)| *at),
            ..Loaded::default()
        }
    }

    /// Everything that a batch decided.
    pub(super) fn write(&mut self, overlay: Overlay, rules: &Rules, now: Timestamp) {
        for writes in overlay.writes {
            for row in writes.inserts {
                if let Some(key) = row.key {
                    self.keys.insert(key.key, (key.body_hash, row.job.id, row.at));
                }
                // The record of a tick says of itself what it made.
                if let Some(cause) = row.cause.filter(|cause| cause.fired_by().is_none()) {
                    self.causes.insert(row.job.id, cause);
                }
                let job = row.job.as_ref().clone();
                self.jobs.insert(job.id, Kept { job, number: row.number, attempts: Vec::new() });
            }
            for write in writes.links {
                self.write_link(write);
            }
            for update in writes.updates {
                let kept = self.jobs.get_mut(&update.found.job.id).unwrap();
                kept.job.status = update.status.as_ref().clone();
                kept.number = update.number.or(kept.number);
            }
            for (_, id, ended) in writes.attempts {
                self.jobs.get_mut(&id).unwrap().attempts.push(ended);
            }
            for old in writes.deletes {
                self.jobs.remove(&old.id);
                self.causes.remove(&old.id);
                self.links.remove(&old.id);
                self.keys.retain(|_, (_, id, _)| *id != old.id);
            }
            for (job_type, terms) in writes.terms {
                self.terms.insert(job_type, terms);
            }
            self.types.extend(writes.types.into_iter().map(|stored| (stored.job_type.clone(), stored)));
            for job_type in writes.deleted_types {
                self.types.remove(&job_type);
            }
            for NewLogRow { event, content_hash } in writes.events {
                if let (Some(id), Some(content_hash)) = (&event.id, content_hash) {
                    self.event_ids.insert(id.clone(), FoundEvent { content_hash, event: Arc::clone(&event) });
                }
                self.events.insert(event.sequence, event.as_ref().clone());
            }
            for write in writes.consumers {
                match write {
                    ConsumerWrite::Put(consumer) | ConsumerWrite::Advanced { consumer, .. } => {
                        self.consumers.insert(consumer.name.clone(), consumer.as_ref().clone());
                    }
                    ConsumerWrite::Deleted(name) => drop(self.consumers.remove(&name)),
                }
            }
            writes.hooks.into_iter().for_each(|write| hooks::write(&mut self.hooks, write));
            for write in writes.workflows {
                self.shelf.write(write, &mut self.causes);
            }
            writes.schedules.iter().for_each(|write| self.agenda.write(write));
            for write in &writes.webhooks {
                super::webhooks::write(&mut self.webhooks, write);
            }
            if let Some(up_to) = writes.delete_events {
                self.events.retain(|sequence, _| *sequence > up_to);
                self.event_ids.retain(|_, found| found.event.sequence > up_to);
            }
        }
        (self.issued, self.sequenced) = (rules.counts.number(), rules.counts.sequence());
        self.passes = rules.consumers.passes();
        self.time = Some(now);
    }

    pub(super) fn quarantine(&mut self, messages: Vec<QuarantinedMessage>) {
        for mut message in messages {
            message.body.truncate(QUARANTINE_BODY_BYTES_MAX);
            self.quarantined += 1;
            self.quarantine.push(QuarantineEntry { number: self.quarantined, message });
        }
        let kept = usize::try_from(QUARANTINE_MESSAGES_MAX).unwrap();
        let excess = self.quarantine.len().saturating_sub(kept);
        self.quarantine.drain(..excess);
    }
}

fn old_job(job: &Job) -> OldJob {
    OldJob {
        row: 0,
        id: job.id,
        job_type: job.job_type.clone(),
        state: job.status.state,
        created_at: job.created_at,
        labels: job.labels.clone(),
    }
}

pub(super) fn found(kept: &Kept) -> FoundJob {
    FoundJob { row: 0, job: StoredJob::of(&kept.job, kept.number, kept.job.status.clone()) }
}

/// What the calls of one batch decided so far.
#[derive(Default)]
pub(super) struct Overlay {
    writes: Vec<Writes>,
    /// Jobs that came or changed, as they are now.
    pub(super) jobs: HashMap<JobId, StoredJob>,
    deleted: HashSet<JobId>,
    /// Those of attempts that ended.
    tokens: HashSet<(JobId, Attempt, AttemptToken)>,
    keys: HashMap<String, FoundKey>,
    events: HashMap<String, FoundEvent>,
    /// Schedules and ticks as they are now, if any of them came or changed.
    agenda: Option<Agenda>,
}

impl Overlay {
    /// Shows a call what was decided before it. What changed is not offered again: the next look finds it.
    pub(super) fn bring_up_to_date(&self, wanted: &Wanted, loaded: &mut Loaded) {
        if let Wanted::Jobs(ids)
        | Wanted::JobsAndCauses(ids)
        | Wanted::Keys { jobs: ids, .. }
        | Wanted::Emissions { jobs: ids, .. } = wanted
        {
            for id in ids {
                if let Some(job) = self.jobs.get(id) {
                    loaded.jobs.insert(*id, FoundJob { row: 0, job: job.clone() });
                } else if self.deleted.contains(id) {
                    loaded.jobs.remove(id);
                }
            }
        }
        loaded.tokens.extend(self.tokens.iter().copied());
        loaded.keys.extend(self.keys.iter().map(|(name, key)| (name.clone(), key.clone())));
        loaded.events.extend(self.events.iter().map(|(id, found)| (id.clone(), found.clone())));
        let is_as_it_was = |id: &JobId| !self.jobs.contains_key(id) && !self.deleted.contains(id);
        loaded.ready.retain(|found| is_as_it_was(&found.job.id));
        loaded.waiting.retain(|found| is_as_it_was(&found.job.id));
        loaded.old.retain(|old| is_as_it_was(&old.id));
        self.bring_runs_up_to_date(wanted, loaded);
        self.bring_ticks_up_to_date(wanted, loaded);
    }

    fn bring_ticks_up_to_date(&self, wanted: &Wanted, loaded: &mut Loaded) {
        let Some(agenda) = &self.agenda else { return };
        if let Wanted::FiredTicks { schedule, after, to } = wanted {
            loaded.fired_ticks = agenda.fired(*schedule, *after, *to).into_iter().collect();
        }
        if let Wanted::JobsAndCauses(ids) | Wanted::Emissions { jobs: ids, .. } = wanted {
            for id in ids {
                loaded.causes.extend(agenda.cause(*id).map(|cause| (*id, Arc::new(cause))));
            }
        }
    }

    fn bring_runs_up_to_date(&self, wanted: &Wanted, loaded: &mut Loaded) {
        for write in self.writes.iter().flat_map(|writes| &writes.workflows) {
            match (write, wanted) {
                // A run may begin anew: what was found of it is found again at the next look.
                (_, Wanted::FinishedRuns { .. }) => (loaded.old, loaded.old_runs) = Default::default(),
                (WorkflowWrite::Version(version), Wanted::LastVersion(name)) if version.name() == name => {
                    loaded.last_version = Some(version.number);
                }
                (WorkflowWrite::Run { run, idempotency: Some(key), .. }, Wanted::RunKey(name))
                    if key.key == *name =>
                {
                    loaded.run_key = Some((key.body_hash, run.id()));
                }
                (WorkflowWrite::Moved { run, .. }, Wanted::Run(id)) if run.id() == *id => {
                    loaded.run = Some(run.as_ref().clone());
                }
                (WorkflowWrite::RunDeleted(gone), Wanted::Run(id)) if gone == id => loaded.run = None,
                _ => {}
            }
        }
    }

    /// Takes what a call decided; or says why it cannot be written.
    pub(super) fn take(&mut self, writes: Writes, disk: &Disk) -> Result<(), String> {
        let mut ids = HashSet::new();
        for row in &writes.inserts {
            let is_new = ids.insert(row.job.id);
            if !is_new || disk.jobs.contains_key(&row.job.id) || self.jobs.contains_key(&row.job.id) {
                return Err(format!("there is a job {} already", row.job.id));
            }
        }
        for row in &writes.inserts {
            let Job { id, job_type, priority, created_at, policy, status, .. } = row.job.as_ref().clone();
            let number = row.number;
            self.jobs.insert(id, StoredJob { id, job_type, priority, created_at, number, policy, status });
            if let Some(key) = &row.key {
                let found = FoundKey { body_hash: key.body_hash, job: Arc::clone(&row.job) };
                self.keys.insert(key.key.clone(), found);
            }
        }
        for update in &writes.updates {
            let StoredJob { id, number, .. } = update.found.job;
            let status = update.status.as_ref().clone();
            let number = update.number.or(number);
            self.jobs.insert(id, StoredJob { status, number, ..update.found.job.clone() });
        }
        let ended = writes.attempts.iter();
        self.tokens.extend(ended.filter_map(|(_, id, ended)| Some((*id, ended.attempt, ended.token?))));
        for NewLogRow { event, content_hash } in &writes.events {
            if let (Some(id), Some(content_hash)) = (&event.id, *content_hash) {
                self.events.insert(id.clone(), FoundEvent { content_hash, event: Arc::clone(event) });
            }
        }
        for old in &writes.deletes {
            self.jobs.remove(&old.id);
            self.deleted.insert(old.id);
        }
        if !writes.schedules.is_empty() {
            let agenda = self.agenda.get_or_insert_with(|| disk.agenda.clone());
            writes.schedules.iter().for_each(|write| agenda.write(write));
        }
        self.writes.push(writes);
        Ok(())
    }
}

/// When a job expires, if it can.
fn expires(job: &Job) -> Option<Timestamp> {
    let may = matches!(
        job.status.state,
        State::Blocked | State::Scheduled | State::Ready | State::Unroutable | State::Dispatched
    );
    let fresh = job.status.attempt == Attempt::FIRST && job.status.started_at.is_none();
    job.policy.expires_at.filter(|_| may && fresh)
}
