//! What a tick makes, made ready: filled in, and held against what workers announced.

use std::sync::Arc;

use crewcall_calendar::Calendar;
use crewcall_expressions::{Json, Scope, Template};
use crewcall_proto::RunId;
use serde_json::{Map, json};

use crate::{
    domain::{
        FiredBy, NewEvent, Problem, Root, Submission, TickKey,
        schedules::{known::Schedule, settings::Makes},
        workflow::{definition::WorkflowName, known::StartedBy},
    },
    engine::{
        Engine,
        blocking::blocking,
        checked::NotChecked,
        ports::{Accepted, RunData, StoreError, TickMade},
        rfc3339::rfc3339,
    },
};

/// What is filled in.
enum Filled {
    Job(Result<Box<Submission>, String>),
    Data(Result<Json, String>),
}

/// Makes ready what a tick makes. `None` when that cannot be said now.
pub(super) async fn make(
    engine: &Engine,
    schedule: &Arc<Schedule>,
    calendar: &Calendar,
    tick: TickKey,
) -> Result<Option<TickMade>, StoreError> {
    let known = knowledge(engine, schedule, calendar, tick).await?;
    let by = FiredBy { schedule: schedule.name.clone(), id: schedule.id, tick };
    let (settings, scope) = (Arc::clone(&schedule.settings), known.clone());
    let filled = blocking(move || {
        let known = Scope::new([("schedule", &scope)]).map_err(|error| error.to_string());
        match &settings.makes {
            Makes::Job(job) => Filled::Job(
                known.and_then(|scope| job.fill(&scope).map_err(|failed| failed.to_string())).map(Box::new),
            ),
            Makes::Run { data, .. } | Makes::Event { data, .. } => {
                Filled::Data(known.and_then(|scope| fill(data, &scope)))
            }
        }
    })
    .await?;
    match (&schedule.settings.makes, filled) {
        (Makes::Job(template), Filled::Job(submission)) => {
            let now = engine.clock.now();
            let bare = Some(template.bare().clone());
            let Some(job) = engine.job_made(bare, submission, now).await else { return Ok(None) };
            let window = engine.relay.window(&job.job_type);
            Ok(Some(TickMade::Job(Box::new(Accepted { job, window, idempotency: None, after: None }), by)))
        }
        (Makes::Event { subject, .. }, Filled::Data(Ok(data))) => {
            let subject = subject.clone();
            let event = NewEvent {
                subject,
                data: data.to_string(),
                id: None,
                occurred_at: Some(tick.at),
                origin: None,
            };
            Ok(Some(TickMade::Event(event)))
        }
        (Makes::Run { workflow, .. }, Filled::Data(Ok(data))) => {
            run(engine, workflow, (data, known), by).await
        }
        (_, Filled::Data(Err(message))) => Ok(Some(TickMade::Nothing(message))),
        (_, _) => Ok(None),
    }
}

fn fill(template: &Template, scope: &Scope<'_>) -> Result<Json, String> {
    template.fill(scope).map_err(|failed| failed.to_string())
}

async fn run(
    engine: &Engine,
    workflow: &WorkflowName,
    (data, known): (Json, Json),
    by: FiredBy,
) -> Result<Option<TickMade>, StoreError> {
    let nothing = |reason: String| Ok(Some(TickMade::Nothing(reason)));
    let Some(to_run) = engine.store.workflow(workflow) else {
        return nothing(format!("there is no workflow {workflow}"));
    };
    // The triggers of a workflow start it without data, whatever it wants of people.
    if by.schedule.workflow().is_none() {
        match engine.data_problems(&to_run, &data).await {
            Ok(problems) if problems.is_empty() => {}
            Ok(problems) => return nothing(Problem::sentence(&problems)),
            Err(NotChecked::Store(error)) => return Err(error),
            Err(NotChecked::Busy) => return Ok(None),
        }
    }
    let data = RunData { data: data.to_string(), event: None, schedule: Some(known.to_string()) };
    let root = Root::Run(RunId::generate());
    match engine.new_run(workflow, data, StartedBy::Schedule(by), (root, 0)).await? {
        Ok(new) => {
            let root = Root::Run(new.id);
            Ok(Some(TickMade::Run(crate::engine::ports::NewRun { root, ..*new })))
        }
        Err(message) => nothing(message),
    }
}

/// What expressions know of a tick.
async fn knowledge(
    engine: &Engine,
    schedule: &Schedule,
    calendar: &Calendar,
    tick: TickKey,
) -> Result<Json, StoreError> {
    let mut known = Map::new();
    let mut put = |name: &str, value: Json| known.insert(name.to_owned(), value);
    put("name", json!(schedule.name.as_str()));
    put("scheduled_for", json!(rfc3339(tick.at)));
    put("local_time", json!(calendar.local(tick.at.as_millis()).text));
    put("origin", json!(tick.origin.as_str()));
    put("last_completed", json!(schedule.last_completed.map(rfc3339)));
    if schedule.settings.reads_last_result {
        let result = engine.store.last_result(schedule.id).await?;
        put("last_result", result.map_or(Json::Null, |text| serde_json::from_str(&text).unwrap_or_default()));
    }
    Ok(Json::Object(known))
}
