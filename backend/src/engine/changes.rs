//! The one stream: every write that does something to jobs goes through here, and everybody concerned learns of it.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{JobType, RunId, Timestamp};
use tokio::sync::watch;

use crate::{
    domain::{
        NewEvent, ScheduleName, Sequence, State,
        schedules::known::Schedule,
        workflow::{
            definition::WorkflowName,
            facts::{Happened, Stale},
        },
    },
    engine::ports::{
        Accepted, Appended, Applied, ConsumerStep, Emission, Inserted, JobChanged, JobEvent, NewRun,
        RunChanged, RunStarted, RunTold, ScheduleChange, ScheduleChanged, ScheduleStep, StepDone, Stepped,
        Store, StoreError, Ticked, WaitAnswers, WorkflowChange, WorkflowChanged, Written,
    },
    failpoints::Failpoint,
    metrics::{Metrics, UNKNOWN_JOB},
    mutant::die_at,
};

/// Somebody who has to know what happens to jobs.
pub trait Observer: Send + Sync {
    /// Follows changes that are committed, in their order. Must not wait: whoever asked for them does.
    ///
    /// Changes of two commits may come in either order: whoever keeps something for a job looks at what it is now.
    fn after_commit(&self, changes: &[JobChanged]);

    /// The same, of runs of workflows. Most do not care.
    fn after_runs(&self, _: &[RunChanged]) {}

    /// The same, of schedules, each as it is now. Most do not care.
    fn after_schedules(&self, _: &[Arc<Schedule>]) {}
}

/// Writes, and tells everybody concerned. Cheap to clone.
#[derive(Clone)]
pub struct Changes {
    store: Arc<dyn Store>,
    observers: Arc<[Arc<dyn Observer>]>,
    metrics: Arc<Metrics>,
    /// The newest event of the log.
    head: watch::Sender<Sequence>,
}

impl Changes {
    /// The observers are told in this order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read how far the log came.
    pub(super) async fn open(
        store: Arc<dyn Store>,
        observers: Vec<Arc<dyn Observer>>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let head = watch::Sender::new(store.log_bounds().await?.head);
        Ok(Self { store, observers: observers.into(), metrics, head })
    }

    /// Records published events, in order, and wakes whoever follows the log. Returns what became of them, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was recorded.
    pub async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        let appended = self.store.append(events).await?;
        die_at(Failpoint::EventsRecorded);
        Ok(self.told(appended).value)
    }

    /// Records events that the attempts of jobs publish while they run, as [`Events::append_emissions`] says.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was recorded.
    ///
    /// [`Events::append_emissions`]: crate::engine::ports::Events::append_emissions
    pub(super) async fn append_emissions(
        &self,
        emissions: Vec<Emission>,
    ) -> Result<Vec<Option<Appended>>, StoreError> {
        if emissions.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.store.append_emissions(emissions).await?;
        die_at(Failpoint::EmissionsRecorded);
        Ok(self.told(appended).value)
    }

    /// Has a consumer go on in the log: stores the jobs that it makes and sends them on their way.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub(super) async fn consume(&self, step: ConsumerStep) -> Result<Stepped, StoreError> {
        die_at(Failpoint::ConsumerStepping);
        let stepped = self.store.consume(step).await?;
        if !stepped.changes.is_empty() {
            die_at(Failpoint::JobsMade);
        }
        Ok(self.told(stepped).value)
    }

    /// Does something to a workflow.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub(super) async fn change_workflow(
        &self,
        name: &WorkflowName,
        change: WorkflowChange,
    ) -> Result<WorkflowChanged, StoreError> {
        Ok(self.told(self.store.change_workflow(name, change).await?).value)
    }

    /// Makes a run.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub(super) async fn start_run(&self, new: NewRun) -> Result<RunStarted, StoreError> {
        Ok(self.told(self.store.start_run(new).await?).value)
    }

    /// Moves a run on by what was made ready for it, and sends its jobs on their way.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub(super) async fn step_run(
        &self,
        id: RunId,
        done: Vec<StepDone>,
    ) -> Result<Vec<Result<(), Stale>>, StoreError> {
        die_at(Failpoint::RunStepping);
        let stepped = self.store.step_run(id, done).await?;
        die_at(Failpoint::RunStepped);
        Ok(self.told(stepped).value)
    }

    /// Tells a run what somebody did to it, or that its time is over.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub(super) async fn tell_run(&self, id: RunId, happened: Happened) -> Result<RunTold, StoreError> {
        let told = self.store.tell_run(id, happened).await?;
        die_at(Failpoint::RunTold);
        Ok(self.told(told).value)
    }

    /// Answers waits for events.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub(super) async fn answer_waits(&self, answers: WaitAnswers) -> Result<(), StoreError> {
        self.told(self.store.answer_waits(answers).await?);
        Ok(())
    }

    /// Does something to a schedule.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub(super) async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<ScheduleChanged, StoreError> {
        Ok(self.told(self.store.change_schedule(name, change).await?).value)
    }

    /// Stores what becomes of ticks, and sends the jobs of it on their way.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub(super) async fn tick(&self, step: ScheduleStep) -> Result<Ticked, StoreError> {
        die_at(Failpoint::Ticking);
        let ticked = self.store.tick(step).await?;
        die_at(Failpoint::Ticked);
        Ok(self.told(ticked).value)
    }

    /// Deletes runs that have been over for so long, and their jobs. Returns how many of both.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was deleted.
    pub(super) async fn delete_finished_runs(
        &self,
        kept_for: Duration,
        limit: usize,
    ) -> Result<usize, StoreError> {
        Ok(self.told(self.store.delete_finished_runs(kept_for, limit).await?).value)
    }

    /// The newest event of the log, whenever it is another.
    #[must_use]
    pub fn log_head(&self) -> watch::Receiver<Sequence> {
        self.head.subscribe()
    }

    /// Stores accepted jobs and sends them on their way. Returns what became of them, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub async fn insert(&self, accepted: Vec<Accepted>) -> Result<Vec<Inserted>, StoreError> {
        let stored = self.store.insert(accepted).await?;
        die_at(Failpoint::JobStored);
        Ok(self.told(stored).value)
    }

    /// Records events, in order, in one transaction. Returns what they did, in their order, and what changed by it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was recorded.
    pub async fn record(&self, events: Vec<JobEvent>) -> Result<Written<Vec<Applied>>, StoreError> {
        if events.is_empty() {
            return Ok(Written::default());
        }
        let applied = self.store.apply(events).await?;
        for answer in &applied.value {
            match answer {
                Applied::Changed | Applied::OfRun(_) => {}
                Applied::Stale(stale) => self.metrics.response_stale(stale.as_str()),
                Applied::UnknownJob => self.metrics.response_stale(UNKNOWN_JOB),
            }
        }
        Ok(self.told(applied))
    }

    /// Dispatches ready jobs of the type, as [`dispatch_due`](crate::engine::ports::Jobs::dispatch_due) says. Returns how many, and for
    /// how long only the rate limit keeps others.
    pub(super) async fn dispatch_due(
        &self,
        job_type: &JobType,
        window: usize,
        limit: usize,
    ) -> Result<(usize, Option<Duration>), StoreError> {
        let dispatched = self.told(self.store.dispatch_due(job_type, window, limit).await?);
        Ok((dispatched.changes.len(), dispatched.value))
    }

    /// Makes scheduled jobs ready whose time has come. Returns when the next one is due.
    pub(super) async fn release_due(&self, limit: usize) -> Result<Option<Timestamp>, StoreError> {
        let released = self.store.release_due(limit).await?;
        if !released.changes.is_empty() {
            die_at(Failpoint::JobsReleased);
        }
        Ok(self.told(released).value)
    }

    /// Moves on blocked jobs that nothing blocks any more. Returns whether there are more.
    pub(super) async fn release_unblocked(&self, limit: usize) -> Result<bool, StoreError> {
        Ok(self.told(self.store.release_unblocked(limit).await?).value)
    }

    /// Makes unroutable jobs of the type ready. Returns how many.
    pub(super) async fn release_unroutable(
        &self,
        job_type: &JobType,
        limit: usize,
    ) -> Result<usize, StoreError> {
        Ok(self.told(self.store.release_unroutable(job_type, limit).await?).changes.len())
    }

    /// Ends jobs that were not started in time. Returns when the next one expires.
    pub(super) async fn expire_due(&self, limit: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.told(self.store.expire_due(limit).await?).value)
    }

    /// Deletes jobs that have been over in this state for so long. Returns how many.
    pub(super) async fn delete_finished(
        &self,
        state: State,
        kept_for: Duration,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let deleted = self.store.delete_finished(state, kept_for, limit).await?;
        if !deleted.changes.is_empty() {
            die_at(Failpoint::JobsDeleted);
        }
        Ok(self.told(deleted).changes.len())
    }

    /// Tells everybody what is committed.
    pub fn after_commit(&self, changes: &[JobChanged]) {
        if changes.is_empty() {
            return;
        }
        for observer in self.observers.iter() {
            observer.after_commit(changes);
        }
    }

    fn told<T>(&self, written: Written<T>) -> Written<T> {
        self.after_commit(&written.changes);
        if !written.runs.is_empty() {
            for observer in self.observers.iter() {
                observer.after_runs(&written.runs);
            }
        }
        if !written.schedules.is_empty() {
            for observer in self.observers.iter() {
                observer.after_schedules(&written.schedules);
            }
        }
        if let Some(newest) = written.newest {
            self.metrics.events_recorded(written.recorded);
            // Two commits may be told of in either order.
            self.head.send_if_modified(|head| {
                let is_newer = newest > *head;
                *head = newest.max(*head);
                is_newer
            });
        }
        written
    }
}
