//! `crewcall workflows apply|check|ls|get|versions|graph|trigger|pause|resume|rm`.

mod apply;
mod trigger;

use std::io;

use crate::{
    api::{Document, Workflow, WorkflowVersion},
    arguments::WorkflowsCommand,
    client::{Client, ClientError},
    commands::{actions::actor, lists},
    exit::{Exit, Failure},
    output::{print, print_json, print_one},
    tables::events,
};

/// Applies files, lists workflows, shows one, or does something to it.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such workflow.
pub(crate) async fn run(client: &Client, command: &WorkflowsCommand) -> Result<Exit, Failure> {
    match command {
        WorkflowsCommand::Apply(arguments) => return apply::run(client, &arguments.files, io::stdin()).await,
        WorkflowsCommand::Check(arguments) => {
            return apply::check(client, &arguments.files, io::stdin()).await;
        }
        WorkflowsCommand::Trigger(arguments) => return trigger::run(client, arguments).await,
        WorkflowsCommand::Ls { list } => {
            lists::show(list, async || Ok(client.workflows().await?.into())).await?;
        }
        WorkflowsCommand::Get { workflow, output } => {
            print_one(&client.workflow(workflow.as_str()).await?, output.format)?;
        }
        WorkflowsCommand::Versions { workflow, number: Some(number), .. } => {
            print_json(&client.workflow_version(workflow.as_str(), *number).await?.document)?;
        }
        WorkflowsCommand::Versions { workflow, number: None, list } => {
            lists::show(list, async || Ok(versions(client, workflow.as_str()).await?.into())).await?;
        }
        WorkflowsCommand::Graph { workflow } => {
            print(&client.workflow_diagram(workflow.as_str()).await?)?;
        }
        WorkflowsCommand::Pause { workflow, runs, actor: by } => {
            client.pause_workflow(workflow.as_str(), *runs, actor(by)).await?;
            let open = if *runs { "nothing more of its runs begins" } else { "runs that began go on" };
            print(&format!("{workflow} is paused; {open}: crewcall workflows resume {workflow}"))?;
        }
        WorkflowsCommand::Resume { workflow, from_now, actor: by } => {
            let resumed = client.resume_workflow(workflow.as_str(), *from_now, actor(by)).await?;
            print(&goes_on(&resumed))?;
        }
        WorkflowsCommand::Rm { workflow } => {
            client.delete_workflow(workflow.as_str()).await?;
            print(&format!("{workflow} is deleted; its runs that are over stay for as long as others"))?;
        }
    }
    Ok(Exit::Done)
}

/// All versions that are kept, read page by page.
async fn versions(client: &Client, name: &str) -> Result<Vec<Document<WorkflowVersion>>, ClientError> {
    let mut versions = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = client.workflow_versions(name, cursor.as_deref()).await?;
        // An empty page ends it too: a backend that always has a next cursor must not keep us here.
        let is_last = page.versions.is_empty() || page.next_cursor.is_none();
        versions.extend(page.versions);
        cursor = page.next_cursor;
        if is_last {
            return Ok(versions);
        }
    }
}

/// `asset.publish and its runs go on; it passes over 4 events, which start no runs`
fn goes_on(workflow: &Workflow) -> String {
    let skipped = workflow.moved.map_or(0, |moved| moved.skipped);
    let passed = match skipped {
        0 => String::new(),
        skipped => format!("; it passes over {}, and starts no runs of that", events(skipped)),
    };
    format!("{} and its runs go on{passed}", workflow.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_resume_passes_over_is_said() {
        let said = |moved: serde_json::Value| {
            let workflow = json!({"name": "a", "version": 1, "moved": moved});
            goes_on(&serde_json::from_value(workflow).unwrap())
        };
        assert_eq!(said(json!(null)), "a and its runs go on");
        let moved = json!({"from": 1, "to": 5, "skipped": 4, "repeated": 0});
        assert_eq!(said(moved), "a and its runs go on; it passes over 4 events, and starts no runs of that");
    }
}
