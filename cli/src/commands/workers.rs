//! `crewcall workers ls|get|drain|resume`: who is there.

use std::cmp::Reverse;

use crewcall_backend::domain::pattern;

use crate::{
    api::{Document, Worker},
    arguments::{WorkerSort, WorkersCommand, WorkersListArguments},
    client::Client,
    commands::{lists, resolve},
    exit::{Exit, Failure},
    output::{print, print_one},
};

/// Lists workers, shows one, or tells it what to do.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such worker.
pub(crate) async fn run(client: &Client, command: &WorkersCommand) -> Result<Exit, Failure> {
    match command {
        WorkersCommand::Ls(arguments) => {
            lists::show(&arguments.list, async || {
                let workers = client.workers().await?.workers;
                Ok(choose(workers, arguments).into())
            })
            .await?;
        }
        WorkersCommand::Get { worker, output } => {
            let id = resolve::worker(client, worker).await?;
            print_one(&client.worker(&id).await?, output.format)?;
        }
        WorkersCommand::Drain { worker } => {
            let id = resolve::worker(client, worker).await?;
            client.drain_worker(&id).await?;
            print(&format!("{id} was told to finish what it runs and to take nothing new"))?;
        }
        WorkersCommand::Resume { worker } => {
            let id = resolve::worker(client, worker).await?;
            client.resume_worker(&id).await?;
            print(&format!("{id} was told to take jobs again"))?;
        }
    }
    Ok(Exit::Done)
}

/// Those that were asked for, in the order that was.
fn choose(mut workers: Vec<Document<Worker>>, arguments: &WorkersListArguments) -> Vec<Document<Worker>> {
    let WorkersListArguments { status, job_type, sort_by, .. } = arguments;
    workers.retain(|worker| {
        let status_fits = status.is_empty() || status.iter().any(|status| status.word() == worker.status);
        let type_fits = job_type
            .as_deref()
            .is_none_or(|pattern| worker.types.iter().any(|job_type| pattern::matches(pattern, job_type)));
        status_fits && type_fits
    });
    match sort_by {
        WorkerSort::Name => workers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id))),
        WorkerSort::Host => workers.sort_by(|a, b| a.host.cmp(&b.host)),
        WorkerSort::Status => workers.sort_by(|a, b| a.status.cmp(&b.status)),
        WorkerSort::Busy => workers.sort_by_key(|worker| Reverse(worker.slots_busy)),
        WorkerSort::Seen => workers.sort_by(|a, b| a.last_seen_at.cmp(&b.last_seen_at)),
        WorkerSort::Started => workers.sort_by(|a, b| b.started_at.cmp(&a.started_at)),
    }
    workers
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::arguments::{Arguments, Command};

    #[test]
    fn workers_are_filtered_and_sorted() {
        let workers: Vec<Document<Worker>> = serde_json::from_value(json!([
            {"id": "1", "name": "b", "host": "y", "status": "idle", "types": ["image.crop"], "slots_busy": 0, "started_at": "2026-11-20T16:00:00Z"},
            {"id": "2", "name": "a", "host": "z", "status": "lost", "types": ["file.copy"], "slots_busy": 1, "started_at": "2026-11-20T16:00:01Z"},
            {"id": "3", "name": "a", "host": "x", "status": "busy", "types": ["file.copy", "image.crop"], "slots_busy": 3, "started_at": "2026-11-20T16:00:02Z"},
        ]))
        .unwrap();
        for (line, ids) in [
            ("", "231"),
            ("--status idle,lost", "21"),
            ("--type image.*", "31"),
            ("--type *.copy --status busy", "3"),
            ("--sort-by busy", "321"),
            ("--sort-by host", "312"),
            ("--sort-by started", "321"),
        ] {
            let words = "crewcall workers ls".split(' ').chain(line.split_whitespace());
            let Command::Workers(WorkersCommand::Ls(arguments)) =
                Arguments::try_parse_from(words).unwrap().command
            else {
                panic!("not workers ls")
            };
            let chosen = choose(workers.clone(), &arguments);
            assert_eq!(chosen.iter().map(|worker| worker.id.as_str()).collect::<String>(), ids, "{line}");
        }
    }
}
