//! Which jobs or runs are meant: one filter of each, read from a query string or from a body.

use crewcall_proto::JobType;

use super::fields::Fields;
use crate::{
    domain::workflow::definition::{InvalidWorkflowName, WorkflowName},
    engine::ports::{JobQuery, RunQuery},
};

/// Reads what [`super::dto::JobFilter`] describes.
pub(super) fn read(fields: &mut Fields) -> JobQuery {
    let filter = read_state_and_type(fields);
    JobQuery {
        labels: fields.labels(),
        created_after: fields.time("created_after"),
        created_before: fields.time("created_before"),
        ..filter
    }
}

/// Reads what of it is known of a change without reading the job.
pub(super) fn read_state_and_type(fields: &mut Fields) -> JobQuery {
    JobQuery { states: fields.states(), job_type: fields.read("type", type_pattern), ..JobQuery::default() }
}

/// Reads what [`super::dto::RunFilter`] describes.
pub(super) fn read_runs(fields: &mut Fields) -> RunQuery {
    let workflow = fields.read("workflow", |text| {
        text.parse::<WorkflowName>().map_err(|invalid: InvalidWorkflowName| invalid.to_string())
    });
    RunQuery { workflow, states: fields.states(), labels: fields.labels(), ..RunQuery::default() }
}

/// A job type, in which `*` stands for any characters.
fn type_pattern(value: &str) -> Result<String, String> {
    let fits = !value.is_empty()
        && value.len() <= JobType::LENGTH_MAX
        && value.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'*'));
    if fits {
        Ok(value.to_owned())
    } else {
        Err("it is a job type, in which * stands for any characters, such as image.*".to_owned())
    }
}
