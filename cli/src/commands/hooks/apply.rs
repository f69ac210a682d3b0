//! `crewcall hooks apply`: has the backend know the hooks as files say. What it refuses is said with its place in the file, and
//! does not keep the others from being applied.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::manifest::{self, Document};
use crate::{
    client::{Client, ClientError},
    commands::{
        manifests::documents::{do_each, if_known, outcome, read_all, refusal},
        secrets::applied,
    },
    exit::{Exit, Failure},
    output::print,
};

/// What became of a document: a word, and the secret that was made by it.
type Applied = (&'static str, Option<String>);

/// Applies what was named, in its order. All of it is read before: a file that is not there keeps all from being applied.
///
/// # Errors
///
/// When a file cannot be read, or the backend or standard output fails us.
pub(super) async fn run(client: &Client, named: &[PathBuf], mut stdin: impl Read) -> Result<Exit, Failure> {
    let found = read_all(named, &mut stdin, "hook", manifest::document)?;
    do_each(&found, async |file, document| apply_or_tell(client, file, document).await).await
}

/// Applies a document and says what became of it. Returns what the backend refuses of it, a line for each mistake.
async fn apply_or_tell(client: &Client, file: &Path, document: &Document) -> Result<Vec<String>, Failure> {
    match apply(client, document).await {
        Ok((outcome, secret)) => {
            print(&applied(document.name.as_str(), outcome, secret.as_deref()))?;
            Ok(Vec::new())
        }
        Err(error) => refusal(file, (document.name.as_str(), &document.places), error),
    }
}

/// Makes the hook, or changes it to what the document says.
async fn apply(client: &Client, document: &Document) -> Result<Applied, ClientError> {
    let name = document.name.as_str();
    let before = if_known(client.hook(name).await)?.map(|known| known.revision);
    let after = client.put_hook(name, &document.settings).await?;
    Ok((outcome(before, after.revision), after.secret.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::canned_backend::{CannedBackend, answer};

    const JSON: &str = "application/json";
    const PROBLEM: &str = "application/problem+json";
    const UNKNOWN: &str = r#"{"status": 404, "code": "hook-not-found", "detail": "there is none"}"#;
    const FILE: &str = "name: payments\nverify:\n  standard:\n    secret: whsec_x\n";

    fn document(text: &str) -> Document {
        let named = [PathBuf::from("-")];
        let (_, found) =
            read_all(&named, &mut text.as_bytes(), "hook", manifest::document).unwrap().remove(0);
        let Ok(document) = found else { panic!("{text} is no hook") };
        document
    }

    fn unknown() -> String {
        answer(("404 Not Found", PROBLEM, UNKNOWN))
    }

    fn shown(revision: u64, secret: Option<&str>) -> String {
        let shown = json!({"name": "payments", "revision": revision, "secret": secret});
        answer(("200 OK", JSON, &shown.to_string()))
    }

    #[tokio::test]
    async fn what_becomes_of_a_document_is_seen_by_its_revision() {
        for (before, after, expected) in [
            (unknown(), shown(1, Some("whsec_made")), ("created", Some("whsec_made".to_owned()))),
            (shown(2, None), shown(3, None), ("changed", None)),
            (shown(3, None), shown(3, None), ("unchanged", None)),
        ] {
            let (backend, client) = CannedBackend::listen().await;
            let document = document(FILE);
            let (applied, heard) = tokio::join!(apply(&client, &document), backend.give([before, after]));
            assert_eq!(applied.unwrap(), expected);
            assert!(heard[0].starts_with("GET /v1/hooks/payments "), "{}", heard[0]);
            assert!(heard[1].starts_with("PUT /v1/hooks/payments "), "{}", heard[1]);
            let body = heard[1].split_once("\r\n\r\n").unwrap().1;
            assert_eq!(body, r#"{"verify":{"standard":{"secret":"whsec_x"}}}"#);
        }
    }

    #[tokio::test]
    async fn what_is_refused_names_its_place_and_keeps_nobody_from_being_applied() {
        let (backend, client) = CannedBackend::listen().await;
        let problem = json!({"status": 422, "code": "invalid-hook", "errors": [
            {"pointer": "/verify/standard/secret", "message": "the secret has 5 bytes; it must have 24 to 64"},
        ]});
        let refused = || answer(("422 Unprocessable Content", PROBLEM, &problem.to_string()));
        let document = document(FILE);
        let (told, _) = tokio::join!(
            apply_or_tell(&client, Path::new("hooks.yaml"), &document),
            backend.give([unknown(), refused()])
        );
        let expected = "error: hooks.yaml:4:13: payments: verify/standard/secret: the secret has 5 bytes; it must have 24 to 64 [invalid-hook]";
        assert_eq!(told.unwrap(), [expected]);
        let (backend, client) = CannedBackend::listen().await;
        let text = "name: a\n---\nverify: {}\n---\nname: b\n".as_bytes();
        let named = [PathBuf::from("-")];
        let answers = [unknown(), refused(), unknown(), shown(1, None)];
        let (exit, heard) = tokio::join!(run(&client, &named, text), backend.give(answers));
        assert_eq!(exit.unwrap(), Exit::Usage);
        let asked = heard.map(|request| request.split(" HTTP").next().unwrap().to_owned());
        assert_eq!(asked, ["GET /v1/hooks/a", "PUT /v1/hooks/a", "GET /v1/hooks/b", "PUT /v1/hooks/b"]);
    }
}
