//! Reading what starts a run.

use crewcall_expressions::Json;

use super::super::{
    check::{Place, StepNames},
    definition::Trigger,
    limits::TRIGGERS_MAX,
};
use crate::domain::{
    Problem, SubjectPattern,
    fields::{Fields, kind},
};

/// What a trigger is.
const TRIGGER: &str = "a trigger has one of event, job and schedule, such as {\"event\": \"order.paid\"}";

/// The words of subjects for the ends of jobs.
const OUTCOMES: [(&str, &str); 4] =
    [("completed", "completed"), ("failed", "failed"), ("cancelled", "cancelled"), ("any", "*")];

pub(super) fn read_all(fields: &mut Fields<'_>) -> Vec<Trigger> {
    let given = fields.array("triggers").unwrap_or_default();
    if given.len() > TRIGGERS_MAX {
        let message = format!("a workflow has at most {TRIGGERS_MAX} triggers, and this has {}", given.len());
        fields.wrong("triggers", message);
    }
    let mut triggers = Vec::new();
    for (index, value) in given.iter().enumerate().take(TRIGGERS_MAX) {
        let pointer = format!("/triggers/{index}");
        if let Json::Object(object) = value {
            let mut inner = Fields::new("a trigger", pointer, object);
            triggers.extend(read(&mut inner));
            fields.within(inner);
        } else {
            fields.add([Problem::new(pointer, format!("a trigger is an object, not {}", kind(value)))]);
        }
    }
    triggers
}

fn read(fields: &mut Fields<'_>) -> Option<Trigger> {
    let kinds = ["event", "job", "schedule"].into_iter().filter(|kind| fields.has(kind)).count();
    if kinds != 1 {
        fields.wrong_as_a_whole(TRIGGER);
    }
    let subject = read_event(fields).or_else(|| read_job(fields));
    let schedule = read_schedule(fields);
    if fields.has("schedule") && kinds == 1 {
        return schedule;
    }
    let at = fields.at("if");
    let text = fields.text("if");
    let steps = StepNames::new(Vec::new());
    let condition =
        text.and_then(|text| Place::new(&["event"], &steps, []).condition(&at, text, &[], fields.problems()));
    Some(Trigger::Event { subject: subject?, condition })
}

fn read_event(fields: &mut Fields<'_>) -> Option<SubjectPattern> {
    fields.read("event", |text| text.parse::<SubjectPattern>().map_err(|error| error.to_string()))
}

/// The end of a job is an event of ours.
fn read_job(fields: &mut Fields<'_>) -> Option<SubjectPattern> {
    let mut inner = fields.inner("job", "a job that starts a run")?;
    if !inner.has("type") {
        inner.wrong(
            "type",
            "a job that starts a run has a type, such as \"media.probe\", or a pattern of types",
        );
    }
    let outcome = inner.word("outcome", &OUTCOMES).unwrap_or("completed");
    let subject = inner.read("type", |text| {
        format!("job.{outcome}.{text}").parse::<SubjectPattern>().map_err(|_| {
            "type is a job type, whose words may be * (one word) or # (any number of words)".to_owned()
        })
    });
    fields.within(inner);
    subject
}

/// What the fields of a schedule mean is looked at where schedules are.
fn read_schedule(fields: &mut Fields<'_>) -> Option<Trigger> {
    let mut inner = fields.inner("schedule", "a schedule")?;
    for name in ["cron", "timezone", "from", "until", "overlap", "catch_up"] {
        _ = inner.text(name);
    }
    for name in ["every_seconds", "jitter_seconds", "catch_up_window_seconds"] {
        _ = inner.number(name);
    }
    if inner.has("cron") == inner.has("every_seconds") {
        inner.wrong_as_a_whole("a schedule has either cron or every_seconds");
    }
    fields.within(inner);
    fields.object("schedule").cloned().map(Trigger::Schedule)
}
