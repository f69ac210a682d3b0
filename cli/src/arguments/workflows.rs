//! What `crewcall workflows …` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ActorArguments, ListArguments, OutputArguments, WorkflowName, parse_label};
use crate::output::Format;

/// `workflows …`
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// Make workflows, or new versions of them, as files say
    Apply(WorkflowFiles),
    /// Say what is wrong with files of workflows, and change nothing
    Check(WorkflowFiles),
    /// List workflows
    #[command(alias = "list")]
    Ls {
        /// How it looks.
        #[command(flatten)]
        list: ListArguments,
    },
    /// Show one workflow: its version, its triggers and what runs of it
    #[command(alias = "show")]
    Get {
        /// The workflow
        #[arg(value_name = "NAME")]
        workflow: WorkflowName,
        /// The form of the output; the document is only in json and jsonl
        #[command(flatten)]
        output: OutputArguments,
    },
    /// List the versions of a workflow, newest first, or print the document of one
    Versions {
        /// The workflow
        #[arg(value_name = "NAME")]
        workflow: WorkflowName,
        /// Print the document of this version, as JSON
        #[arg(value_name = "VERSION")]
        number: Option<u32>,
        /// How it looks.
        #[command(flatten)]
        list: ListArguments,
    },
    /// Print a workflow as a diagram: text that Mermaid draws
    Graph {
        /// The workflow
        #[arg(value_name = "NAME")]
        workflow: WorkflowName,
    },
    /// Start a run
    Trigger(TriggerArguments),
    /// Pause a workflow: no event starts a run, and none that waits begins
    Pause {
        /// The workflow
        #[arg(value_name = "NAME")]
        workflow: WorkflowName,
        /// Pause its open runs as well: nothing more of them begins
        #[arg(long)]
        runs: bool,
        /// Who pauses it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Resume a paused workflow and its runs, where they were
    Resume {
        /// The workflow
        #[arg(value_name = "NAME")]
        workflow: WorkflowName,
        /// Pass over the events that were recorded meanwhile
        #[arg(long)]
        from_now: bool,
        /// Who resumes it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Delete a workflow of which no run is open
    Rm {
        /// The workflow
        #[arg(value_name = "NAME")]
        workflow: WorkflowName,
    },
}

/// What `workflows apply` and `workflows check` take.
#[derive(Debug, Args)]
#[command(after_help = "A file has one workflow or many, in YAML (with --- between them) or JSON:
  name: asset.publish
  triggers:
    - event: asset.uploaded
  steps:
    probe:
      job: media.probe
      parameters: {source: '${{ event.data.path }}'}
    encode:
      needs: [probe]
      each: ${{ steps.probe.result.widths }}
      job: media.encode
      parameters: {width: '${{ item }}'}

What is not in a file stays as it is: nothing is deleted. docs/workflows.md says what a document may have.")]
pub(crate) struct WorkflowFiles {
    /// A file, a directory (its *.yaml, *.yml and *.json), or - for standard input; can be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// What `workflows trigger` takes.
#[derive(Debug, Args)]
#[command(after_help = "Data:
  key=value     text                     key=@file    the text in a file
  key:=json     a number, a list, ...    key:=@file   the JSON in a file
  -             all of them, a JSON object, from standard input")]
pub(crate) struct TriggerArguments {
    /// The workflow (see: crewcall workflows ls)
    #[arg(value_name = "NAME")]
    pub(crate) workflow: WorkflowName,
    /// The data that its expressions read as trigger.data: key=value or key:=json ...
    #[arg(value_name = "DATA")]
    pub(crate) fields: Vec<String>,
    /// All data as one JSON object: here, in a file or on standard input; DATA are added to it
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) data: Option<String>,
    /// Wait until the run ends, at most SECONDS, show its steps and print its outputs
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    pub(crate) wait: Option<Option<u64>>,
    /// Label the run, to find it again; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// A key for this run: within 24 h, asking for it again under the same key starts no second one
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Print the run in this form, instead of its id or, with --wait, its outputs
    #[arg(short, long, value_name = "FORM")]
    pub(crate) output: Option<Format>,
    /// Who starts it [default: the user who is logged in]
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true)]
    pub(crate) by: Option<String>,
}
