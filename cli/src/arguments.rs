//! The command line: what `--help` shows.

mod bench;
mod consumers;
mod database;
mod events;
mod examples;
mod fleet;
mod health;
mod hooks;
mod jobs;
mod names;
mod runs;
mod schedules;
mod submit;
mod webhooks;
mod workflows;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    ArgGroup, Args, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;

pub(crate) use self::{
    bench::BenchArguments,
    consumers::{ConsumersCommand, ReplayArguments, SeekArguments},
    database::{BackupArguments, DatabaseArguments, RestoreArguments},
    events::{EVENTS_MAX, EventsCommand, EventsListArguments, PublishArguments, TailArguments},
    examples::command,
    fleet::{
        Finite, Limit, LimitArguments, TypeSort, TypesCommand, TypesListArguments, WorkerSort,
        WorkersCommand, WorkersListArguments,
    },
    health::{BrokerArguments, DoctorArguments, StatusArguments, TopologyArguments},
    hooks::HooksCommand,
    jobs::{ActionArguments, FilterArguments, JobSort, JobsCommand, JobsListArguments},
    names::{ConsumerName, HookName, JobName, RunName, ScheduleName, WebhookName, WorkflowName},
    runs::{DecisionArguments, RunsCancelArguments, RunsCommand, RunsItemsArguments, RunsListArguments},
    schedules::{BackfillArguments, NextArguments, SchedulesCommand, TicksArguments},
    submit::{SubmitArguments, SubmitRetries, SubmitTimes},
    webhooks::WebhooksCommand,
    workflows::{TriggerArguments, WorkflowsCommand},
};
use crate::{
    api::JobState,
    client::{Client, parse_url},
    dev_environment, duration,
    exit::Failure,
    output::Format,
    settings::{ServeFlags, values::listen_address},
};

/// Where a backend is when nothing says otherwise.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:8080";

/// Dispatches jobs to workers that announce themselves.
#[derive(Debug, Parser)]
#[command(name = "crewcall", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// The backend to talk to [default: the `crewcall dev` of this directory, or 127.0.0.1:8080]
    #[arg(long, global = true, env = "CREWCALL_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 job failed, 2 wrong usage or request, 3 job cancelled, \
                          4 wait timed out, 5 backend unreachable, \
                          6 warnings only (status, doctor), 130 interrupted";

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
    /// List jobs, show one, cancel or retry some
    #[command(subcommand, alias = "job")]
    Jobs(JobsCommand),
    /// List workers, show one, drain it or let it take jobs again
    #[command(subcommand, alias = "worker")]
    Workers(WorkersCommand),
    /// List job types, show one, pause or limit it
    #[command(subcommand, alias = "type")]
    Types(TypesCommand),
    /// Publish events, list them, or follow them as they come
    #[command(subcommand, alias = "event")]
    Events(EventsCommand),
    /// Make jobs of events: apply consumers from files, list them, pause or move one
    #[command(subcommand, alias = "consumer")]
    Consumers(ConsumersCommand),
    /// Where other services tell what happened: apply hooks from files, list them, rotate a secret
    #[command(subcommand, alias = "hook")]
    Hooks(HooksCommand),
    /// Where events are delivered to: apply webhooks from files, list them, pause one, rotate a secret
    #[command(subcommand, alias = "webhook")]
    Webhooks(WebhooksCommand),
    /// Jobs that belong together: apply workflows from files, list them, start runs, pause one
    #[command(subcommand, alias = "workflow")]
    Workflows(WorkflowsCommand),
    /// Runs of workflows: list them, show or watch one, cancel or retry it, decide about its steps
    #[command(subcommand, alias = "run")]
    Runs(RunsCommand),
    /// What comes whenever its time does: apply schedules from files, list them and their ticks, pause one
    #[command(subcommand, alias = "schedule")]
    Schedules(SchedulesCommand),
    /// List messages that could not be read, or delete them
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Show on one screen whether all is well
    Status(StatusArguments),
    /// Watch what goes on, live, and act: pause, drain, cancel, retry
    Top,
    /// Find out what is wrong, with the broker too, and what to do about it
    Doctor(DoctorArguments),
    /// Show what should be on the broker beside what is there
    Topology(TopologyArguments),
    /// Copy the database into a new file, while the backend runs
    Backup(BackupArguments),
    /// Put a copy in the place of the database, while the backend is stopped
    Restore(RestoreArguments),
    /// Measure how fast this machine runs jobs, beside what its broker could do
    Bench(BenchArguments),
    /// List jobs, for those who expect it here.
    #[command(hide = true)]
    Ps(JobsListArguments),
    /// Print the version, for those who expect it here.
    #[command(hide = true)]
    Version,
    /// Print a script that teaches a shell to complete commands, types, jobs, workers and parameters
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Write a man page for each command
    Man {
        /// The directory for them, such as ~/.local/share/man/man1; it is made if it is not there
        directory: PathBuf,
    },
}

/// What `dev` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevArguments {
    /// Exit after the first job, with its exit code, instead of staying up until Ctrl-C
    #[arg(long)]
    pub(crate) once: bool,
    /// Where the HTTP API listens, as ADDRESS:PORT or PORT [default: 127.0.0.1:8080, or the last time's, or any free port]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub(crate) http_listen: Option<SocketAddr>,
    /// A RabbitMQ that runs already, as amqp://user:password@host:port/vhost, instead of a private one
    #[arg(long, value_name = "URL")]
    pub(crate) amqp_url: Option<String>,
    /// Start no workers: your own come, from this directory or with what `crewcall dev env` prints
    #[arg(long, conflicts_with_all = ["once", "worker_command"])]
    pub(crate) no_workers: bool,
    /// The command that starts the workers, instead of crewcall-workers
    #[arg(long, value_name = "COMMAND", conflicts_with = "once")]
    pub(crate) worker_command: Option<String>,
    /// Something else than to start it.
    #[command(subcommand)]
    pub(crate) command: Option<DevCommand>,
}

/// What else `dev` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Print the variables by which programs reach the `crewcall dev` of this directory: eval "$(crewcall dev env)"
    Env,
}

/// What `watch` takes.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// The job to follow, by its id, the beginning of it, or @last; without it, all of them until Ctrl-C
    pub(crate) id: Option<JobName>,
    /// Only changes into these states
    #[arg(long, value_name = "STATE", value_delimiter = ',', conflicts_with = "id")]
    pub(crate) state: Vec<JobState>,
    /// Only jobs of this type; '*' matches anything
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "id")]
    pub(crate) job_type: Option<String>,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Who does something, and why: kept with the job or type.
#[derive(Debug, Default, Args)]
pub(crate) struct ActorArguments {
    /// Who does this [default: the user who is logged in]
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true)]
    pub(crate) by: Option<String>,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `quarantine …`
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List messages that could not be read, newest first
    #[command(alias = "list")]
    Ls {
        /// List at most this many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Continue where an earlier list ended
        #[arg(long)]
        cursor: Option<String>,
        /// How it looks; the bodies are only in json and jsonl
        #[command(flatten)]
        list: ListArguments,
    },
    /// Delete one message, or all
    #[command(group = ArgGroup::new("which").args(["number", "all"]).required(true))]
    Rm {
        /// The number of the message
        number: Option<u64>,
        /// Delete all of them
        #[arg(long)]
        all: bool,
    },
}

/// How a list looks.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ListArguments {
    /// Leave the titles of the columns out
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// Show it again every 2s, or as often as this says, until Ctrl-C
    #[arg(
        short, long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "2s",
        value_parser = parse_interval
    )]
    pub(crate) watch: Option<Duration>,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// How often a list is shown again at most: the backend answers others, too.
const WATCH_EVERY_MIN: Duration = Duration::from_millis(100);

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if interval < WATCH_EVERY_MIN { Err("it is shorter than 100ms".to_owned()) } else { Ok(interval) }
}

/// The form of the data on standard output.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArguments {
    /// The form of the output
    #[arg(short = 'o', long = "output", value_name = "FORM", default_value = "table")]
    pub(crate) format: Format,
}

impl Arguments {
    /// Reads the words of the command line.
    ///
    /// # Errors
    ///
    /// What is wrong with them; or what `--help` and `--version` say.
    pub(crate) fn read(words: &[String]) -> Result<Self, clap::Error> {
        let mut command = command();
        let mut matches = command.try_get_matches_from_mut(words)?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }

    /// A client of the backend that was named.
    ///
    /// # Errors
    ///
    /// When the address is not an HTTP URL.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Self::client_of(self.url.as_deref())
    }

    /// A client of the backend with this address; without one, of the `crewcall dev` of this directory, or at the default.
    ///
    /// # Errors
    ///
    /// As above.
    pub(crate) fn client_of(url: Option<&str>) -> Result<Client, Failure> {
        // `CREWCALL_URL=` is how some shells and files say "not set".
        let text = match url {
            Some(url) if !url.is_empty() => url.to_owned(),
            _ => dev_environment::running().map_or_else(|| URL_DEFAULT.to_owned(), |running| running.url),
        };
        parse_url(&text).map(Client::new).map_err(|reason| {
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

/// What to say to `submit TYPE --source README.md`, and to `events publish` likewise: clap takes the parameter for an option
/// that must be quoted.
pub(crate) fn parameter_hint(error: &clap::Error, words: &[String]) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let has = |name: &str| words.iter().any(|word| word == name);
    let what = match (has("submit"), has("publish")) {
        (true, _) => "a parameter",
        (false, true) => "a field of the data",
        (false, false) => return None,
    };
    // Where an option of ours is like it, that was meant.
    if error.kind() != ErrorKind::UnknownArgument || error.get(ContextKind::SuggestedArg).is_some() {
        return None;
    }
    let name = option.strip_prefix("--")?.split('=').next()?;
    let word = words.iter().position(|word| word.trim_start_matches("--").split('=').next() == Some(name))?;
    let attached = words[word].split_once('=').map(|(_, value)| value);
    let next = words.get(word + 1).filter(|next| !next.starts_with('-')).map(String::as_str);
    let value = attached.or(next).unwrap_or("VALUE");
    Some(format!("there is no option --{name}; {what} is written without dashes: {name}={value}"))
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

    #[test]
    fn a_parameter_written_as_an_option_is_shown_as_it_should_be() {
        for (line, hint) in [
            ("submit file.checksum --source README.md", Some("source=README.md")),
            ("submit file.checksum --source=a.md", Some("source=a.md")),
            ("submit file.checksum --flag --wait", Some("flag=VALUE")),
            ("submit file.checksum --labl a=b", None),
            ("events publish order.paid --amount 7", Some("amount=7")),
            ("jobs ls --source README.md", None),
        ] {
            let words = words(&format!("crewcall {line}"));
            let hinted = parameter_hint(&Arguments::try_parse_from(&words).unwrap_err(), &words);
            assert_eq!(hinted.as_deref().and_then(|text| text.rsplit(' ').next()), hint, "{line}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let id = "0192e4a0-0000-7000-8000-000000000001";
        let refusals: Vec<String> = [
            "submit t --run-at 2026-11-20T16:00:00Z --delay 5s".to_owned(),
            "submit t --delay 5".to_owned(),
            "submit t --timeout -5s".to_owned(),
            "submit t --backoff-factor nan".to_owned(),
            "submit t --backoff-initial --wait".to_owned(),
            "submit t --batch jobs".to_owned(),
            "submit t --cancel-on-interrupt".to_owned(),
            "submit --batch jobs --like @last".to_owned(),
            "submit --batch jobs --delay 5s".to_owned(),
            "submit --batch jobs --max-attempts 2".to_owned(),
            format!("jobs cancel {id} --state ready"),
            format!("jobs retry {id} --dry-run"),
            "jobs get 0192e".to_owned(),
            "jobs get image.thumbnail".to_owned(),
            "jobs ls --since soon".to_owned(),
            "workers ls --status gone".to_owned(),
            "types ls --watch=1ms".to_owned(),
            "types limit t".to_owned(),
            "types limit t --running-max many".to_owned(),
            "types limit t --running-max -1".to_owned(),
            "types limit t --rate inf".to_owned(),
            "events publish".to_owned(),
            "events publish order.paid --occurred-at soon".to_owned(),
            "events ls --limit 501".to_owned(),
            "events get order.paid".to_owned(),
            "consumers apply".to_owned(),
            "consumers get Invoices".to_owned(),
            "consumers seek invoices".to_owned(),
            "consumers seek invoices --now --after 17".to_owned(),
            "consumers seek invoices --since soon".to_owned(),
            "consumers replay invoices --after 17".to_owned(),
            "hooks apply".to_owned(),
            "hooks get GitHub".to_owned(),
            "webhooks apply".to_owned(),
            "webhooks get Shop".to_owned(),
            "schedules apply".to_owned(),
            "schedules get Nightly".to_owned(),
            "schedules next".to_owned(),
            "schedules next nightly -f a.yaml".to_owned(),
            "schedules next nightly -n 11".to_owned(),
            "schedules ticks nightly --state late".to_owned(),
            "schedules backfill nightly --from 1h".to_owned(),
            "schedules backfill nightly --from soon --to now".to_owned(),
            "quarantine rm".to_owned(),
            "quarantine rm 7 --all".to_owned(),
        ]
        .into_iter()
        .map(|line| {
            let refusal = Arguments::try_parse_from(words(&format!("crewcall {line}"))).unwrap_err();
            let text = refusal.to_string();
            let sentence = text.split("\n\n").next().unwrap_or_default();
            format!("{line}\n  {}", sentence.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
