//! What follows from an event for a consumer: decided by its settings and the event alone.

use std::{collections::BTreeMap, sync::Arc};

use crewcall_expressions::{Expression, Failed, Invalid, Json, Scope, Template};
use crewcall_proto::{JobId, JsonObject, Timestamp};

use super::{
    Cause, CausedBy, ConsumerName, ConsumerSettings, Job, MadeOf, Pass, Problem, PublishedEvent,
    SubjectPattern, Submission, Then,
    consumer::{IN_FLIGHT_MAX, PATTERNS_MAX},
    escaped,
    submission::NewJob,
    webhook,
    workflow::{
        definition::{Trigger, WorkflowName},
        known::WorkflowVersion,
    },
};

/// What the expressions of a consumer know by name.
pub const NAMES: [&str; 1] = ["event"];

/// The settings of a consumer, read.
#[derive(Debug)]
pub struct Reaction {
    subjects: Vec<SubjectPattern>,
    condition: Option<Expression>,
    makes: Makes,
}

/// What a consumer makes, read.
#[derive(Debug)]
enum Makes {
    Job(Box<Templates>),
    Run(WorkflowName),
    /// A run, where one of these triggers selects the event.
    Trigger(Arc<WorkflowVersion>),
}

/// A job whose parameters and labels are templates.
#[derive(Debug)]
struct Templates {
    job: Submission,
    parameters: Template,
    labels: BTreeMap<String, Template>,
}

/// What follows from an event.
#[derive(Debug)]
pub enum Reacted {
    Nothing,
    /// Whether the condition is met cannot be said: nothing follows.
    Unclear(String),
    /// The event is selected, but as many jobs made each other before it as may.
    TooDeep,
    /// A job, for this cause.
    Job(Result<Box<Submission>, String>, Cause),
    /// A run of a workflow, for this cause.
    Run(WorkflowName, Cause),
}

impl Reaction {
    /// Reads settings.
    ///
    /// # Errors
    ///
    /// Every problem they have, each with a pointer.
    pub fn of(settings: &ConsumerSettings, now: Timestamp) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if !(1..=PATTERNS_MAX).contains(&settings.subjects.len()) {
            let message = format!("a consumer has 1 to {PATTERNS_MAX} patterns of subjects");
            problems.push(Problem::new("/subjects", message));
        }
        let condition = settings.condition.as_ref().map(|text| Expression::parse_condition(text, &NAMES));
        if let Some(Err(invalid)) = &condition {
            problems.push(Problem::new("/if", invalid.to_string()));
        }
        if !(1..=IN_FLIGHT_MAX).contains(&settings.in_flight_max) {
            let message = format!("in_flight_max is a whole number from 1 to {IN_FLIGHT_MAX}");
            problems.push(Problem::new("/in_flight_max", message));
        }
        let makes = match &settings.then {
            Then::Job(job) => {
                problems.extend(job_problems(job, now));
                Templates::of(job, &mut problems).map(|job| Makes::Job(Box::new(job)))
            }
            Then::Webhook(name) => {
                let job = webhook::delivery(name);
                Templates::of(&job, &mut problems).map(|job| Makes::Job(Box::new(job)))
            }
            Then::Run(workflow) => Some(Makes::Run(workflow.clone())),
            Then::Trigger(version) => Some(Makes::Trigger(Arc::clone(version))),
        };
        match (condition.transpose(), makes) {
            (Ok(condition), Some(makes)) if problems.is_empty() => {
                Ok(Self { subjects: settings.subjects.clone(), condition, makes })
            }
            _ => Err(problems),
        }
    }

    /// Whether it selects events of this subject.
    #[must_use]
    pub fn selects(&self, event: &PublishedEvent) -> bool {
        self.subjects.iter().any(|pattern| pattern.selects(&event.subject))
    }

    /// What follows from an event whose subject it selects. `scope` has the event under its name.
    #[must_use]
    pub fn react(
        &self,
        event: &PublishedEvent,
        scope: &Scope<'_>,
        by: (&ConsumerName, Pass),
        depth_max: u32,
    ) -> Reacted {
        let met = match &self.makes {
            Makes::Trigger(version) => triggers(version.workflow.triggers.as_slice(), event, scope),
            Makes::Job(_) | Makes::Run(_) => {
                self.condition.as_ref().map_or(Ok(true), |condition| condition.boolean(scope))
            }
        };
        match met {
            Ok(true) => {}
            Ok(false) => return Reacted::Nothing,
            Err(failed) => return Reacted::Unclear(failed.to_string()),
        }
        let depth = event.depth() + 1;
        if depth > depth_max {
            return Reacted::TooDeep;
        }
        let (consumer, pass) = (by.0.clone(), by.1);
        let made_of = MadeOf { consumer, pass, sequence: event.sequence };
        let cause = Cause { by: CausedBy::Consumer(made_of), root: event.root(), depth };
        match &self.makes {
            Makes::Job(job) => {
                Reacted::Job(job.fill(scope).map(Box::new).map_err(|failed| failed.to_string()), cause)
            }
            Makes::Run(workflow) => Reacted::Run(workflow.clone(), cause),
            Makes::Trigger(version) => Reacted::Run(version.name().clone(), cause),
        }
    }

    /// The job that it makes, without what could not be filled in; nothing, if it makes runs.
    #[must_use]
    pub fn bare(&self) -> Option<Submission> {
        match &self.makes {
            Makes::Job(job) => {
                let (parameters, labels) = (JsonObject::new(), BTreeMap::new());
                Some(Submission { parameters, labels, ..job.job.clone() })
            }
            Makes::Run(_) | Makes::Trigger(_) => None,
        }
    }
}

/// Whether one of the triggers of a workflow lets an event pass. One that cannot say so matters only if no other does.
fn triggers(triggers: &[Trigger], event: &PublishedEvent, scope: &Scope<'_>) -> Result<bool, Failed> {
    let mut unclear = None;
    for trigger in triggers {
        let Trigger::Event { subject, condition } = trigger else { continue };
        if !subject.selects(&event.subject) {
            continue;
        }
        match condition.as_ref().map_or(Ok(true), |condition| condition.boolean(scope)) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(failed) => unclear = Some(failed),
        }
    }
    unclear.map_or(Ok(false), Err)
}

/// What is wrong with a job that somebody wants to be made, but for its templates.
fn job_problems(job: &Submission, now: Timestamp) -> impl Iterator<Item = Problem> {
    let bare = Submission {
        parameters: JsonObject::new(),
        labels: job.labels.keys().map(|name| (name.clone(), String::new())).collect(),
        ..job.clone()
    };
    let within = |problem: Problem| Problem::new(format!("/then/job{}", problem.pointer), problem.message);
    bare.validate(now).err().unwrap_or_default().into_iter().map(within)
}

impl Templates {
    fn of(job: &Submission, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut template = |at: String, value: &Json| {
            Template::parse(value, &NAMES).map_err(|invalid: Vec<(String, Invalid)>| {
                let told = |(pointer, invalid): (String, Invalid)| {
                    Problem::new(format!("{at}{pointer}"), invalid.to_string())
                };
                problems.extend(invalid.into_iter().map(told));
            })
        };
        let parameters = template("/then/job/parameters".to_owned(), &Json::Object(job.parameters.clone()));
        let labels: Result<BTreeMap<_, _>, ()> = job
            .labels
            .iter()
            .map(|(name, text)| {
                let at = format!("/then/job/labels/{}", escaped(name));
                Ok((name.clone(), template(at, &Json::String(text.clone()))?))
            })
            .collect();
        Some(Self { job: job.clone(), parameters: parameters.ok()?, labels: labels.ok()? })
    }

    fn fill(&self, scope: &Scope<'_>) -> Result<Submission, Failed> {
        let parameters = match self.parameters.fill(scope)? {
            Json::Object(parameters) => parameters,
            // An object stays one: only texts are templates.
            other => JsonObject::from_iter([("value".to_owned(), other)]),
        };
        let label = |(name, template): (&String, &Template)| match template.fill(scope)? {
            Json::String(text) => Ok((name.clone(), text)),
            other => Ok((name.clone(), other.to_string())),
        };
        let labels = self.labels.iter().map(label).collect::<Result<_, Failed>>()?;
        Ok(Submission { parameters, labels, ..self.job.clone() })
    }
}

impl NewJob {
    /// The job from the moment at which it was seen that it cannot be run, for a reason of this code.
    #[must_use]
    pub fn fail(self, id: JobId, now: Timestamp, code: &str, message: String) -> Job {
        let mut job = self.accept(id, now);
        job.status.fail_at_birth(code, message, now);
        job
    }
}
