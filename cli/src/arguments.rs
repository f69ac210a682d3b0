//! The command line: what `--help` shows.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use crewcall_proto::{JobId, JobType, WorkerId};
use url::Url;

use crate::{
    api::JobState,
    client::{Client, parse_url},
    exit::Failure,
    output::Format,
    settings::ServeFlags,
};

/// Where a backend is when nothing says otherwise.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:8080";

/// Dispatches jobs to workers that announce themselves.
#[derive(Debug, Parser)]
#[command(name = "crewcall", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// The backend to talk to
    #[arg(long, global = true, env = "CREWCALL_URL", default_value = URL_DEFAULT, value_name = "URL")]
    pub(crate) url: String,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 job failed, 2 wrong usage or request, 3 job cancelled, \
                          4 wait time was up, 5 backend not reachable";

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything here and try it: a private RabbitMQ node, the backend, the workers, one job
    Dev(DevArguments),
    /// Run the backend
    Serve(ServeFlags),
    /// Submit a job
    Submit(SubmitArguments),
    /// Follow one job until it ends, or all jobs
    Watch(WatchArguments),
    /// List jobs, or show one
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// List workers, or show one
    #[command(subcommand)]
    Workers(WorkersCommand),
    /// List the job types that can be submitted, or show one
    #[command(subcommand)]
    Types(TypesCommand),
    /// Print a completion script for a shell
    #[command(
        after_help = "For example: crewcall completion bash > ~/.local/share/bash-completion/completions/crewcall"
    )]
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// What `dev` takes.
#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    /// Exit after the first job, with its exit code, instead of staying up until Ctrl-C
    #[arg(long)]
    pub(crate) once: bool,
}

/// What `submit` takes.
#[derive(Debug, Args)]
#[command(after_help = "Parameters:
  key=value     text                     key=@file    the text in a file
  key:=json     a number, a list, ...    key:=@file   the JSON in a file
  -             all of them, a JSON object, from standard input

For example: crewcall submit image.thumbnail source=a.jpg width:=640 --wait")]
pub(crate) struct SubmitArguments {
    /// The job type, such as image.thumbnail (see: crewcall types ls)
    #[arg(value_name = "TYPE")]
    pub(crate) job_type: JobType,
    /// The parameters: key=value or key:=json ...
    #[arg(value_name = "PARAMETER")]
    pub(crate) words: Vec<String>,
    /// All parameters as one JSON object, or from a file or standard input; PARAMETERs are added to it
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) parameters: Option<String>,
    /// Wait until the job ends, at most SECONDS, show its progress and print its result
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    pub(crate) wait: Option<Option<u64>>,
    /// Label the job, to find it again; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// 0 to 9, 9 goes first [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(crate) priority: Option<u8>,
    /// How often the job may be tried, 1 to 100 [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) max_attempts: Option<u8>,
    /// What to print: the job in this form instead of its id, or of its result with --wait
    #[arg(short, long, value_name = "FORM")]
    pub(crate) output: Option<Format>,
}

/// What `watch` takes.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// The job to follow; without it, all of them until Ctrl-C
    pub(crate) id: Option<JobId>,
    /// Only changes into these states
    #[arg(long, value_name = "STATE", value_delimiter = ',', conflicts_with = "id")]
    pub(crate) state: Vec<JobState>,
    /// Only jobs of this type; '*' stands for anything
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "id")]
    pub(crate) job_type: Option<String>,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// `jobs …`
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first
    Ls(JobsListArguments),
    /// Show one job with its attempts
    Get {
        /// The job
        id: JobId,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
}

/// What `jobs ls` takes.
#[derive(Debug, Args)]
pub(crate) struct JobsListArguments {
    /// Only jobs in these states
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<JobState>,
    /// Only jobs of this type; '*' stands for anything
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) job_type: Option<String>,
    /// Only jobs with this label; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Only jobs accepted after this time, such as 2026-11-20T16:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) created_after: Option<String>,
    /// Only jobs accepted before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) created_before: Option<String>,
    /// How many to list at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Where an earlier list ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// `workers …`
#[derive(Debug, Subcommand)]
pub(crate) enum WorkersCommand {
    /// List workers
    Ls(OutputArguments),
    /// Show one worker and what it runs
    Get {
        /// The worker
        id: WorkerId,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
}

/// `types …`
#[derive(Debug, Subcommand)]
pub(crate) enum TypesCommand {
    /// List job types
    Ls(OutputArguments),
    /// Show one job type and its parameters
    Get {
        /// The job type
        #[arg(value_name = "TYPE")]
        job_type: JobType,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
}

/// The form of the data on standard output.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArguments {
    /// The form of the output
    #[arg(short = 'o', long = "output", value_name = "FORM", default_value = "table")]
    pub(crate) format: Format,
}

impl Arguments {
    /// A client of the backend that was named.
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.backend_url()?))
    }

    fn backend_url(&self) -> Result<Url, Failure> {
        // `CREWCALL_URL=` is how some shells and files say "not set".
        let text = if self.url.is_empty() { URL_DEFAULT } else { &self.url };
        parse_url(text).map_err(|reason| {
            Failure::Usage(format!(
                "'{text}' cannot be the backend's address (--url or CREWCALL_URL): {reason}"
            ))
        })
    }
}

/// The words of the command line, with `--wait 30` written as `--wait=30`.
///
/// The wait time is optional, so it must be attached: in `submit --wait image.thumbnail` the type is not
/// the time. A bare number can be nothing else, so it is attached here.
pub(crate) fn attach_wait_time(words: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut attached: Vec<String> = Vec::new();
    let mut options_ended = false;
    for word in words {
        match attached.last_mut() {
            Some(last) if !options_ended && last == "--wait" && word.parse::<u64>().is_ok() => {
                *last = format!("--wait={word}");
            }
            _ => {
                options_ended |= word == "--";
                attached.push(word);
            }
        }
    }
    attached
}

/// `~/.crewcall` and the like are not looked at: only what is named, or `crewcall.toml` here.
pub(crate) fn config_file(flag: Option<&PathBuf>) -> (PathBuf, bool) {
    match flag {
        Some(path) => (path.clone(), true),
        None => (PathBuf::from("crewcall.toml"), false),
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it like --label project=x".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wait_time_may_stand_apart() {
        assert_eq!(attach_wait_time(words("submit t --wait 30 a=b")), words("submit t --wait=30 a=b"));
        assert_eq!(attach_wait_time(words("submit --wait t 30")), words("submit --wait t 30"));
        assert_eq!(attach_wait_time(words("submit -- t --wait 30")), words("submit -- t --wait 30"));
    }

    #[test]
    fn submissions() {
        let line =
            "crewcall submit --wait image.thumbnail source=a.jpg - --label a=b --label c= --priority 9";
        let arguments = Arguments::try_parse_from(attach_wait_time(words(line))).unwrap();
        let Command::Submit(submit) = arguments.command else { panic!("not submit") };
        assert_eq!(submit.wait, Some(None));
        assert_eq!(submit.words, ["source=a.jpg", "-"]);
        assert_eq!(submit.labels, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]);
    }
}
