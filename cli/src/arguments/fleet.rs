//! What `crewcall workers …` and `crewcall types …` take.

use std::str::FromStr;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use crewcall_proto::JobType;

use super::{ActorArguments, ListArguments, OutputArguments};

/// `workers …`
#[derive(Debug, Subcommand)]
pub(crate) enum WorkersCommand {
    /// List workers
    #[command(alias = "list")]
    Ls(WorkersListArguments),
    /// Show one worker and what it runs
    #[command(alias = "show")]
    Get {
        /// The worker, by its id, the beginning of it, or its name
        #[arg(value_name = "WORKER")]
        worker: String,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Drain a worker: it finishes what it runs and takes nothing new
    Drain {
        /// The worker, by its id, the beginning of it, or its name
        #[arg(value_name = "WORKER")]
        worker: String,
    },
    /// Let a drained worker take jobs again
    Resume {
        /// The worker, by its id, the beginning of it, or its name
        #[arg(value_name = "WORKER")]
        worker: String,
    },
}

/// What `workers ls` takes.
#[derive(Debug, Args)]
pub(crate) struct WorkersListArguments {
    /// Only workers in these states
    #[arg(long, alias = "state", value_name = "STATUS", value_delimiter = ',')]
    pub(crate) status: Vec<WorkerStatus>,
    /// Only workers that serve this type; '*' matches anything
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) job_type: Option<String>,
    /// In which order
    #[arg(long, value_name = "COLUMN", default_value = "name")]
    pub(crate) sort_by: WorkerSort,
    /// How it looks.
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

/// How a worker is; the words of the API.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WorkerStatus {
    /// It runs nothing.
    Idle,
    /// It runs something.
    Busy,
    /// It finishes what it runs.
    Draining,
    /// It fell silent.
    Lost,
}

impl WorkerStatus {
    /// The word of the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

/// What workers are sorted by.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WorkerSort {
    /// From a to z.
    Name,
    /// From a to z.
    Host,
    /// From a to z.
    Status,
    /// The most slots that are taken first.
    Busy,
    /// The one first that was silent for longest.
    Seen,
    /// The newest first.
    Started,
}

/// What `types ls` takes.
#[derive(Debug, Args)]
pub(crate) struct TypesListArguments {
    /// Only these types; '*' matches anything
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) job_type: Option<String>,
    /// In which order; what is counted, the most first
    #[arg(long, value_name = "COLUMN", default_value = "type")]
    pub(crate) sort_by: TypeSort,
    /// How it looks.
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

/// What types are sorted by.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TypeSort {
    /// From a to z.
    Type,
    /// The most workers first.
    Workers,
    /// The most waiting jobs first.
    Waiting,
    /// The most running jobs first.
    Running,
    /// The most failed jobs first.
    Failed,
    /// The one first whose oldest job waits for longest.
    Oldest,
}

/// `types …`
#[derive(Debug, Subcommand)]
pub(crate) enum TypesCommand {
    /// List job types
    #[command(alias = "list")]
    Ls(TypesListArguments),
    /// Show one job type and its parameters
    #[command(alias = "show")]
    Get {
        /// The job type
        #[arg(value_name = "TYPE")]
        job_type: JobType,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Pause a job type: its jobs wait, and what has begun goes on
    Pause {
        /// The job type
        #[arg(value_name = "TYPE")]
        job_type: JobType,
        /// Who pauses it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Resume a paused job type
    Resume {
        /// The job type
        #[arg(value_name = "TYPE")]
        job_type: JobType,
    },
    /// Limit how many attempts of a type run at once, or begin per second
    Limit(LimitArguments),
    /// Forget a job type that has neither jobs nor workers
    Rm {
        /// The job type
        #[arg(value_name = "TYPE")]
        job_type: JobType,
    },
}

/// What `types limit` takes.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("limits").args(["running_max", "rate"]).required(true).multiple(true))]
#[command(
    after_help = "A limit that is not named stays as it is. A rate of 0.1 is one attempt every ten seconds."
)]
pub(crate) struct LimitArguments {
    /// The job type
    #[arg(value_name = "TYPE")]
    pub(crate) job_type: JobType,
    /// How many attempts may run at once
    #[arg(long, value_name = "N|none", value_parser = parse_running_max, allow_negative_numbers = true)]
    pub(crate) running_max: Option<Limit<u32>>,
    /// How many attempts may begin per second; may be a fraction
    #[arg(long, value_name = "X|none", value_parser = parse_rate, allow_negative_numbers = true)]
    pub(crate) rate: Option<Limit<Finite>>,
}

/// A limit as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit<T> {
    /// No limit.
    Unlimited,
    /// At most this.
    AtMost(T),
}

impl<T: FromStr> Limit<T> {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::Unlimited),
            number => number.parse().ok().map(Self::AtMost),
        }
    }
}

fn parse_running_max(text: &str) -> Result<Limit<u32>, &'static str> {
    Limit::parse(text).ok_or("write a whole number such as 4, or none for no limit")
}

fn parse_rate(text: &str) -> Result<Limit<Finite>, &'static str> {
    Limit::parse(text).ok_or("write a number such as 2.5, or none for no limit")
}

/// A number that JSON can express: neither infinite nor NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Finite(pub(crate) f64);

impl FromStr for Finite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Self(number)),
            _ => Err("it is not a number".to_owned()),
        }
    }
}
