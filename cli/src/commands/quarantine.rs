//! `crewcall quarantine ls|rm`: the messages that could not be read.

use crate::{
    arguments::QuarantineCommand,
    client::Client,
    commands::lists::{self, Listed},
    exit::{Exit, Failure},
    output::print,
};

/// Lists messages, or deletes one or all.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such message.
pub(crate) async fn run(client: &Client, command: &QuarantineCommand) -> Result<Exit, Failure> {
    match command {
        QuarantineCommand::Ls { limit, cursor, list } => {
            lists::show(list, async || {
                let page = client.quarantine(*limit, cursor.as_deref()).await?;
                let next = page.next_cursor.map(|cursor| format!("--cursor {cursor}, or a larger --limit"));
                Ok(Listed { items: page.messages, next })
            })
            .await?;
        }
        QuarantineCommand::Rm { number: Some(number), .. } => {
            client.delete_quarantined(*number).await?;
            print(&format!("message {number} is deleted"))?;
        }
        QuarantineCommand::Rm { number: None, .. } => match client.clear_quarantine().await?.deleted {
            0 => print("there was nothing to delete")?,
            1 => print("1 message is deleted")?,
            deleted => print(&format!("{deleted} messages are deleted"))?,
        },
    }
    Ok(Exit::Done)
}
