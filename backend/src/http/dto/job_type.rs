//! A job type as the API shows it.

use crewcall_proto::{JobType, JsonObject, discovery::EmittedSubject};
use serde::Serialize;
use utoipa::ToSchema;

use super::{job::ActorNote, rfc3339};
use crate::{
    domain::{Demand, State},
    engine::queries::{SubjectView, TypeView},
};
/// Every type that was ever announced, has jobs, or had something set for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TypeList {
    /// By name.
    pub types: Vec<Type>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// A job type.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Type {
    /// Its name.
    #[schema(example = "image.thumbnail")]
    pub r#type: String,
    /// Whether a worker ever announced it. If not, it is known by its jobs or by what was set for it.
    pub announced: bool,
    /// One sentence.
    pub description: String,
    /// The version of its newest handler.
    pub version: String,
    /// JSON Schema of the parameters; `{}` takes anything.
    #[schema(value_type = Object)]
    pub parameters_schema: JsonObject,
    /// JSON Schema of the result.
    #[schema(value_type = Object)]
    pub result_schema: JsonObject,
    /// Which events its jobs publish.
    pub emits: Vec<EmittedEvent>,
    /// Why it is not served with the schemas that were announced last, if it is not: one is not a JSON Schema, is too
    /// large or too costly to check, or has a pattern that needs backtracking. Any parameters are taken then.
    pub schema_error: Option<String>,
    /// Why it was not taken when a worker announced it last, if it was not: its workers get no jobs.
    pub refused: Option<String>,
    /// How many workers serve it now.
    pub workers: usize,
    /// How many slots they have in all.
    pub slots: usize,
    /// Why its workers get no jobs: its queue cannot be declared, usually because it exists with other properties than
    /// ours, which an operator of the broker has to mend; or it does not confirm what is sent to it. Both are tried
    /// again by themselves.
    pub queue_error: Option<String>,
    /// How many jobs are in each state.
    pub jobs: JobCounts,
    /// Who paused it, if it is paused.
    pub paused: Option<ActorNote>,
    /// How many of its attempts run at once at most; `null` for no limit.
    pub running_max: Option<u32>,
    /// How many of its attempts begin in a second at most; `null` for no limit.
    pub rate_per_second: Option<f64>,
    /// When the oldest job was accepted that is due and has not started.
    #[schema(format = DateTime)]
    pub oldest_waiting_at: Option<String>,
    /// When it was first announced.
    #[schema(format = DateTime)]
    pub first_announced_at: Option<String>,
    /// When it was last announced.
    #[schema(format = DateTime)]
    pub last_announced_at: Option<String>,
}

/// The work of a job type, for an autoscaler.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Scale {
    /// Its name.
    #[schema(example = "image.thumbnail")]
    pub r#type: String,
    /// How many slots its work would fill: `waiting` and `running` together, as far as a pause and `running_max` allow.
    /// A rate limit is left out.
    pub slots_wanted: u64,
    /// How many jobs are due and have not started.
    pub waiting: u64,
    /// How many attempts run, long ones that their workers hold among them.
    pub running: u64,
}

impl Scale {
    pub(crate) fn new(job_type: &JobType, demand: Demand) -> Self {
        let Demand { waiting, running, slots_wanted } = demand;
        Self { r#type: job_type.to_string(), slots_wanted, waiting, running }
    }
}

impl From<&TypeView> for Type {
    fn from(view: &TypeView) -> Self {
        let TypeView { job_type, stored, capacity, counts, settings, .. } = view;
        let mut jobs = JobCounts::default();
        for count in counts {
            *jobs.of(count.state) += count.jobs;
        }
        let announced = stored.as_ref();
        Self {
            r#type: job_type.to_string(),
            announced: announced.is_some(),
            description: announced.map(|stored| stored.description.clone()).unwrap_or_default(),
            version: announced.map(|stored| stored.version.clone()).unwrap_or_default(),
            parameters_schema: announced.map(|stored| stored.parameters_schema.clone()).unwrap_or_default(),
            result_schema: announced.map(|stored| stored.result_schema.clone()).unwrap_or_default(),
            emits: announced
                .map(|stored| stored.emits.iter().map(EmittedEvent::from).collect())
                .unwrap_or_default(),
            schema_error: view.schema_error.clone(),
            refused: view.refusal.clone(),
            workers: capacity.workers,
            slots: capacity.slots,
            queue_error: view.queue_error.clone(),
            jobs,
            paused: ActorNote::of_pause(settings.pause.as_ref()),
            running_max: settings.running_max,
            rate_per_second: settings.rate_per_second,
            oldest_waiting_at: view.oldest_waiting.map(rfc3339),
            first_announced_at: announced.map(|stored| rfc3339(stored.first_announced_at)),
            last_announced_at: announced.map(|stored| rfc3339(stored.last_announced_at)),
        }
    }
}

impl Type {
    /// How large its schemas are as JSON.
    pub(crate) fn schema_bytes(&self) -> usize {
        let emitted = self.emits.iter().map(|event| &event.schema);
        [&self.parameters_schema, &self.result_schema].into_iter().chain(emitted).map(json_bytes).sum()
    }
}

fn json_bytes(schema: &JsonObject) -> usize {
    serde_json::to_vec(schema).map_or(0, |text| text.len())
}

/// An event that the jobs of a type publish.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmittedEvent {
    /// What it is about.
    #[schema(example = "order.paid")]
    pub subject: String,
    /// One sentence.
    pub description: String,
    /// JSON Schema of its data; `{}` takes anything.
    #[schema(value_type = Object)]
    pub schema: JsonObject,
}

impl From<&EmittedSubject> for EmittedEvent {
    fn from(EmittedSubject { subject, description, schema }: &EmittedSubject) -> Self {
        Self { subject: subject.clone(), description: description.clone(), schema: schema.clone() }
    }
}

/// The events that jobs publish, by subject.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubjectList {
    /// By name.
    pub subjects: Vec<EventSubject>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// The subject of events that jobs publish.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventSubject {
    /// What they are about.
    #[schema(example = "order.paid")]
    pub subject: String,
    /// The types whose jobs publish them, by name.
    pub types: Vec<Publisher>,
}

/// A type whose jobs publish an event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Publisher {
    /// Its name.
    #[schema(example = "order.settle")]
    pub r#type: String,
    /// One sentence about the event.
    pub description: String,
    /// JSON Schema of the event's data; `{}` takes anything.
    #[schema(value_type = Object)]
    pub schema: JsonObject,
}

impl From<&SubjectView> for EventSubject {
    fn from(SubjectView { subject, publishers }: &SubjectView) -> Self {
        let publisher = |(job_type, emitted): &(JobType, EmittedSubject)| Publisher {
            r#type: job_type.to_string(),
            description: emitted.description.clone(),
            schema: emitted.schema.clone(),
        };
        Self { subject: subject.to_string(), types: publishers.iter().map(publisher).collect() }
    }
}

impl EventSubject {
    /// How large its schemas are as JSON.
    pub(crate) fn schema_bytes(&self) -> usize {
        self.types.iter().map(|publisher| json_bytes(&publisher.schema)).sum()
    }
}

/// The limits of a type. Left out or null means no limit.
// Only describes the request: `flow` reads it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct Limits {
    /// How many of its attempts run at once at most.
    #[schema(minimum = 1, maximum = 100_000)]
    running_max: Option<u32>,
    /// How many of its attempts begin in a second at most; at least one a day.
    #[schema(minimum = 0.000_011_574_074_074_074_073, maximum = 100_000)]
    rate_per_second: Option<f64>,
}

/// How many jobs are in each state.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct JobCounts {
    /// Waiting for the end of other jobs.
    pub blocked: u64,
    /// Due later.
    pub scheduled: u64,
    /// Waiting for their turn.
    pub ready: u64,
    /// Waiting until a worker announces the type.
    pub unroutable: u64,
    /// With the broker.
    pub dispatched: u64,
    /// With a worker.
    pub running: u64,
    /// Done.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl JobCounts {
    const fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Blocked => &mut self.blocked,
            State::Scheduled => &mut self.scheduled,
            State::Ready => &mut self.ready,
            State::Unroutable => &mut self.unroutable,
            State::Dispatched => &mut self.dispatched,
            State::Running => &mut self.running,
            State::Completed => &mut self.completed,
            State::Failed => &mut self.failed,
            State::Cancelled => &mut self.cancelled,
        }
    }
}
