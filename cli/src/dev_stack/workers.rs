//! The workers of `crewcall dev`: the program `crewcall-workers`, or a command of the user's.

use std::{env, ffi::OsString};

use super::DevDirectory;
use crate::{exit::Failure, watched_process::WatchedProcess};

/// The program, beside our own.
const PROGRAM: &str = "crewcall-workers";
/// How long running attempts may go on after they were told to stop: nobody wants to wait long after
/// Ctrl-C, and what is cut off is tried again at the next start.
const DRAIN_SECONDS: &str = "5";

/// What starts the workers: the program beside ours, or a command of the user's, for a shell.
///
/// # Errors
///
/// When there is no program beside ours: how to build it.
pub(crate) fn find(command: Option<&str>) -> Result<Vec<OsString>, Failure> {
    if let Some(command) = command {
        return Ok(["/bin/sh", "-c", command].map(OsString::from).into());
    }
    let own = env::current_exe()
        .map_err(|source| Failure::System { what: "find our own program".to_owned(), source })?;
    let program = own.with_file_name(PROGRAM);
    if program.is_file() {
        return Ok(vec![program.into()]);
    }
    let program = program.display();
    let missing =
        format!("the workers are not built: there is no {program}; run `cargo build -p crewcall-workers`");
    Err(Failure::Part(missing.into()))
}

/// Starts the workers; what they print goes to `workers.log`.
///
/// # Errors
///
/// When they cannot be started.
pub(crate) fn start(
    words: &[OsString],
    amqp_url: &str,
    amqp_prefix: &str,
    directory: &DevDirectory,
) -> Result<WatchedProcess, Failure> {
    let variables = [
        ("CREWCALL_AMQP_URL", Some(amqp_url)),
        ("CREWCALL_AMQP_PREFIX", Some(amqp_prefix)),
        ("CREWCALL_DRAIN_SECONDS", Some(DRAIN_SECONDS)),
        // Paths of jobs start in our working directory, as they do for whoever submits from here.
        ("CREWCALL_WORKERS_ROOT", None),
    ];
    WatchedProcess::start(words, &variables, directory.create_log("workers.log")?)
}
