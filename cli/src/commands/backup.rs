//! `crewcall backup` and `crewcall restore`: copies of the database, which they read and write themselves.

use std::path::PathBuf;

use crewcall_backend::{
    Config, DatabaseUrl,
    clock::{Clock as _, SystemClock},
    store::{Copied, CopyError, back_up, restore},
};
use indicatif::HumanBytes;

use super::serve::configure;
use crate::{
    arguments::{BackupArguments, DatabaseArguments, RestoreArguments},
    exit::{Exit, Failure},
    output::print,
    settings::ServeFlags,
};

/// Copies the database.
///
/// # Errors
///
/// One sentence that says what to do, when the copy is not made.
pub(crate) async fn back_up_to(arguments: &BackupArguments) -> Result<Exit, Failure> {
    let (database, file) = (database(&arguments.database)?, arguments.file.clone());
    let copied = blocking(move || back_up(&database, &file)).await?;
    print(&format!("{}: {}", arguments.file.display(), describe(&copied)))?;
    Ok(Exit::Done)
}

/// Puts a copy in the place of the database.
///
/// # Errors
///
/// One sentence that says what to do, when it is not put back.
pub(crate) async fn restore_from(arguments: &RestoreArguments) -> Result<Exit, Failure> {
    let database = database(&arguments.database)?;
    let (file, to, replace) = (arguments.file.clone(), database.clone(), arguments.replace);
    let (copied, aside) = blocking(move || restore(&file, &to, replace, SystemClock::start().now())).await?;
    print(&format!("{}: {}", database.display(), describe(&copied)))?;
    if let Some(aside) = aside {
        print(&format!("what was there before is now {}", aside.display()))?;
    }
    Ok(Exit::Done)
}

/// The file that `serve` would use with the same settings.
fn database(arguments: &DatabaseArguments) -> Result<PathBuf, Failure> {
    let flags = ServeFlags {
        database_url: arguments.database_url.clone(),
        config: arguments.config.clone(),
        ..ServeFlags::default()
    };
    let Config { database: DatabaseUrl::Sqlite(path), .. } = configure(&flags)?.backend;
    Ok(path)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CopyError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| Failure::Part(error.into())),
        Err(ended) => Err(Failure::Part(ended.into())),
    }
}

fn describe(copied: &Copied) -> String {
    let jobs = if copied.jobs == 1 { "job" } else { "jobs" };
    format!("{} {jobs}, {}", copied.jobs, HumanBytes(copied.bytes))
}
