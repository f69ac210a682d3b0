//! `crewcall workers ls|get`: who is there.

use crate::{
    arguments::WorkersCommand,
    client::Client,
    exit::{Exit, Failure},
    output::{print_list, print_one},
};

/// Lists workers or shows one.
///
/// # Errors
///
/// When the backend or standard output fails us.
pub(crate) async fn run(client: &Client, command: &WorkersCommand) -> Result<Exit, Failure> {
    match command {
        WorkersCommand::Ls(output) => print_list(&client.workers().await?.workers, output.format)?,
        WorkersCommand::Get { id, output } => print_one(&client.worker(id.as_str()).await?, output.format)?,
    }
    Ok(Exit::Done)
}
