//! `crewcall webhooks apply|ls|get|rotate|pause|resume|rm`: where events are delivered to.

mod apply;
mod manifest;

use std::io;

use crate::{
    api::{Moved, Webhook},
    arguments::WebhooksCommand,
    client::Client,
    commands::{actions::actor, lists, secrets::once},
    exit::{Exit, Failure},
    output::{print, print_one},
    tables::events,
    text::time,
};

/// Applies files, lists webhooks, shows one, or does something to it.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such webhook.
pub(crate) async fn run(client: &Client, command: &WebhooksCommand) -> Result<Exit, Failure> {
    match command {
        WebhooksCommand::Apply(arguments) => return apply::run(client, &arguments.files, io::stdin()).await,
        WebhooksCommand::Ls { list } => {
            lists::show(list, async || Ok(client.webhooks().await?.into())).await?;
        }
        WebhooksCommand::Get { webhook, output } => {
            print_one(&client.webhook(webhook.as_str()).await?, output.format)?;
        }
        WebhooksCommand::Rotate { webhook, actor: by } => {
            let webhook = client.rotate_webhook(webhook.as_str(), actor(by)).await?;
            print(&rotated(&webhook))?;
        }
        WebhooksCommand::Pause { webhook, actor: by } => {
            let webhook = client.pause_webhook(webhook.as_str(), actor(by)).await?;
            print(&paused(&webhook))?;
        }
        WebhooksCommand::Resume { webhook, from_now, actor: by } => {
            let webhook = client.resume_webhook(webhook.as_str(), *from_now, actor(by)).await?;
            print(&goes_on(&webhook))?;
        }
        WebhooksCommand::Rm { webhook } => {
            client.delete_webhook(webhook.as_str()).await?;
            print(&format!("{webhook} is deleted; deliveries that are not done fail at their next try"))?;
        }
    }
    Ok(Exit::Done)
}

/// Until when both secrets sign, and the new one, which nobody is told again.
fn rotated(webhook: &Webhook) -> String {
    let Webhook { name, retiring, secret, .. } = webhook;
    let until = time(retiring.as_ref().and_then(|retiring| retiring.until.as_deref()));
    let secret = once(name, secret.as_deref().unwrap_or_default());
    format!("{name} has a new secret; the one before signs as well until {until} UTC\n{secret}")
}

/// From where on events wait, and by which command they go on.
fn paused(webhook: &Webhook) -> String {
    let Webhook { name, cursor, .. } = webhook;
    format!(
        "{name} is paused after event {cursor}; deliveries that are to be tried again still are: crewcall webhooks resume {name}"
    )
}

/// `shop goes on after event 50: it passes over 40 events, which are not delivered`
fn goes_on(webhook: &Webhook) -> String {
    let Webhook { name, cursor, moved, .. } = webhook;
    let passed = match moved {
        None => String::new(),
        Some(Moved { skipped: 0, .. }) => ": there was nothing to pass over".to_owned(),
        Some(Moved { skipped: 1, .. }) => ": it passes over 1 event, which is not delivered".to_owned(),
        Some(Moved { skipped, .. }) => {
            format!(": it passes over {}, which are not delivered", events(*skipped))
        }
    };
    format!("{name} goes on after event {cursor}{passed}")
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

    const SHOWN: &str = r#"{"name": "shop", "cursor": 50, "secret": "whsec_made"}"#;

    fn parsed(line: &str) -> WebhooksCommand {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Webhooks(command) = arguments.command else { panic!("not webhooks") };
        command
    }

    #[tokio::test]
    async fn each_command_is_one_request() {
        for (words, asked, body) in [
            ("ls -o json", "GET /v1/webhooks", Value::Null),
            ("get shop -o name", "GET /v1/webhooks/shop", Value::Null),
            (
                "rotate shop --by anna --reason leaked",
                "POST /v1/webhooks/shop/rotate",
                json!({"by": "anna", "reason": "leaked"}),
            ),
            (
                "pause shop --by anna --reason moved",
                "POST /v1/webhooks/shop/pause",
                json!({"by": "anna", "reason": "moved"}),
            ),
            ("resume shop --by anna", "POST /v1/webhooks/shop/resume", json!({"by": "anna"})),
            (
                "resume shop --by anna --from-now",
                "POST /v1/webhooks/shop/resume",
                json!({"by": "anna", "from": "now"}),
            ),
            ("rm shop", "DELETE /v1/webhooks/shop", Value::Null),
        ] {
            let (backend, client) = CannedBackend::listen().await;
            let list = format!(r#"{{"webhooks": [{SHOWN}]}}"#);
            let shown = if words.starts_with("ls") { &list } else { SHOWN };
            let given = backend.give([answer(("200 OK", "application/json", shown))]);
            let command = parsed(&format!("crewcall webhooks {words}"));
            let (done, heard) = tokio::join!(run(&client, &command), given);
            assert_eq!(done.unwrap(), Exit::Done, "{words}");
            let (head, sent) = heard[0].split_once("\r\n\r\n").unwrap();
            assert_eq!(head.split(" HTTP").next(), Some(asked), "{words}");
            let sent = if sent.is_empty() { Value::Null } else { serde_json::from_str(sent).unwrap() };
            assert_eq!(sent, body, "{words}");
        }
    }

    #[tokio::test]
    async fn one_that_is_not_there_is_said_with_the_command_that_lists_them() {
        let (backend, client) = CannedBackend::listen().await;
        let problem = json!({
            "status": 404, "code": "webhook-not-found",
            "detail": "there is no webhook \"shop\"; /v1/webhooks lists those that there are",
        });
        let given =
            backend.give([answer(("404 Not Found", "application/problem+json", &problem.to_string()))]);
        let command = parsed("crewcall webhooks pause shop --by anna");
        let (done, _) = tokio::join!(run(&client, &command), given);
        let failure = done.unwrap_err();
        let expected = "there is no webhook \"shop\"; crewcall webhooks ls shows those that there are [webhook-not-found]";
        assert_eq!((failure.to_string().as_str(), failure.exit()), (expected, Exit::Usage));
    }

    #[test]
    fn what_was_done_is_a_sentence() {
        let webhook = |fields: Value| {
            let mut shown = json!({"name": "shop", "cursor": 50});
            shown.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            serde_json::from_value::<Webhook>(shown).unwrap()
        };
        let moved = |skipped: u64| {
            let moved = json!({"from": 50 - skipped, "to": 50, "skipped": skipped, "repeated": 0});
            goes_on(&webhook(json!({ "moved": moved })))
        };
        let retiring = json!({"fingerprint": "0d1e2f30", "until": "2026-11-21T16:00:00.000Z"});
        let sentences = [
            rotated(&webhook(json!({"secret": "whsec_made", "retiring": retiring}))),
            paused(&webhook(json!({}))),
            goes_on(&webhook(json!({}))),
            moved(40),
            moved(1),
            moved(0),
        ];
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
