//! What a schedule does, read of its document: every problem is told at once, each with a pointer to its place.

use std::time::Duration;

use crewcall_expressions::{Json, Template};
use crewcall_proto::{JsonObject, Timestamp};

use super::limits::{
    CATCH_UP_WINDOW_DEFAULT, CATCH_UP_WINDOW_MAX, DOCUMENT_BYTES_MAX, EVERY_SECONDS_MAX, JITTER_MAX,
    PAUSE_AFTER_FAILURES_MAX,
};
use crate::domain::{
    Problem, Subject,
    fields::{Fields, kind},
    job_template::{self, JobTemplate},
    workflow::definition::{WorkflowName, read_moment},
};

/// What the templates of a schedule know by name.
const NAMES: [&str; 1] = ["schedule"];

/// The field of `schedule` that is kept only for those who read it.
const LAST_RESULT: &str = "last_result";

/// In which zone the hours of a pattern are, unless the schedule says otherwise.
const TIMEZONE_DEFAULT: &str = "UTC";

/// What a schedule makes.
const MAKES: &str =
    "a schedule makes one of job, workflow and event, such as {\"job\": {\"type\": \"report.render\"}}";

/// What a schedule does. Read with [`ScheduleSettings::read`].
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    pub times: Times,
    pub makes: Makes,
    /// After how many failures in a row it pauses itself.
    pub pause_after_failures: Option<u32>,
    /// Whether what it makes reads `schedule.last_result`.
    pub reads_last_result: bool,
}

/// When it ticks, and what becomes of ticks that collide or come late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    pub timing: Timing,
    /// The name of a time zone (IANA).
    pub timezone: String,
    /// No tick is before this moment; intervals are counted from it.
    pub from: Option<Timestamp>,
    /// No tick is after this moment.
    pub until: Option<Timestamp>,
    /// How far ticks are spread: each comes later by a part of this that is always the same for it.
    pub jitter: Duration,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    /// How old a missed tick may be that still fires.
    pub catch_up_window: Duration,
}

/// When a schedule ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timing {
    /// A pattern of five fields, or a nickname.
    Cron(String),
    /// Every so many seconds, counted from `from`, or from the beginning of 1970 in UTC.
    Every(u32),
}

/// What a tick makes.
#[derive(Debug, Clone)]
pub enum Makes {
    Job(Box<JobTemplate>),
    /// A run of this workflow, with this data.
    Run {
        workflow: WorkflowName,
        data: Template,
    },
    /// An event of this subject, with this data.
    Event {
        subject: Subject,
        data: Template,
    },
}

/// What becomes of a tick while an earlier one is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// Nothing is made.
    #[default]
    Skip,
    /// It waits, unless one does already.
    QueueOne,
    /// It waits behind all that do.
    QueueAll,
    /// It is made all the same.
    Allow,
    /// What runs is cancelled, and it begins when that is over.
    CancelRunning,
}

impl Overlap {
    const WORDS: [(&str, Self); 5] = [
        ("skip", Self::Skip),
        ("queue_one", Self::QueueOne),
        ("queue_all", Self::QueueAll),
        ("allow", Self::Allow),
        ("cancel_running", Self::CancelRunning),
    ];

    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, known)| *known == self).map_or("skip", |(word, _)| word)
    }
}

/// What becomes of ticks that nobody was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    /// They are recorded as missed.
    None,
    /// The last of them fires.
    #[default]
    Last,
    /// All fire, as far as they are not too old and not too many.
    All,
}

impl CatchUp {
    const WORDS: [(&str, Self); 3] = [("none", Self::None), ("last", Self::Last), ("all", Self::All)];

    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, known)| *known == self).map_or("last", |(word, _)| word)
    }
}

impl ScheduleSettings {
    /// Reads a document. Whether its pattern and its zone mean anything is up to the calendar.
    ///
    /// # Errors
    ///
    /// Every problem that it has.
    pub fn read(document: &Json) -> Result<Self, Vec<Problem>> {
        let one = |message: String| vec![Problem::new("", message)];
        let Json::Object(object) = document else {
            return Err(one(format!("a schedule is an object, not {}", kind(document))));
        };
        let bytes = document.to_string().len();
        if bytes > DOCUMENT_BYTES_MAX {
            return Err(one(format!(
                "the schedule is {bytes} bytes of JSON; at most {DOCUMENT_BYTES_MAX} are kept: pass larger parameters by reference"
            )));
        }
        let mut fields = Fields::new("a schedule", "", object);
        // Nobody has to take it out who sends back what was read.
        _ = fields.text("name");
        let times = read_times(&mut fields);
        let pause_after_failures = fields.count("pause_after_failures", PAUSE_AFTER_FAILURES_MAX);
        let makes = read_makes(&mut fields);
        let reads_last_result = document.to_string().contains(LAST_RESULT);
        let problems = match (times, makes) {
            (Some(times), Some(makes)) => {
                let settings = Self { times, makes, pause_after_failures, reads_last_result };
                settings.check_last_result(&mut fields);
                let problems = fields.finish();
                if problems.is_empty() {
                    return Ok(settings);
                }
                problems
            }
            _ => fields.finish(),
        };
        Err(problems)
    }

    /// Reads the schedule that is a trigger of a workflow, at this pointer: each tick starts a run without data.
    ///
    /// # Errors
    ///
    /// Every problem that it has.
    pub fn read_trigger(
        object: &JsonObject,
        pointer: &str,
        workflow: &WorkflowName,
    ) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::new("a schedule", pointer, object);
        let times = read_times(&mut fields);
        let data = template("", &Json::Object(JsonObject::new()), fields.problems());
        let problems = fields.finish();
        match (times, data) {
            (Some(times), Some(data)) if problems.is_empty() => {
                let makes = Makes::Run { workflow: workflow.clone(), data };
                Ok(Self { times, makes, pause_after_failures: None, reads_last_result: false })
            }
            _ => Err(problems),
        }
    }

    /// The result of the last is known when it is over, and only a job has one that is kept.
    fn check_last_result(&self, fields: &mut Fields<'_>) {
        if !self.reads_last_result {
            return;
        }
        if self.times.overlap == Overlap::Allow {
            fields.wrong(
                "overlap",
                "schedule.last_result is read, and with allow a tick may fire before the one before has a result: take skip, queue_one or queue_all",
            );
        }
        if !matches!(self.makes, Makes::Job(_)) {
            let message = "schedule.last_result is the result of a job, and this schedule makes none: leave it out, or make a job";
            fields.wrong_as_a_whole(message);
        }
    }
}

fn read_times(fields: &mut Fields<'_>) -> Option<Times> {
    let cron = fields.text("cron").map(|pattern| Timing::Cron(pattern.to_owned()));
    let every = fields.count("every_seconds", EVERY_SECONDS_MAX).map(Timing::Every);
    if fields.has("cron") == fields.has("every_seconds") {
        let message = "a schedule has either cron or every_seconds, such as {\"cron\": \"30 2 * * *\", \"timezone\": \"Europe/Athens\"}";
        fields.wrong_as_a_whole(message);
    }
    let timezone = fields.text("timezone").unwrap_or(TIMEZONE_DEFAULT).to_owned();
    let (from, until) = (read_time(fields, "from"), read_time(fields, "until"));
    if let (Some(from), Some(until)) = (from, until)
        && until < from
    {
        fields.wrong("until", "the schedule would end before it begins: until is later than from");
    }
    let jitter = fields.seconds("jitter_seconds", Duration::ZERO, JITTER_MAX).unwrap_or_default();
    let overlap = fields.word("overlap", &Overlap::WORDS).unwrap_or_default();
    let catch_up = fields.word("catch_up", &CatchUp::WORDS).unwrap_or_default();
    let window = fields.seconds("catch_up_window_seconds", Duration::ZERO, CATCH_UP_WINDOW_MAX);
    Some(Times {
        timing: cron.or(every)?,
        timezone,
        from,
        until,
        jitter,
        overlap,
        catch_up,
        catch_up_window: window.unwrap_or(CATCH_UP_WINDOW_DEFAULT),
    })
}

fn read_time(fields: &mut Fields<'_>, name: &'static str) -> Option<Timestamp> {
    fields.read(name, |text| {
        read_moment(text).ok_or_else(|| format!("{name} is a time such as 2026-11-20T16:07:00Z (RFC 3339)"))
    })
}

fn read_makes(fields: &mut Fields<'_>) -> Option<Makes> {
    let kinds = ["job", "workflow", "event"].map(|kind| (kind, fields.has(kind)));
    let mut there = kinds.iter().filter(|(_, is_there)| *is_there).map(|(kind, _)| *kind);
    let (Some(kind), None) = (there.next(), there.next()) else {
        fields.wrong_as_a_whole(MAKES);
        for (kind, _) in kinds {
            _ = fields.value(kind);
        }
        return None;
    };
    match kind {
        "job" => {
            let mut inner = fields.inner("job", "the job of a schedule")?;
            let job = job_template::read(&mut inner, "type", &mut template);
            fields.within(inner);
            Some(Makes::Job(Box::new(job?)))
        }
        "workflow" => {
            let mut inner = fields.inner("workflow", "the workflow of a schedule")?;
            if !inner.has("name") {
                inner.wrong("name", "a workflow has a name, such as \"asset.publish\"");
            }
            let workflow =
                inner.read("name", |text| text.parse::<WorkflowName>().map_err(|error| error.to_string()));
            let data = read_data(&mut inner);
            fields.within(inner);
            Some(Makes::Run { workflow: workflow?, data: data? })
        }
        _ => {
            let mut inner = fields.inner("event", "the event of a schedule")?;
            if !inner.has("subject") {
                inner.wrong("subject", "an event has a subject, such as \"day.began\"");
            }
            let subject =
                inner.read("subject", |text| Subject::published(text).map_err(|error| error.to_string()));
            let data = read_data(&mut inner);
            fields.within(inner);
            Some(Makes::Event { subject: subject?, data: data? })
        }
    }
}

/// An object unless said otherwise.
fn read_data(fields: &mut Fields<'_>) -> Option<Template> {
    let at = fields.at("data");
    let data = fields.value("data").cloned().unwrap_or_else(|| Json::Object(JsonObject::new()));
    template(&at, &data, fields.problems())
}

fn template(at: &str, value: &Json, problems: &mut Vec<Problem>) -> Option<Template> {
    let parsed = Template::parse(value, &NAMES);
    parsed
        .map_err(|invalid| {
            let told = |(within, invalid): (String, crewcall_expressions::Invalid)| {
                Problem::new(format!("{at}{within}"), invalid.to_string())
            };
            problems.extend(invalid.into_iter().map(told));
        })
        .ok()
}

#[cfg(test)]
mod tests;
