//! `crewcall consumers apply`: has the backend know the consumers as files say. What it refuses is said with its place in the
//! file, and does not keep the others from being applied.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::manifest::{self, Document, Mistake};
use crate::{
    api::{self, Consumer, Problem},
    client::{Client, ClientError},
    exit::{Exit, Failure},
    output::{print, print_message},
};

/// How long a file may be: as long as a hundred thousand lines. It is read as a whole.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How the names of files end that are read from a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// What stands for standard input.
const STDIN: &str = "-";
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
    let mut documents = Vec::new();
    for file in files(named)? {
        let text = text_of(&file, &mut stdin)?;
        match manifest::read(&text) {
            Ok(read) => documents.extend(read.into_iter().map(|document| (file.clone(), document))),
            Err(mistake) => documents.push((file, Err(mistake))),
        }
    }
    if documents.is_empty() {
        return Err(Failure::Usage("there is no consumer in what was named".to_owned()));
    }
    let mut exit = Exit::Done;
    for (file, document) in &documents {
        let told = match document {
            Ok(document) => apply_or_tell(client, file, document).await?,
            Err(mistake) => vec![told(file, mistake)],
        };
        if !told.is_empty() {
            exit = Exit::Usage;
        }
        told.iter().for_each(|line| print_message(line));
    }
    Ok(exit)
}

/// Applies a document and says what became of it. Returns what the backend refuses of it, a line for each mistake.
async fn apply_or_tell(client: &Client, file: &Path, document: &Document) -> Result<Vec<String>, Failure> {
    let applied = apply(client, document).await;
    let is_refused = applied.as_ref().is_err_and(ClientError::is_about_the_request);
    match applied {
        Ok(outcome) => {
            print(&format!("{} {}", document.name, outcome.word()))?;
            Ok(Vec::new())
        }
        Err(ClientError::Problem(problem)) if is_refused => {
            Ok(mistakes(document, &problem).iter().map(|mistake| told(file, mistake)).collect())
        }
        Err(error) => Err(error.into()),
    }
}

/// Creates the consumer, or changes it to what the document says.
async fn apply(client: &Client, document: &Document) -> Result<Outcome, ClientError> {
    let name = document.name.as_str();
    let before = match client.consumer(name).await {
        Ok(consumer) => Some(consumer),
        Err(ClientError::Problem(problem)) if problem.status == 404 => None,
        Err(error) => return Err(error),
    };
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

/// What the backend refuses, with the places that it names by JSON pointers.
fn mistakes(document: &Document, problem: &Problem) -> Vec<Mistake> {
    let (name, code) = (&document.name, &problem.code);
    if problem.errors.is_empty() {
        let message = format!("{name}: {} [{code}]", problem.sentence());
        return vec![Mistake { place: document.place(""), message }];
    }
    let mistakes = problem.errors.iter().map(|mistake| {
        let field = mistake.pointer.trim_start_matches('/');
        let colon = if field.is_empty() { "" } else { ": " };
        let message = format!("{name}: {field}{colon}{} [{code}]", mistake.message);
        Mistake { place: document.place(&mistake.pointer), message }
    });
    mistakes.collect()
}

/// `error: consumers.yaml:9:11: invoices: then/job/type: it has a character other than a-z 0-9 . _ - [invalid-consumer]`
fn told(file: &Path, mistake: &Mistake) -> String {
    let file = if file == Path::new(STDIN) { "standard input".into() } else { file.display().to_string() };
    let place = mistake.place.map(|place| format!(":{place}")).unwrap_or_default();
    format!("error: {file}{place}: {}", mistake.message)
}

/// The files that are meant, in their order: those of a directory by their names.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            files.extend(files_in(path).map_err(|error| unreadable(path, &error))?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<PathBuf>> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect();
    let mut files = paths?;
    files.retain(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_file()
    });
    files.sort();
    Ok(files)
}

fn text_of(file: &Path, stdin: &mut impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new(STDIN) {
        stdin.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
    };
    match read {
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => {
            Err(Failure::Usage(format!("{} is longer than {FILE_BYTES_MAX} bytes", file.display())))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::canned_backend::{CannedBackend, answer};

    const JSON: &str = "application/json";
    const PROBLEM: &str = "application/problem+json";
    const UNKNOWN: &str = r#"{"status": 404, "code": "consumer-not-found", "detail": "there is none"}"#;
    const FILE: &str = "name: invoices\nsubjects: [order.paid]\nthen:\n  job:\n    type: Invoice\n";

    fn document(text: &str) -> Document {
        manifest::read(text).unwrap().remove(0).unwrap()
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
        let named = [directory.path().to_owned(), PathBuf::from(STDIN)];
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
        let named = [PathBuf::from(STDIN)];
        let stdin = "name: first\n---\nname: second\n".as_bytes();
        let (ended, _) = tokio::join!(run(&client, &named, stdin), backend.give([String::new()]));
        assert_eq!(ended.unwrap_err().exit(), Exit::Unreachable);
    }

    #[tokio::test]
    async fn nothing_is_applied_when_a_file_is_missing() {
        let (_backend, client) = CannedBackend::listen().await;
        let directory = tempfile::tempdir().unwrap();
        let named = |name: &str| [PathBuf::from(STDIN), directory.path().join(name)];
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
            let told = mistakes(&document, &problem);
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
