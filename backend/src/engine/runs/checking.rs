//! Documents of workflows, held against what workers announced.

use std::sync::Arc;

use crewcall_expressions::Json;
use crewcall_proto::{
    JobType, JsonObject,
    codec::{DEPTH_MAX, PAYLOAD_BYTES_MAX, json_depth_exceeds},
};

use crate::{
    domain::{
        Problem, escaped,
        schedules::settings::ScheduleSettings,
        workflow::{
            definition::{Trigger, Workflow, WorkflowName},
            known::KnownWorkflow,
        },
    },
    engine::{
        Engine,
        blocking::blocking,
        checked::{Checked, NotChecked},
        ports::StoreError,
        schedules::calendar_problems,
        settings::schema::CheckError,
    },
};

/// What begins an expression in a text.
const OPENING: &str = "${{";

/// A job of a document: where it stands, of which type, and with which parameters.
struct Mention<'d> {
    /// The pointer to what has the fields `job` and `parameters`.
    at: String,
    job_type: &'d str,
    parameters: Option<&'d JsonObject>,
}

impl Engine {
    /// Reads a document on a thread that may block: a large one takes its time.
    pub(in crate::engine) async fn read_workflow(
        &self,
        name: Option<&WorkflowName>,
        mut document: Json,
    ) -> Result<(Result<Workflow, Vec<Problem>>, Json), NotChecked> {
        if let (Some(name), Json::Object(fields)) = (name, &mut document) {
            fields.entry("name").or_insert_with(|| Json::from(name.as_str()));
        }
        let Ok(_turn) = self.runs.documents.acquire().await else { return Err(StoreError::Closed.into()) };
        let (read, document) = blocking(move || (Workflow::read(&document), document)).await?;
        let named = match (read, name) {
            (Ok(workflow), Some(name)) if workflow.name != *name => {
                let message = format!("the document is that of {}, and the path names {name}", workflow.name);
                Err(vec![Problem::new("/name", message)])
            }
            (read, _) => read,
        };
        let whole = named.and_then(|workflow| read_schedules(&workflow).map(|()| workflow));
        Ok((whole, document))
    }

    /// What does not fit what workers announced, and what may not.
    pub(in crate::engine) async fn fit(&self, document: &Json) -> Result<Checked, NotChecked> {
        let mut checked = Checked::default();
        for mention in mentions(document) {
            let Ok(job_type) = JobType::new(mention.job_type) else { continue };
            let Some(announced) = self.catalogue.get(&job_type) else {
                let message = format!(
                    "nobody ever announced the type {job_type}: its jobs wait until a worker serves it"
                );
                checked.warnings.push(Problem::new(format!("{}/job", mention.at), message));
                continue;
            };
            self.fit_parameters(&job_type, &announced.parameters_schema, &mention, &mut checked.problems)
                .await?;
        }
        Ok(checked)
    }

    /// What keeps a run from being started with this data: its size, or the workflow's parameters.
    pub(in crate::engine) async fn data_problems(
        &self,
        known: &KnownWorkflow,
        data: &Json,
    ) -> Result<Vec<Problem>, NotChecked> {
        let one = |message: String| Ok(vec![Problem::new("/data", message)]);
        let text = data.to_string();
        if text.len() > PAYLOAD_BYTES_MAX {
            let bytes = text.len();
            return one(format!(
                "the data is {bytes} bytes of JSON; at most {PAYLOAD_BYTES_MAX} travel with a run: pass larger data by reference"
            ));
        }
        if json_depth_exceeds(text.as_bytes(), DEPTH_MAX) {
            return one(format!("the data nests deeper than {DEPTH_MAX} levels"));
        }
        let Some(schema) = &known.newest.workflow.parameters else { return Ok(Vec::new()) };
        match self.catalogue.data_problems(schema, data).await {
            Ok(problems) => Ok(problems),
            Err(CheckError::Busy) => Err(NotChecked::Busy),
            Err(CheckError::TooCostly) => {
                one("the data cannot be held against the workflow's parameters in time: pass less".to_owned())
            }
        }
    }

    /// What does not fit of the job that a schedule makes, and what may not.
    pub(in crate::engine) async fn fit_job(&self, schedule: &Json) -> Result<Checked, NotChecked> {
        let mut checked = Checked::default();
        let job = schedule.get("job");
        let Some(Ok(job_type)) = job.and_then(|job| job.get("type")).and_then(Json::as_str).map(JobType::new)
        else {
            return Ok(checked);
        };
        let Some(announced) = self.catalogue.get(&job_type) else { return Ok(checked) };
        let parameters = job.and_then(|job| job.get("parameters")).and_then(Json::as_object);
        let mention = Mention { at: "/job".to_owned(), job_type: job_type.as_str(), parameters };
        self.fit_parameters(&job_type, &announced.parameters_schema, &mention, &mut checked.problems).await?;
        Ok(checked)
    }

    async fn fit_parameters(
        &self,
        job_type: &JobType,
        schema: &JsonObject,
        mention: &Mention<'_>,
        problems: &mut Vec<Problem>,
    ) -> Result<(), NotChecked> {
        let none = JsonObject::new();
        let parameters = mention.parameters.unwrap_or(&none);
        let is_literal = !parameters.values().any(has_template);
        if is_literal {
            let found = self.catalogue.parameter_problems(job_type, parameters).await;
            let found = found.or_else(|error| match error {
                CheckError::Busy => Err(NotChecked::Busy),
                // What cannot be said now is said at run time.
                CheckError::TooCostly => Ok(Vec::new()),
            });
            let within = |problem: Problem| {
                Problem::new(format!("{}{}", mention.at, problem.pointer), problem.message)
            };
            problems.extend(found?.into_iter().map(within));
            return Ok(());
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        for name in required.filter_map(Json::as_str).filter(|name| !parameters.contains_key(*name)) {
            let message = format!("the type {job_type} requires the parameter {name:?}, and it is not given");
            problems.push(Problem::new(format!("{}/parameters", mention.at), message));
        }
        Ok(())
    }
}

/// Triggers that are schedules tick by a calendar: whether theirs mean anything.
fn read_schedules(workflow: &Workflow) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    for (index, trigger) in workflow.triggers.iter().enumerate() {
        let Trigger::Schedule(object) = trigger else { continue };
        let at = format!("/triggers/{index}/schedule");
        match ScheduleSettings::read_trigger(object, &at, &workflow.name) {
            Ok(settings) => problems.extend(calendar_problems(&settings.times, &at)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn mentions(document: &Json) -> Vec<Mention<'_>> {
    let mut found = Vec::new();
    let steps = document.get("steps").and_then(Json::as_object).into_iter().flatten();
    for (name, step) in steps {
        let at = format!("/steps/{}", escaped(name));
        for (at, job) in [(at.clone(), Some(step)), (format!("{at}/compensate"), step.get("compensate"))] {
            let Some(job_type) = job.and_then(|job| job.get("job")).and_then(Json::as_str) else { continue };
            let parameters = job.and_then(|job| job.get("parameters")).and_then(Json::as_object);
            found.push(Mention { at, job_type, parameters });
        }
    }
    found
}

fn has_template(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains(OPENING),
        Json::Array(items) => items.iter().any(has_template),
        Json::Object(fields) => fields.values().any(has_template),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// A document as it is kept.
pub(in crate::engine) fn text_of(document: &Json) -> Arc<str> {
    document.to_string().into()
}
