//! Schedules as the API shows them.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::{job::ActorNote, raw, rfc3339};
use crate::{
    domain::{
        TickKey,
        schedules::tick::{TickRecord, TickState as State, TickWork},
    },
    engine::{Backfill, NextTick, Preview, ScheduleView},
};

/// All schedules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleList {
    /// By name, without their documents, and each with its next tick only.
    pub schedules: Vec<Schedule>,
}

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Schedule {
    /// Its name; `workflow:`, a name and a number for a trigger of that workflow.
    #[schema(example = "report.nightly")]
    pub name: String,
    /// The workflow whose trigger it is: it is shown here, and changed with the workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// `active`, `paused`, `held` (something keeps it, and it is tried again and again), or `ended` (no tick is to come).
    pub state: &'static str,
    /// Why it is in that state: a sentence.
    pub reason: String,
    /// When it ticks, in words.
    #[schema(example = "At 02:30 (Europe/Athens)")]
    pub words: String,
    /// Whose rules of time zones are used, and which version.
    pub zone_data: String,
    /// The next ticks, ten at most.
    pub next: Vec<UpcomingTick>,
    /// Every tick up to here has its record.
    #[schema(format = DateTime)]
    pub considered_until: String,
    /// The ticks whose jobs and runs are not over. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Vec<OpenTick>>,
    /// How many ticks wait.
    pub queued: usize,
    /// How many of its fires failed in a row.
    pub failures: u32,
    /// The tick of the last fire that completed.
    #[schema(format = DateTime)]
    pub last_completed: Option<String>,
    /// Who paused it, if it is paused.
    pub pause: Option<ActorNote>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When its document changed last.
    #[schema(format = DateTime)]
    pub changed_at: String,
    /// Who changed that.
    pub changed_by: String,
    /// Counts the changes of its document, from 1.
    pub revision: u64,
    /// What it does, as it was put. Not in lists.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
}

/// A tick to come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpcomingTick {
    /// The moment that it stands for.
    #[schema(format = DateTime)]
    pub tick: String,
    /// When it fires: later by its part of the jitter.
    #[schema(format = DateTime)]
    pub due_at: String,
    /// The tick in the schedule's zone.
    #[schema(example = "2026-11-20T02:30:00+02:00")]
    pub local: String,
    /// What is odd about it, such as that the clocks go forward: a sentence.
    pub remark: Option<String>,
}

/// A tick whose job or run is not over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenTick {
    /// The moment that it stands for.
    #[schema(format = DateTime)]
    pub tick: String,
    /// `clock`, `hand` or `backfill`.
    pub origin: &'static str,
    /// The job that it made.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The run that it made.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// What the times of a document mean.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SchedulePreview {
    /// When it ticks, in words.
    #[schema(example = "At 02:30 (Europe/Athens)")]
    pub words: String,
    /// Whose rules of time zones are used, and which version.
    pub zone_data: String,
    /// The next ticks, ten at most.
    pub next: Vec<UpcomingTick>,
}

/// What became of ticks of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TickList {
    /// Newest first.
    pub ticks: Vec<Tick>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// What became of a tick, or of several in a row that did not fire.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tick {
    /// The moment that it stands for; of several, the first.
    #[schema(format = DateTime)]
    pub tick: String,
    /// The last of several; the tick itself, if it is one.
    #[schema(format = DateTime)]
    pub last_tick: String,
    /// How many it is.
    pub count: u64,
    /// What became of it.
    #[schema(value_type = TickState)]
    pub state: &'static str,
    /// Why, if there is more to say: a sentence.
    pub reason: Option<String>,
    /// `clock`, `hand` (somebody triggered it) or `backfill`.
    pub origin: &'static str,
    /// When that was decided.
    #[schema(format = DateTime)]
    pub decided_at: String,
    /// The job that it made.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The run that it made.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The sequence of the event that it published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
    /// How the job or run ended: `completed`, `failed` or `cancelled`; `null` as long as it has not.
    pub outcome: Option<&'static str>,
    /// When it ended.
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
}

/// What a backfill makes up for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackfillResult {
    /// How many ticks.
    pub ticks: usize,
    /// The first of them.
    #[schema(format = DateTime)]
    pub first: Option<String>,
    /// The last of them.
    #[schema(format = DateTime)]
    pub last: Option<String>,
    /// How many other ticks of that time fired before, or wait to: they are left as they are.
    pub fired_before: usize,
    /// Whether they were only counted.
    pub dry_run: bool,
}

/// The schema of a state, whose words are the domain's; never made as a value.
pub(crate) enum TickState {}

impl ToSchema for TickState {}

impl PartialSchema for TickState {
    fn schema() -> RefOr<Schema> {
        let words = State::ALL.map(State::as_str);
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        let meaning = "What became of a tick: it waits (`queued`), made what it makes (`fired`), came while an earlier one was not \
                       over or could make nothing (`skipped`), came when no backend was there (`missed`), or while the schedule was \
                       paused (`paused`).";
        schema.description(Some(meaning)).into()
    }
}

impl Schedule {
    /// A schedule with everything.
    pub(crate) fn whole(view: &ScheduleView) -> Self {
        let schedule = &view.schedule;
        Self {
            next: view.preview.next.iter().map(UpcomingTick::from).collect(),
            open: Some(schedule.open.iter().map(|(key, work)| OpenTick::new(*key, *work)).collect()),
            document: Some(raw(&schedule.document)),
            ..Self::entry(view)
        }
    }

    /// A schedule as it stands in a list.
    pub(crate) fn entry(view: &ScheduleView) -> Self {
        let ScheduleView { schedule, state, reason, preview } = view;
        let pause = schedule.pause.as_ref();
        Self {
            name: schedule.name.to_string(),
            workflow: schedule.name.workflow().map(|workflow| workflow.to_string()),
            state: state.as_str(),
            reason: reason.clone(),
            words: preview.words.clone(),
            zone_data: preview.zone_data.clone(),
            next: preview.next.first().map(UpcomingTick::from).into_iter().collect(),
            considered_until: rfc3339(schedule.considered_until),
            open: None,
            queued: schedule.queue.len(),
            failures: schedule.failures,
            last_completed: schedule.last_completed.map(rfc3339),
            pause: ActorNote::of_pause(pause),
            created_at: rfc3339(schedule.created_at),
            changed_at: rfc3339(schedule.changed_at),
            changed_by: schedule.changed_by.clone(),
            revision: schedule.revision,
            document: None,
        }
    }
}

impl OpenTick {
    fn new(key: TickKey, work: TickWork) -> Self {
        let (job_id, run_id, _) = made(Some(work));
        Self { tick: rfc3339(key.at), origin: key.origin.as_str(), job_id, run_id }
    }
}

/// The job, the run, or the event, whichever it is.
fn made(work: Option<TickWork>) -> (Option<String>, Option<String>, Option<u64>) {
    match work {
        Some(TickWork::Job(id)) => (Some(id.to_string()), None, None),
        Some(TickWork::Run(id)) => (None, Some(id.to_string()), None),
        Some(TickWork::Event(sequence)) => (None, None, Some(sequence.0)),
        None => (None, None, None),
    }
}

impl From<&NextTick> for UpcomingTick {
    fn from(next: &NextTick) -> Self {
        Self {
            tick: rfc3339(next.at),
            due_at: rfc3339(next.due_at),
            local: next.local.clone(),
            remark: next.remark.clone(),
        }
    }
}

impl From<&Preview> for SchedulePreview {
    fn from(preview: &Preview) -> Self {
        Self {
            words: preview.words.clone(),
            zone_data: preview.zone_data.clone(),
            next: preview.next.iter().map(UpcomingTick::from).collect(),
        }
    }
}

impl From<&TickRecord> for Tick {
    fn from(record: &TickRecord) -> Self {
        let (job_id, run_id, event) = made(record.work);
        Self {
            tick: rfc3339(record.key.at),
            last_tick: rfc3339(record.last),
            count: record.count,
            state: record.state.as_str(),
            reason: record.reason.clone(),
            origin: record.key.origin.as_str(),
            decided_at: rfc3339(record.decided_at),
            job_id,
            run_id,
            event,
            outcome: record.outcome.map(|outcome| outcome.as_str()),
            ended_at: record.ended_at.map(rfc3339),
        }
    }
}

impl BackfillResult {
    /// What is made up for, or would be.
    pub(crate) fn new(backfill: &Backfill, dry_run: bool) -> Self {
        Self {
            ticks: backfill.ticks.len(),
            first: backfill.ticks.first().copied().map(rfc3339),
            last: backfill.ticks.last().copied().map(rfc3339),
            fired_before: backfill.fired_before,
            dry_run,
        }
    }
}
