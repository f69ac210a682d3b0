//! `crewcall runs ls|get|watch|cancel|retry|approve|reject|items|journal`.

pub(super) mod follow;

use crewcall_proto::RunId;

use crate::{
    api::{BulkOutcome, Document, JournalLine, Run, RunItem},
    arguments::{
        ActorArguments, DecisionArguments, RunName, RunsCancelArguments, RunsCommand, RunsItemsArguments,
        RunsListArguments,
    },
    client::{Client, ClientError},
    commands::{
        actions::actor,
        lists::{self, Listed},
    },
    exit::{Exit, Failure},
    output::{print, print_message, print_one},
};

/// How many runs are asked for at once: the most that the API gives.
const PAGE_RUNS_MAX: usize = 500;

/// Lists runs, shows one, or does something to some.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such run.
pub(crate) async fn run(client: &Client, command: &RunsCommand) -> Result<Exit, Failure> {
    match command {
        RunsCommand::Ls(arguments) => {
            lists::show(&arguments.list, async || read(client, arguments).await).await?;
        }
        RunsCommand::Get { run, output } => {
            print_one(&client.run(meant(client, *run).await?).await?, output.format)?;
        }
        RunsCommand::Watch { run } => return follow::watch(client, meant(client, *run).await?).await,
        RunsCommand::Cancel(arguments) => return cancel(client, arguments).await,
        RunsCommand::Retry { run, from, actor: by } => {
            let id = meant(client, *run).await?;
            let run = client.retry_run(id, from.as_deref(), actor(by)).await?;
            print(&format!("run {id} begins again and is {}: crewcall runs watch {id}", run.state.word()))?;
        }
        RunsCommand::Approve(arguments) => decide(client, arguments, true).await?,
        RunsCommand::Reject(arguments) => decide(client, arguments, false).await?,
        RunsCommand::Items(arguments) => {
            let id = meant(client, arguments.run).await?;
            lists::show(&arguments.list, async || items(client, id, arguments).await).await?;
        }
        RunsCommand::Journal { run, list } => {
            let id = meant(client, *run).await?;
            lists::show(list, async || Ok(journal(client, id).await?.into())).await?;
        }
    }
    Ok(Exit::Done)
}

/// The run that is meant.
async fn meant(client: &Client, name: RunName) -> Result<RunId, Failure> {
    let RunName::Id(id) = name else {
        let page = client.runs(&[("limit".to_owned(), "1".to_owned())]).await?;
        let Some(newest) = page.runs.first() else {
            return Err(Failure::Usage("there are no runs yet".to_owned()));
        };
        return newest.id.parse().map_err(|_| {
            Failure::Usage(format!("the backend knows a run as '{}', which is not an id", newest.id))
        });
    };
    Ok(id)
}

/// Reads as many pages as it takes.
async fn read(client: &Client, arguments: &RunsListArguments) -> Result<Listed<Run>, ClientError> {
    let limit = arguments.limit as usize;
    let mut cursor = arguments.cursor.clone();
    let mut items: Vec<Document<Run>> = Vec::new();
    loop {
        let mut query = arguments.filter.query();
        query.push(("limit".to_owned(), PAGE_RUNS_MAX.min(limit - items.len()).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
        let page = client.runs(&query).await?;
        // An empty page ends it too: a backend that always has a next cursor must not keep us here.
        let is_last = page.runs.is_empty();
        items.extend(page.runs);
        cursor = page.next_cursor;
        if is_last || cursor.is_none() || items.len() >= limit {
            let next = cursor.map(|cursor| format!("--cursor {cursor}, or a larger --limit"));
            return Ok(Listed { items, next });
        }
    }
}

/// Reads as many pages as it takes: one with large results has fewer items than were asked for.
async fn items(
    client: &Client,
    id: RunId,
    arguments: &RunsItemsArguments,
) -> Result<Listed<RunItem>, ClientError> {
    let RunsItemsArguments { step, undo, limit, .. } = arguments;
    let (limit, mut after) = (*limit as usize, arguments.after);
    let mut items: Vec<Document<RunItem>> = Vec::new();
    loop {
        let mut query = vec![("limit", (limit - items.len()).to_string())];
        query.push(("role", if *undo { "undo" } else { "work" }.to_owned()));
        query.extend(after.map(|after| ("after", after.to_string())));
        let page = client.run_items(id, step, &query).await?;
        let is_last = page.items.is_empty();
        items.extend(page.items);
        after = page.next_after;
        if is_last || after.is_none() || items.len() >= limit {
            return Ok(Listed { items, next: after.map(|after| format!("--after {after}")) });
        }
    }
}

async fn journal(client: &Client, id: RunId) -> Result<Vec<Document<JournalLine>>, ClientError> {
    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        let page = client.run_journal(id, after).await?;
        let is_last = page.lines.is_empty();
        lines.extend(page.lines);
        match page.next_after {
            Some(next) if !is_last => after = next,
            _ => return Ok(lines),
        }
    }
}

async fn cancel(client: &Client, arguments: &RunsCancelArguments) -> Result<Exit, Failure> {
    let RunsCancelArguments { runs, filter, all, dry_run, force, actor: by } = arguments;
    if !runs.is_empty() {
        return cancel_each(client, runs, *force, by).await;
    }
    let filter = filter.body();
    if filter.is_empty() && !all {
        return Err(Failure::Usage(
            "which runs? Name them by their ids, choose them by --workflow, --state or --label, or say --all"
                .to_owned(),
        ));
    }
    let mut sum = BulkOutcome::default();
    loop {
        let step = client.cancel_runs(&filter, (*force, *dry_run), actor(by)).await?;
        sum.matched += step.matched;
        sum.changed += step.changed;
        sum.more = step.more;
        // A step without a change would be followed by the same step: its runs stop already.
        if !step.more || step.changed == 0 {
            break;
        }
    }
    print(&cancelled(sum, *dry_run))?;
    Ok(Exit::Done)
}

/// One after the other. A run for which it cannot be does not keep the others from it.
async fn cancel_each(
    client: &Client,
    names: &[RunName],
    force: bool,
    by: &ActorArguments,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for name in names {
        let id = meant(client, *name).await?;
        match client.cancel_run(id, force, actor(by)).await {
            Ok(run) if run.state.is_terminal() => print(&format!("{id} is {}", run.state.word()))?,
            Ok(run) => print(&format!("{id} is {}: what runs of it was told to stop", run.state.word()))?,
            Err(ClientError::Problem(problem)) if matches!(problem.status, 404 | 409) => {
                print_message(&format!("error: {id}: {problem}"));
                exit = Exit::Usage;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(exit)
}

/// `2 runs are cancelled, or stop`
fn cancelled(outcome: BulkOutcome, dry_run: bool) -> String {
    let count = if dry_run { outcome.matched } else { outcome.changed };
    let runs = if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
    let more = if outcome.more { ", or more" } else { "" };
    match (dry_run, count) {
        (true, _) => format!("{runs}{more} would be cancelled"),
        (false, 1) => format!("{runs}{more} is cancelled, or stops"),
        (false, _) => format!("{runs}{more} are cancelled, or stop"),
    }
}

async fn decide(client: &Client, arguments: &DecisionArguments, approved: bool) -> Result<(), Failure> {
    let DecisionArguments { run, step, by, comment } = arguments;
    let id = meant(client, *run).await?;
    let said = ActorArguments { by: by.clone(), reason: comment.clone() };
    client.decide(id, step, approved, actor(&said)).await?;
    let word = if approved { "approved" } else { "rejected" };
    print(&format!("step {step} of run {id} is {word}: crewcall runs watch {id}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        arguments::{Arguments, Command},
        canned_backend::{CannedBackend, answer},
    };

    const ID: &str = "0192e4a0-0000-7000-8000-000000000001";
    const JSON: &str = "application/json";

    fn parsed(line: &str) -> RunsCommand {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Runs(command) = arguments.command else { panic!("not runs") };
        command
    }

    fn body(request: &str) -> Value {
        serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn run_in(state: &str) -> String {
        let run = json!({"id": ID, "workflow": "a", "state": state});
        answer(("200 OK", JSON, &run.to_string()))
    }

    #[tokio::test]
    async fn a_decision_has_a_comment() {
        let (backend, client) = CannedBackend::listen().await;
        let command = parsed(&format!("crewcall runs reject {ID} check --by anna --comment dark"));
        let (done, heard) = tokio::join!(run(&client, &command), backend.give([run_in("running")]));
        assert_eq!(done.unwrap(), Exit::Done);
        assert!(heard[0].starts_with(&format!("POST /v1/runs/{ID}/steps/check/reject ")), "{}", heard[0]);
        assert_eq!(body(&heard[0]), json!({"by": "anna", "comment": "dark"}));
    }

    #[tokio::test]
    async fn runs_are_cancelled_by_a_filter_or_by_name() {
        let (backend, client) = CannedBackend::listen().await;
        let command = parsed("crewcall runs cancel --workflow a --label k=v --by anna --dry-run");
        let outcome = answer(("200 OK", JSON, r#"{"matched": 2, "changed": 0, "more": false}"#));
        let (done, heard) = tokio::join!(run(&client, &command), backend.give([outcome]));
        assert_eq!(done.unwrap(), Exit::Done);
        let expected = json!({
            "by": "anna", "filter": {"workflow": "a", "labels": {"k": "v"}}, "force": false, "dry_run": true
        });
        assert_eq!(body(&heard[0]), expected);
        let (backend, client) = CannedBackend::listen().await;
        let command = parsed("crewcall runs cancel @last --by anna --force");
        let newest = json!({"runs": [{"id": ID, "workflow": "a", "state": "running"}]});
        let answers = [answer(("200 OK", JSON, &newest.to_string())), run_in("stopping")];
        let (done, heard) = tokio::join!(run(&client, &command), backend.give(answers));
        assert_eq!(done.unwrap(), Exit::Done);
        assert_eq!(body(&heard[1]), json!({"by": "anna", "force": true}));
        let command = parsed("crewcall runs cancel --by anna");
        assert_eq!(run(&client, &command).await.unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn what_was_cancelled_is_counted() {
        let outcome = |matched, changed, more| BulkOutcome { matched, changed, more };
        assert_eq!(cancelled(outcome(2, 0, true), true), "2 runs, or more would be cancelled");
        assert_eq!(cancelled(outcome(1, 1, false), false), "1 run is cancelled, or stops");
        assert_eq!(cancelled(outcome(2, 2, false), false), "2 runs are cancelled, or stop");
    }
}
