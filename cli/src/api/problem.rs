//! Problems (RFC 9457) as the backend sends them, told in the terms of the command line.

use std::fmt;

use serde::Deserialize;

/// What the backend says when it refuses or cannot answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// A few words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The stable name of the problem.
    pub(crate) code: String,
    /// A sentence.
    pub(crate) detail: String,
    /// One entry per mistake.
    pub(crate) errors: Vec<Mistake>,
    /// What to look for in the backend's log.
    pub(crate) request_id: String,
}

/// One mistake in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Mistake {
    /// A JSON pointer into the body, or `?name` for a query parameter.
    pub(crate) pointer: String,
    /// What is wrong there.
    pub(crate) message: String,
}

impl Mistake {
    /// What a user of the command line wrote to get this field into the request.
    fn place(&self) -> String {
        if let Some(name) = self.pointer.strip_prefix('?') {
            return option(name);
        }
        let mut fields = self.pointer.split('/').skip(1);
        match (fields.next(), fields.next()) {
            (None | Some(""), _) => "the request".to_owned(),
            (Some("type"), _) => "TYPE".to_owned(),
            (Some("subject"), _) => "SUBJECT".to_owned(),
            (Some("data"), None) => "DATA".to_owned(),
            (Some("parameters"), None) => "the parameters".to_owned(),
            (Some("parameters" | "data"), Some(key)) => {
                let path: Vec<String> = std::iter::once(key).chain(fields).map(unescape).collect();
                path.join("/")
            }
            (Some("labels"), Some(key)) => format!("--label {}", unescape(key)),
            (Some("filter"), Some("labels")) => match fields.next() {
                Some(key) => format!("--label {}", unescape(key)),
                None => "--label".to_owned(),
            },
            (Some("filter"), Some(field)) => option(field),
            // Where a consumer goes: {"after": 17}.
            (Some("to"), Some(field)) => option(field),
            (Some("backoff"), Some(field)) => option(&format!("backoff_{field}")),
            (Some(field), _) => option(field),
        }
    }

    /// The key of the parameter that this is about, if it is a top-level one.
    pub(crate) fn parameter(&self) -> Option<String> {
        let key = self.pointer.strip_prefix("/parameters/")?;
        (!key.contains('/')).then(|| unescape(key))
    }
}

impl Mistake {
    /// What is wrong, in the words of the command line where the API has its own.
    fn wording(&self) -> &str {
        match self.pointer.as_str() {
            "?cursor" => "an earlier list did not end with this; copy it as it was printed",
            _ => &self.message,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.wording())
    }
}

/// The same sentence for a terminal: where readers of the API are sent to a route, users are sent to a command.
fn for_the_terminal(sentence: &str) -> String {
    const COMMANDS: [(&str, &str); 9] = [
        (
            "/openapi.json lists those that exist",
            "check --url or CREWCALL_URL, and that both have the same version",
        ),
        ("/v1/workers lists those that are", "crewcall workers ls shows those that are"),
        ("/v1/consumers lists those that there are", "crewcall consumers ls shows those that there are"),
        ("/v1/hooks lists those that there are", "crewcall hooks ls shows those that there are"),
        ("/v1/webhooks lists those that there are", "crewcall webhooks ls shows those that there are"),
        ("/v1/workflows lists those that there are", "crewcall workflows ls shows those that there are"),
        ("/v1/schedules lists those that there are", "crewcall schedules ls shows those that there are"),
        ("/v1/types lists those that are known", "crewcall types ls shows those that are known"),
        ("GET /v1/quarantine lists those that are kept", "crewcall quarantine ls shows those that are kept"),
    ];
    COMMANDS.iter().fold(sentence.to_owned(), |text, (route, command)| text.replace(route, command))
}

impl Problem {
    /// The sentence for a person at a terminal.
    pub(crate) fn sentence(&self) -> String {
        let detail = if self.detail.is_empty() { &self.title } else { &self.detail };
        for_the_terminal(detail.trim_end_matches('.'))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The detail is written for readers of the JSON: it repeats the mistakes, by pointer.
        let sentence = match self.errors.as_slice() {
            [] => self.sentence(),
            [mistake] => mistake.to_string(),
            mistakes => format!("{} things are wrong with the request", mistakes.len()),
        };
        f.write_str(&sentence)?;
        if !self.code.is_empty() {
            write!(f, " [{}]", self.code)?;
        }
        if self.errors.len() > 1 {
            for mistake in &self.errors {
                write!(f, "\n  {mistake}")?;
            }
        }
        // Mistakes of the user need no look into the backend's log.
        if self.status >= 500 && !self.request_id.is_empty() {
            write!(f, "\n  request id, for the backend's log: {}", self.request_id)?;
        }
        Ok(())
    }
}

/// `max_attempts` → `--max-attempts`; `label.project` → `--label project`; `delay_seconds` → `--delay`, since
/// durations are written with their unit here.
fn option(field: &str) -> String {
    let name = unescape(field);
    let name = name.strip_suffix("_per_second").or(name.strip_suffix("_seconds")).unwrap_or(&name);
    match name.split_once('.') {
        Some((option, key)) => format!("--{option} {key}"),
        None if name == "labels" => "--label".to_owned(),
        None if name == "created_after" => "--since".to_owned(),
        None if name == "created_before" => "--until".to_owned(),
        None => format!("--{}", name.replace('_', "-")),
    }
}

/// Undoes the two escapes of JSON pointers (RFC 6901).
fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_become_what_was_typed() {
        let pointers = [
            "",
            "/type",
            "/parameters",
            "/parameters/width",
            "/parameters/crop/0/x",
            "/parameters/a~1b",
            "/subject",
            "/data",
            "/data/order/0/amount",
            "/id",
            "/occurred_at",
            "/labels/project",
            "/labels",
            "/priority",
            "/max_attempts",
            "/run_at",
            "/delay_seconds",
            "/backoff/initial_seconds",
            "/backoff/factor",
            "/to",
            "/to/after",
            "/filter/state",
            "/filter/labels/project",
            "/running_max",
            "/rate_per_second",
            "?subject",
            "?limit",
            "?created_after",
            "?cursor",
            "?label.project",
        ];
        let places: Vec<String> = pointers
            .into_iter()
            .map(|pointer| {
                Mistake { pointer: pointer.to_owned(), message: "is wrong".to_owned() }.to_string()
            })
            .collect();
        insta::assert_snapshot!(places.join("\n"));
    }

    #[test]
    fn a_problem_is_a_sentence_with_its_mistakes() {
        let problem: Problem = serde_json::from_value(serde_json::json!({
            "type": "/docs/problems#invalid-parameters", "title": "Invalid parameters", "status": 422,
            "code": "invalid-parameters", "detail": "The parameters do not fit the schema of image.thumbnail.",
            "errors": [
                {"pointer": "/parameters/width", "message": "0 is less than the minimum of 1"},
                {"pointer": "/parameters", "message": "\"source\" is a required property"}
            ],
            "request_id": "r-1"
        }))
        .unwrap();
        insta::assert_snapshot!(problem);
        insta::assert_snapshot!(Problem { errors: problem.errors[..1].to_vec(), ..problem });
        let detail = "there is no route /v2; /openapi.json lists those that exist".to_owned();
        insta::assert_snapshot!(Problem { detail, code: "not-found".to_owned(), ..Problem::default() });
        insta::assert_snapshot!(Problem {
            title: "Service unavailable".to_owned(),
            status: 503,
            code: "store-unavailable".to_owned(),
            request_id: "r-2".to_owned(),
            ..Problem::default()
        });
    }
}
