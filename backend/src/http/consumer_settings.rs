//! Reading what a consumer is to do, and where in the log it is to go: every problem is told at once.

use crewcall_proto::Timestamp;
use serde_json::{Map, Value};

use super::{
    fields::Fields,
    problem::{Problem, ProblemCode},
    submission,
};
use crate::domain::{
    ConsumerSettings, InvalidWebhookName, Sequence, Start, SubjectPattern, Submission, Then, WebhookName,
    consumer::{IN_FLIGHT_DEFAULT, PATTERNS_MAX},
    workflow::definition::{InvalidWorkflowName, WorkflowName},
};

/// The pointer to the parameters.
const PARAMETERS: &str = "/then/job/parameters";

/// What follows from an event.
const THEN: &str = "a consumer says what follows: {\"job\": {\"type\": …, \"parameters\": …}}, {\"workflow\": \"asset.publish\"}, or {\"webhook\": \"shop\"}";

/// What a start is.
const START: &str = "it is \"now\", \"oldest\", {\"after\": the sequence of an event} or {\"since\": a time such as 2026-11-20T16:07:00Z}";

/// Reads the JSON text of a consumer: its settings, and where it is to begin if it says so.
pub(super) fn read(text: &[u8]) -> Result<(ConsumerSettings, Option<Start>), Problem> {
    let mut fields = Fields::parse("a consumer", text, ProblemCode::InvalidConsumer)?;
    let subjects = read_subjects(&mut fields, "a consumer");
    let condition = fields.text("if");
    let in_flight_max = match fields.integer("in_flight_max") {
        // What is wrong with a number outside of its range, the domain tells.
        Some(number) => u32::try_from(number).unwrap_or(0),
        None => IN_FLIGHT_DEFAULT,
    };
    let start = read_start(&mut fields, "start");
    let then = read_then(&mut fields);
    fields.numbers_arrive(text, PARAMETERS);
    let settings = ConsumerSettings { subjects, condition, then, in_flight_max };
    fields.conclude(Ok((settings, start)))
}

/// Which events somebody wants: `a consumer`, or `a webhook`.
pub(super) fn read_subjects(fields: &mut Fields, who: &str) -> Vec<SubjectPattern> {
    if !fields.has("subjects") {
        fields.wrong("subjects", format!("{who} names the subjects of its events, such as [\"order.paid\"]"));
    }
    let mut patterns = Vec::new();
    for (index, word) in fields.array("subjects").into_iter().enumerate().take(PATTERNS_MAX + 1) {
        match word.as_str().map(str::parse::<SubjectPattern>) {
            Some(Ok(pattern)) => patterns.push(pattern),
            Some(Err(error)) => fields.wrong(&format!("subjects/{index}"), error.to_string()),
            None => fields.wrong(&format!("subjects/{index}"), "a pattern of subjects is a string"),
        }
    }
    patterns
}

fn read_then(fields: &mut Fields) -> Then {
    let Some(mut then) = fields.inner("then", "what follows from an event") else {
        fields.wrong("then", THEN);
        return Then::Job(Box::default());
    };
    if !["job", "workflow", "webhook"].into_iter().any(|name| then.has(name)) {
        then.wrong("job", THEN);
    }
    let workflow = then.read("workflow", |text| {
        text.parse::<WorkflowName>().map_err(|invalid: InvalidWorkflowName| invalid.to_string())
    });
    let webhook = then.read("webhook", |text| {
        text.parse::<WebhookName>().map_err(|invalid: InvalidWebhookName| invalid.to_string())
    });
    let job = then.inner("job", "a job").map(|job| read_job(job, &mut then));
    let mut read =
        [job.map(|job| Then::Job(Box::new(job))), workflow.map(Then::Run), webhook.map(Then::Webhook)]
            .into_iter()
            .flatten();
    let first = read.next().unwrap_or_else(|| Then::Job(Box::default()));
    if read.next().is_some() {
        then.wrong("", "what follows is one thing: a job, a run of a workflow, or a delivery to a webhook");
    }
    fields.within(then);
    first
}

fn read_job(mut job: Fields, then: &mut Fields) -> Submission {
    let mut submission = submission::from_fields(&mut job);
    let times = &mut submission.times;
    for (name, given) in [("run_at", times.run_at.take()), ("expires_at", times.expires_at.take())] {
        if given.is_some() {
            job.wrong(name, "a time of the calendar would be the same for every event: use delay_seconds");
        }
    }
    then.within(job);
    submission
}

/// Where somebody wants to begin.
pub(super) fn read_start(fields: &mut Fields, name: &'static str) -> Option<Start> {
    let start = match fields.value(name)? {
        Value::String(word) if word == "now" => Some(Start::Now),
        Value::String(word) if word == "oldest" => Some(Start::Oldest),
        Value::Object(place) => start_of(&place),
        _ => None,
    };
    if start.is_none() {
        fields.wrong(name, START);
    }
    start
}

/// The place that one field says.
fn start_of(place: &Map<String, Value>) -> Option<Start> {
    let mut fields = place.iter();
    match (fields.next()?, fields.next()) {
        ((name, value), None) if name == "after" => {
            let after = value.as_u64().filter(|after| i64::try_from(*after).is_ok())?;
            Some(Start::After(Sequence(after)))
        }
        ((name, value), None) if name == "since" => {
            let since: jiff::Timestamp = value.as_str()?.parse().ok()?;
            Some(Start::Since(Timestamp::from_millis(since.as_millisecond())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(text: &str) -> Vec<String> {
        let body = read(text.as_bytes()).unwrap_err().body("r");
        body.errors.into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_consumer_is_read_with_its_defaults() {
        let text = r#"{"subjects":["order.*"],"then":{"job":{"type":"a.b"}}}"#;
        let (settings, start) = read(text.as_bytes()).unwrap();
        assert_eq!((settings.in_flight_max, settings.condition, start), (1_000, None, None));
        assert_eq!(settings.subjects[0].as_str(), "order.*");
        assert!(matches!(settings.then, Then::Job(job) if job.job_type == "a.b"));
        let run = r#"{"subjects":["a"],"then":{"workflow":"a.b"}}"#;
        assert_eq!(read(run.as_bytes()).unwrap().0.then, Then::Run("a.b".parse().unwrap()));
        for (start, expected) in [
            (r#""oldest""#, Start::Oldest),
            (r#"{"after":17}"#, Start::After(Sequence(17))),
            (r#"{"since":"1970-01-01T00:00:01Z"}"#, Start::Since(Timestamp::from_millis(1_000))),
        ] {
            let text = format!(r#"{{"subjects":["a"],"start":{start},"then":{{"job":{{"type":"a"}}}}}}"#);
            assert_eq!(read(text.as_bytes()).unwrap().1, Some(expected));
        }
    }

    #[test]
    fn what_is_in_the_wrong_shape_is_told_at_once() {
        let text = r#"{"subjects":["A",1],"if":2,"start":{"after":-1},"then":{"job":{"type":1,"run_at":"2026-11-20T16:07:00Z","parameters":{"n":18446744073709551616}}},"More":1}"#;
        let expected = [
            "/More",
            "/if",
            "/start",
            "/subjects/0",
            "/subjects/1",
            "/then/job/parameters/n",
            "/then/job/run_at",
            "/then/job/type",
        ];
        let mut found = pointers(text);
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(pointers("{}"), ["/subjects", "/then"]);
        assert_eq!(pointers(r#"{"subjects":["a"],"then":{"webhook":1}}"#), ["/then/webhook"]);
        let webhook = r#"{"subjects":["a"],"then":{"webhook":"shop"}}"#;
        assert_eq!(read(webhook.as_bytes()).unwrap().0.then, Then::Webhook("shop".parse().unwrap()));
        let both = r#"{"subjects":["a"],"then":{"job":{"type":"a"},"workflow":"a"}}"#;
        assert_eq!(pointers(both), ["/then/"]);
        assert_eq!(pointers(r#"{"subjects":["a"],"then":{"workflow":"A"}}"#), ["/then/workflow"]);
    }
}
