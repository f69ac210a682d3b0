//! Reading one step.

use std::sync::Arc;

use crewcall_expressions::{Json, Template};

use super::{
    super::{
        check::{Place, StepNames},
        definition::{
            Each, EventWait, JobTemplate, Limit, OnTimeout, RunIf, Since, Step, StepIndex, Tolerance, Work,
            WorkflowName, read_moment,
        },
        limits::{ITEMS_MAX, PARALLEL_DEFAULT, TIMEOUT_MAX, TIMEOUT_MIN},
        references::{OPENING, is_whole_expression},
    },
    distinct,
};
use crate::domain::{
    Problem, SubjectPattern,
    fields::{Fields, kind},
    job_template,
};

/// What a step is.
const STEP: &str =
    "a step has one of job, wait, approval and workflow, such as {\"job\": \"invoice.render\"}";

/// What a wait is.
const WAIT: &str =
    "a wait has either event or until, such as {\"event\": \"order.paid\", \"timeout_seconds\": 3600}";

/// What `until` is.
const UNTIL: &str = "until is a time such as 2026-11-20T16:07:00Z (RFC 3339), or an expression that is one";

/// What `each` is.
const EACH: &str =
    "each is a list, or one expression that is one, such as \"${{ steps.probe.result.renditions }}\"";

/// What `tolerate` is.
const TOLERATE: &str = "tolerate is how many items may fail, such as 3 or \"10%\"";

/// What expressions know of an item.
const ITEM: [&str; 2] = ["item", "index"];

/// The steps that this one needs.
pub(super) fn read_needs(fields: &mut Fields<'_>, names: &StepNames<'_>) -> Vec<StepIndex> {
    let mut needs = Vec::new();
    for (index, value) in fields.array("needs").unwrap_or_default().iter().enumerate() {
        let message = match value.as_str() {
            None => format!("a need is the name of a step, not {}", kind(value)),
            Some(name) => match names.find(name) {
                Some(step) => {
                    needs.push(step);
                    continue;
                }
                None => names.unknown(name, |_| true),
            },
        };
        let pointer = format!("{}/{index}", fields.at("needs"));
        fields.add([Problem::new(pointer, message)]);
    }
    let (needs, has_twins) = distinct(needs);
    if has_twins {
        fields.wrong("needs", "a step is named more than once");
    }
    needs
}

/// The step, unless something essential cannot be read. What else is wrong is left with the fields.
pub(super) fn read(
    fields: &mut Fields<'_>,
    name: Arc<str>,
    needs: Vec<StepIndex>,
    mut place: Place<'_>,
) -> Option<Step> {
    let run_if = fields.word(
        "run_if",
        &[
            ("completed", RunIf::Completed),
            ("any_completed", RunIf::AnyCompleted),
            ("failed", RunIf::Failed),
            ("finished", RunIf::Finished),
        ],
    );
    let is_empty = |needs: &Json| needs.as_array().is_some_and(Vec::is_empty);
    let has_no_needs = fields.value("needs").is_none_or(is_empty);
    if matches!(run_if, Some(RunIf::AnyCompleted | RunIf::Failed)) && has_no_needs {
        fields.wrong("run_if", "it looks at the steps that this one needs, and there are none");
    }
    let at = fields.at("when");
    let when = fields.text("when").and_then(|text| place.condition(&at, text, &[], fields.problems()));
    let continues_on_failure = fields.word("on_failure", &[("continue", ())]).is_some();
    let work = read_work(fields, &mut place);
    let has_items = matches!(work, Some(Work::Job { each: Some(_), .. }));
    let compensate = match work {
        Some(Work::Event(_) | Work::Until(_) | Work::Approval(_)) => None,
        Some(Work::Job { .. } | Work::Child { .. }) | None => read_compensate(fields, &mut place, has_items),
    };
    Some(Step {
        name,
        needs,
        run_if: run_if.unwrap_or_default(),
        when,
        work: work?,
        continues_on_failure,
        compensate,
        reads: place.reads(),
    })
}

fn read_work(fields: &mut Fields<'_>, place: &mut Place<'_>) -> Option<Work> {
    let kinds = ["job", "wait", "approval", "workflow"].map(|kind| (kind, fields.has(kind)));
    let mut there = kinds.iter().filter(|(_, is_there)| *is_there).map(|(kind, _)| *kind);
    let (Some(kind), None) = (there.next(), there.next()) else {
        fields.wrong_as_a_whole(STEP);
        for (kind, _) in kinds {
            _ = fields.value(kind);
        }
        return None;
    };
    match kind {
        "job" => {
            fields.call("a step with a job");
            let each = read_each(fields, place);
            let names: &[&str] = if each.is_some() || fields.has("each") { &ITEM } else { &[] };
            let job = read_job(fields, place, names)?;
            Some(Work::Job { job: Box::new(job), each })
        }
        "wait" => {
            fields.call("a step that waits");
            let mut inner = fields.inner("wait", "a wait")?;
            let work = read_wait(&mut inner, place);
            fields.within(inner);
            work
        }
        "approval" => {
            fields.call("a step with an approval");
            let mut inner = fields.inner("approval", "an approval")?;
            let limit = read_limit(&mut inner);
            fields.within(inner);
            Some(Work::Approval(limit))
        }
        _ => {
            fields.call("a step with a workflow");
            let mut inner = fields.inner("workflow", "a run of another workflow")?;
            let work = read_child(&mut inner, place);
            fields.within(inner);
            work
        }
    }
}

fn read_each(fields: &mut Fields<'_>, place: &mut Place<'_>) -> Option<Each> {
    let at = fields.at("each");
    let list = fields.value("each");
    let parallel = fields.count("parallel", ITEMS_MAX);
    let tolerate = read_tolerate(fields);
    let Some(list) = list else {
        for name in ["parallel", "tolerate"] {
            if fields.has(name) {
                fields.wrong(name, format!("{name} is for the items of a step with each"));
            }
        }
        return None;
    };
    let items = list.as_array().map(Vec::len);
    if items.is_some_and(|items| items > ITEMS_MAX as usize) {
        fields.wrong("each", format!("a step has at most {ITEMS_MAX} items"));
        return None;
    }
    if items.is_none() && !list.as_str().is_some_and(is_whole_expression) {
        fields.wrong("each", EACH);
        return None;
    }
    let list = place.template(&at, list, &[], fields.problems())?;
    let parallel = parallel.unwrap_or(PARALLEL_DEFAULT);
    Some(Each { list, parallel, tolerate: tolerate.unwrap_or_default() })
}

fn read_tolerate(fields: &mut Fields<'_>) -> Option<Tolerance> {
    let number = |number: u64| u32::try_from(number).ok();
    let read = match fields.value("tolerate")? {
        Json::Number(items) => {
            items.as_u64().and_then(number).filter(|items| *items <= ITEMS_MAX).map(Tolerance::Items)
        }
        Json::String(text) => {
            let percent = text.strip_suffix('%').and_then(|percent| percent.parse().ok());
            percent.filter(|percent| *percent <= 100).map(Tolerance::Percent)
        }
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    if read.is_none() {
        fields.wrong("tolerate", TOLERATE);
    }
    read
}

fn read_wait(fields: &mut Fields<'_>, place: &mut Place<'_>) -> Option<Work> {
    if fields.has("event") == fields.has("until") {
        fields.wrong_as_a_whole(WAIT);
    }
    if fields.has("until") {
        _ = fields.value("event");
        return read_until(fields, place).map(Work::Until);
    }
    let subject =
        fields.read("event", |text| text.parse::<SubjectPattern>().map_err(|error| error.to_string()));
    _ = fields.value("until");
    let at = fields.at("if");
    // Here `event` is the one that is waited for.
    let text = fields.text("if");
    let condition = text.and_then(|text| place.condition(&at, text, &["event"], fields.problems()));
    let since = fields.word("since", &[("run", Since::Run), ("step", Since::Step)]);
    let limit = read_limit(fields);
    Some(Work::Event(EventWait { subject: subject?, condition, since: since.unwrap_or_default(), limit }))
}

fn read_until(fields: &mut Fields<'_>, place: &mut Place<'_>) -> Option<Template> {
    let at = fields.at("until");
    let text = fields.text("until")?;
    if !text.contains(OPENING) && read_moment(text).is_none() {
        fields.wrong("until", UNTIL);
    }
    place.template(&at, &Json::from(text), &[], fields.problems())
}

fn read_limit(fields: &mut Fields<'_>) -> Limit {
    let timeout = fields.seconds("timeout_seconds", TIMEOUT_MIN, TIMEOUT_MAX);
    let on_timeout =
        fields.word("on_timeout", &[("fail", OnTimeout::Fail), ("continue", OnTimeout::Continue)]);
    if on_timeout.is_some() && !fields.has("timeout_seconds") {
        fields.wrong("on_timeout", "on_timeout is for a wait with timeout_seconds");
    }
    Limit { timeout, on_timeout: on_timeout.unwrap_or_default() }
}

fn read_child(fields: &mut Fields<'_>, place: &mut Place<'_>) -> Option<Work> {
    if !fields.has("name") {
        fields.wrong("name", "the name says which workflow is started, such as \"asset.publish\"");
    }
    let workflow =
        fields.read("name", |text| text.parse::<WorkflowName>().map_err(|error| error.to_string()));
    let at = fields.at("data");
    let data = Json::Object(fields.object("data").cloned().unwrap_or_default());
    let data = place.template(&at, &data, &[], fields.problems());
    Some(Work::Child { workflow: workflow?, data: data? })
}

fn read_compensate(fields: &mut Fields<'_>, place: &mut Place<'_>, has_items: bool) -> Option<JobTemplate> {
    let mut inner = fields.inner("compensate", "a compensation")?;
    if !inner.has("job") {
        inner.wrong("job", "a compensation is a job: {\"job\": \"file.delete\", \"parameters\": …}");
    }
    let names: &[&str] = if has_items { &["step", "item", "index"] } else { &["step"] };
    let job = read_job(&mut inner, place, names);
    fields.within(inner);
    job
}

/// `names` are known to its templates besides.
fn read_job(fields: &mut Fields<'_>, place: &mut Place<'_>, names: &[&'static str]) -> Option<JobTemplate> {
    job_template::read(fields, "job", &mut |at, value, problems| place.template(at, value, names, problems))
}
