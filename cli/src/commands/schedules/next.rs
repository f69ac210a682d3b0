//! `crewcall schedules next`: the next ticks of a schedule, or those that a file would have.

use std::{io::Read, path::Path};

use super::manifest;
use crate::{
    api::{Document, UpcomingTick},
    arguments::NextArguments,
    client::Client,
    commands::manifests::documents::{do_each, read_all, refusal},
    exit::{Exit, Failure},
    output::{Format, print_list, print_message},
};

/// Shows the ticks of each schedule that was named, below what its times mean in words.
///
/// # Errors
///
/// When a file cannot be read, there is no such schedule, or the backend or standard output fails us.
pub(super) async fn run(
    client: &Client,
    arguments: &NextArguments,
    mut stdin: impl Read,
) -> Result<Exit, Failure> {
    if let Some(name) = &arguments.schedule {
        let schedule = client.schedule(name.as_str()).await?;
        // Of one that does not tick as it would, the reason says more.
        let why = if schedule.state == "active" { String::new() } else { format!("; {}", schedule.reason) };
        show(arguments, &format!("{name}: {}{why}", schedule.words), &schedule.next)?;
        return Ok(Exit::Done);
    }
    let found = read_all(&arguments.files, &mut stdin, "schedule", manifest::document)?;
    let preview = async |file: &Path, document: &manifest::Document| match client
        .preview_schedule(&document.json)
        .await
    {
        Ok(preview) => {
            show(arguments, &format!("{}: {}", document.name, preview.words), &preview.next)?;
            Ok(Vec::new())
        }
        Err(error) => refusal(file, (document.name.as_str(), &document.places), error),
    };
    do_each(&found, preview).await
}

fn show(arguments: &NextArguments, title: &str, ticks: &[Document<UpcomingTick>]) -> Result<(), Failure> {
    let format = arguments.output.format;
    if matches!(format, Format::Table | Format::Wide) {
        print_message(title);
    }
    let shown = ticks.len().min(arguments.number.into());
    print_list(&ticks[..shown], format, !arguments.no_headers)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        arguments::{Arguments, Command, SchedulesCommand},
        canned_backend::{CannedBackend, answer},
    };

    fn parsed(line: &str) -> NextArguments {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Schedules(SchedulesCommand::Next(arguments)) = arguments.command else {
            panic!("not next")
        };
        arguments
    }

    #[tokio::test]
    async fn a_file_is_only_looked_at() {
        let (backend, client) = CannedBackend::listen().await;
        let shown = r#"{"words": "every minute", "next": [{"tick": "2026-11-20T16:07:00.000Z"}]}"#;
        let refused = r#"{"status": 422, "code": "invalid-schedule", "detail": "it is none"}"#;
        let answers = [
            answer(("200 OK", "application/json", shown)),
            answer(("422 Unprocessable Content", "application/problem+json", refused)),
        ];
        let text = "name: a\ncron: '* * * * *'\n---\nname: b\n".as_bytes();
        let arguments = parsed("crewcall schedules next -f -");
        let (exit, heard) = tokio::join!(run(&client, &arguments, text), backend.give(answers));
        assert_eq!(exit.unwrap(), Exit::Usage);
        for request in heard {
            assert!(request.starts_with("POST /v1/schedules/preview "), "{request}");
        }
    }

    #[tokio::test]
    async fn a_schedule_that_there_is_is_read() {
        let (backend, client) = CannedBackend::listen().await;
        let shown = r#"{"name": "a", "state": "active", "next": []}"#;
        let arguments = parsed("crewcall schedules next -n 3 a");
        let answers = [answer(("200 OK", "application/json", shown))];
        let (exit, heard) = tokio::join!(run(&client, &arguments, "".as_bytes()), backend.give(answers));
        assert_eq!((exit.unwrap(), arguments.number), (Exit::Done, 3));
        assert!(heard[0].starts_with("GET /v1/schedules/a "), "{}", heard[0]);
    }
}
