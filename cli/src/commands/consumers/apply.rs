//! `crewcall consumers apply`: has the backend know the consumers as files say. What it refuses is said with its place in the
//! file, and does not keep the others from being applied.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::manifest::{self, Document};
use crate::{
    api::{self, Consumer},
    client::{Client, ClientError},
    commands::manifests::documents::{do_each, if_known, read_all, refusal},
    exit::{Exit, Failure},
    output::print,
};

/// What the settings of a consumer are.
const SETTINGS: [&str; 5] = ["subjects", "if", "then", "in_flight_max", "start"];

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Created,
    Changed,
    Unchanged,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Applies what was named, in its order. All of it is read before: a file that is not there keeps all from being applied.
///
/// # Errors
///
/// When a file cannot be read, or the backend or standard output fails us.
pub(super) async fn run(client: &Client, named: &[PathBuf], mut stdin: impl Read) -> Result<Exit, Failure> {
    let found = read_all(named, &mut stdin, "consumer", manifest::document)?;
    do_each(&found, async |file, document| apply_or_tell(client, file, document).await).await
}

/// Applies a document and says what became of it. Returns what the backend refuses of it, a line for each mistake.
async fn apply_or_tell(client: &Client, file: &Path, document: &Document) -> Result<Vec<String>, Failure> {
    match apply(client, document).await {
        Ok(outcome) => {
            print(&format!("{} {}", document.name, outcome.word()))?;
            Ok(Vec::new())
        }
        Err(error) => refusal(file, (document.name.as_str(), &document.places), error),
    }
}

/// Creates the consumer, or changes it to what the document says.
async fn apply(client: &Client, document: &Document) -> Result<Outcome, ClientError> {
    let name = document.name.as_str();
    let before = if_known(client.consumer(name).await)?;
    let after = client.put_consumer(name, &document.settings).await?;
    Ok(match before {
        None => Outcome::Created,
        Some(before) if is_same(&before, &after) => Outcome::Unchanged,
        Some(_) => Outcome::Changed,
    })
}

/// Compared as the backend shows both: a document may leave out what has a default.
fn is_same(before: &api::Document<Consumer>, after: &api::Document<Consumer>) -> bool {
    SETTINGS.iter().all(|field| before.raw.get(field) == after.raw.get(field))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::{
        api::Problem,
        canned_backend::{CannedBackend, answer},
        commands::manifests::{
            documents,
            files::{mistakes, told},
            yaml::Mistake,
        },
    };

    const JSON: &str = "application/json";
    const PROBLEM: &str = "application/problem+json";
    const UNKNOWN: &str = r#"{"status": 404, "code": "consumer-not-found", "detail": "there is none"}"#;
    const FILE: &str = "name: invoices\nsubjects: [order.paid]\nthen:\n  job:\n    type: Invoice\n";

    fn document(text: &str) -> Document {
        documents::read(text, manifest::document).remove(0).unwrap()
    }

    fn unknown() -> String {
        answer(("404 Not Found", PROBLEM, UNKNOWN))
    }

    /// As the backend shows a consumer.
    fn shown(in_flight_max: u32, cursor: u64) -> String {
        let shown = json!({
            "name": "invoices", "subjects": ["order.paid"], "then": {"job": {"type": "invoice"}}, "in_flight_max": in_flight_max,
            "start": "now", "state": "following", "cursor": cursor
        });
        answer(("200 OK", JSON, &shown.to_string()))
    }

    #[tokio::test]
    async fn what_becomes_of_a_document_is_seen_by_what_was_there() {
        for (before, after, expected) in [
            (unknown(), shown(1, 0), Outcome::Created),
            (shown(1, 0), shown(2, 0), Outcome::Changed),
            (shown(1, 0), shown(1, 7), Outcome::Unchanged),
        ] {
            let (backend, client) = CannedBackend::listen().await;
            let document = document(FILE);
            let (outcome, heard) = tokio::join!(apply(&client, &document), backend.give([before, after]));
            assert_eq!(outcome.unwrap(), expected);
            assert!(heard[0].starts_with("GET /v1/consumers/invoices "), "{}", heard[0]);
            assert!(heard[1].starts_with("PUT /v1/consumers/invoices "), "{}", heard[1]);
            let body = heard[1].split_once("\r\n\r\n").unwrap().1;
            assert_eq!(body, r#"{"subjects":["order.paid"],"then":{"job":{"type":"Invoice"}}}"#);
        }
    }

    #[tokio::test]
    async fn what_is_refused_keeps_nobody_from_being_applied() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("2.json", r#"{"name": "second", "subjects": ["a"]}"#);
        write("1.yaml", "name: first\n---\nsubjects: [nameless]\n");
        write("3.yml", "name: [\n");
        write("4.txt", "name: not.meant\n");
        let refused =
            answer(("422 Unprocessable Content", PROBLEM, r#"{"status": 422, "code": "invalid-consumer"}"#));
        let (backend, client) = CannedBackend::listen().await;
        let named = [directory.path().to_owned(), PathBuf::from("-")];
        let answers = [unknown(), refused, unknown(), shown(1, 0), unknown(), shown(1, 0)];
        let stdin = "name: third\n".as_bytes();
        let (exit, heard) = tokio::join!(run(&client, &named, stdin), backend.give(answers));
        assert_eq!(exit.unwrap(), Exit::Usage);
        let asked = heard.map(|request| request.split(" HTTP").next().unwrap().to_owned());
        let expected = ["first", "second", "third"].map(|name| format!("/v1/consumers/{name}"));
        let expected: Vec<String> =
            expected.iter().flat_map(|path| [format!("GET {path}"), format!("PUT {path}")]).collect();
        assert_eq!(asked.as_slice(), expected);
    }

    #[tokio::test]
    async fn a_backend_that_cannot_be_asked_ends_it() {
        let (backend, client) = CannedBackend::listen().await;
        let named = [PathBuf::from("-")];
        let stdin = "name: first\n---\nname: second\n".as_bytes();
        let (ended, _) = tokio::join!(run(&client, &named, stdin), backend.give([String::new()]));
        assert_eq!(ended.unwrap_err().exit(), Exit::Unreachable);
    }

    #[tokio::test]
    async fn nothing_is_applied_when_a_file_is_missing() {
        let (_backend, client) = CannedBackend::listen().await;
        let directory = tempfile::tempdir().unwrap();
        let named = |name: &str| [PathBuf::from("-"), directory.path().join(name)];
        let ended = run(&client, &named("missing.yaml"), "name: first\n".as_bytes()).await.unwrap_err();
        assert!(ended.to_string().starts_with("cannot read "), "{ended}");
        let ended = run(&client, &named(""), "# nothing\n".as_bytes()).await.unwrap_err();
        assert_eq!(ended.to_string(), "there is no consumer in what was named");
        let long = "#".repeat(5 * 1024 * 1024);
        let ended = run(&client, &named(""), long.as_bytes()).await.unwrap_err();
        assert_eq!(ended.to_string(), "- is longer than 4194304 bytes");
    }

    #[test]
    fn refusals_name_the_place_in_the_file() {
        let document = document(FILE);
        let problem = |problem: serde_json::Value| -> String {
            let problem: Problem = serde_json::from_value(problem).unwrap();
            let told = mistakes(document.name.as_str(), &document.places, &problem);
            told.iter().map(told_of).collect::<Vec<_>>().join("\n")
        };
        fn told_of(mistake: &Mistake) -> String {
            told(Path::new("shop.yaml"), mistake)
        }
        let several = json!({"code": "invalid-consumer", "errors": [
            {"pointer": "/then/job/type", "message": "it has a character other than a-z 0-9 . _ -"},
            {"pointer": "/then/job/parameters/order", "message": "there is no such field"},
            {"pointer": "", "message": "if is not an expression"},
        ]});
        let one = json!({"code": "consumer-start", "detail": "The start cannot be changed."});
        insta::assert_snapshot!([problem(several), problem(one)].join("\n"));
    }
}
