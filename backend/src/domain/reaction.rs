//! What a consumer makes of an event: decided by its settings and the event alone.

use std::collections::BTreeMap;

use crewcall_expressions::{Expression, Failed, Invalid, Json, Scope, Template};
use crewcall_proto::{JobId, JsonObject, Timestamp};

use super::{
    Cause, ConsumerName, ConsumerSettings, Job, Pass, Problem, PublishedEvent, Submission,
    consumer::{IN_FLIGHT_MAX, PATTERNS_MAX},
    submission::NewJob,
};

/// What the expressions of a consumer know by name.
pub const NAMES: [&str; 1] = ["event"];

/// The settings of a consumer, read.
#[derive(Debug)]
pub struct Reaction {
    settings: ConsumerSettings,
    condition: Option<Expression>,
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
        let job = &settings.job;
        let bare = Submission {
            parameters: JsonObject::new(),
            labels: job.labels.keys().map(|name| (name.clone(), String::new())).collect(),
            ..job.clone()
        };
        let within =
            |problem: Problem| Problem::new(format!("/then/job{}", problem.pointer), problem.message);
        problems.extend(bare.validate(now).err().unwrap_or_default().into_iter().map(within));
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
                let at = format!("/then/job/labels/{}", name.replace('~', "~0").replace('/', "~1"));
                Ok((name.clone(), template(at, &Json::String(text.clone()))?))
            })
            .collect();
        match (condition.transpose(), parameters, labels) {
            (Ok(condition), Ok(parameters), Ok(labels)) if problems.is_empty() => {
                Ok(Self { settings: settings.clone(), condition, parameters, labels })
            }
            _ => Err(problems),
        }
    }

    /// Whether it selects events of this subject.
    #[must_use]
    pub fn selects(&self, event: &PublishedEvent) -> bool {
        self.settings.subjects.iter().any(|pattern| pattern.selects(&event.subject))
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
        match self.condition.as_ref().map(|condition| condition.boolean(scope)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => return Reacted::Nothing,
            Some(Err(failed)) => return Reacted::Unclear(failed.to_string()),
        }
        let depth = event.depth() + 1;
        if depth > depth_max {
            return Reacted::TooDeep;
        }
        let (consumer, pass) = (by.0.clone(), by.1);
        let cause = Cause { consumer, pass, sequence: event.sequence, root: event.root(), depth };
        Reacted::Job(self.fill(scope).map(Box::new).map_err(|failed| failed.to_string()), cause)
    }

    /// The job that it makes, without what could not be filled in.
    #[must_use]
    pub fn bare(&self) -> Submission {
        let job = self.settings.job.clone();
        Submission { parameters: JsonObject::new(), labels: BTreeMap::new(), ..job }
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
        Ok(Submission { parameters, labels, ..self.settings.job.clone() })
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
