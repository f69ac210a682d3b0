//! Workflows over HTTP: documents, versions, checks and pauses.

use crewcall_backend::domain::workflow::limits::DOCUMENT_BYTES_MAX;
use crewcall_proto::discovery::Announcement;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, answer, problem, sorted};

const PATH: &str = "/v1/workflows/asset.publish";

async fn started() -> Server {
    let server = Server::start().await;
    server.run();
    server
}

fn document() -> Value {
    json!({
        "triggers": [{"event": "asset.uploaded", "if": "event.data.bytes > 0"}],
        "steps": {
            "probe": {"job": "media.probe", "parameters": {"source": "${{ trigger.data.source }}"}},
            "check": {"needs": ["probe"], "approval": {}},
        },
    })
}

/// The status and the version of what a request is answered with.
async fn put(request: RequestBuilder) -> (u16, String) {
    let response = answer(request).await;
    let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned());
    (response.status().as_u16(), etag.unwrap_or_default())
}

async fn posted(request: RequestBuilder) -> Value {
    let response = answer(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    sorted(response.json().await.unwrap())
}

#[tokio::test]
async fn a_document_makes_versions() {
    let server = started().await;
    let made = answer(server.put(PATH, &document())).await;
    assert_eq!((made.status(), made.headers()["location"].to_str().unwrap()), (StatusCode::CREATED, PATH));
    let mut named = document();
    named["name"] = json!("asset.publish");
    assert_eq!(put(server.put(PATH, &named)).await, (200, "\"1\"".to_owned()), "it says the same");
    let mut changed = document();
    changed["steps"]["probe"]["priority"] = json!(9);
    let stale = server.put(PATH, &changed).header("if-match", "\"7\"");
    assert_eq!(problem(stale).await["code"], "workflow-changed");
    let exists = server.put(PATH, &changed).header("if-none-match", "*");
    assert_eq!(problem(exists).await["code"], "workflow-changed");
    let unread = server.put(PATH, &changed).header("if-match", "1");
    assert_eq!(problem(unread).await["code"], "invalid-precondition");
    let matching = server.put(PATH, &changed).header("if-match", "\"1\"");
    assert_eq!(put(matching).await, (200, "\"2\"".to_owned()));
    let new =
        server.put("/v1/workflows/b", &json!({"steps": {"a": {"job": "x"}}})).header("if-none-match", "*");
    assert_eq!(put(new).await, (201, "\"1\"".to_owned()));
    let mut shown = server.read(PATH).await;
    for field in ["created_at", "changed_at"] {
        shown[field] = json!("then");
    }
    insta::assert_json_snapshot!("workflow", shown);
    let first = server.read(&format!("{PATH}/versions?limit=1")).await;
    assert_eq!(first["versions"][0]["version"], 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.read(&format!("{PATH}/versions?limit=1&cursor={cursor}")).await;
    assert_eq!((&second["versions"][0]["version"], &second["next_cursor"]), (&json!(1), &Value::Null));
    assert_eq!(server.read(&format!("{PATH}/versions/1")).await["document"], sorted(named));
    for path in ["/versions/3", "/versions/x"] {
        assert_eq!(problem(server.get(&format!("{PATH}{path}"))).await["code"], "workflow-not-found");
    }
    let listed = server.read("/v1/workflows").await;
    let names: Vec<&Value> = listed["workflows"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["asset.publish", "b"]);
    assert_eq!(listed["workflows"][0]["document"], Value::Null);
    assert_eq!(server.read("/v1/consumers").await["consumers"], json!([]));
    let trigger = server.read("/v1/consumers/workflow:asset.publish").await;
    assert_eq!(trigger["then"], json!({"workflow": "asset.publish"}));
    assert_eq!(answer(server.delete(PATH)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(server.get(PATH)).await["code"], "workflow-not-found");
    assert_eq!(problem(server.delete(PATH)).await["code"], "workflow-not-found");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_workflow_is_refused_with_every_problem() {
    let server = started().await;
    let wrong = json!({
        "name": "other",
        "on_failure": "canel",
        "steps": {
            "probe": {"job": "Bad", "needs": ["chek"], "parameters": {"a": "${{ steps.check.result }}"}},
            "check": {"approval": {"timeout": 1}},
        },
    });
    insta::assert_json_snapshot!("no_workflow", problem(server.put(PATH, &wrong)).await);
    assert_eq!(problem(server.put("/v1/workflows/In", &document())).await["code"], "workflow-not-found");
    let twice = r#"{"name":"a","steps":{"a":{"job":"x"},"a":{"job":"y"}}}"#;
    let checked = posted(server.post_text("/v1/workflows/check", "application/json", twice)).await;
    let twins =
        json!([{"pointer": "/steps/a", "message": "there are two steps \"a\": each has a name of its own"}]);
    assert_eq!(checked["problems"], twins);
    let deep = "[".repeat(10_000);
    let checked = posted(server.post_text("/v1/workflows/check", "application/json", deep)).await;
    assert_eq!(checked["problems"][0]["message"], "a workflow is nested no deeper than 36 levels");
    let large = json!({"name": "x".repeat(DOCUMENT_BYTES_MAX), "steps": {}});
    let refused = problem(server.put(PATH, &large)).await;
    assert_eq!((&refused["code"], &refused["status"]), (&json!("invalid-workflow"), &json!(422)));
    let many: Value =
        (0..150).map(|step| (format!("s{step}"), json!({}))).collect::<serde_json::Map<_, _>>().into();
    let refused = problem(server.put(PATH, &json!({"steps": many}))).await;
    assert_eq!(refused["errors"].as_array().unwrap().len(), 100);
    let broken = server.post_text("/v1/workflows/check", "application/json", "{");
    assert_eq!(problem(broken).await["code"], "invalid-json");
    let named = json!({"name": "asset.publish", "steps": {"a": {"job": "x"}}});
    assert_eq!(posted(server.post("/v1/workflows/check", &named)).await["problems"], json!([]));
    assert_eq!(server.read("/v1/workflows").await, json!({"workflows": []}));
    server.stop().await;
}

/// A job of the type probes, and another encodes what it finds.
async fn probing_and_encoding() -> Server {
    let server = started().await;
    let probe =
        json!({"type": "object", "properties": {"source": {"type": "string"}}, "required": ["source"]});
    let result = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "title": {"type": "string"},
            "renditions": {"type": "array", "items": {"type": "object", "properties": {"height": {"type": "integer"}}}},
        },
    });
    let of_probe = |announcement: &mut Announcement| {
        announcement.types[0].result_schema = result.as_object().unwrap().clone();
    };
    server.announce_as("media.probe", probe, of_probe).await;
    let encode = json!({
        "type": "object", "additionalProperties": false,
        "properties": {"height": {"type": "integer"}, "name": {"type": "string"}, "codec": {"enum": ["h264", "av1"]}},
        "required": ["height"],
    });
    server.announce("media.encode", encode).await;
    server
}

#[tokio::test]
async fn what_a_path_leads_to_has_to_fit_where_it_goes() {
    let server = probing_and_encoding().await;
    let with = |parameters: Value| {
        json!({
            "name": "a",
            "parameters": {"type": "object", "properties": {"file": {"type": "string"}, "bytes": {"type": "integer"}}, "additionalProperties": false},
            "steps": {
                "probe": {"job": "media.probe", "parameters": {"source": "${{ trigger.data.file }}"}},
                "encode": {
                    "needs": ["probe"], "each": "${{ steps.probe.result.renditions }}", "job": "media.encode",
                    "parameters": parameters,
                },
            },
        })
    };
    let good =
        json!({"height": "${{ item.height }}", "name": "${{ steps.probe.result.title }}", "codec": "av1"});
    let checked = posted(server.post("/v1/workflows/check", &with(good.clone()))).await;
    assert_eq!(checked["problems"], json!([]));
    let mut told = Vec::new();
    for (name, value) in [
        ("height", json!("${{ steps.probe.result.title }}")),
        ("height", json!("${{ trigger.data.file }}")),
        ("name", json!("${{ steps.probe.result.tilte }}")),
        ("name", json!("${{ trigger.data.byte }}")),
        ("codec", json!("vp9")),
        ("nmae", json!("${{ item.height }}")),
    ] {
        let mut parameters = good.clone();
        parameters[name] = value;
        let checked = posted(server.post("/v1/workflows/check", &with(parameters.clone()))).await;
        told.push(checked["problems"].clone());
        let refused = problem(server.put("/v1/workflows/a", &with(parameters))).await;
        assert_eq!(refused["code"], "invalid-workflow");
    }
    insta::assert_json_snapshot!("paths_that_do_not_fit", told);
    server.stop().await;
}

#[tokio::test]
async fn a_workflow_is_a_graph() {
    let server = started().await;
    answer(server.put(PATH, &document())).await;
    let graph = server.read(&format!("{PATH}/graph")).await;
    assert_eq!(graph["edges"], json!([{"from": "probe", "to": "check"}]));
    let drawn = answer(server.get(&format!("{PATH}/graph?format=mermaid"))).await;
    assert_eq!(drawn.headers()["content-type"], "text/vnd.mermaid");
    let text = drawn.text().await.unwrap();
    assert!(text.starts_with("flowchart TD\n    s0[\"probe\"]\n"), "{text}");
    let accepted = server.get(&format!("{PATH}/graph")).header("accept", "text/vnd.mermaid");
    assert_eq!(answer(accepted).await.text().await.unwrap(), text);
    assert_eq!(problem(server.get(&format!("{PATH}/graph?format=svg"))).await["code"], "invalid-query");
    assert_eq!(problem(server.get("/v1/workflows/none/graph")).await["code"], "workflow-not-found");
    server.stop().await;
}

#[tokio::test]
async fn a_paused_workflow_says_by_whom() {
    let server = started().await;
    answer(server.put(PATH, &document())).await;
    let paused =
        posted(server.post(&format!("{PATH}/pause"), &json!({"by": "anna", "reason": "too loud"}))).await;
    assert_eq!((&paused["pause"]["by"], &paused["triggers"]["state"]), (&json!("anna"), &json!("paused")));
    let refused = problem(server.post(&format!("{PATH}/trigger"), &json!({}))).await;
    assert_eq!(refused["code"], "workflow-paused");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("anna paused the workflow at 2") && detail.ends_with(": too loud"),
        "{detail}"
    );
    answer(server.post("/v1/events", &json!({"subject": "asset.uploaded", "data": {"bytes": 1}}))).await;
    let resumed = posted(server.post(&format!("{PATH}/resume"), &json!({"from": "now"}))).await;
    assert_eq!((&resumed["pause"], &resumed["moved"]["skipped"]), (&Value::Null, &json!(1)));
    for (verb, body) in
        [("pause", json!({"runs": 1})), ("resume", json!({"from": "then"})), ("trigger", json!({"dta": 1}))]
    {
        let refused = problem(server.post(&format!("{PATH}/{verb}"), &body)).await;
        assert_eq!(refused["code"], "invalid-request", "{verb}");
        let unknown = problem(server.post_empty(&format!("/v1/workflows/none/{verb}"))).await;
        assert_eq!(unknown["code"], "workflow-not-found", "{verb}");
    }
    server.stop().await;
}
