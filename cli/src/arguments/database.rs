//! What `backup` and `restore` take.

use std::path::PathBuf;

use clap::Args;

/// What `backup` takes.
#[derive(Debug, Args)]
#[command(after_help = "The backend may run meanwhile, and is not held up.")]
pub(crate) struct BackupArguments {
    /// The file to make; it must not exist
    pub(crate) file: PathBuf,
    /// Which database.
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
}

/// What `restore` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "The backend has to be stopped. Jobs that were accepted after the copy was made are not in it; jobs that ended after it run again."
)]
pub(crate) struct RestoreArguments {
    /// A file that `crewcall backup` made
    pub(crate) file: PathBuf,
    /// Move a database that is there aside, instead of refusing
    #[arg(long)]
    pub(crate) replace: bool,
    /// Which database.
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
}

/// Which database, as for `serve`.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArguments {
    /// Where it is.
    #[arg(
        long,
        value_name = "URL",
        help = "The database of the backend [env: CREWCALL_DATABASE_URL] [default: what serve would use here]"
    )]
    pub(crate) database_url: Option<String>,
    /// The file with the settings [default: crewcall.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
