//! What people do to schedules.

use std::{collections::BTreeSet, sync::Arc};

use crewcall_expressions::Json;
use crewcall_proto::Timestamp;

use crate::{
    domain::{
        Pause, Problem, ScheduleName, TickKey, TickOrigin,
        schedules::{
            consider::Ticks,
            known::Schedule,
            limits::{BACKFILL_MAX, SCHEDULES_MAX},
            overlap::{Admission, admit},
            settings::{Makes, ScheduleSettings},
            tick::{TickRecord, TickState},
        },
        workflow::definition::WorkflowName,
    },
    engine::{
        Caller, Engine, Put,
        checked::NotChecked,
        ports::{ScheduleChange, ScheduleChanged, ScheduleStep, StepTick, StoreError, TickQuery, Ticked},
        runs::text_of,
    },
};

/// Why something was not done to a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The document, or the request, is not valid.
    #[error("the schedule has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    #[error("there is no such schedule")]
    Unknown,
    #[error("there are {SCHEDULES_MAX} schedules already")]
    TooMany,
    /// It is a trigger of this workflow, and changed with it.
    #[error("the schedule is a trigger of the workflow {0}")]
    OfWorkflow(WorkflowName),
    /// Nothing was made by hand: why.
    #[error("nothing was made: {0}")]
    NotMade(String),
    /// Too many documents are being checked.
    #[error("too many documents are being checked")]
    CheckBusy,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NotChecked> for ScheduleError {
    fn from(error: NotChecked) -> Self {
        match error {
            NotChecked::Busy => Self::CheckBusy,
            NotChecked::Store(error) => Self::Store(error),
        }
    }
}

/// Which ticks are to be made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillRequest {
    /// From this moment on, up to the other: those at these moments included.
    pub from: Timestamp,
    pub to: Timestamp,
    /// All at once; otherwise one after the other.
    pub at_once: bool,
    /// Only tell what would be.
    pub dry_run: bool,
}

/// What a backfill makes up for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// The ticks, in their order.
    pub ticks: Vec<Timestamp>,
    /// How many others fired before, or wait to.
    pub fired_before: usize,
}

impl Engine {
    /// Makes a schedule, or changes what it does. Nothing of the past fires by that.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] when nothing changes.
    pub async fn put_schedule(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ScheduleName,
        document: Json,
    ) -> Result<Put, ScheduleError> {
        let mut problems = self.preview_schedule(name, &document).err().unwrap_or_default();
        let Ok(settings) = ScheduleSettings::read(&document) else {
            return Err(ScheduleError::Invalid(problems));
        };
        problems.extend(self.misfits(&settings, &document).await?);
        if !problems.is_empty() {
            return Err(ScheduleError::Invalid(problems));
        }
        tracing::info!(schedule = %name, by = caller.by(), "A schedule is set.");
        let (document, by) = (text_of(&document), caller.by().to_owned());
        let change = ScheduleChange::Put { settings: Arc::new(settings), document, by };
        match self.change_schedule(name, change).await? {
            ScheduleChanged::Created(_) => Ok(Put::Created),
            ScheduleChanged::Unchanged(_) => Ok(Put::Unchanged),
            _ => Ok(Put::Changed),
        }
    }

    /// Pauses a schedule: its ticks are recorded, and do not fire. One that is paused stays as it is.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] when nothing changes.
    pub async fn pause_schedule(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ScheduleName,
        reason: Option<String>,
    ) -> Result<(), ScheduleError> {
        let by = caller.by().to_owned();
        tracing::info!(schedule = %name, by, reason, "A schedule is paused.");
        let pause = Pause { by, reason, at: self.clock.now() };
        self.change_own(name, ScheduleChange::Pause(pause)).await.map(drop)
    }

    /// Ends the pause of a schedule. Ticks that came meanwhile do not fire.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] when nothing changes.
    pub async fn resume_schedule(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ScheduleName,
        reason: Option<String>,
    ) -> Result<(), ScheduleError> {
        tracing::info!(schedule = %name, by = caller.by(), reason, "A schedule is resumed.");
        self.change_own(name, ScheduleChange::Resume).await.map(drop)
    }

    /// Deletes a schedule. What it made goes on, and what became of its ticks is kept for a while.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] when nothing changes.
    pub async fn delete_schedule(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ScheduleName,
    ) -> Result<(), ScheduleError> {
        tracing::info!(schedule = %name, by = caller.by(), "A schedule is deleted.");
        self.change_own(name, ScheduleChange::Delete).await.map(drop)
    }

    /// Has a schedule fire now, paused or not: by its overlap, it may also wait.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] when nothing is made.
    pub async fn trigger_schedule(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ScheduleName,
    ) -> Result<TickRecord, ScheduleError> {
        tracing::info!(schedule = %name, by = caller.by(), "A schedule is triggered.");
        let at = self.schedules.moment_by_hand(self.clock.wall());
        let key = TickKey { at, origin: TickOrigin::Hand };
        loop {
            let schedule = self.store.schedule(name).ok_or(ScheduleError::Unknown)?;
            let made = match admit(&schedule) {
                Admission::Fire => {
                    let made = self.tick_made(&schedule, key).await?;
                    let later =
                        || ScheduleError::NotMade("it cannot be made ready now: try again".to_owned());
                    Some(Box::new(made.ok_or_else(later)?))
                }
                Admission::Queue { .. } | Admission::Skip(_) => None,
            };
            let step = ScheduleStep {
                schedule: name.clone(),
                id: schedule.id,
                revision: schedule.revision,
                from: schedule.considered_until,
                to: schedule.considered_until,
                ticks: vec![StepTick::Due { key, made }],
            };
            let engine = Arc::clone(self);
            let ticked = self.to_its_end(async move { engine.changes.tick(step).await }).await?;
            let Ticked::Done { told, stop } = ticked else { continue };
            for record in &told {
                self.metrics.ticked(name, record.state, record.count);
            }
            if let Some(reason) = stop.and_then(crate::engine::schedules::sentence) {
                return Err(ScheduleError::NotMade(reason));
            }
            let Some(record) = told.into_iter().find(|record| record.key == key) else { continue };
            return match record.state {
                TickState::Fired | TickState::Queued => Ok(record),
                TickState::Skipped | TickState::Missed | TickState::Paused => {
                    Err(ScheduleError::NotMade(record.reason.unwrap_or_default()))
                }
            };
        }
    }

    /// Makes up for ticks of the past that did not fire.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] when nothing changes.
    pub async fn backfill_schedule(
        self: &Arc<Self>,
        caller: &Caller,
        name: &ScheduleName,
        request: BackfillRequest,
    ) -> Result<Backfill, ScheduleError> {
        let schedule = self.store.schedule(name).ok_or(ScheduleError::Unknown)?;
        let ticks = self.ticks_within(&schedule, request)?;
        let fired = self.fired_within(&schedule, request).await?;
        let all = ticks.len();
        let ticks: Vec<Timestamp> = ticks.into_iter().filter(|tick| !fired.contains(tick)).collect();
        let backfill = Backfill { fired_before: all - ticks.len(), ticks };
        if request.dry_run || backfill.ticks.is_empty() {
            return Ok(backfill);
        }
        let by = caller.by().to_owned();
        tracing::info!(schedule = %name, by, ticks = backfill.ticks.len(), "A schedule makes up for ticks.");
        let change = ScheduleChange::Backfill { ticks: backfill.ticks.clone(), at_once: request.at_once, by };
        self.change_schedule(name, change).await?;
        Ok(backfill)
    }

    /// The ticks of the calendar within a time that is over.
    fn ticks_within(
        &self,
        schedule: &Schedule,
        BackfillRequest { from, to, .. }: BackfillRequest,
    ) -> Result<Vec<Timestamp>, ScheduleError> {
        let wrong =
            |pointer: &str, message: String| ScheduleError::Invalid(vec![Problem::new(pointer, message)]);
        if to < from {
            return Err(wrong("/to", "the time ends before it begins: to is later than from".to_owned()));
        }
        if to > self.clock.wall() {
            let message = "what is still to come cannot be made up for: to is not later than now".to_owned();
            return Err(wrong("/to", message));
        }
        let calendar = self.schedules.calendar(schedule).map_err(|reason| wrong("", reason))?;
        let ticks = Ticks { calendar: &calendar, times: &schedule.settings.times, name: &schedule.name };
        let first = ticks.next_after(from.plus_millis(-1));
        let within = std::iter::successors(first, |tick| ticks.next_after(*tick))
            .take_while(|tick| *tick <= to)
            .take(BACKFILL_MAX + 1);
        let found: Vec<Timestamp> = within.collect();
        if found.len() > BACKFILL_MAX {
            let all = calendar.count(from.as_millis().saturating_sub(1), to.as_millis(), COUNTED_MAX);
            let more = if all >= COUNTED_MAX { "at least " } else { "" };
            let message = format!(
                "there are {more}{all} ticks in that time; one backfill makes at most {BACKFILL_MAX}: take a shorter time"
            );
            return Err(wrong("/to", message));
        }
        Ok(found)
    }

    /// The ticks of the calendar within a time that fired, or wait to.
    async fn fired_within(
        &self,
        schedule: &Schedule,
        BackfillRequest { from, to, .. }: BackfillRequest,
    ) -> Result<BTreeSet<Timestamp>, StoreError> {
        let query = TickQuery {
            schedule: schedule.id,
            before: Some(TickKey { at: to.plus_millis(1), origin: TickOrigin::Clock }),
            from: Some(from),
            states: vec![TickState::Fired, TickState::Queued],
            limit: usize::MAX,
        };
        let fired = self.store.ticks(query).await?.into_iter();
        let of_calendar = fired.filter(|record| record.key.origin != TickOrigin::Hand);
        Ok(of_calendar.map(|record| record.key.at).collect())
    }

    /// What does not fit: a workflow that there is not, parameters that the announced schema does not take.
    async fn misfits(
        &self,
        settings: &ScheduleSettings,
        document: &Json,
    ) -> Result<Vec<Problem>, ScheduleError> {
        match &settings.makes {
            Makes::Job(_) => Ok(self.fit_job(document).await?.problems),
            Makes::Run { workflow, .. } if self.store.workflow(workflow).is_none() => {
                let message = format!("there is no workflow {workflow}: make it first");
                Ok(vec![Problem::new("/workflow/name", message)])
            }
            Makes::Run { .. } | Makes::Event { .. } => Ok(Vec::new()),
        }
    }

    /// Changes a schedule that is not a workflow's.
    async fn change_own(
        self: &Arc<Self>,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<ScheduleChanged, ScheduleError> {
        match name.workflow().filter(|_| self.store.schedule(name).is_some()) {
            Some(workflow) => Err(ScheduleError::OfWorkflow(workflow)),
            None => self.change_schedule(name, change).await,
        }
    }

    async fn change_schedule(
        self: &Arc<Self>,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<ScheduleChanged, ScheduleError> {
        let (engine, name) = (Arc::clone(self), name.clone());
        let changed = self.to_its_end(async move { engine.changes.change_schedule(&name, change).await });
        match changed.await? {
            ScheduleChanged::Unknown => Err(ScheduleError::Unknown),
            ScheduleChanged::TooMany => Err(ScheduleError::TooMany),
            changed => Ok(changed),
        }
    }
}

/// Up to how many ticks are counted that are too many.
const COUNTED_MAX: u64 = 100_000;
