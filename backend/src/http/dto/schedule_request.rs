//! What is sent about schedules. The shapes only describe the requests: `domain::schedules` and `fields` read them, so that
//! every problem is told at once.

use serde_json::Value;
use utoipa::ToSchema;

use super::NewJob;

/// What a schedule does: its document. It has either `cron` or `every_seconds`, and one of `job`, `workflow` and `event`. Any
/// other field is refused by name.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct NewSchedule {
    /// That of the path; may be left out.
    #[schema(example = "report.nightly")]
    name: Option<String>,
    /// When it ticks: five fields (minute, hour, day of the month, month, day of the week), or a nickname such as `@daily`.
    #[schema(example = "30 2 * * *")]
    cron: Option<String>,
    /// Or every so many seconds, counted from `from`, or from the beginning of 1970 in UTC.
    #[schema(minimum = 1, maximum = 31_536_000)]
    every_seconds: Option<u32>,
    /// In which time zone the hours of `cron` are: a name of the IANA data.
    #[schema(example = "Europe/Athens", default = "UTC")]
    timezone: Option<String>,
    /// No tick is before this moment.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// No tick is after this moment.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// How far ticks are spread: each comes later by a part of this that is always the same for it. Less than the time
    /// between two ticks.
    #[schema(minimum = 0, maximum = 86_400, default = 0)]
    jitter_seconds: Option<f64>,
    /// What becomes of a tick while an earlier one is not over: `skip`, `queue_one`, `queue_all`, `allow` or `cancel_running`.
    #[schema(default = "skip")]
    overlap: Option<String>,
    /// What becomes of ticks that nobody was there for: `none` of them fires, the `last` does, or `all`.
    #[schema(default = "last")]
    catch_up: Option<String>,
    /// How old a missed tick may be that still fires.
    #[schema(minimum = 0, maximum = 31_622_400, default = 2_592_000)]
    catch_up_window_seconds: Option<f64>,
    /// After how many failures in a row it pauses itself; never if not given.
    #[schema(minimum = 1, maximum = 1_000)]
    pause_after_failures: Option<u32>,
    /// A job, as in a submission, without `run_at` and `expires_at`. In texts of the parameters and in labels, `${{ … }}` is
    /// filled in: `schedule.name`, `schedule.scheduled_for`, `schedule.local_time` and `schedule.last_result`.
    job: Option<NewJob>,
    /// Or a run of a workflow.
    workflow: Option<ScheduledRun>,
    /// Or an event.
    event: Option<ScheduledEvent>,
}

/// A run that a schedule starts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct ScheduledRun {
    /// Of which workflow.
    #[schema(example = "asset.publish")]
    name: String,
    /// What `trigger.data` is; `{}` if it is left out. `${{ … }}` is filled in.
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
}

/// An event that a schedule publishes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct ScheduledEvent {
    /// Its subject.
    #[schema(example = "day.began")]
    subject: String,
    /// Its data; `{}` if it is left out. `${{ … }}` is filled in.
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
}

/// Which ticks are made up for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct NewBackfill {
    /// From this moment on.
    #[schema(format = DateTime, example = "2026-11-01T00:00:00Z")]
    from: String,
    /// Up to this one, which is over.
    #[schema(format = DateTime, example = "2026-11-08T00:00:00Z")]
    to: String,
    /// `one_by_one`, each when the one before is over, or `allow`: all at once.
    #[schema(default = "one_by_one")]
    overlap: Option<String>,
    /// Whether they are only counted.
    #[schema(default = false)]
    dry_run: Option<bool>,
    /// Who does it, as they call themselves.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}
