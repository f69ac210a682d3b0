//! Reading an event that somebody publishes: every problem is told at once, each with a pointer to its field.

use super::{
    fields::Fields,
    problem::{Problem, ProblemCode},
};
use crate::{domain::EventSubmission, engine::event_id};

/// The pointer to the data.
const DATA: &str = "/data";

/// Reads the JSON text of an event. If anything is in the wrong shape, what the domain finds is told along with it.
pub(super) fn read(text: &[u8]) -> Result<EventSubmission, Problem> {
    let mut fields = Fields::parse("an event", text, ProblemCode::InvalidEvent)?;
    if !fields.has("subject") {
        fields.wrong("subject", "an event has a subject, such as \"order.paid\"");
    }
    let subject = fields.some_text("subject").unwrap_or_default();
    let data = fields.value("data");
    if data.is_none() {
        fields.wrong("data", "an event has data: any JSON but null, such as {}");
    }
    let data = data.unwrap_or_default();
    let (id, occurred_at) = (fields.text("id"), fields.time("occurred_at"));
    fields.numbers_arrive(text, DATA);
    let text = data.to_string();
    let id = id.map(|id| event_id(id, &subject, occurred_at, data));
    let submission = EventSubmission { subject, data: text, id, occurred_at };
    let mut problems = fields.finish();
    if problems.is_empty() {
        return Ok(submission);
    }
    let more = submission.validate().err().unwrap_or_default();
    // A field of the wrong shape was left empty: what the domain says of it would be noise.
    let shapeless: Vec<String> = problems.iter().map(|problem| problem.pointer.clone()).collect();
    problems.extend(more.into_iter().filter(|problem| !shapeless.contains(&problem.pointer)));
    Err(Problem::with_errors(ProblemCode::InvalidEvent, problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<(String, String)> {
        let body = read(text.as_bytes()).unwrap_err().body("r");
        body.errors.into_iter().map(|error| (error.pointer, error.message)).collect()
    }

    #[test]
    fn a_whole_event_is_read() {
        let text = r#"{"subject":"order.paid","data":{"n":9007199254740993},"id":"a","occurred_at":"2026-11-20T16:07:00Z"}"#;
        let event = read(text.as_bytes()).unwrap();
        assert_eq!(
            (event.subject.as_str(), event.data.as_str()),
            ("order.paid", r#"{"n":9007199254740993}"#)
        );
        assert_eq!(
            (event.id.unwrap().text.as_str(), event.occurred_at.unwrap().as_millis()),
            ("a", 1_795_190_820_000)
        );
        for data in ["[]", "0", "false", "\"\"", "{}"] {
            assert_eq!(read(format!(r#"{{"subject":"a","data":{data}}}"#).as_bytes()).unwrap().data, data);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_together() {
        let text = r#"{"subject":"job.done","data":null,"id":7,"occured_at":"x"}"#;
        insta::assert_debug_snapshot!(errors(text));
        assert_eq!(errors(r#"{"subject":"a","data":{"big":18446744073709551616}}"#)[0].0, "/data/big");
        let deep = format!(r#"{{"subject":"a","data":{}{}}}"#, "[".repeat(32), "]".repeat(32));
        assert!(errors(&deep)[0].1.contains("deeper than 32"));
        assert_eq!(read(b"{").unwrap_err().code(), ProblemCode::InvalidJson);
    }

    #[test]
    fn what_says_the_same_has_the_same_hash() {
        let hash = |text: &str| read(text.as_bytes()).unwrap().id.unwrap().content_hash;
        let one = hash(r#"{"subject":"a","data":{"x":1,"y":[{"p":1,"q":2}]},"id":"i"}"#);
        assert_eq!(one, hash(r#"{"id":"i","data":{"y":[{"q":2,"p":1}],"x":1},"subject":"a"}"#));
        assert_ne!(one, hash(r#"{"subject":"b","data":{"x":1,"y":[{"p":1,"q":2}]},"id":"i"}"#));
        assert_ne!(one, hash(r#"{"subject":"a","data":{"x":2,"y":[{"p":1,"q":2}]},"id":"i"}"#));
        let timed = r#"{"subject":"a","data":{"x":1,"y":[{"p":1,"q":2}]},"id":"i","occurred_at":"2026-11-20T16:07:00Z"}"#;
        assert_ne!(one, hash(timed));
    }
}
