//! `crewcall webhooks apply`: has the backend know the webhooks as files say. What it refuses is said with its place in the file,
//! and does not keep the others from being applied.

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

/// Applies what was named, in its order. All of it is read before: a file that is not there keeps all from being applied.
///
/// # Errors
///
/// When a file cannot be read, or the backend or standard output fails us.
pub(super) async fn run(client: &Client, named: &[PathBuf], mut stdin: impl Read) -> Result<Exit, Failure> {
    let found = read_all(named, &mut stdin, "webhook", manifest::document)?;
    do_each(&found, async |file, document| apply_or_tell(client, file, document).await).await
}

/// Applies a document and says what became of it. Returns what the backend refuses of it, a line for each mistake.
async fn apply_or_tell(client: &Client, file: &Path, document: &Document) -> Result<Vec<String>, Failure> {
    match apply(client, document).await {
        Ok(told) => {
            print(&told)?;
            Ok(Vec::new())
        }
        Err(error) => refusal(file, (document.name.as_str(), &document.places), error),
    }
}

/// Makes the webhook, or changes it to what the document says. Returns which of both it was, with the secret that was made by it.
async fn apply(client: &Client, document: &Document) -> Result<String, ClientError> {
    let name = document.name.as_str();
    let before = if_known(client.webhook(name).await)?.map(|known| known.revision);
    let after = client.put_webhook(name, &document.settings).await?;
    Ok(applied(name, outcome(before, after.revision), after.secret.as_deref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        canned_backend::{CannedBackend, answer},
        commands::manifests::documents,
    };

    const JSON: &str = "application/json";
    const PROBLEM: &str = "application/problem+json";
    const UNKNOWN: &str = r#"{"status": 404, "code": "webhook-not-found", "detail": "there is none"}"#;
    const FILE: &str =
        "name: shop\nurl: http://10.0.0.1/\nsubjects:\n  - order.paid\n  - Order\nif: event.data.total >\n";

    fn document(text: &str) -> Document {
        documents::read(text, manifest::document).remove(0).unwrap()
    }

    fn unknown() -> String {
        answer(("404 Not Found", PROBLEM, UNKNOWN))
    }

    fn shown(status: &str, revision: u64, secret: Option<&str>) -> String {
        let shown = match secret {
            Some(secret) => json!({"name": "shop", "revision": revision, "secret": secret}),
            None => json!({"name": "shop", "revision": revision}),
        };
        answer((status, JSON, &shown.to_string()))
    }

    #[tokio::test]
    async fn what_becomes_of_a_document_is_seen_by_its_revision() {
        let ok = |revision| shown("200 OK", revision, None);
        let made = shown("201 Created", 1, Some("whsec_made"));
        let created = "shop created\nthe secret of shop, which is shown only now: whsec_made";
        for (before, after, expected) in
            [(unknown(), made, created), (ok(2), ok(3), "shop changed"), (ok(3), ok(3), "shop unchanged")]
        {
            let (backend, client) = CannedBackend::listen().await;
            let document = document("name: shop\nurl: https://shop.example/\nsubjects: [order.paid]\n");
            let (told, heard) = tokio::join!(apply(&client, &document), backend.give([before, after]));
            assert_eq!(told.unwrap(), expected);
            assert!(heard[0].starts_with("GET /v1/webhooks/shop "), "{}", heard[0]);
            assert!(heard[1].starts_with("PUT /v1/webhooks/shop "), "{}", heard[1]);
            let body = heard[1].split_once("\r\n\r\n").unwrap().1;
            assert_eq!(body, r#"{"url":"https://shop.example/","subjects":["order.paid"]}"#);
        }
    }

    #[tokio::test]
    async fn what_is_refused_names_its_place_in_the_file() {
        let problem = json!({"status": 422, "code": "invalid-webhook", "errors": [
            {"pointer": "/url", "message": "10.0.0.1 is not an address of the public internet"},
            {"pointer": "/subjects/1", "message": "it has a character other than a-z 0-9 . _ - * #"},
            {"pointer": "/if", "message": "it ends too early"},
        ]});
        let refused = answer(("422 Unprocessable Content", PROBLEM, &problem.to_string()));
        let (backend, client) = CannedBackend::listen().await;
        let document = document(FILE);
        let file = Path::new("webhooks.yaml");
        let (told, _) =
            tokio::join!(apply_or_tell(&client, file, &document), backend.give([unknown(), refused]));
        insta::assert_snapshot!(told.unwrap().join("\n"));
    }

    #[tokio::test]
    async fn what_is_refused_keeps_nobody_from_being_applied() {
        let too_many =
            r#"{"status": 409, "code": "too-many-webhooks", "detail": "there are 1000 webhooks already"}"#;
        let refused = answer(("409 Conflict", PROBLEM, too_many));
        let (backend, client) = CannedBackend::listen().await;
        let text = "name: a\n---\nurl: x\n---\nname: b\n".as_bytes();
        let named = [PathBuf::from("-")];
        let answers = [unknown(), refused, unknown(), shown("201 Created", 1, Some("whsec_made"))];
        let (exit, heard) = tokio::join!(run(&client, &named, text), backend.give(answers));
        assert_eq!(exit.unwrap(), Exit::Usage);
        let asked = heard.map(|request| request.split(" HTTP").next().unwrap().to_owned());
        let expected =
            ["GET /v1/webhooks/a", "PUT /v1/webhooks/a", "GET /v1/webhooks/b", "PUT /v1/webhooks/b"];
        assert_eq!(asked, expected);
    }
}
