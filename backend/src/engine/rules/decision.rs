//! What was decided: what is returned, what is told, and what is written.

use std::sync::Arc;

use crewcall_proto::{JobId, JobType, Timestamp};

use super::{CountedAs, FoundJob, OldJob, Rules, Terms, fires::FireEnded, job_events::Ended};
use crate::{
    domain::{
        AttemptRecord, Cause, Change, Job, JobStatus, NewEvent, Origin, PublishedEvent, Sequence, State,
        run_names::ItemKey, schedules::known::Schedule,
    },
    engine::ports::{
        ConsumerWrite, DispatchNumber, HookWrite, IdempotencyKey, JobChanged, LinkWrite, RunChanged,
        ScheduleWrite, StoredJob, StoredType, WebhookWrite, WorkflowWrite, Written,
    },
    mutant::mutant,
};

/// What a command decided.
#[derive(Debug)]
pub struct Decision<T> {
    pub value: T,
    /// What happens to jobs by it.
    pub changes: Vec<JobChanged>,
    /// What happens to runs by it.
    pub runs: Vec<RunChanged>,
    /// What happens to schedules by it.
    pub schedules: Vec<Arc<Schedule>>,
    /// What is to be written.
    pub writes: Writes,
    /// What ticks of schedules made that ended: what follows from that is decided last.
    pub(super) ended_fires: Vec<FireEnded>,
    /// The items of runs whose jobs ended: what follows from that is decided next.
    pub(super) ended_items: Vec<(ItemKey, State)>,
}

/// What is to be written, all or nothing: each list may be one statement.
#[derive(Debug, Default)]
pub struct Writes {
    /// Jobs that come, with what never changes of them.
    pub inserts: Vec<NewRow>,
    /// Jobs that change, each once.
    pub updates: Vec<Update>,
    /// What becomes of jobs that come after others, in its order.
    pub links: Vec<LinkWrite>,
    /// Attempts that ended, each with the row and the id of its job.
    pub attempts: Vec<(i64, JobId, AttemptRecord)>,
    /// Jobs that go, with everything about them.
    pub deletes: Vec<OldJob>,
    /// So many idempotency keys of this time and earlier go.
    pub forget_keys: Option<(Timestamp, usize)>,
    /// What is kept of types beside their jobs.
    pub terms: Vec<(JobType, Terms)>,
    /// Types, as they were last announced.
    pub types: Vec<StoredType>,
    /// Types that nobody knows any more.
    pub deleted_types: Vec<JobType>,
    /// Events that come, in their order.
    pub events: Vec<NewLogRow>,
    /// The events up to this one go.
    pub delete_events: Option<Sequence>,
    /// What becomes of consumers, in its order.
    pub consumers: Vec<ConsumerWrite>,
    /// What becomes of workflows and runs, in its order.
    pub workflows: Vec<WorkflowWrite>,
    /// What becomes of schedules and ticks, in its order.
    pub schedules: Vec<ScheduleWrite>,
    /// What becomes of hooks, in its order.
    pub hooks: Vec<HookWrite>,
    /// What becomes of webhooks, in its order.
    pub webhooks: Vec<WebhookWrite>,
}

/// A job that comes.
#[derive(Debug)]
pub struct NewRow {
    pub job: Arc<Job>,
    /// Its parameters as JSON text.
    pub parameters: String,
    /// Its labels as JSON text; `None` when it has none.
    pub labels: Option<String>,
    /// Its dispatch, if it goes at once.
    pub number: Option<DispatchNumber>,
    /// Under which name it was submitted, if it has one.
    pub key: Option<IdempotencyKey>,
    /// Why it was made, if a consumer made it.
    pub cause: Option<Arc<Cause>>,
    pub at: Timestamp,
}

/// An event that comes.
#[derive(Debug)]
pub struct NewLogRow {
    pub event: Arc<PublishedEvent>,
    /// What it says, if it has an id.
    pub content_hash: Option<[u8; 32]>,
}

/// A job that changes.
#[derive(Debug)]
pub struct Update {
    /// As it was found.
    pub found: FoundJob,
    /// Its status from now on.
    pub status: Arc<JobStatus>,
    /// Its dispatch, if it was dispatched.
    pub number: Option<DispatchNumber>,
}

impl<T> Decision<T> {
    /// Nothing happens.
    pub(super) fn nothing(value: T) -> Self {
        Self {
            value,
            changes: Vec::new(),
            runs: Vec::new(),
            schedules: Vec::new(),
            writes: Writes::default(),
            ended_fires: Vec::new(),
            ended_items: Vec::new(),
        }
    }

    /// What the state machine said of a job happens: it is counted, told and written.
    pub(super) fn happen(&mut self, rules: &mut Rules, found: FoundJob, change: Change) {
        let before = CountedAs::of(&found.job.status);
        rules.counts.step(&found.job.job_type, Some(before), Some(CountedAs::of(&change.status)));
        self.publish(rules, found.job.id, change.emitted);
        let status = Arc::new(change.status);
        self.writes.attempts.extend(change.ended.clone().map(|ended| (found.row, found.job.id, ended)));
        let told = JobChanged::happened(&found.job, &found.job.status, Arc::clone(&status), change.ended);
        self.follow(rules, &found.job, found.job.status.state, &status);
        self.changes.push(told);
        self.writes.updates.push(Update { found, status, number: None });
    }

    /// The same for a job to which something happened in this decision before.
    pub(super) fn happen_again(&mut self, rules: &mut Rules, index: usize, change: Change) {
        let Some(update) = self.writes.updates.get_mut(index) else { return };
        let Update { found, status, .. } = update;
        let job_id = found.job.id;
        let before = std::mem::replace(status, Arc::new(change.status));
        let (counted, counted_now) = (CountedAs::of(&before), CountedAs::of(status));
        rules.counts.step(&found.job.job_type, Some(counted), Some(counted_now));
        let (row, job, status) = (found.row, found.job.clone(), Arc::clone(status));
        let told = JobChanged::happened(&job, &before, Arc::clone(&status), change.ended);
        self.writes.attempts.extend(told.ended.clone().map(|ended| (row, job_id, ended)));
        self.publish(rules, job_id, change.emitted);
        self.follow(rules, &job, before.state, &status);
        self.changes.push(told);
    }

    /// What an attempt publishes with its result comes into the log, in front of the end of its job.
    fn publish(&mut self, rules: &mut Rules, job_id: JobId, emitted: Vec<NewEvent>) {
        if emitted.is_empty() || mutant("emitted_forgotten") {
            return;
        }
        let origin = Some(Origin::of(job_id, rules.consumers.cause_of(job_id).map(AsRef::as_ref)));
        for event in emitted {
            let event = NewEvent { origin, ..event }.record(rules.counts.next_sequence(), rules.now());
            self.writes.events.push(NewLogRow { event: Arc::new(event), content_hash: None });
        }
    }

    /// What follows from what happened to a job, if it came to its end by it.
    fn follow(&mut self, rules: &mut Rules, job: &StoredJob, was: State, status: &JobStatus) {
        if status.state.is_terminal() && !was.is_terminal() {
            let StoredJob { id, job_type, created_at, .. } = job;
            let cause = rules.consumers.closed(*id);
            let ended = Ended { id: *id, job_type, created_at: *created_at, status };
            self.record_end(rules, &ended, cause.as_deref());
            let Some(cause) = cause else { return };
            self.ended_items.extend(cause.item().map(|key| (key, status.state)));
            let fired_by = cause.fired_by().cloned();
            self.ended_fires.extend(fired_by.map(|by| FireEnded::of_job(by, status)));
        }
    }

    /// A job came to its end, or is over from its beginning: whoever waits for such an end finds it in the log.
    pub(super) fn record_end(&mut self, rules: &mut Rules, ended: &Ended<'_>, cause: Option<&Cause>) {
        self.record(ended.record(rules, cause));
    }

    /// An event of ours comes into the log, if anybody may want it.
    pub(super) fn record(&mut self, event: Option<Arc<PublishedEvent>>) {
        self.writes.events.extend(event.map(|event| NewLogRow { event, content_hash: None }));
    }

    /// The same, with another value.
    pub(super) fn with<U>(self, value: U) -> Decision<U> {
        let Self { changes, runs, schedules, writes, ended_items, ended_fires, value: _ } = self;
        Decision { value, changes, runs, schedules, writes, ended_items, ended_fires }
    }

    /// What is returned and told.
    pub(super) fn written(self) -> (Written<T>, Writes) {
        let newest = self.writes.events.last().map(|row| row.event.sequence);
        let recorded = self.writes.events.len();
        let Self { value, changes, runs, schedules, writes, .. } = self;
        (Written { value, changes, runs, schedules, recorded, newest }, writes)
    }
}
