//! `crewcall jobs ls|get`: what became of jobs. What is done to them is in [`super::actions`].

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{Document, Job, JobState},
    arguments::{JobSort, JobsCommand, JobsListArguments},
    client::{Client, ClientError, operations::JobAction},
    commands::{
        actions::{self, actor},
        lists::{self, Listed},
        resolve,
    },
    exit::{Exit, Failure},
    output::print_one,
    times,
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
        JobsCommand::Ls(arguments) => list(client, arguments).await,
        JobsCommand::Get { id, output } => {
            let id = resolve::job(client, id).await?;
            print_one(&client.job(id).await?, output.format)?;
            Ok(Exit::Done)
        }
        JobsCommand::Cancel(arguments) => {
            actions::run(client, JobAction::Cancel(actor(&arguments.actor)), arguments).await
        }
        JobsCommand::Retry(arguments) => {
            actions::run(client, JobAction::Retry(actor(&arguments.actor)), arguments).await
        }
    }
}

/// Lists jobs.
///
/// # Errors
///
/// As above.
pub(crate) async fn list(client: &Client, arguments: &JobsListArguments) -> Result<Exit, Failure> {
    lists::show(&arguments.list, async || {
        let mut listed = read(client, arguments).await?;
        sort(&mut listed.items, arguments.sort_by, Timestamp::now());
        Ok(listed)
    })
    .await?;
    Ok(Exit::Done)
}

/// Reads as many pages as it takes.
async fn read(client: &Client, arguments: &JobsListArguments) -> Result<Listed<Job>, ClientError> {
    let limit = arguments.limit as usize;
    let mut cursor = arguments.cursor.clone();
    let mut items = Vec::new();
    loop {
        let mut query = arguments.filter.query();
        query.push(("limit".to_owned(), PAGE_JOBS_MAX.min(limit - items.len()).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
        let page = client.jobs(&query).await?;
        // An empty page ends it too: a backend that always has a next cursor must not keep us here.
        let is_last = page.jobs.is_empty();
        items.extend(page.jobs);
        cursor = page.next_cursor;
        if is_last || cursor.is_none() || items.len() >= limit {
            return Ok(Listed {
                items,
                next: cursor.map(|cursor| format!("--cursor {cursor}, or a larger --limit")),
            });
        }
    }
}

/// Jobs come newest first; equal ones stay so.
fn sort(jobs: &mut [Document<Job>], by: JobSort, now: Timestamp) {
    let ran = |job: &Job| -> Option<SignedDuration> {
        let end = match job.state {
            JobState::Running => Some(now),
            _ => times::read(job.finished_at.as_deref()),
        };
        Some(end?.duration_since(times::read(job.started_at.as_deref())?))
    };
    match by {
        JobSort::Created => {}
        JobSort::Started => jobs.sort_by(|a, b| b.started_at.cmp(&a.started_at)),
        JobSort::Finished => jobs.sort_by(|a, b| b.finished_at.cmp(&a.finished_at)),
        JobSort::Took => jobs.sort_by_key(|job| std::cmp::Reverse(ran(job))),
        JobSort::Type => jobs.sort_by(|a, b| a.job_type.cmp(&b.job_type)),
        JobSort::State => jobs.sort_by_key(|job| job.state as u8),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn jobs_are_sorted_by_a_column() {
        let jobs: Vec<Document<Job>> = serde_json::from_value(json!([
            {"id": "3", "type": "b", "state": "running", "started_at": "2026-11-20T16:00:09Z"},
            {"id": "2", "type": "a", "state": "completed", "started_at": "2026-11-20T16:00:00Z", "finished_at": "2026-11-20T16:00:05Z"},
            {"id": "1", "type": "c", "state": "ready"},
        ]))
        .unwrap();
        let now = "2026-11-20T16:00:10Z".parse().unwrap();
        let sorted = |by| {
            let mut jobs = jobs.clone();
            sort(&mut jobs, by, now);
            jobs.iter().map(|job| job.id.clone()).collect::<String>()
        };
        assert_eq!(sorted(JobSort::Created), "321");
        assert_eq!(sorted(JobSort::Started), "321");
        assert_eq!(sorted(JobSort::Finished), "231");
        assert_eq!(sorted(JobSort::Took), "231");
        assert_eq!(sorted(JobSort::Type), "231");
        assert_eq!(sorted(JobSort::State), "132");
    }
}
