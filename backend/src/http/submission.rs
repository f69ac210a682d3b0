//! Reading a submission: every problem is told at once, each with a pointer to its field.

use crewcall_proto::Timestamp;

use super::{
    fields::Fields,
    problem::{Problem, ProblemCode},
};
use crate::domain::{
    Submission,
    after::{AFTER_MAX, AfterRequest},
    times::{BackoffRequest, Times},
};

/// The pointer to the parameters.
const PARAMETERS: &str = "/parameters";

/// Reads the JSON text of a submission that came in at `now`. What is in the right shape but is still not a job is found
/// by the domain; if anything is in the wrong shape, the domain's findings are told along with it.
pub(super) fn read(text: &[u8], now: Timestamp) -> Result<Submission, Problem> {
    let mut fields = Fields::parse("a submission", text, ProblemCode::InvalidSubmission)?;
    let submission = Submission { after: read_after(&mut fields), ..from_fields(&mut fields) };
    fields.numbers_arrive(text, PARAMETERS);
    let mut problems = fields.finish();
    if problems.is_empty() {
        return Ok(submission);
    }
    let more = submission.validate(now).err().unwrap_or_default();
    // A field of the wrong shape was left empty: what the domain says of it would be noise.
    let shapeless: Vec<String> = problems.iter().map(|problem| problem.pointer.clone()).collect();
    problems.extend(more.into_iter().filter(|problem| !shapeless.contains(&problem.pointer)));
    Err(Problem::with_errors(ProblemCode::InvalidSubmission, problems))
}

/// The fields of a submission.
pub(super) fn from_fields(fields: &mut Fields) -> Submission {
    if !fields.has("type") {
        fields.wrong("type", "a submission names the job's type, such as \"media.transcode\"");
    }
    Submission {
        job_type: fields.some_text("type").unwrap_or_default(),
        parameters: fields.some_object("parameters").unwrap_or_default(),
        priority: fields.integer("priority"),
        max_attempts: fields.integer("max_attempts"),
        labels: fields.labels(),
        times: Times {
            run_at: fields.time("run_at"),
            delay_seconds: fields.number("delay_seconds"),
            expires_at: fields.time("expires_at"),
            timeout_seconds: fields.number("timeout_seconds"),
            backoff: read_backoff(fields),
        },
        after: AfterRequest::default(),
    }
}

fn read_after(fields: &mut Fields) -> AfterRequest {
    let mut jobs = Vec::new();
    // One more than may be, so that the domain says that they are too many.
    for (index, id) in fields.array("after").into_iter().enumerate().take(AFTER_MAX + 1) {
        match id.as_str() {
            Some(id) => jobs.push(id.to_owned()),
            None => {
                fields.wrong(&format!("after/{index}"), "the id of a job is a string");
                // The others keep their places.
                jobs.push(String::new());
            }
        }
    }
    AfterRequest { jobs, on_failure: fields.some_text("after_failure") }
}

fn read_backoff(submission: &mut Fields) -> Option<BackoffRequest> {
    let mut fields = submission.inner("backoff", "a back-off")?;
    let backoff = BackoffRequest {
        initial_seconds: fields.number("initial_seconds"),
        factor: fields.number("factor"),
        max_seconds: fields.number("max_seconds"),
        jitter: fields.number("jitter"),
    };
    submission.within(fields);
    Some(backoff)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_190_820_000);

    fn errors(text: &str) -> Vec<(String, String)> {
        let body = read(text.as_bytes(), NOW).unwrap_err().body("r");
        body.errors.into_iter().map(|error| (error.pointer, error.message)).collect()
    }

    #[test]
    fn a_whole_submission_is_read() {
        let text = r#"{"type":"a.b","parameters":{"x":1},"priority":9,"max_attempts":1,"labels":{"k":"v"}}"#;
        let submission = read(text.as_bytes(), NOW).unwrap();
        assert_eq!((submission.priority, submission.max_attempts), (Some(9), Some(1)));
        assert_eq!(submission.labels["k"], "v");
        let text = r#"{"type":"a","delay_seconds":1.5,"expires_at":"2026-11-20T17:00:00+01:00","timeout_seconds":60,"backoff":{"factor":1}}"#;
        let times = read(text.as_bytes(), NOW).unwrap().times;
        assert_eq!((times.delay_seconds, times.timeout_seconds), (Some(1.5), Some(60.0)));
        assert_eq!(times.expires_at.unwrap().as_millis(), 1_795_190_400_000);
        assert_eq!(times.backoff.unwrap().factor, Some(1.0));
        assert_eq!(read(br#"{"type":"a","priority":null,"labels":null}"#, NOW).unwrap().priority, None);
    }

    #[test]
    fn wrong_shapes_and_wrong_values_are_told_together() {
        let text = r#"{"type":7,"parameters":null,"priority":1.5,"max_attempts":0,"labels":{"a/b":1},"Priority":1,"~":0}"#;
        insta::assert_debug_snapshot!(errors(text));
    }

    #[test]
    fn numbers_of_the_parameters_arrive_or_are_refused() {
        let numbers = "[18446744073709551615,-9223372036854775808,0.1,-0.0,1e+300]";
        let text = format!("{{\"type\":\"a\",\"parameters\":{{\"big\":{numbers}}}}}");
        let parameters = read(text.as_bytes(), NOW).unwrap().parameters;
        assert_eq!(parameters["big"].to_string(), numbers);
        let text =
            r#"{"type":"a","parameters":{"big":[18446744073709551616,-0],"pi":3.14159265358979323846}}"#;
        let pointers: Vec<String> = errors(text).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, ["/parameters/big/0", "/parameters/big/1", "/parameters/pi"]);
    }

    #[test]
    fn what_is_no_object_or_too_deep_is_refused() {
        assert_eq!(errors("[]")[0].0, "");
        let deep =
            format!("{{\"type\":\"a\",\"parameters\":{{\"x\":{}{}}}}}", "[".repeat(31), "]".repeat(31));
        assert!(errors(&deep)[0].1.contains("deeper than 32"));
        assert_eq!(read(b"{", NOW).unwrap_err().code(), ProblemCode::InvalidJson);
        assert_eq!(read(b"{\"type\":\"a\"} x", NOW).unwrap_err().code(), ProblemCode::InvalidJson);
        assert_eq!(read(b"\xff", NOW).unwrap_err().code(), ProblemCode::InvalidJson);
    }
}
