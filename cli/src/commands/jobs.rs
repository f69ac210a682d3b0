//! `crewcall jobs ls|get`: what became of jobs. What is done to them is in [`super::actions`].

use crate::{
    arguments::{ActorArguments, JobsCommand, JobsListArguments},
    client::{
        Client,
        operations::{Actor, JobAction},
    },
    commands::actions,
    exit::{Exit, Failure},
    output::{print_list, print_message, print_one},
};

/// How many jobs are asked for at once: the most that the API gives.
const PAGE_JOBS_MAX: usize = 500;

/// Lists jobs, shows one, or does something to some.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such job.
pub(crate) async fn run(client: &Client, command: &JobsCommand) -> Result<Exit, Failure> {
    match command {
        JobsCommand::Ls(arguments) => list(client, arguments).await?,
        JobsCommand::Get { id, output } => print_one(&client.job(*id).await?, output.format)?,
        JobsCommand::Cancel(arguments) => {
            return actions::run(client, JobAction::Cancel(actor(&arguments.actor)), arguments).await;
        }
        JobsCommand::Retry(arguments) => {
            return actions::run(client, JobAction::Retry(actor(&arguments.actor)), arguments).await;
        }
    }
    Ok(Exit::Done)
}

async fn list(client: &Client, arguments: &JobsListArguments) -> Result<(), Failure> {
    let limit = arguments.limit as usize;
    let mut cursor = arguments.cursor.clone();
    let mut jobs = Vec::new();
    loop {
        let mut query = arguments.filter.query();
        query.push(("limit".to_owned(), PAGE_JOBS_MAX.min(limit - jobs.len()).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
        let page = client.jobs(&query).await?;
        // An empty page ends it too: a backend that always has a next cursor must not keep us here.
        let is_last = page.jobs.is_empty();
        jobs.extend(page.jobs);
        cursor = page.next_cursor;
        if is_last || cursor.is_none() || jobs.len() >= limit {
            break;
        }
    }
    print_list(&jobs, arguments.output.format)?;
    if let Some(cursor) = cursor {
        print_message(&format!("there are more: add --cursor {cursor}, or a larger --limit"));
    }
    Ok(())
}

/// Who does something, and why, as far as it was said.
pub(crate) fn actor(arguments: &ActorArguments) -> Actor<'_> {
    Actor { by: arguments.by.as_deref().filter(|by| !by.is_empty()), reason: arguments.reason.as_deref() }
}
