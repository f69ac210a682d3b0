//! `crewcall workers ls|get|drain|resume`: who is there.

use crate::{
    arguments::WorkersCommand,
    client::Client,
    exit::{Exit, Failure},
    output::{print, print_list, print_one},
};

/// Lists workers, shows one, or tells it what to do.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such worker.
pub(crate) async fn run(client: &Client, command: &WorkersCommand) -> Result<Exit, Failure> {
    match command {
        WorkersCommand::Ls(output) => print_list(&client.workers().await?.workers, output.format)?,
        WorkersCommand::Get { id, output } => print_one(&client.worker(id.as_str()).await?, output.format)?,
        WorkersCommand::Drain { id } => {
            client.drain_worker(id.as_str()).await?;
            print(&format!("{id} was told to finish what it runs and to take nothing new"))?;
        }
        WorkersCommand::Resume { id } => {
            client.resume_worker(id.as_str()).await?;
            print(&format!("{id} was told to take jobs again"))?;
        }
    }
    Ok(Exit::Done)
}
