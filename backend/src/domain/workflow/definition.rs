//! A workflow as it was read: what a run of it consults and never changes.

use std::{sync::Arc, time::Duration};

use crewcall_expressions::{Expression, Template};
use crewcall_proto::{JsonObject, Timestamp};

use super::graph::Graph;
use crate::domain::SubjectPattern;
pub use crate::domain::{
    job_template::JobTemplate,
    run_names::{InvalidWorkflowName, StepIndex, WorkflowName},
};

/// One version of a workflow. It is never changed: a run keeps the one that it began with.
#[derive(Debug, Clone)]
pub struct Workflow {
    pub name: WorkflowName,
    /// What starts a run, besides people.
    pub triggers: Vec<Trigger>,
    /// The JSON Schema of the data that a run is started with by hand.
    pub parameters: Option<JsonObject>,
    pub concurrency: Option<Concurrency>,
    pub on_failure: OnFailure,
    /// How long a run may take from its start, until it is stopped.
    pub timeout: Option<Duration>,
    /// In the order of the document.
    pub steps: Vec<Step>,
    /// What comes out of a run. It may read every step.
    pub outputs: Option<Template>,
    /// The steps whose data `outputs` reads.
    pub outputs_read: Vec<StepIndex>,
    pub(super) graph: Graph,
}

/// What starts a run.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// An event that the pattern selects and the condition lets pass. The end of a job is such an event.
    Event { subject: SubjectPattern, condition: Option<Expression> },
    /// The ticks of a schedule: its fields as they are written.
    Schedule(JsonObject),
}

/// How many runs may be under way at once.
#[derive(Debug, Clone)]
pub struct Concurrency {
    pub max: u32,
    /// What the runs have in common that are counted together; all of them, if it is left out.
    pub key: Option<Template>,
    pub when_full: WhenFull,
}

/// What becomes of a run for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It waits.
    #[default]
    Queue,
    /// It is not made.
    Skip,
    /// The oldest of those that are under way is cancelled.
    CancelRunning,
}

/// What follows when a step has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// What runs is cancelled.
    #[default]
    Cancel,
    /// Everything that does not need the failed step goes on to its end.
    Drain,
    /// What runs is cancelled; then what completed is compensated for.
    Compensate,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    pub name: Arc<str>,
    /// The steps that have to be over before this one is looked at. Each once.
    pub needs: Vec<StepIndex>,
    pub run_if: RunIf,
    /// The step is skipped if this is false.
    pub when: Option<Expression>,
    pub work: Work,
    /// Whether its failure counts as completed.
    pub continues_on_failure: bool,
    /// The job that undoes one item of it.
    pub compensate: Option<JobTemplate>,
    /// The steps whose data its expressions read: no other has to be loaded for it.
    pub reads: Vec<StepIndex>,
}

/// What must have become of the steps that it needs, so that a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunIf {
    /// All of them are completed.
    #[default]
    Completed,
    /// At least one of them is: it joins branches.
    AnyCompleted,
    /// At least one of them failed.
    Failed,
    /// They are over, however they ended: it cleans up.
    Finished,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Work {
    /// A job, or one for each item.
    Job { job: Box<JobTemplate>, each: Option<Each> },
    /// It waits for an event.
    Event(EventWait),
    /// It waits for a moment: a time of the calendar, as text.
    Until(Template),
    /// It waits for somebody's decision.
    Approval(Limit),
    /// A run of another workflow.
    Child { workflow: WorkflowName, data: Template },
}

/// The moment that a text names (RFC 3339), such as `2026-11-20T16:07:00Z`: what `until` has to be. `None` if it names none.
#[must_use]
pub fn read_moment(text: &str) -> Option<Timestamp> {
    let moment = text.parse::<jiff::Timestamp>().ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

/// The items of a step.
#[derive(Debug, Clone)]
pub struct Each {
    /// A list; each of its values is an item.
    pub list: Template,
    /// How many are open at once.
    pub parallel: u32,
    pub tolerate: Tolerance,
}

/// How many items may fail before the step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tolerance {
    Items(u32),
    /// Of all items of the step.
    Percent(u32),
}

impl Default for Tolerance {
    fn default() -> Self {
        Self::Items(0)
    }
}

impl Tolerance {
    /// Whether so many failures of so many items are too many.
    #[must_use]
    pub fn is_exceeded(self, failures: u32, items: u32) -> bool {
        match self {
            Self::Items(most) => failures > most,
            Self::Percent(most) => u64::from(failures) * 100 > u64::from(most) * u64::from(items),
        }
    }
}

/// The event that a step waits for.
#[derive(Debug, Clone)]
pub struct EventWait {
    pub subject: SubjectPattern,
    /// What the event has to meet besides.
    pub condition: Option<Expression>,
    /// From where on the log is looked at.
    pub since: Since,
    pub limit: Limit,
}

/// From where on the log is looked at for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Since {
    /// From the start of the run: an answer that comes before the question counts.
    #[default]
    Run,
    /// From the start of the step.
    Step,
}

/// How long a step waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    pub timeout: Option<Duration>,
    pub on_timeout: OnTimeout,
}

/// What becomes of a step that waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTimeout {
    #[default]
    Fail,
    /// It counts as completed.
    Continue,
}

impl Workflow {
    /// A step by its name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StepIndex> {
        self.steps.iter().position(|step| &*step.name == name).map(StepIndex)
    }

    /// A step by its place; `None` if the workflow has fewer.
    #[must_use]
    pub fn step(&self, step: StepIndex) -> Option<&Step> {
        self.steps.get(step.0)
    }

    /// The steps that need this one.
    #[must_use]
    pub fn dependents(&self, step: StepIndex) -> &[StepIndex] {
        self.graph.dependents(step)
    }

    /// All steps, each after those that it needs.
    #[must_use]
    pub fn order(&self) -> &[StepIndex] {
        self.graph.order()
    }
}

impl Step {
    /// Whether something has to be evaluated before it is known whether, and with how much, the step begins. The parameters of
    /// jobs are not meant: they are filled in when its items are made.
    #[must_use]
    pub fn wants_evaluation(&self) -> bool {
        self.when.is_some()
            || match &self.work {
                Work::Job { each, .. } => each.is_some(),
                Work::Until(_) => true,
                Work::Event(_) | Work::Approval(_) | Work::Child { .. } => false,
            }
    }

    /// How many of its items are open at once.
    #[must_use]
    pub fn parallel(&self) -> u32 {
        match &self.work {
            Work::Job { each: Some(each), .. } => each.parallel,
            Work::Job { each: None, .. }
            | Work::Event(_)
            | Work::Until(_)
            | Work::Approval(_)
            | Work::Child { .. } => 1,
        }
    }

    /// How many of its items may fail.
    #[must_use]
    pub fn tolerate(&self) -> Tolerance {
        match &self.work {
            Work::Job { each: Some(each), .. } => each.tolerate,
            Work::Job { each: None, .. }
            | Work::Event(_)
            | Work::Until(_)
            | Work::Approval(_)
            | Work::Child { .. } => Tolerance::default(),
        }
    }
}
