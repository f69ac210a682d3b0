//! `crewcall completion`: a script that teaches a shell our commands.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    arguments::Arguments,
    exit::{Exit, Failure},
    output::print,
};

/// Prints the script.
///
/// # Errors
///
/// When standard output cannot be written.
pub(crate) fn run(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "crewcall", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
