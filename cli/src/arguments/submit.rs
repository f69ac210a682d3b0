//! What `crewcall submit` takes.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::{Finite, JobName, parse_label};
use crate::{duration, output::Format, times};

/// What `submit` takes.
#[derive(Debug, Args)]
#[command(after_help = "Parameters:
  key=value     text                     key=@file    the text in a file
  key:=json     a number, a list, ...    key:=@file   the JSON in a file
  -             all of them, a JSON object, from standard input

A DURATION is written like 90s, 5m, 2h or 1d; a TIME like 1h (from now), tomorrow,
2026-11-20, '2026-11-20 16:00' (UTC) or 2026-11-20T16:00:00+01:00.")]
pub(crate) struct SubmitArguments {
    /// The job type, such as image.thumbnail (see: crewcall types ls)
    #[arg(value_name = "TYPE")]
    pub(crate) job_type: Option<String>,
    /// The parameters: key=value or key:=json ...
    #[arg(value_name = "PARAMETER")]
    pub(crate) words: Vec<String>,
    /// All parameters as one JSON object: here, in a file or on standard input; PARAMETERs are added to it
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) parameters: Option<String>,
    /// Wait until the job ends, at most SECONDS, show its progress and print its result; with --batch, until all end
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    pub(crate) wait: Option<Option<u64>>,
    /// Label the job, to find it again; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// 0 to 9, 9 goes first [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(crate) priority: Option<u8>,
    /// Begin only when this job is over; can be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) after: Vec<JobName>,
    /// What becomes of it when one of those fails or is cancelled [default: cancel]
    #[arg(long, value_name = "WHAT", requires = "after")]
    pub(crate) after_failure: Option<AfterFailure>,
    /// Print the job in this form, instead of its id or, with --wait, its result; with --batch, a line for each
    #[arg(short, long, value_name = "FORM")]
    pub(crate) output: Option<Format>,
    /// A key for this submission: within 24 h, submitting it again under the same key makes no second job
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Submit a job like this one: its type, parameters, labels, priority and retries, unless others are given
    #[arg(long, value_name = "ID")]
    pub(crate) like: Option<JobName>,
    /// Refuse to submit when no worker serves the type now
    #[arg(long)]
    pub(crate) require_worker: bool,
    /// Cancel the job when Ctrl-C ends the wait
    #[arg(long, requires = "wait")]
    pub(crate) cancel_on_interrupt: bool,
    /// Submit many jobs instead: one JSON object per line, such as {"type": "test.echo", "parameters": {}}
    #[arg(long, value_name = "FILE|-", conflicts_with_all = [
        "SubmitTimes", "SubmitRetries", "job_type", "words", "parameters", "idempotency_key", "like", "require_worker", "after",
    ])]
    pub(crate) batch: Option<String>,
    /// When it may run.
    #[command(flatten, next_help_heading = "When")]
    pub(crate) times: SubmitTimes,
    /// How often it is tried.
    #[command(flatten, next_help_heading = "If an attempt fails")]
    pub(crate) retries: SubmitRetries,
}

/// What becomes of a job when one that it comes after fails or is cancelled.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum AfterFailure {
    /// It is cancelled, too
    Cancel,
    /// It begins all the same
    Run,
}

impl AfterFailure {
    /// The word of the API.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Run => "run",
        }
    }
}

/// When a job may run, and for how long.
#[derive(Debug, Default, Args)]
pub(crate) struct SubmitTimes {
    /// Do not begin before this time
    #[arg(long, value_name = "TIME", value_parser = times::parse_ahead, conflicts_with = "delay")]
    pub(crate) run_at: Option<Timestamp>,
    /// Do not begin until this long from now
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    pub(crate) delay: Option<Duration>,
    /// Fail the job if it has not begun by this time
    #[arg(long, value_name = "TIME", value_parser = times::parse_ahead)]
    pub(crate) expires_at: Option<Timestamp>,
    /// How long one attempt may take
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
}

/// How often a job is tried, and how long it waits in between.
#[derive(Debug, Default, Args)]
pub(crate) struct SubmitRetries {
    /// How often the job may be tried, 1 to 100 [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) max_attempts: Option<u8>,
    /// How long to wait before the second attempt [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    pub(crate) backoff_initial: Option<Duration>,
    /// How many times longer each wait is than the one before, 1 to 10 [default: 2]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) backoff_factor: Option<Finite>,
    /// The longest wait [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    pub(crate) backoff_max: Option<Duration>,
    /// How much waits vary at random, so that jobs do not all come back at once, 0 to 1 [default: 0.1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) backoff_jitter: Option<Finite>,
}
