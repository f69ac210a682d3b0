//! Workflows come, change and go; and with each the consumer that is its triggers.

use std::{collections::BTreeSet, sync::Arc};

use super::movement::admit;
use crate::{
    domain::{
        Consumer, ConsumerName, ConsumerSettings, Pause, Start, SubjectPattern, Then,
        consumer::IN_FLIGHT_DEFAULT,
        workflow::{
            definition::{Trigger, Workflow, WorkflowName},
            known::{KnownWorkflow, WorkflowVersion},
        },
    },
    engine::{
        ports::{ConsumerWrite, WORKFLOWS_MAX, WorkflowChange, WorkflowChanged, WorkflowWrite},
        rules::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted, schedules},
    },
};

/// Does something to one workflow.
pub struct ChangeWorkflow {
    pub name: WorkflowName,
    pub change: WorkflowChange,
}

impl Decide for ChangeWorkflow {
    type Value = WorkflowChanged;

    fn wants(&self, rules: &Rules) -> Wanted {
        match self.change {
            WorkflowChange::Put { .. } if rules.runs.workflow(&self.name).is_none() => {
                Wanted::LastVersion(self.name.clone())
            }
            _ => Wanted::Nothing,
        }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<WorkflowChanged>, Inconsistent> {
        let Self { name, change } = self;
        let known = rules.runs.workflow(&name).map(Arc::clone);
        let mut decision = Decision::nothing(WorkflowChanged::Unknown);
        decision.value = match (known, change) {
            (known, WorkflowChange::Put { workflow, document, by, expected }) => {
                let is = known.as_ref().map(|known| known.newest.number);
                if expected.is_some_and(|expected| expected != is.unwrap_or(0)) {
                    WorkflowChanged::OtherVersion(is)
                } else {
                    let last = is.or(loaded.last_version).unwrap_or(0);
                    let (number, made_at, made_by) = (last + 1, rules.now(), by);
                    put(
                        known.as_ref(),
                        (*workflow, document),
                        (number, made_at, made_by),
                        rules,
                        &mut decision,
                    )
                }
            }
            (None, _) => WorkflowChanged::Unknown,
            (Some(known), WorkflowChange::Pause(_)) if known.pause.is_some() => {
                WorkflowChanged::Unchanged(known)
            }
            (Some(known), WorkflowChange::Pause(pause)) => {
                paused(&known, Some(pause), false, rules, &mut decision)
            }
            (Some(known), WorkflowChange::Resume { from_now: false }) if known.pause.is_none() => {
                WorkflowChanged::Unchanged(known)
            }
            (Some(known), WorkflowChange::Resume { from_now }) => {
                paused(&known, None, from_now, rules, &mut decision)
            }
            (Some(known), WorkflowChange::Delete) => delete(&known, rules, &mut decision),
        };
        Ok(decision)
    }
}

fn put(
    known: Option<&Arc<KnownWorkflow>>,
    (workflow, document): (Workflow, Arc<str>),
    (number, made_at, made_by): (u32, crewcall_proto::Timestamp, String),
    rules: &mut Rules,
    decision: &mut Decision<WorkflowChanged>,
) -> WorkflowChanged {
    if let Some(known) = known.filter(|known| known.newest.document == document) {
        return WorkflowChanged::Unchanged(Arc::clone(known));
    }
    if known.is_none() && rules.runs.workflow_count() >= WORKFLOWS_MAX {
        return WorkflowChanged::TooMany;
    }
    let version = Arc::new(WorkflowVersion { workflow, number, document, made_at, made_by });
    let (pause, created_at) = known.map_or((None, made_at), |known| (known.pause.clone(), known.created_at));
    let now = Arc::new(KnownWorkflow { newest: Arc::clone(&version), pause, created_at });
    decision.writes.workflows.push(WorkflowWrite::Version(version));
    keep(&now, rules, decision);
    let consumer = trigger_consumer(&now, rules);
    keep_consumer(&ConsumerName::of_workflow(now.name()), consumer, rules, decision);
    schedules::keep_triggers(&now, rules, decision);
    admit_all(now.name(), rules, decision);
    if known.is_some() { WorkflowChanged::Changed(now) } else { WorkflowChanged::Created(now) }
}

/// What makes runs of events for a workflow from now on; nothing, if no trigger is one.
fn trigger_consumer(workflow: &KnownWorkflow, rules: &mut Rules) -> Option<Consumer> {
    let name = ConsumerName::of_workflow(workflow.name());
    let subjects: BTreeSet<SubjectPattern> = workflow
        .newest
        .workflow
        .triggers
        .iter()
        .filter_map(|trigger| match trigger {
            Trigger::Event { subject, .. } => Some(subject.clone()),
            Trigger::Schedule(_) => None,
        })
        .collect();
    if subjects.is_empty() {
        return None;
    }
    let settings = Arc::new(ConsumerSettings {
        subjects: subjects.into_iter().collect(),
        condition: None,
        then: Then::Trigger(Arc::clone(&workflow.newest)),
        in_flight_max: IN_FLIGHT_DEFAULT,
    });
    let now = rules.now();
    if let Some(known) = rules.consumers.get(&name) {
        let known = known.as_ref().clone();
        return Some(Consumer { settings, changed_at: now, revision: known.revision + 1, ..known });
    }
    let pass = rules.consumers.next_pass();
    Some(Consumer {
        name,
        settings,
        start: Start::Now,
        cursor: rules.counts.sequence(),
        first_pass: pass,
        pass,
        pause: workflow.pause.clone(),
        in_flight: 0,
        replays: Vec::new(),
        created_at: now,
        changed_at: now,
        revision: 1,
    })
}

fn paused(
    known: &KnownWorkflow,
    pause: Option<Pause>,
    from_now: bool,
    rules: &mut Rules,
    decision: &mut Decision<WorkflowChanged>,
) -> WorkflowChanged {
    let now = Arc::new(KnownWorkflow { pause: pause.clone(), ..known.clone() });
    keep(&now, rules, decision);
    schedules::pause_triggers(known.name(), now.pause.as_ref(), rules, decision);
    let name = ConsumerName::of_workflow(known.name());
    if let Some(consumer) = rules.consumers.get(&name) {
        let mut consumer = Consumer { pause, ..consumer.as_ref().clone() };
        if from_now {
            consumer.cursor = rules.counts.sequence();
        }
        keep_consumer(&name, Some(consumer), rules, decision);
    }
    admit_all(known.name(), rules, decision);
    WorkflowChanged::Changed(now)
}

fn delete(
    known: &KnownWorkflow,
    rules: &mut Rules,
    decision: &mut Decision<WorkflowChanged>,
) -> WorkflowChanged {
    let open = rules.runs.crowds(known.name());
    let open: Vec<_> =
        open.flat_map(|(_, crowd)| crowd.under_way.iter().chain(&crowd.queued)).copied().collect();
    if let Some(one) = open.first() {
        return WorkflowChanged::HasOpenRuns { count: open.len(), one: *one };
    }
    rules.runs.set_workflow(known.name(), None);
    decision.writes.workflows.push(WorkflowWrite::Deleted(known.name().clone()));
    keep_consumer(&ConsumerName::of_workflow(known.name()), None, rules, decision);
    schedules::drop_triggers(known.name(), rules, decision);
    WorkflowChanged::Deleted
}

fn keep<T>(workflow: &Arc<KnownWorkflow>, rules: &mut Rules, decision: &mut Decision<T>) {
    rules.runs.set_workflow(workflow.name(), Some(Arc::clone(workflow)));
    decision.writes.workflows.push(WorkflowWrite::Put(Arc::clone(workflow)));
}

fn keep_consumer<T>(
    name: &ConsumerName,
    consumer: Option<Consumer>,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) {
    if consumer.is_none() && rules.consumers.get(name).is_none() {
        return;
    }
    let write = match rules.consumers.set(name, consumer) {
        Some(consumer) => ConsumerWrite::Put(consumer),
        None => ConsumerWrite::Deleted(name.clone()),
    };
    decision.writes.consumers.push(write);
}

/// Its limit may be another, or its pause over.
fn admit_all<T>(name: &WorkflowName, rules: &mut Rules, decision: &mut Decision<T>) {
    let keys: Vec<Option<String>> = rules.runs.crowds(name).map(|(key, _)| key.map(str::to_owned)).collect();
    for key in keys {
        admit(name, key.as_deref(), rules, decision);
    }
}
