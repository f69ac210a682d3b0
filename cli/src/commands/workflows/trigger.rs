//! `crewcall workflows trigger`: starts a run and, when asked to, stays until it ends.

use std::{io, time::Duration};

use serde_json::{Map, Value, json};
use tokio::signal;
use uuid::Uuid;

use crate::{
    api::{Document, Run, RunState},
    arguments::{ActorArguments, TriggerArguments},
    client::{Client, ClientError, Submitted},
    commands::{
        actions::actor,
        resend::{RESEND_MAX, send_again},
        runs::follow::{completed_line, conclude, follow_to_end},
        submit::{labels, said},
    },
    exit::{Exit, Failure},
    output::{Format, print_json, print_message, print_one},
    parameters::{ParameterSource, Wanted},
};

/// Starts the run, and waits for it with `--wait`.
///
/// # Errors
///
/// When the data or the request are wrong, the backend fails us, or the run does not end well.
pub(super) async fn run(client: &Client, arguments: &TriggerArguments) -> Result<Exit, Failure> {
    let TriggerArguments { fields, data, output, .. } = arguments;
    let source = ParameterSource { words: fields, base: data.as_deref(), what: Wanted::Data };
    let body = body(arguments, source.read(io::stdin())?)?;
    let run = start(client, arguments, &body).await?;
    let Some(wait) = arguments.wait else {
        print_one(&run, output.unwrap_or(Format::Name))?;
        return Ok(Exit::Done);
    };
    let run = tokio::select! {
        ended = follow_to_end(client, &run, wait.map(Duration::from_secs)) => ended?,
        _ = signal::ctrl_c() => {
            let id = &run.id;
            let goes_on = format!("the run goes on; follow it: crewcall runs watch {id}; or stop it: crewcall runs cancel {id}");
            return Err(Failure::Interrupted(goes_on));
        }
    };
    match output {
        Some(format) => print_one(&run, *format)?,
        None if run.state == RunState::Completed && !run.outputs.is_null() => print_json(&run.outputs)?,
        None => {}
    }
    if run.state == RunState::Completed {
        print_message(&completed_line(&run));
    }
    conclude(&run)
}

fn body(arguments: &TriggerArguments, data: Map<String, Value>) -> Result<Value, Failure> {
    let labels = labels(&arguments.labels)?;
    let by = ActorArguments { by: arguments.by.clone(), reason: None };
    Ok(Value::Object(said([
        ("data", Some(Value::Object(data))),
        ("labels", (!labels.is_empty()).then_some(Value::Object(labels))),
        ("by", actor(&by).by.map(|by| json!(by))),
    ])))
}

/// Starts the run. Under a key it is asked for again while the backend is away; whoever waits for the end of the run gets a key,
/// since a restart of the backend should not end their wait.
async fn start(
    client: &Client,
    arguments: &TriggerArguments,
    body: &Value,
) -> Result<Document<Run>, ClientError> {
    let TriggerArguments { workflow, idempotency_key: asked, wait, .. } = arguments;
    let name = workflow.as_str();
    let Some(key) = asked.clone().or_else(|| wait.map(|_| Uuid::now_v7().to_string())) else {
        return Ok(client.trigger(name, body, None).await?.made);
    };
    let resend_for = wait.flatten().map_or(RESEND_MAX, |wait| RESEND_MAX.min(Duration::from_secs(wait)));
    let send = || client.trigger(name, body, Some(&key));
    let Submitted { made, replayed } = send_again(send, resend_for, "starting it").await?;
    if replayed && asked.is_some() {
        print_message("this key was used before, for the same data: this is the run that it started");
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        arguments::{Arguments, Command, WorkflowsCommand},
        canned_backend::{CannedBackend, answer},
    };

    fn parsed(line: &str) -> TriggerArguments {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Workflows(WorkflowsCommand::Trigger(arguments)) = arguments.command else {
            panic!("not trigger")
        };
        arguments
    }

    #[test]
    fn only_what_was_said_is_sent() {
        let line =
            "crewcall workflows trigger asset.publish source=a.mov width:=640 --label shop=x --by anna";
        let arguments = parsed(line);
        let source = ParameterSource { words: &arguments.fields, base: None, what: Wanted::Data };
        let body = body(&arguments, source.read(io::empty()).unwrap()).unwrap();
        let expected =
            json!({"data": {"source": "a.mov", "width": 640}, "labels": {"shop": "x"}, "by": "anna"});
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn whoever_waits_asks_again_under_the_same_key() {
        let (backend, client) = CannedBackend::listen().await;
        let arguments = parsed("crewcall workflows trigger asset.publish --wait");
        let created = r#"{"id": "r", "workflow": "asset.publish", "state": "queued"}"#;
        let answers = [String::new(), answer(("201 Created", "application/json", created))];
        let body = json!({"data": {}});
        let (run, heard) = tokio::join!(start(&client, &arguments, &body), backend.give(answers));
        assert_eq!(run.unwrap().id, "r");
        let keys = heard.map(|text| {
            text.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned)).unwrap()
        });
        assert_eq!(keys[0], keys[1]);
    }
}
