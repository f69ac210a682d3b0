//! `crewcall jobs ls|get`: what became of jobs.

use crate::{
    api::JobState,
    arguments::{JobsCommand, JobsListArguments},
    client::Client,
    exit::{Exit, Failure},
    output::{note, print_list, print_one},
};

/// How many jobs are asked for at once: the most that the API gives.
const PAGE_JOBS_MAX: usize = 500;

/// Lists jobs or shows one.
///
/// # Errors
///
/// When the backend or standard output fails us.
pub(crate) async fn run(client: &Client, command: &JobsCommand) -> Result<Exit, Failure> {
    match command {
        JobsCommand::Ls(arguments) => list(client, arguments).await?,
        JobsCommand::Get { id, output } => print_one(&client.job(*id).await?, output.format)?,
    }
    Ok(Exit::Done)
}

async fn list(client: &Client, arguments: &JobsListArguments) -> Result<(), Failure> {
    let limit = arguments.limit as usize;
    let mut cursor = arguments.cursor.clone();
    let mut jobs = Vec::new();
    loop {
        let mut query = filters(arguments);
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
        note(&format!("there are more: add --cursor {cursor}, or a larger --limit"));
    }
    Ok(())
}

fn filters(arguments: &JobsListArguments) -> Vec<(String, String)> {
    let mut query = state_and_type(&arguments.state, arguments.job_type.as_deref());
    let labels = arguments.labels.iter().map(|(key, value)| (format!("label.{key}"), value.clone()));
    query.extend(labels);
    let times = [("created_after", &arguments.created_after), ("created_before", &arguments.created_before)];
    query.extend(times.into_iter().filter_map(|(name, time)| Some((name.to_owned(), time.clone()?))));
    query
}

/// The filters that lists and streams of jobs share.
pub(crate) fn state_and_type(states: &[JobState], job_type: Option<&str>) -> Vec<(String, String)> {
    let mut query = Vec::new();
    if !states.is_empty() {
        let words: Vec<&str> = states.iter().map(|state| state.word()).collect();
        query.push(("state".to_owned(), words.join(",")));
    }
    query.extend(job_type.map(|job_type| ("type".to_owned(), job_type.to_owned())));
    query
}
