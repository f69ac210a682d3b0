//! Documents of workflows, held against what workers announced.

use std::{collections::BTreeMap, sync::Arc};

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
            fit::{Shape, Sources, has_expression, misfits},
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

/// What a schema says of an object as a whole: it cannot be judged by a part of its fields.
const OF_THE_WHOLE: [&str; 10] = [
    "required",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "minProperties",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
];

/// A job of a document: where it stands, of which type, and with which parameters.
struct Mention<'d> {
    /// The pointer to what has the fields `job` and `parameters`.
    at: String,
    job_type: &'d str,
    parameters: Option<&'d JsonObject>,
    /// The step that it belongs to.
    step: &'d str,
    /// The list of whose items it is made.
    each: Option<&'d str>,
    /// Whether it undoes what the step did.
    undoes: bool,
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
        let mentions = mentions(document);
        let results: BTreeMap<&str, (Json, bool)> = mentions
            .iter()
            .filter(|mention| !mention.undoes)
            .filter_map(|mention| {
                let announced = self.catalogue.get(&JobType::new(mention.job_type).ok()?)?;
                Some((mention.step, (Json::Object(announced.result_schema), mention.each.is_some())))
            })
            .collect();
        for mention in &mentions {
            let Ok(job_type) = JobType::new(mention.job_type) else { continue };
            let Some(announced) = self.catalogue.get(&job_type) else {
                let message = format!(
                    "nobody ever announced the type {job_type}: its jobs wait until a worker serves it"
                );
                checked.warnings.push(Problem::new(format!("{}/job", mention.at), message));
                continue;
            };
            let sources = sources(document, &results, mention);
            let found =
                self.fit_parameters(&job_type, announced.parameters_schema, mention, &sources).await?;
            checked.problems.extend(found);
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
        let at = "/job".to_owned();
        let mention =
            Mention { at, job_type: job_type.as_str(), parameters, step: "", each: None, undoes: false };
        let schema = announced.parameters_schema;
        checked.problems = self.fit_parameters(&job_type, schema, &mention, &Sources::default()).await?;
        Ok(checked)
    }

    async fn fit_parameters(
        &self,
        job_type: &JobType,
        mut schema: JsonObject,
        mention: &Mention<'_>,
        sources: &Sources<'_>,
    ) -> Result<Vec<Problem>, NotChecked> {
        let none = JsonObject::new();
        let parameters = mention.parameters.unwrap_or(&none);
        let within =
            |problem: Problem| Problem::new(format!("{}{}", mention.at, problem.pointer), problem.message);
        if !parameters.values().any(has_expression) {
            let found = self.catalogue.parameter_problems(job_type, parameters).await;
            return Ok(if_known(found)?.into_iter().map(within).collect());
        }
        let at = format!("{}/parameters", mention.at);
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        let missing = required.filter_map(Json::as_str).filter(|name| !parameters.contains_key(*name));
        let mut problems: Vec<Problem> = missing
            .map(|name| {
                let message =
                    format!("the type {job_type} requires the parameter {name:?}, and it is not given");
                Problem::new(at.clone(), message)
            })
            .collect();
        problems.extend(misfits(parameters, Shape::of(&Json::Object(schema.clone())), sources, &at));
        // What is filled in is judged when it is; what stands there already is judged now.
        schema.retain(|word, _| !OF_THE_WHOLE.contains(&word.as_str()));
        let literal = parameters.iter().filter(|(_, value)| !has_expression(value));
        let literal: JsonObject = literal.map(|(name, value)| (name.clone(), value.clone())).collect();
        let found = self.catalogue.problems_by(&schema, &literal).await;
        problems.extend(if_known(found)?.into_iter().map(within));
        Ok(problems)
    }
}

/// What cannot be said now is said at run time.
fn if_known(found: Result<Vec<Problem>, CheckError>) -> Result<Vec<Problem>, NotChecked> {
    found.or_else(|error| match error {
        CheckError::Busy => Err(NotChecked::Busy),
        CheckError::TooCostly => Ok(Vec::new()),
    })
}

/// What is known of what the paths of a job lead to, by what was announced: the results of steps, of which some are lists, the data of
/// the trigger and the item.
fn sources<'s>(
    document: &'s Json,
    results: &'s BTreeMap<&str, (Json, bool)>,
    mention: &Mention<'_>,
) -> Sources<'s> {
    let mut sources = Sources::default();
    for (step, (result, is_list)) in results {
        if !is_list {
            sources.add(format!("steps.{step}.result"), Shape::of(result));
        }
        if mention.undoes && *step == mention.step {
            sources.add("step.result", Shape::of(result));
        }
    }
    if let Some(parameters) = document.get("parameters") {
        sources.add("trigger.data", Shape::of(parameters));
    }
    if let Some(each) = mention.each {
        sources.add_items(each);
    }
    sources
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
        let each = step.get("each").and_then(Json::as_str);
        let compensate = (format!("{at}/compensate"), step.get("compensate"), true);
        for (at, job, undoes) in [(at, Some(step), false), compensate] {
            let Some(job_type) = job.and_then(|job| job.get("job")).and_then(Json::as_str) else { continue };
            let parameters = job.and_then(|job| job.get("parameters")).and_then(Json::as_object);
            found.push(Mention { at, job_type, parameters, step: name, each, undoes });
        }
    }
    found
}

/// A document as it is kept.
pub(in crate::engine) fn text_of(document: &Json) -> Arc<str> {
    document.to_string().into()
}
