//! Which jobs are meant: one filter, read from a query string or from a body.

use crewcall_proto::JobType;

use super::fields::Fields;
use crate::engine::ports::JobQuery;

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
