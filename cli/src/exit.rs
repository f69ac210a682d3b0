//! How a command ends: the exit codes, and the sentence that goes with each failure.

use std::{error::Error, io};

use crate::{client::ClientError, parameters::ParameterError, settings::SettingsError};

/// The exit codes of every command. Scripts rely on them: they only ever grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command did what it was asked; a job that was waited for is completed.
    Done = 0,
    /// A job that was waited for failed, or a part that `serve` and `dev` need did; or `status`, `doctor` or `topology` found
    /// an error.
    Failed = 1,
    /// The command or the request was wrong: arguments, settings, or a 4xx answer about the request.
    Usage = 2,
    /// A job that was waited for was cancelled.
    Cancelled = 3,
    /// The wait time was up before the job ended. The job goes on.
    TimedOut = 4,
    /// The backend could not be reached, or could not serve us now (5xx); for `topology`, the broker. Try again later.
    Unreachable = 5,
    /// `status` or `doctor` found something to look at, and nothing that keeps work from going on.
    Attention = 6,
    /// Ctrl-C while waiting, as shells count it (128 + SIGINT). A job that was submitted goes on.
    Interrupted = 130,
}

/// Why a command could not do its work. The text is for the person who typed it: a sentence with what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// The parameters of a submission.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The settings of `serve`.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The HTTP API could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A part that `serve` or `dev` starts could not start or broke.
    #[error(transparent)]
    Part(Box<dyn Error + Send + Sync>),
    /// The system refused something that `dev` needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What we were to do, such as `start the workers`.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The job that was waited for did not end well, or not in time.
    #[error("{message}")]
    Job {
        /// How it ended.
        exit: Exit,
        /// The whole story in a sentence.
        message: String,
    },
    /// Ctrl-C while waiting.
    #[error("{0}")]
    Interrupted(String),
    /// The reader of our output went away (`| head`): nobody to tell, nothing wrong.
    #[error("the reader of the output went away")]
    ReaderGone,
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

impl Failure {
    /// A part broke, and says why.
    pub(crate) fn part(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Part(Box::new(error))
    }

    /// The exit code that goes with this failure.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Parameters(_) | Self::Settings(_) => Exit::Usage,
            Self::Client(error) if error.is_about_the_request() => Exit::Usage,
            Self::Client(_) => Exit::Unreachable,
            Self::Part(_) | Self::System { .. } | Self::Output(_) => Exit::Failed,
            Self::Job { exit, .. } => *exit,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::ReaderGone => Exit::Done,
        }
    }

    /// What to print on stderr, if there is anyone to tell.
    pub(crate) fn sentence(&self) -> Option<String> {
        match self {
            Self::ReaderGone => None,
            other => Some(other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Output(error),
        }
    }
}
