//! The columns of schedules and ticks: each stands once, with the field that it is.

use std::{collections::BTreeMap, sync::Arc};

use crewcall_proto::{JobId, Timestamp};

use super::{
    columns::{Columns, Parameters, Value, columns, names_of, unreadable},
    transaction_error::TransactionError,
};
use crate::domain::{
    Cause, CausedBy, FiredBy, Pause, Root, ScheduleId, ScheduleName, TickKey,
    schedules::{
        known::{Schedule, Tail, Wait},
        settings::ScheduleSettings,
        tick::{TickRecord, TickState, TickWork},
    },
};

/// A schedule without what it says and without its ticks.
pub(super) struct ScheduleRow {
    pub(super) id: ScheduleId,
    name: ScheduleName,
    considered_until: Timestamp,
    fired_ahead: Option<Timestamp>,
    pause: Option<Pause>,
    failures: u32,
    last_completed: Option<Timestamp>,
    tail_tick: Option<Timestamp>,
    tail_state: Option<TickState>,
    created_at: Timestamp,
    changed_at: Timestamp,
    changed_by: String,
    revision: u64,
}

columns!(ScheduleRow {
    id: "id",
    name: "name",
    considered_until: "considered_until",
    fired_ahead: "fired_ahead",
    pause: "pause",
    failures: "failures",
    last_completed: "last_completed",
    tail_tick: "tail_tick",
    tail_state: "tail_state",
    created_at: "created_at",
    changed_at: "changed_at",
    changed_by: "changed_by",
    revision: "revision",
});

impl ScheduleRow {
    pub(super) fn of(schedule: &Schedule) -> Self {
        Self {
            id: schedule.id,
            name: schedule.name.clone(),
            considered_until: schedule.considered_until,
            fired_ahead: schedule.fired_ahead,
            pause: schedule.pause.clone(),
            failures: schedule.failures,
            last_completed: schedule.last_completed,
            tail_tick: schedule.tail.map(|tail| tail.first),
            tail_state: schedule.tail.map(|tail| tail.state),
            created_at: schedule.created_at,
            changed_at: schedule.changed_at,
            changed_by: schedule.changed_by.clone(),
            revision: schedule.revision,
        }
    }

    /// The schedule that this document says, of whose ticks these are open or wait.
    pub(super) fn schedule(
        self,
        document: Arc<str>,
        ticks: Vec<OpenTickRow>,
    ) -> Result<Schedule, TransactionError> {
        let settings = read_settings(&self.name, &document)?;
        let tail = self.tail_tick.zip(self.tail_state);
        let mut schedule = Schedule {
            id: self.id,
            name: self.name,
            settings: Arc::new(settings),
            document,
            considered_until: self.considered_until,
            fired_ahead: self.fired_ahead,
            pause: self.pause,
            failures: self.failures,
            last_completed: self.last_completed,
            open: BTreeMap::new(),
            queue: BTreeMap::new(),
            tail: tail.map(|(first, state)| Tail { first, state }),
            created_at: self.created_at,
            changed_at: self.changed_at,
            changed_by: self.changed_by,
            revision: self.revision,
        };
        for OpenTickRow { key, waits_alone, work, .. } in ticks {
            match (work, waits_alone) {
                (Some(work), _) => drop(schedule.open.insert(key, work)),
                (None, Some(false)) => drop(schedule.queue.insert(key, Wait::None)),
                (None, _) => drop(schedule.queue.insert(key, Wait::Alone)),
            }
        }
        Ok(schedule)
    }
}

/// What a document says that was accepted once.
fn read_settings(name: &ScheduleName, document: &str) -> Result<ScheduleSettings, TransactionError> {
    let wrong = |why: String| unreadable("document", format_args!("schedule {name}: {why}"));
    let json: crewcall_expressions::Json =
        serde_json::from_str(document).map_err(|error| wrong(error.to_string()))?;
    let read = match (name.workflow(), &json) {
        (Some(workflow), crewcall_expressions::Json::Object(object)) => {
            ScheduleSettings::read_trigger(object, "", &workflow)
        }
        _ => ScheduleSettings::read(&json),
    };
    read.map_err(|problems| wrong(crate::domain::Problem::sentence(&problems)))
}

/// What a schedule says.
pub(super) struct DocumentRow {
    pub(super) schedule_id: ScheduleId,
    pub(super) document: String,
}

columns!(DocumentRow { schedule_id: "schedule_id", document: "document" });

columns!(TickKey { at: "tick", origin: "origin" });

/// One of these, or none.
impl Value for Option<TickWork> {
    fn names(_: &str) -> Vec<String> {
        ["job_id", "run_id", "sequence"].map(str::to_owned).to_vec()
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        match (columns.value()?, columns.value()?, columns.value()?) {
            (Some(id), None, None) => Ok(Some(TickWork::Job(id))),
            (None, Some(id), None) => Ok(Some(TickWork::Run(id))),
            (None, None, Some(sequence)) => Ok(Some(TickWork::Event(sequence))),
            (None, None, None) => Ok(None),
            _ => Err(columns.unreadable("a tick that made two things")),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let (job, run, event) = match *self {
            Some(TickWork::Job(id)) => (Some(id), None, None),
            Some(TickWork::Run(id)) => (None, Some(id), None),
            Some(TickWork::Event(sequence)) => (None, None, Some(sequence)),
            None => (None, None, None),
        };
        parameters.value(&job)?;
        parameters.value(&run)?;
        parameters.value(&event)
    }
}

columns!(TickRecord {
    key: "",
    last: "last_tick",
    count: "count",
    state: "state",
    reason: "reason",
    decided_at: "decided_at",
    work: "",
    outcome: "outcome",
    ended_at: "ended_at",
});

/// What became of a tick, with whose it is.
pub(super) struct TickRow {
    pub(super) schedule_id: ScheduleId,
    pub(super) schedule: ScheduleName,
    pub(super) waits_alone: Option<bool>,
    pub(super) record: TickRecord,
}

columns!(TickRow {
    schedule_id: "schedule_id",
    schedule: "schedule",
    waits_alone: "waits_alone",
    record: "",
});

/// A tick that waits, or whose work is not over.
pub(super) struct OpenTickRow {
    pub(super) schedule_id: ScheduleId,
    pub(super) schedule: ScheduleName,
    pub(super) key: TickKey,
    waits_alone: Option<bool>,
    pub(super) work: Option<TickWork>,
}

columns!(OpenTickRow {
    schedule_id: "schedule_id",
    schedule: "schedule",
    key: "",
    waits_alone: "waits_alone",
    work: "",
});

/// For which tick something was made.
pub(super) struct FiredByRow {
    schedule: ScheduleName,
    schedule_id: ScheduleId,
    key: TickKey,
}

columns!(FiredByRow { schedule: "schedule", schedule_id: "schedule_id", key: "" });

impl FiredByRow {
    pub(super) fn fired_by(self) -> FiredBy {
        FiredBy { schedule: self.schedule, id: self.schedule_id, tick: self.key }
    }
}

/// Why a job was made that a tick made.
pub(super) fn cause_of(job_id: JobId, by: FiredBy) -> Cause {
    Cause { by: CausedBy::Schedule(by), root: Root::Job(job_id), depth: 0 }
}
