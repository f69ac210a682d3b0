//! Which job or worker the user means: names and beginnings of ids become ids.

use crewcall_proto::JobId;

use crate::{
    api::{Document, Worker},
    arguments::JobName,
    client::Client,
    exit::Failure,
    output::View,
};

/// How many of those that may be meant are named.
const NAMED_MAX: usize = 5;

/// The job that is meant.
///
/// # Errors
///
/// When there is none, or several, or the backend fails us.
pub(crate) async fn job(client: &Client, name: &JobName) -> Result<JobId, Failure> {
    let (query, none) = match name {
        JobName::Id(id) => return Ok(*id),
        JobName::Last => (("limit", "1".to_owned()), "there are no jobs yet".to_owned()),
        JobName::Prefix(prefix) => (
            ("id_prefix", prefix.clone()),
            format!("no job has an id that begins with {prefix}; crewcall jobs ls shows the newest"),
        ),
    };
    let limit = ("limit".to_owned(), (NAMED_MAX + 1).to_string());
    let mut query = vec![(query.0.to_owned(), query.1)];
    if matches!(name, JobName::Prefix(_)) {
        query.push(limit);
    }
    let page = client.jobs(&query).await?;
    match page.jobs.as_slice() {
        [] => Err(Failure::Usage(none)),
        [one] => one.id.parse().map_err(|_| {
            Failure::Usage(format!("the backend knows a job as '{}', which is not an id", one.id))
        }),
        several => {
            let lines = several.iter().map(|job| format!("{} {} {}", job.id, job.job_type, job.state.word()));
            Err(ambiguous("jobs", lines.collect()))
        }
    }
}

/// The id of the worker that is meant: by its id, its name, or the beginning of its id. Of those of one name, one that
/// is there is meant rather than those that are lost.
///
/// # Errors
///
/// As above.
pub(crate) async fn worker(client: &Client, name: &str) -> Result<String, Failure> {
    let workers = client.workers().await?.workers;
    choose_worker(&workers, name)
}

fn choose_worker(workers: &[Document<Worker>], name: &str) -> Result<String, Failure> {
    if let Some(worker) = workers.iter().find(|worker| worker.id == name) {
        return Ok(worker.id.clone());
    }
    let lower = name.to_ascii_lowercase();
    let mut meant: Vec<_> = workers.iter().filter(|worker| worker.name == name).collect();
    if meant.is_empty() && name.len() >= PREFIX_CHARACTERS_MIN {
        meant = workers.iter().filter(|worker| worker.id.to_ascii_lowercase().starts_with(&lower)).collect();
    }
    if meant.iter().any(|worker| worker.status != LOST) {
        meant.retain(|worker| worker.status != LOST);
    }
    match meant.as_slice() {
        [] => {
            let hint = "crewcall workers ls shows who is there";
            Err(Failure::Usage(format!("no worker has the name or id '{name}'; {hint}")))
        }
        [one] => Ok(one.id.clone()),
        several => {
            let lines =
                several.iter().map(|worker| format!("{} {} on {}", worker.id, worker.name, worker.host));
            Err(ambiguous("workers", lines.collect()))
        }
    }
}

/// The word of the API for a worker that fell silent.
const LOST: &str = "lost";
/// The shortest beginning of a worker's id.
const PREFIX_CHARACTERS_MIN: usize = 6;

fn ambiguous(what: &str, mut lines: Vec<String>) -> Failure {
    let count = if lines.len() > NAMED_MAX { "several".to_owned() } else { lines.len().to_string() };
    let more = lines.len() > NAMED_MAX;
    lines.truncate(NAMED_MAX);
    if more {
        lines.push("…".to_owned());
    }
    Failure::Usage(format!("{count} {what} may be meant; write more of the id:\n  {}", lines.join("\n  ")))
}

/// An id as short as lists show it, for a sentence.
pub(crate) fn short(id: &str) -> &str {
    id.get(..View::ID_CHARACTERS_MIN).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workers_are_chosen_by_id_name_or_beginning() {
        let workers: Vec<Document<Worker>> = serde_json::from_value(json!([
            {"id": "0192e4a0-0001", "name": "images", "host": "forge", "status": "idle"},
            {"id": "0192e4a0-0002", "name": "images", "host": "forge", "status": "lost"},
            {"id": "0192e4a0-0003", "name": "sums", "host": "forge", "status": "busy"},
            {"id": "0192e4a0-0004", "name": "sums", "host": "anvil", "status": "idle"},
            {"id": "sums-2", "name": "others", "host": "anvil", "status": "lost"},
        ]))
        .unwrap();
        let chosen = |name: &str| choose_worker(&workers, name).map_err(|failure| failure.to_string());
        assert_eq!(chosen("0192e4a0-0002"), Ok("0192e4a0-0002".to_owned()), "lost, but named");
        assert_eq!(chosen("images"), Ok("0192e4a0-0001".to_owned()), "the other one is lost");
        assert_eq!(chosen("0192E4A0-0003"), Ok("0192e4a0-0003".to_owned()));
        assert_eq!(chosen("others"), Ok("sums-2".to_owned()));
        let refusals = ["sums", "0192e4a0", "0192e", "nope"].map(|name| chosen(name).unwrap_err());
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
