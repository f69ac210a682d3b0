//! `crewcall consumers apply|ls|get|pause|resume|seek|replay|rm`: what makes jobs of events.

mod apply;
mod manifest;

use std::io;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    api::{Consumer, Moved, Replay},
    arguments::{ConsumersCommand, ReplayArguments, SeekArguments},
    client::{Client, ClientError, consumers::LogRange},
    commands::{
        actions::actor,
        agreement::{self, Question},
        lists,
        resend::{RESEND_MAX, send_again},
    },
    exit::{Exit, Failure},
    output::{print, print_one},
    tables::events,
};

/// Applies files, lists consumers, shows one, or does something to it.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such consumer.
pub(crate) async fn run(client: &Client, command: &ConsumersCommand) -> Result<Exit, Failure> {
    match command {
        ConsumersCommand::Apply(arguments) => {
            return apply::run(client, &arguments.files, io::stdin()).await;
        }
        ConsumersCommand::Ls { list } => {
            lists::show(list, async || Ok(client.consumers().await?.into())).await?;
        }
        ConsumersCommand::Get { consumer, output } => {
            print_one(&client.consumer(consumer.as_str()).await?, output.format)?;
        }
        ConsumersCommand::Pause { consumer, actor: by } => {
            let paused = client.pause_consumer(consumer.as_str(), actor(by)).await?;
            print(&format!(
                "{consumer} is paused after event {}; jobs that it made go on: crewcall consumers resume {consumer}",
                paused.cursor
            ))?;
        }
        ConsumersCommand::Resume { consumer, from_now, actor: by } => {
            let resumed = client.resume_consumer(consumer.as_str(), *from_now, actor(by)).await?;
            print(&goes_on(&resumed))?;
        }
        ConsumersCommand::Seek(arguments) => seek(client, arguments).await?,
        ConsumersCommand::Replay(arguments) => {
            let made = replay(client, arguments).await?;
            print(&replaying(arguments.consumer.as_str(), &made))?;
        }
        ConsumersCommand::Rm { consumer } => {
            client.delete_consumer(consumer.as_str()).await?;
            print(&format!("{consumer} is deleted; jobs that it made go on"))?;
        }
    }
    Ok(Exit::Done)
}

/// Moves a consumer, after whoever is there has agreed.
async fn seek(client: &Client, arguments: &SeekArguments) -> Result<(), Failure> {
    let name = arguments.consumer.as_str();
    if !arguments.yes {
        let consumer = client.consumer(name).await?;
        let what = would_move(&consumer, arguments);
        agreement::ask(&Question {
            what: &what,
            yes_if: "that is meant",
            undone: "it stays where it was",
            is_agreed: false,
        })?;
    }
    let moved = client.seek_consumer(name, &place(arguments), actor(&arguments.actor)).await?;
    print(&goes_on(&moved))
}

/// Where it goes, as the API reads it.
fn place(arguments: &SeekArguments) -> Value {
    match arguments {
        SeekArguments { oldest: true, .. } => json!("oldest"),
        SeekArguments { after: Some(after), .. } => json!({"after": after}),
        SeekArguments { since: Some(since), .. } => json!({"since": since.to_string()}),
        // One of the four is said: the command line refuses anything else.
        SeekArguments { .. } => json!("now"),
    }
}

/// What a seek would do, as far as it is known before.
fn would_move(consumer: &Consumer, arguments: &SeekArguments) -> String {
    let Consumer { name, cursor, head, .. } = consumer;
    let to = match arguments {
        SeekArguments { now: true, .. } => *head,
        SeekArguments { after: Some(after), .. } => *after,
        SeekArguments { .. } => {
            return format!(
                "this moves {name}, which is after event {cursor}: what it skips makes no jobs, and what it repeats makes \
                 its jobs once more"
            );
        }
    };
    let moved =
        Moved { from: *cursor, to, skipped: to.saturating_sub(*cursor), repeated: cursor.saturating_sub(to) };
    format!("this moves {name} from event {cursor} to event {to}{}", passed(moved))
}

/// `invoices goes on after event 50: it passes over 40 events, and makes no jobs`
fn goes_on(consumer: &Consumer) -> String {
    let Consumer { name, cursor, .. } = consumer;
    let still = match &consumer.pause {
        Some(_) => format!("{name} is paused, and will go on after event {cursor}"),
        None => format!("{name} goes on after event {cursor}"),
    };
    format!("{still}{}", consumer.moved.map(passed).unwrap_or_default())
}

/// What is skipped or repeated on the way, if anything is.
fn passed(moved: Moved) -> String {
    let Moved { skipped, repeated, .. } = moved;
    match (skipped, repeated) {
        (0, 0) => ": it skips and repeats nothing".to_owned(),
        (0, repeated) => format!(": it sees {} again, and makes its jobs once more", events(repeated)),
        (skipped, _) => format!(": it passes over {}, and makes no jobs", events(skipped)),
    }
}

/// Asks for a replay under a key of its own, so that it can be sent again while the backend is away.
async fn replay(client: &Client, arguments: &ReplayArguments) -> Result<Replay, ClientError> {
    let ReplayArguments { consumer, after, to, actor: by } = arguments;
    let (range, key) = (LogRange { after: *after, to: *to }, Uuid::new_v4().to_string());
    let send = || client.replay(consumer.as_str(), range, actor(by), &key);
    let submitted = send_again(send, RESEND_MAX, "asking for it").await?;
    Ok(Replay::clone(&submitted.made))
}

/// `replay 1 of invoices goes through events 11 to 50: crewcall consumers get invoices`
fn replaying(name: &str, replay: &Replay) -> String {
    let Replay { replay, after, to, .. } = replay;
    let first = after.saturating_add(1);
    format!("replay {replay} of {name} goes through events {first} to {to}: crewcall consumers get {name}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        arguments::{Arguments, Command},
        canned_backend::{CannedBackend, answer},
    };

    fn parsed(line: &str) -> ConsumersCommand {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Consumers(command) = arguments.command else { panic!("not consumers") };
        command
    }

    fn seeking(line: &str) -> SeekArguments {
        let ConsumersCommand::Seek(arguments) = parsed(line) else { panic!("not seek") };
        arguments
    }

    fn body(request: &str) -> Value {
        serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    const JSON: &str = "application/json";

    #[test]
    fn a_place_is_what_the_api_reads() {
        let place = |words: &str| place(&seeking(&format!("crewcall consumers seek invoices {words}")));
        assert_eq!(place("--now"), json!("now"));
        assert_eq!(place("--oldest"), json!("oldest"));
        assert_eq!(place("--after 17"), json!({"after": 17}));
        assert_eq!(place("--since 2026-11-20T17:00:00+01:00"), json!({"since": "2026-11-20T16:00:00Z"}));
    }

    #[test]
    fn what_a_move_does_is_said_before_and_after() {
        let consumer: Consumer =
            serde_json::from_value(json!({"name": "invoices", "cursor": 10, "head": 50})).unwrap();
        let would = ["--now", "--after 10", "--after 9", "--oldest", "--since 1h"].map(|words| {
            would_move(&consumer, &seeking(&format!("crewcall consumers seek invoices {words}")))
        });
        let moved = |moved: Value| {
            let consumer = json!({"name": "invoices", "cursor": 50, "moved": moved});
            goes_on(&serde_json::from_value(consumer).unwrap())
        };
        let mut done = vec![
            moved(json!(null)),
            moved(json!({"from": 10, "to": 50, "skipped": 40, "repeated": 0})),
            moved(json!({"from": 60, "to": 50, "skipped": 0, "repeated": 10})),
            moved(json!({"from": 50, "to": 50, "skipped": 0, "repeated": 0})),
        ];
        let paused = json!({"name": "invoices", "cursor": 50, "pause": {"by": "anna"}});
        done.push(goes_on(&serde_json::from_value(paused).unwrap()));
        insta::assert_snapshot!([would.to_vec(), done].concat().join("\n"));
    }

    #[tokio::test]
    async fn whoever_says_yes_moves_it_at_once() {
        let (backend, client) = CannedBackend::listen().await;
        let consumer = answer(("200 OK", JSON, r#"{"name": "invoices", "cursor": 50, "head": 50}"#));
        let command = parsed("crewcall consumers seek invoices --after 50 --yes --by anna --reason slow");
        let (done, heard) = tokio::join!(run(&client, &command), backend.give([consumer]));
        assert_eq!(done.unwrap(), Exit::Done);
        assert!(heard[0].starts_with("POST /v1/consumers/invoices/seek "), "{}", heard[0]);
        assert_eq!(body(&heard[0]), json!({"by": "anna", "reason": "slow", "to": {"after": 50}}));
    }

    #[tokio::test]
    async fn only_whoever_says_so_passes_over_what_waits() {
        for (line, expected) in [
            ("crewcall consumers resume invoices --by anna", json!({"by": "anna"})),
            ("crewcall consumers resume invoices --by anna --from-now", json!({"by": "anna", "from": "now"})),
        ] {
            let (backend, client) = CannedBackend::listen().await;
            let consumer = answer(("200 OK", JSON, r#"{"name": "invoices", "cursor": 50}"#));
            let command = parsed(line);
            let (done, heard) = tokio::join!(run(&client, &command), backend.give([consumer]));
            assert_eq!(done.unwrap(), Exit::Done);
            assert_eq!(body(&heard[0]), expected, "{line}");
        }
    }

    #[tokio::test]
    async fn a_replay_is_asked_for_again_under_the_same_key() {
        let (backend, client) = CannedBackend::listen().await;
        let ConsumersCommand::Replay(arguments) =
            parsed("crewcall consumers replay invoices --after 10 --to 50 --by anna")
        else {
            panic!("not replay")
        };
        let made = answer(("201 Created", JSON, r#"{"replay": 1, "after": 10, "to": 50, "cursor": 10}"#));
        let (replay, heard) = tokio::join!(replay(&client, &arguments), backend.give([String::new(), made]));
        let said = "replay 1 of invoices goes through events 11 to 50: crewcall consumers get invoices";
        assert_eq!(replaying("invoices", &replay.unwrap()), said);
        assert_eq!(body(&heard[1]), json!({"by": "anna", "after": 10, "to": 50}));
        let keys = heard.map(|text| {
            text.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned)).unwrap()
        });
        assert_eq!(keys[0], keys[1]);
        assert!(keys[0].parse::<Uuid>().is_ok(), "{}", keys[0]);
    }
}
