//! `crewcall types ls|get`: what can be submitted.

use crate::{
    arguments::TypesCommand,
    client::Client,
    exit::{Exit, Failure},
    output::{print_list, print_one},
};

/// Lists job types or shows one.
///
/// # Errors
///
/// When the backend or standard output fails us.
pub(crate) async fn run(client: &Client, command: &TypesCommand) -> Result<Exit, Failure> {
    match command {
        TypesCommand::Ls(output) => print_list(&client.types().await?.types, output.format)?,
        TypesCommand::Get { job_type, output } => {
            print_one(&client.job_type(job_type.as_str()).await?, output.format)?;
        }
    }
    Ok(Exit::Done)
}
