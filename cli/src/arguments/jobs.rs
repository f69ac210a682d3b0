//! What `crewcall jobs …` takes.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{ActorArguments, JobName, ListArguments, OutputArguments, parse_label};
use crate::{api::JobState, times};

/// `jobs …`
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first
    #[command(alias = "list")]
    Ls(JobsListArguments),
    /// Show one job: its attempts, and what it waits for
    #[command(alias = "show")]
    Get {
        /// The job, by its id, the beginning of it, or @last for the newest
        id: JobName,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Cancel jobs: those that wait at once, those that run as soon as their worker stops
    Cancel(ActionArguments),
    /// Retry failed or cancelled jobs
    Retry(ActionArguments),
}

/// What `jobs ls` takes.
#[derive(Debug, Args)]
pub(crate) struct JobsListArguments {
    /// Which jobs.
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// List at most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Continue where an earlier list ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// In which order what is listed is shown
    #[arg(long, value_name = "COLUMN", default_value = "created")]
    pub(crate) sort_by: JobSort,
    /// How it looks.
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

/// What jobs are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JobSort {
    /// The newest first.
    Created,
    /// The one first that started last.
    Started,
    /// The one first that ended last.
    Finished,
    /// The one first that ran, or runs, for longest.
    Took,
    /// From a to z.
    Type,
    /// From scheduled to cancelled.
    State,
}

/// Which jobs: those that match every filter given.
#[derive(Debug, Default, Args)]
pub(crate) struct FilterArguments {
    /// Only jobs in these states
    #[arg(long, alias = "status", value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<JobState>,
    /// Only jobs of this type; '*' matches anything
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) job_type: Option<String>,
    /// Only jobs with this label; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Only jobs accepted since then: 1h (ago), yesterday, 2026-11-20, '2026-11-20 16:00' (UTC)
    #[arg(long, alias = "created-after", value_name = "TIME", value_parser = times::parse_back)]
    pub(crate) since: Option<Timestamp>,
    /// Only jobs accepted until then
    #[arg(long, alias = "created-before", value_name = "TIME", value_parser = times::parse_back)]
    pub(crate) until: Option<Timestamp>,
}

impl FilterArguments {
    /// It as the API reads it from a body: without what was not said, so empty if it lets every job through.
    pub(crate) fn body(&self) -> Map<String, Value> {
        let Self { state, job_type, labels, since, until } = self;
        let states = state.iter().map(|state| Value::from(state.word())).collect::<Vec<_>>();
        let labels = labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        let labels = labels.collect::<Map<_, _>>();
        let time = |time: &Option<Timestamp>| time.map(|time| Value::from(time.to_string()));
        [
            ("state", (!states.is_empty()).then(|| states.into())),
            ("labels", (!labels.is_empty()).then(|| labels.into())),
            ("type", job_type.as_deref().map(Value::from)),
            ("created_after", time(since)),
            ("created_before", time(until)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// It as the API reads it from a query string.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let parameters = |(name, value): (String, Value)| match value {
            Value::Array(words) => vec![(name, words.iter().map(text).collect::<Vec<_>>().join(","))],
            Value::Object(labels) => {
                labels.iter().map(|(label, value)| (format!("label.{label}"), text(value))).collect()
            }
            value => vec![(name, text(&value))],
        };
        self.body().into_iter().flat_map(parameters).collect()
    }
}

/// What `jobs cancel` and `jobs retry` take.
#[derive(Debug, Args)]
#[command(after_help = BY_FILTER)]
pub(crate) struct ActionArguments {
    /// Which jobs.
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// Who does it, and why.
    #[command(flatten)]
    pub(crate) actor: ActorArguments,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

const BY_FILTER: &str = "Name jobs by id, or choose them by --state, --type, --label and times; try it with \
                         --dry-run first.";

/// Some jobs by id, or all that a filter lets through.
#[derive(Debug, Default, Args)]
pub(crate) struct TargetArguments {
    /// The jobs, by their ids, the beginnings of them, or @last for the newest
    #[arg(value_name = "ID", conflicts_with_all = ["FilterArguments", "all", "dry_run"])]
    pub(crate) ids: Vec<JobName>,
    /// Which jobs, if they are not named.
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// All jobs that can be cancelled or retried, or all of these
    #[arg(long)]
    pub(crate) all: bool,
    /// Only say how many jobs would be changed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_has_only_what_was_said_in_a_body_and_in_a_query() {
        assert!(FilterArguments::default().body().is_empty());
        let filter = FilterArguments {
            state: vec![JobState::Ready, JobState::Running],
            job_type: Some("image.*".to_owned()),
            labels: vec![("project".to_owned(), "x".to_owned())],
            since: Some("2026-11-20T16:00:00Z".parse().unwrap()),
            until: None,
        };
        let body = json!({
            "state": ["ready", "running"], "type": "image.*", "labels": {"project": "x"},
            "created_after": "2026-11-20T16:00:00Z",
        });
        assert_eq!(Value::from(filter.body()), body);
        let mut query = filter.query();
        query.sort();
        let said = query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!(
            said.join("&"),
            "created_after=2026-11-20T16:00:00Z&label.project=x&state=ready,running&type=image.*"
        );
    }
}
