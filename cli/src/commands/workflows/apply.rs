//! `crewcall workflows apply|check`: has the backend know the workflows as files say, or only look at them. What it refuses is
//! said with its place in the file, and does not keep the others from being applied.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    api::Mistake as Remark,
    arguments::WorkflowName,
    client::{Client, ClientError},
    commands::manifests::{
        documents::{self, do_each, if_known, read_all, refusal},
        files::told,
        yaml::{Mistake, Places, Written},
    },
    exit::{Exit, Failure},
    output::{print, print_message},
};

/// One document of a file.
#[derive(Debug)]
struct Document {
    name: WorkflowName,
    /// All of it, as the API reads it.
    json: Value,
    places: Places,
}

/// What is to be done with documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Apply,
    Check,
}

/// What became of a document: a line for whoever asked, and what is to be looked at.
struct Outcome {
    line: String,
    warnings: Vec<Mistake>,
}

/// Applies what was named, in its order. All of it is read before: a file that is not there keeps all from being applied.
///
/// # Errors
///
/// When a file cannot be read, or the backend or standard output fails us.
pub(super) async fn run(client: &Client, named: &[PathBuf], stdin: impl Read) -> Result<Exit, Failure> {
    each(client, named, stdin, Task::Apply).await
}

/// Says what is wrong with what was named.
///
/// # Errors
///
/// As above.
pub(super) async fn check(client: &Client, named: &[PathBuf], stdin: impl Read) -> Result<Exit, Failure> {
    each(client, named, stdin, Task::Check).await
}

async fn each(client: &Client, named: &[PathBuf], mut stdin: impl Read, task: Task) -> Result<Exit, Failure> {
    let found = read_all(named, &mut stdin, "workflow", document)?;
    do_each(&found, async |file, document| do_or_tell(client, file, document, task).await).await
}

/// The document, if it has a name.
fn document(Written { value, places }: Written) -> Result<Document, Mistake> {
    let Value::Object(fields) = &value else {
        let message = "a workflow is an object with name and steps".to_owned();
        return Err(Mistake { place: places.of(""), message });
    };
    let name = documents::name(fields.get("name"), &places)?;
    Ok(Document { name, json: value, places })
}

/// Does it, and says what became of it. Returns what the backend refuses of it, a line for each mistake.
async fn do_or_tell(
    client: &Client,
    file: &Path,
    document: &Document,
    task: Task,
) -> Result<Vec<String>, Failure> {
    let done = match task {
        Task::Apply => apply(client, document).await,
        Task::Check => match look(client, document).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(mistakes)) => return Ok(mistakes.iter().map(|mistake| told(file, mistake)).collect()),
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(Outcome { line, warnings }) => {
            print(&line)?;
            for warning in &warnings {
                print_message(&told(file, warning).replacen("error: ", "warning: ", 1));
            }
            Ok(Vec::new())
        }
        Err(error) => refusal(file, (document.name.as_str(), &document.places), error),
    }
}

/// Makes the workflow, or another version of it.
async fn apply(client: &Client, document: &Document) -> Result<Outcome, ClientError> {
    let name = document.name.as_str();
    let before = if_known(client.workflow(name).await)?.map(|known| known.version);
    let after = client.put_workflow(name, &document.json).await?;
    let line = match before {
        None => format!("{name} created"),
        Some(before) if before == after.version => format!("{name} unchanged"),
        Some(_) => format!("{name} version {}", after.version),
    };
    Ok(Outcome { line, warnings: remarks(document, &after.warnings) })
}

/// What is wrong with the document, or that nothing is.
async fn look(client: &Client, document: &Document) -> Result<Result<Outcome, Vec<Mistake>>, ClientError> {
    let found = client.check_workflow(&document.json).await?;
    if !found.problems.is_empty() {
        return Ok(Err(remarks(document, &found.problems)));
    }
    let line = format!("{} is right", document.name);
    Ok(Ok(Outcome { line, warnings: remarks(document, &found.warnings) }))
}

/// What is said of places of the document.
fn remarks(document: &Document, remarks: &[Remark]) -> Vec<Mistake> {
    let remark = |remark: &Remark| {
        let field = remark.pointer.trim_start_matches('/');
        let colon = if field.is_empty() { "" } else { ": " };
        let message = format!("{}: {field}{colon}{}", document.name, remark.message);
        Mistake { place: document.places.of(&remark.pointer), message }
    };
    remarks.iter().map(remark).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        canned_backend::{CannedBackend, answer},
        commands::manifests::yaml,
    };

    const JSON: &str = "application/json";
    const PROBLEM: &str = "application/problem+json";
    const UNKNOWN: &str = r#"{"status": 404, "code": "workflow-not-found", "detail": "there is none"}"#;
    const FILE: &str = "name: asset.publish\nsteps:\n  probe:\n    job: Probe\n    on: no\n";

    fn only(text: &str) -> Result<Document, Mistake> {
        document(yaml::read(text).unwrap().remove(0))
    }

    fn unknown() -> String {
        answer(("404 Not Found", PROBLEM, UNKNOWN))
    }

    fn shown(version: u32) -> String {
        let shown = json!({"name": "asset.publish", "version": version});
        answer(("200 OK", JSON, &shown.to_string()))
    }

    #[tokio::test]
    async fn what_becomes_of_a_document_is_seen_by_its_version() {
        for (before, after, expected) in [
            (unknown(), shown(1), "asset.publish created"),
            (shown(2), shown(3), "asset.publish version 3"),
            (shown(3), shown(3), "asset.publish unchanged"),
        ] {
            let (backend, client) = CannedBackend::listen().await;
            let document = only(FILE).unwrap();
            let (outcome, heard) = tokio::join!(apply(&client, &document), backend.give([before, after]));
            assert_eq!(outcome.unwrap().line, expected);
            assert!(heard[1].starts_with("PUT /v1/workflows/asset.publish "), "{}", heard[1]);
            let body = heard[1].split_once("\r\n\r\n").unwrap().1;
            assert_eq!(body, r#"{"name":"asset.publish","steps":{"probe":{"job":"Probe","on":"no"}}}"#);
        }
    }

    #[tokio::test]
    async fn what_is_refused_keeps_nobody_from_being_applied() {
        let (backend, client) = CannedBackend::listen().await;
        let refused =
            answer(("422 Unprocessable Content", PROBLEM, r#"{"status": 422, "code": "invalid-workflow"}"#));
        let text = "name: a\n---\nsteps: {}\n---\nname: b\n".as_bytes();
        let answers = [unknown(), refused, unknown(), shown(1)];
        let named = [PathBuf::from("-")];
        let (exit, heard) = tokio::join!(run(&client, &named, text), backend.give(answers));
        assert_eq!(exit.unwrap(), Exit::Usage);
        let asked = heard.map(|request| request.split(" HTTP").next().unwrap().to_owned());
        let expected =
            ["GET /v1/workflows/a", "PUT /v1/workflows/a", "GET /v1/workflows/b", "PUT /v1/workflows/b"];
        assert_eq!(asked, expected);
    }

    #[tokio::test]
    async fn a_check_names_the_places_in_the_file() {
        let (backend, client) = CannedBackend::listen().await;
        let found = json!({
            "problems": [
                {"pointer": "/steps/probe/job", "message": "it has a character other than a-z 0-9 . _ -"},
                {"pointer": "/steps/probe/on", "message": "there is no field \"on\""},
            ],
            "warnings": [],
        });
        let document = only(FILE).unwrap();
        let file = Path::new("shop.yaml");
        let answers = [answer(("200 OK", JSON, &found.to_string()))];
        let (lines, heard) =
            tokio::join!(do_or_tell(&client, file, &document, Task::Check), backend.give(answers));
        assert!(heard[0].starts_with("POST /v1/workflows/check "), "{}", heard[0]);
        insta::assert_snapshot!(lines.unwrap().join("\n"));
    }

    #[test]
    fn what_is_no_workflow_is_said_with_its_place() {
        let refusals = ["- name: a\n", "steps: {}\n", "steps: {}\nname: 7\n", "name: Asset\n"]
            .map(|text| told(Path::new("shop.yaml"), &only(text).unwrap_err()));
        let twice = "name: a\nsteps:\n  probe: {job: x}\n  probe: {job: y}\n";
        let twice = told(Path::new("shop.yaml"), &yaml::read(twice).unwrap_err());
        insta::assert_snapshot!([refusals.join("\n"), twice].join("\n"));
    }
}
