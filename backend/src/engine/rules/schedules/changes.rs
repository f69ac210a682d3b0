//! Schedules come, change and go; and with each workflow those that are its triggers.

use std::sync::Arc;

use crewcall_proto::Timestamp;

use super::{ends::keep, records::single};
use crate::{
    domain::{
        Pause, ScheduleName, TickKey, TickOrigin,
        schedules::{
            known::{Schedule, Wait},
            limits::SCHEDULES_MAX,
            settings::ScheduleSettings,
            tick::TickState,
        },
        workflow::{
            definition::{Trigger, WorkflowName},
            known::KnownWorkflow,
        },
    },
    engine::{
        ports::{ScheduleChange, ScheduleChanged, ScheduleWrite},
        rules::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted},
    },
};

/// Does something to one schedule.
pub struct ChangeSchedule {
    pub name: ScheduleName,
    pub change: ScheduleChange,
}

impl Decide for ChangeSchedule {
    type Value = ScheduleChanged;

    fn wants(&self, rules: &Rules) -> Wanted {
        let Some(known) = rules.schedules.get(&self.name) else { return Wanted::Nothing };
        match &self.change {
            ScheduleChange::Backfill { ticks, .. } => match (ticks.first(), ticks.last()) {
                (Some(first), Some(last)) => {
                    Wanted::FiredTicks { schedule: known.id, after: first.plus_millis(-1), to: *last }
                }
                _ => Wanted::Nothing,
            },
            ScheduleChange::ClockSetBack { .. } => Wanted::FiredTicks {
                schedule: known.id,
                after: rules.wall(),
                to: Timestamp::from_millis(i64::MAX),
            },
            _ => Wanted::Nothing,
        }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<ScheduleChanged>, Inconsistent> {
        let Self { name, change } = self;
        let mut decision = Decision::nothing(ScheduleChanged::Unknown);
        let known = rules.schedules.get(&name).map(|known| known.as_ref().clone());
        decision.value = match (known, change) {
            (None, ScheduleChange::Put { settings, document, by }) => {
                create(&name, (settings, document), (by, None), rules, &mut decision)
                    .map_or(ScheduleChanged::TooMany, ScheduleChanged::Created)
            }
            (None, _) => ScheduleChanged::Unknown,
            (Some(known), ScheduleChange::Delete) => {
                delete(&known, rules, &mut decision);
                ScheduleChanged::Deleted
            }
            (Some(known), ScheduleChange::Backfill { ticks, at_once, by }) => {
                let ticks: Vec<Timestamp> =
                    ticks.into_iter().filter(|tick| !loaded.fired_ticks.contains(tick)).collect();
                backfill(known, &ticks, (at_once, &by), rules, &mut decision)
            }
            (Some(known), change) => match changed(&known, change, &loaded, rules, &mut decision) {
                Some(schedule) => ScheduleChanged::Changed(keep_all(schedule, rules, &mut decision)),
                None => ScheduleChanged::Unchanged(Arc::new(known)),
            },
        };
        Ok(decision)
    }
}

/// `None` when there are as many as may be.
fn create<T>(
    name: &ScheduleName,
    (settings, document): (Arc<ScheduleSettings>, Arc<str>),
    (by, pause): (String, Option<Pause>),
    rules: &mut Rules,
    decision: &mut Decision<T>,
) -> Option<Arc<Schedule>> {
    if rules.schedules.count() >= SCHEDULES_MAX {
        return None;
    }
    let (id, created_at) = (rules.schedules.next_id(), rules.now());
    let schedule = Schedule {
        id,
        name: name.clone(),
        settings,
        document,
        considered_until: rules.wall(),
        fired_ahead: None,
        pause,
        failures: 0,
        last_completed: None,
        open: Default::default(),
        queue: Default::default(),
        tail: None,
        created_at,
        changed_at: created_at,
        changed_by: by,
        revision: 1,
    };
    Some(keep_all(schedule, rules, decision))
}

/// A schedule is like this from now on, and may say something else.
fn keep_all<T>(schedule: Schedule, rules: &mut Rules, decision: &mut Decision<T>) -> Arc<Schedule> {
    let schedule = keep(schedule, rules, decision);
    decision.writes.schedules.push(ScheduleWrite::Document(Arc::clone(&schedule)));
    schedule
}

/// As it is from now on; nothing, if it was like that already.
fn changed(
    known: &Schedule,
    change: ScheduleChange,
    loaded: &Loaded,
    rules: &Rules,
    decision: &mut Decision<ScheduleChanged>,
) -> Option<Schedule> {
    match change {
        ScheduleChange::Put { document, .. } if document == known.document => None,
        ScheduleChange::Put { settings, document, by } => Some(Schedule {
            settings,
            document,
            // What it did not say before does not fire now.
            considered_until: known.considered_until.max(rules.wall()),
            changed_at: rules.now(),
            changed_by: by,
            revision: known.revision + 1,
            tail: None,
            ..known.clone()
        }),
        ScheduleChange::Pause(_) if known.pause.is_some() => None,
        ScheduleChange::Pause(pause) => Some(Schedule { pause: Some(pause), tail: None, ..known.clone() }),
        ScheduleChange::Resume if known.pause.is_none() => None,
        ScheduleChange::Resume => Some(Schedule { pause: None, failures: 0, tail: None, ..known.clone() }),
        ScheduleChange::ClockSetBack { .. } if known.considered_until <= rules.wall() => None,
        ScheduleChange::ClockSetBack { cut } => {
            let now = rules.wall();
            let struck_out = ScheduleWrite::StruckOut { schedule: known.id, after: now, cut };
            decision.writes.schedules.push(struck_out);
            let waits = |tick: &Timestamp| {
                known.queue.contains_key(&TickKey { at: *tick, origin: TickOrigin::Clock })
            };
            let fired_ahead = loaded.fired_ticks.iter().rev().find(|tick| !waits(tick)).copied();
            let mut queue = known.queue.clone();
            queue.retain(|key, _| key.origin != TickOrigin::Clock || key.at <= now);
            let fired_ahead = fired_ahead.max(known.fired_ahead);
            Some(Schedule { considered_until: now, fired_ahead, queue, tail: None, ..known.clone() })
        }
        ScheduleChange::Delete | ScheduleChange::Backfill { .. } => None,
    }
}

/// What runs goes on to its end; what waits goes.
fn delete<T>(known: &Schedule, rules: &mut Rules, decision: &mut Decision<T>) {
    let now = rules.now();
    for key in known.queue.keys() {
        let reason = Some("the schedule was deleted while it waited".to_owned());
        let record = single(*key, TickState::Skipped, (reason, None), now);
        decision.writes.schedules.push(ScheduleWrite::Changed(known.id, known.name.clone(), record));
    }
    rules.schedules.remove(&known.name);
    decision.schedules.push(Arc::new(known.clone()));
    decision.writes.schedules.push(ScheduleWrite::Deleted(known.name.clone()));
}

fn backfill(
    mut known: Schedule,
    ticks: &[Timestamp],
    (at_once, by): (bool, &str),
    rules: &mut Rules,
    decision: &mut Decision<ScheduleChanged>,
) -> ScheduleChanged {
    let now = rules.now();
    let wait = if at_once { Wait::None } else { Wait::Alone };
    for tick in ticks {
        let key = TickKey { at: *tick, origin: TickOrigin::Backfill };
        known.queue.insert(key, wait);
        let reason = Some(format!("asked for by {by}"));
        let record = single(key, TickState::Queued, (reason, None), now);
        decision.writes.schedules.push(ScheduleWrite::Backfilled(known.id, known.name.clone(), record, wait));
    }
    keep(known, rules, decision);
    ScheduleChanged::Queued(ticks.len())
}

/// A workflow has these triggers from now on: those that are schedules tick from now on.
pub(in crate::engine::rules) fn keep_triggers<T>(
    workflow: &KnownWorkflow,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) {
    let name = workflow.name();
    let (triggers, by) = (&workflow.newest.workflow.triggers, &workflow.newest.made_by);
    for (index, trigger) in triggers.iter().enumerate() {
        let Trigger::Schedule(object) = trigger else { continue };
        // What cannot be read was refused with the document.
        let Ok(settings) = ScheduleSettings::read_trigger(object, "", name) else { continue };
        let document: Arc<str> = crewcall_expressions::Json::Object(object.clone()).to_string().into();
        let of_it = ScheduleName::of_workflow(name, index);
        let known = rules.schedules.get(&of_it).map(|known| known.as_ref().clone());
        let settings = Arc::new(settings);
        match known {
            None => {
                let pause = workflow.pause.clone();
                drop(create(&of_it, (settings, document), (by.clone(), pause), rules, decision));
            }
            Some(known) if known.document != document => {
                let put = ScheduleChange::Put { settings, document, by: by.clone() };
                let mut aside = Decision::nothing(ScheduleChanged::Unknown);
                if let Some(schedule) = changed(&known, put, &Loaded::default(), rules, &mut aside) {
                    keep_all(schedule, rules, decision);
                }
            }
            Some(_) => {}
        }
    }
    let goes = |schedule: &Schedule| {
        let index =
            (0..triggers.len()).find(|index| schedule.name == ScheduleName::of_workflow(name, *index));
        !index
            .and_then(|index| triggers.get(index))
            .is_some_and(|trigger| matches!(trigger, Trigger::Schedule(_)))
    };
    drop_those(name, goes, rules, decision);
}

/// The workflow goes, and its triggers with it.
pub(in crate::engine::rules) fn drop_triggers<T>(
    workflow: &WorkflowName,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) {
    drop_those(workflow, |_| true, rules, decision);
}

/// The triggers of a workflow are paused with it, and resumed.
pub(in crate::engine::rules) fn pause_triggers<T>(
    workflow: &WorkflowName,
    pause: Option<&Pause>,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) {
    for schedule in of_workflow(workflow, rules) {
        let pause = pause.cloned();
        keep(Schedule { pause, failures: 0, tail: None, ..schedule }, rules, decision);
    }
}

fn drop_those<T>(
    workflow: &WorkflowName,
    goes: impl Fn(&Schedule) -> bool,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) {
    for schedule in of_workflow(workflow, rules).iter().filter(|schedule| goes(schedule)) {
        delete(schedule, rules, decision);
    }
}

fn of_workflow(workflow: &WorkflowName, rules: &Rules) -> Vec<Schedule> {
    let of_it = |schedule: &&Arc<Schedule>| schedule.name.workflow().as_ref() == Some(workflow);
    rules.schedules.all().filter(of_it).map(|schedule| schedule.as_ref().clone()).collect()
}
