//! Documents of workflows, held against what workers announced.

use std::sync::Arc;

use crewcall_expressions::Json;
use crewcall_proto::{JobType, JsonObject};
use tokio::task::spawn_blocking;

use crate::{
    domain::{
        Problem,
        workflow::definition::{Trigger, Workflow, WorkflowName},
    },
    engine::{Engine, ports::StoreError, settings::schema::CheckError},
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

/// What was found about a document.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What makes it no workflow.
    pub problems: Vec<Problem>,
    /// What may be meant, and may not work: a type that nobody announced.
    pub warnings: Vec<Problem>,
}

/// Why nothing can be said of a document now.
#[derive(Debug)]
pub enum NotChecked {
    /// Too many others are being checked: trying again helps.
    Busy,
    /// The store is closed, or a thread was lost.
    Store(StoreError),
}

impl From<StoreError> for NotChecked {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
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
        let read = spawn_blocking(move || (Workflow::read(&document), document)).await;
        let (read, document) = read.map_err(|error| StoreError::Broken { reason: error.to_string() })?;
        let named = match (read, name) {
            (Ok(workflow), Some(name)) if workflow.name != *name => {
                let message = format!("the document is that of {}, and the path names {name}", workflow.name);
                Err(vec![Problem::new("/name", message)])
            }
            (read, _) => read,
        };
        let whole = named.and_then(|workflow| match without_schedules(&workflow) {
            Ok(()) => Ok(workflow),
            Err(problems) => Err(problems),
        });
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

/// Schedules come later: a document that has one would look as if it ran by itself.
fn without_schedules(workflow: &Workflow) -> Result<(), Vec<Problem>> {
    let scheduled = workflow.triggers.iter().enumerate();
    let scheduled = scheduled.filter(|(_, trigger)| matches!(trigger, Trigger::Schedule(_)));
    let problems: Vec<Problem> = scheduled
        .map(|(index, _)| {
            let message = "schedules cannot start runs yet: have cron trigger the workflow, or an event";
            Problem::new(format!("/triggers/{index}/schedule"), message)
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn mentions(document: &Json) -> Vec<Mention<'_>> {
    let mut found = Vec::new();
    let steps = document.get("steps").and_then(Json::as_object).into_iter().flatten();
    for (name, step) in steps {
        let at = format!("/steps/{}", name.replace('~', "~0").replace('/', "~1"));
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
