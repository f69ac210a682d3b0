//! `crewcall schedules apply`: has the backend know the schedules as files say. What it refuses is said with its place in the
//! file, and does not keep the others from being applied.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::manifest::{self, Document};
use crate::{
    client::{Client, ClientError},
    commands::manifests::documents::{do_each, if_known, outcome, read_all, refusal},
    exit::{Exit, Failure},
    output::print,
};

/// Applies what was named, in its order. All of it is read before: a file that is not there keeps all from being applied.
///
/// # Errors
///
/// When a file cannot be read, or the backend or standard output fails us.
pub(super) async fn run(client: &Client, named: &[PathBuf], mut stdin: impl Read) -> Result<Exit, Failure> {
    let found = read_all(named, &mut stdin, "schedule", manifest::document)?;
    do_each(&found, async |file, document| apply_or_tell(client, file, document).await).await
}

/// Applies a document and says what became of it. Returns what the backend refuses of it, a line for each mistake.
async fn apply_or_tell(client: &Client, file: &Path, document: &Document) -> Result<Vec<String>, Failure> {
    match apply(client, document).await {
        Ok(outcome) => {
            print(&format!("{} {outcome}", document.name))?;
            Ok(Vec::new())
        }
        Err(error) => refusal(file, (document.name.as_str(), &document.places), error),
    }
}

/// Makes the schedule, or changes it to what the document says. Returns which of both it was, in a word.
async fn apply(client: &Client, document: &Document) -> Result<&'static str, ClientError> {
    let name = document.name.as_str();
    let before = if_known(client.schedule(name).await)?.map(|known| known.revision);
    let after = client.put_schedule(name, &document.json).await?;
    Ok(outcome(before, after.revision))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::canned_backend::{CannedBackend, answer};

    const JSON: &str = "application/json";
    const PROBLEM: &str = "application/problem+json";
    const UNKNOWN: &str = r#"{"status": 404, "code": "schedule-not-found", "detail": "there is none"}"#;
    const FILE: &str =
        "name: report.nightly\ncron: 30 2 * * *\ntimezone: Europe/Athen\njob:\n  type: report.render\n";

    fn document(text: &str) -> Document {
        let named = [PathBuf::from("-")];
        let mut found = read_all(&named, &mut text.as_bytes(), "schedule", manifest::document).unwrap();
        found.remove(0).1.unwrap()
    }

    fn unknown() -> String {
        answer(("404 Not Found", PROBLEM, UNKNOWN))
    }

    fn shown(revision: u64) -> String {
        let shown = json!({"name": "report.nightly", "revision": revision});
        answer(("200 OK", JSON, &shown.to_string()))
    }

    #[tokio::test]
    async fn what_becomes_of_a_document_is_seen_by_its_revision() {
        for (before, after, expected) in [
            (unknown(), shown(1), "created"),
            (shown(2), shown(3), "changed"),
            (shown(3), shown(3), "unchanged"),
        ] {
            let (backend, client) = CannedBackend::listen().await;
            let document = document(FILE);
            let (outcome, heard) = tokio::join!(apply(&client, &document), backend.give([before, after]));
            assert_eq!(outcome.unwrap(), expected);
            assert!(heard[1].starts_with("PUT /v1/schedules/report.nightly "), "{}", heard[1]);
            let body = heard[1].split_once("\r\n\r\n").unwrap().1;
            let expected = r#"{"name":"report.nightly","cron":"30 2 * * *","timezone":"Europe/Athen","job":{"type":"report.render"}}"#;
            assert_eq!(body, expected);
        }
    }

    #[tokio::test]
    async fn what_is_refused_keeps_nobody_from_being_applied() {
        let (backend, client) = CannedBackend::listen().await;
        let refused =
            answer(("422 Unprocessable Content", PROBLEM, r#"{"status": 422, "code": "invalid-schedule"}"#));
        let text = "name: a\n---\ncron: x\n---\nname: b\n".as_bytes();
        let answers = [unknown(), refused, unknown(), shown(1)];
        let named = [PathBuf::from("-")];
        let (exit, heard) = tokio::join!(run(&client, &named, text), backend.give(answers));
        assert_eq!(exit.unwrap(), Exit::Usage);
        let asked = heard.map(|request| request.split(" HTTP").next().unwrap().to_owned());
        let expected =
            ["GET /v1/schedules/a", "PUT /v1/schedules/a", "GET /v1/schedules/b", "PUT /v1/schedules/b"];
        assert_eq!(asked, expected);
    }

    #[tokio::test]
    async fn refusals_name_the_place_in_the_file() {
        let (backend, client) = CannedBackend::listen().await;
        let problem = json!({"status": 422, "code": "invalid-schedule", "errors": [
            {"pointer": "/timezone", "message": "there is no time zone \"Europe/Athen\": did you mean \"Europe/Athens\"?"},
            {"pointer": "/job/parameters/day", "message": "there is no such field"},
            {"pointer": "", "message": "a schedule has either cron or every_seconds"},
        ]});
        let refused = answer(("422 Unprocessable Content", PROBLEM, &problem.to_string()));
        let document = document(FILE);
        let file = Path::new("schedules.yaml");
        let (told, _) =
            tokio::join!(apply_or_tell(&client, file, &document), backend.give([unknown(), refused]));
        insta::assert_snapshot!(told.unwrap().join("\n"));
    }
}
