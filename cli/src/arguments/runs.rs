//! What `crewcall runs …` takes.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{ActorArguments, ListArguments, OutputArguments, RunName, WorkflowName, parse_label};
use crate::api::RunState;

/// `runs …`
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    #[command(alias = "list")]
    Ls(RunsListArguments),
    /// Show one run: its steps, and what each of them waits for
    #[command(alias = "show")]
    Get {
        /// The run, by its id, or @last for the newest
        #[arg(value_name = "RUN")]
        run: RunName,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Follow one run until it ends: a line for every change of a step
    Watch {
        /// The run, by its id, or @last for the newest
        #[arg(value_name = "RUN")]
        run: RunName,
    },
    /// Cancel runs: what runs is told to stop, and steps that clean up still run
    Cancel(RunsCancelArguments),
    /// Retry a run that is over: what failed or was cancelled, or everything from a step on
    Retry {
        /// The run, by its id, or @last for the newest
        #[arg(value_name = "RUN")]
        run: RunName,
        /// Begin everything again from this step on
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// Who does it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Approve a step that waits for it
    Approve(DecisionArguments),
    /// Reject a step that waits for an approval: it fails
    Reject(DecisionArguments),
    /// List the items of a step: its jobs
    Items(RunsItemsArguments),
    /// Show what happened to a run, and what followed, oldest first
    Journal {
        /// The run, by its id, or @last for the newest
        #[arg(value_name = "RUN")]
        run: RunName,
        /// How it looks.
        #[command(flatten)]
        list: ListArguments,
    },
}

/// What `runs ls` takes.
#[derive(Debug, Args)]
pub(crate) struct RunsListArguments {
    /// Which runs.
    #[command(flatten)]
    pub(crate) filter: RunFilterArguments,
    /// List at most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Continue where an earlier list ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// How it looks.
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

/// Which runs: those that match every filter given.
#[derive(Debug, Default, Args)]
pub(crate) struct RunFilterArguments {
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<WorkflowName>,
    /// Only runs in these states
    #[arg(long, alias = "status", value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<RunState>,
    /// Only runs with this label; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
}

impl RunFilterArguments {
    /// It as the API reads it from a body: empty if it lets every run through.
    pub(crate) fn body(&self) -> Map<String, Value> {
        let Self { workflow, state, labels } = self;
        let states: Vec<Value> = state.iter().map(|state| state.word().into()).collect();
        let labels = labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        let labels = labels.collect::<Map<_, _>>();
        [
            ("workflow", workflow.as_ref().map(|name| name.as_str().into())),
            ("state", (!states.is_empty()).then(|| states.into())),
            ("labels", (!labels.is_empty()).then(|| labels.into())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// It as the API reads it from a query string.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let Self { workflow, state, labels } = self;
        let states: Vec<&str> = state.iter().map(|state| state.word()).collect();
        let mut query: Vec<(String, String)> = Vec::new();
        query.extend(workflow.as_ref().map(|name| ("workflow".to_owned(), name.to_string())));
        query.extend((!states.is_empty()).then(|| ("state".to_owned(), states.join(","))));
        query.extend(labels.iter().map(|(name, value)| (format!("label.{name}"), value.clone())));
        query
    }
}

/// What `runs cancel` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Name runs by id, or choose them by --workflow, --state and --label; try it with --dry-run first."
)]
pub(crate) struct RunsCancelArguments {
    /// The runs, by their ids, or @last for the newest
    #[arg(value_name = "RUN", conflicts_with_all = ["RunFilterArguments", "all", "dry_run"])]
    pub(crate) runs: Vec<RunName>,
    /// Which runs, if they are not named.
    #[command(flatten)]
    pub(crate) filter: RunFilterArguments,
    /// All runs that are not over, or all of these
    #[arg(long)]
    pub(crate) all: bool,
    /// Only say how many runs would be cancelled
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Let nothing clean up
    #[arg(long)]
    pub(crate) force: bool,
    /// Who does it, and why.
    #[command(flatten)]
    pub(crate) actor: ActorArguments,
}

/// What `runs approve` and `runs reject` take.
#[derive(Debug, Args)]
pub(crate) struct DecisionArguments {
    /// The run, by its id, or @last for the newest
    #[arg(value_name = "RUN")]
    pub(crate) run: RunName,
    /// The step
    #[arg(value_name = "STEP")]
    pub(crate) step: String,
    /// Who decides [default: the user who is logged in]
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true)]
    pub(crate) by: Option<String>,
    /// What there is to say of it; expressions can read it
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
}

/// What `runs items` takes.
#[derive(Debug, Args)]
pub(crate) struct RunsItemsArguments {
    /// The run, by its id, or @last for the newest
    #[arg(value_name = "RUN")]
    pub(crate) run: RunName,
    /// The step
    #[arg(value_name = "STEP")]
    pub(crate) step: String,
    /// Those that undo it instead of those that do its work
    #[arg(long)]
    pub(crate) undo: bool,
    /// Only items after the one of this index
    #[arg(long, value_name = "INDEX")]
    pub(crate) after: Option<u32>,
    /// List at most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: u32,
    /// How it looks.
    #[command(flatten)]
    pub(crate) list: ListArguments,
}
