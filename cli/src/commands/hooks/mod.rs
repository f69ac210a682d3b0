//! `crewcall hooks apply|ls|get|rotate|rm`: where other services tell what happened.

mod apply;
mod manifest;

use std::io;

use crate::{
    arguments::HooksCommand,
    client::Client,
    commands::{actions::actor, lists, secrets::once},
    exit::{Exit, Failure},
    output::{print, print_one},
    text::time,
};

/// Applies files, lists hooks, shows one, or does something to it.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such hook.
pub(crate) async fn run(client: &Client, command: &HooksCommand) -> Result<Exit, Failure> {
    match command {
        HooksCommand::Apply(arguments) => return apply::run(client, &arguments.files, io::stdin()).await,
        HooksCommand::Ls { list } => {
            lists::show(list, async || Ok(client.hooks().await?.into())).await?;
        }
        HooksCommand::Get { hook, output } => {
            print_one(&client.hook(hook.as_str()).await?, output.format)?;
        }
        HooksCommand::Rotate { hook, actor: by } => {
            let rotated = client.rotate_hook(hook.as_str(), actor(by)).await?;
            let until = rotated.retiring.as_ref().and_then(|retiring| retiring.until.as_deref());
            print(&format!("{hook} has a new secret; the one before is accepted until {} UTC", time(until)))?;
            print(&once(hook.as_str(), rotated.secret.as_deref().unwrap_or_default()))?;
        }
        HooksCommand::Rm { hook } => {
            client.delete_hook(hook.as_str()).await?;
            print(&format!("{hook} is deleted; what comes for it is refused"))?;
        }
    }
    Ok(Exit::Done)
}
