//! Webhooks over HTTP: how they are set, what becomes of events, and which types are nobody else's.

use crewcall_proto::JobId;
use crewcall_webhooks::SigningSecret;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, answer, problem, sorted};

const PATH: &str = "/v1/webhooks/shop";

/// The consumer of the webhook.
const CONSUMER: &str = "/v1/consumers/webhook:shop";

async fn started() -> Server {
    let server = Server::start().await;
    server.run();
    server
}

fn shop() -> Value {
    json!({"url": "https://shop.example/in?key=k", "subjects": ["order.*"], "if": "event.data.total > 100"})
}

async fn done(request: RequestBuilder, status: StatusCode) -> Value {
    let response = answer(request).await;
    let found = response.status();
    let body = response.text().await.unwrap();
    assert_eq!(found, status, "{body}");
    sorted(serde_json::from_str(&body).unwrap())
}

/// The code, and what is said.
async fn refused(request: RequestBuilder) -> (String, String) {
    let problem = problem(request).await;
    let text = |field: &str| problem[field].as_str().unwrap().to_owned();
    (text("code"), text("detail"))
}

async fn publish(server: &Server, total: u64) {
    let event = json!({"subject": "order.paid", "data": {"total": total}});
    done(server.post("/v1/events", &event), StatusCode::CREATED).await;
}

/// The deliveries, oldest first.
async fn deliveries(server: &Server) -> Vec<Value> {
    let list = server.read("/v1/jobs?type=crewcall.webhook&label.webhook=shop").await;
    let mut jobs = list["jobs"].as_array().unwrap().clone();
    jobs.reverse();
    jobs
}

async fn until_deliveries(server: &Server, number: usize) -> Vec<Value> {
    server.until(async || deliveries(server).await.len() == number).await;
    deliveries(server).await
}

#[tokio::test]
async fn a_webhook_is_set_shown_rotated_and_deleted() {
    let server = started().await;
    let made = answer(server.put(PATH, &shop())).await;
    assert_eq!((made.status(), made.headers()["location"].to_str().unwrap()), (StatusCode::CREATED, PATH));
    let made: Value = made.json().await.unwrap();
    let first = SigningSecret::parse(made["secret"].as_str().unwrap()).unwrap();
    let mut shown = server.read(PATH).await;
    assert_eq!(shown["fingerprint"], first.fingerprint());
    for field in ["created_at", "changed_at", "fingerprint"] {
        shown[field] = json!("…");
    }
    insta::assert_json_snapshot!("webhook", shown);
    let again = done(server.put(PATH, &shop()), StatusCode::OK).await;
    assert_eq!((&again["revision"], again.get("secret")), (&json!(1), None), "the secret is told once");
    let elsewhere = json!({"url": "https://other.example/", "subjects": ["order.#"]});
    let changed = done(server.put(PATH, &elsewhere), StatusCode::OK).await;
    assert_eq!((&changed["revision"], &changed["fingerprint"]), (&json!(2), &json!(first.fingerprint())));
    let rotated = done(server.post_empty(&format!("{PATH}/rotate")), StatusCode::OK).await;
    let second = SigningSecret::parse(rotated["secret"].as_str().unwrap()).unwrap();
    assert_eq!(rotated["fingerprint"], second.fingerprint());
    assert_eq!(rotated["retiring"]["fingerprint"], first.fingerprint());
    let (code, detail) = refused(server.post_empty(&format!("{PATH}/rotate"))).await;
    assert_eq!(code, "webhook-rotating");
    assert!(detail.contains(rotated["retiring"]["until"].as_str().unwrap()), "{detail}");
    assert_eq!(server.read("/v1/webhooks").await["webhooks"][0]["name"], "shop");
    assert_eq!(answer(server.delete(PATH)).await.status(), StatusCode::NO_CONTENT);
    let unknown = "there is no webhook \"shop\"; /v1/webhooks lists those that there are";
    for (path, is_post) in [("", false), ("/rotate", true), ("/pause", true), ("/resume", true)] {
        let path = format!("{PATH}{path}");
        let request = if is_post { server.post_empty(&path) } else { server.get(&path) };
        assert_eq!(refused(request).await, ("webhook-not-found".to_owned(), unknown.to_owned()), "{path}");
    }
    assert_eq!(refused(server.delete(PATH)).await.0, "webhook-not-found");
    assert_eq!(refused(server.put("/v1/webhooks/Shop", &shop())).await.0, "webhook-not-found");
    assert_eq!(server.read("/v1/webhooks").await, json!({"webhooks": []}));
    assert_eq!(refused(server.get(CONSUMER)).await.0, "consumer-not-found", "it went with the webhook");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_webhook_is_refused_with_every_problem() {
    let server = started().await;
    let mut told = Vec::new();
    for url in [
        "http://10.1.2.3/in",
        "https://127.0.0.1/in",
        "https://[::1]/in",
        "http://shop.example/in",
        "ftp://shop.example/in",
        "shop.example",
        "https://ada:key@shop.example/in",
    ] {
        let body = json!({"url": url, "subjects": ["order.paid"], "if": "event.data.total >"});
        let problem = problem(server.put(PATH, &body)).await;
        assert_eq!((&problem["code"], &problem["status"]), (&json!("invalid-webhook"), &json!(422)));
        told.push(problem["errors"].clone());
    }
    insta::assert_json_snapshot!("no_webhook", told);
    assert_eq!(server.read("/v1/webhooks").await, json!({"webhooks": []}));
    server.stop().await;
}

#[tokio::test]
async fn each_event_that_it_wants_is_one_delivery() {
    let server = started().await;
    let made = done(server.put(PATH, &shop()), StatusCode::CREATED).await;
    publish(&server, 101).await;
    publish(&server, 1).await;
    publish(&server, 102).await;
    let jobs = until_deliveries(&server, 2).await;
    let id: JobId = jobs[0]["id"].as_str().unwrap().parse().unwrap();
    let mut job = server.read(&format!("/v1/jobs/{id}")).await;
    assert_eq!(job["cause"]["consumer"], "webhook:shop");
    assert!(job["parameters"]["message"]["timestamp"].take().as_str().unwrap().ends_with('Z'));
    insta::assert_json_snapshot!("delivery", (&job["parameters"], &job["labels"], &job["max_attempts"]));
    let secret = made["secret"].as_str().unwrap();
    for hidden in ["shop.example", secret] {
        assert!(!job.to_string().contains(hidden), "{job}");
    }
    done(server.post(&format!("{PATH}/pause"), &json!({"by": "ada", "reason": "they move"})), StatusCode::OK)
        .await;
    publish(&server, 103).await;
    publish(&server, 104).await;
    let paused = server.read(PATH).await;
    assert_eq!((&paused["state"], &paused["pause"]["by"]), (&json!("paused"), &json!("ada")));
    let resumed = done(server.post(&format!("{PATH}/resume"), &json!({"from": "now"})), StatusCode::OK).await;
    assert_eq!(resumed["moved"], json!({"from": 3, "to": 5, "skipped": 2, "repeated": 0}));
    publish(&server, 105).await;
    until_deliveries(&server, 3).await;
    let replay = json!({"after": 3, "to": 4});
    done(server.post(&format!("{CONSUMER}/replay"), &replay), StatusCode::CREATED).await;
    let jobs = until_deliveries(&server, 4).await;
    let sequences: Vec<&Value> = jobs.iter().map(|job| &job["parameters"]["sequence"]).collect();
    assert_eq!(sequences, [1, 3, 6, 4]);
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_that_belongs_to_something_is_changed_with_that() {
    let server = started().await;
    done(server.put(PATH, &shop()), StatusCode::CREATED).await;
    let of_events = json!({"steps": {"a": {"job": "a.b"}}, "triggers": [{"event": "order.paid"}]});
    done(server.put("/v1/workflows/publish", &of_events), StatusCode::CREATED).await;
    let of_workflow = "/v1/consumers/workflow:publish";
    for path in [CONSUMER, of_workflow] {
        assert_eq!(format!("/v1/consumers/{}", server.read(path).await["name"].as_str().unwrap()), path);
        let settings = json!({"subjects": ["a"], "then": {"job": {"type": "a.b"}}});
        for request in [server.put(path, &settings), server.delete(path)] {
            assert_eq!(refused(request).await.0, "consumer-belongs");
        }
    }
    let (code, detail) = refused(server.post_empty(&format!("{of_workflow}/pause"))).await;
    assert_eq!(code, "consumer-belongs");
    assert_eq!(
        detail,
        "the consumer workflow:publish belongs to the workflow publish: it goes by /v1/workflows/publish"
    );
    done(server.post(&format!("{CONSUMER}/seek"), &json!({"to": "oldest"})), StatusCode::OK).await;
    assert_eq!(server.read("/v1/consumers").await, json!({"consumers": []}), "they are listed with theirs");
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_may_deliver_to_a_webhook_that_somebody_set() {
    let server = started().await;
    let settings = json!({"subjects": ["order.paid"], "then": {"webhook": "shop"}});
    let path = "/v1/consumers/also";
    let made = done(server.put(path, &settings), StatusCode::CREATED).await;
    assert_eq!(made["then"], settings["then"]);
    publish(&server, 1).await;
    server.until(async || server.read(path).await["state"] == "full").await;
    let reason = &server.read(path).await["reason"];
    assert_eq!(reason, "it does not get on: there is no webhook shop: make it, or set another");
    done(server.put(PATH, &shop()), StatusCode::CREATED).await;
    let jobs = until_deliveries(&server, 1).await;
    assert_eq!(jobs[0]["parameters"]["webhook"], "shop");
    server.stop().await;
}

#[tokio::test]
async fn nobody_else_makes_jobs_of_our_types() {
    let server = started().await;
    let job = json!({"type": "crewcall.webhook", "parameters": {}});
    let consumer = json!({"subjects": ["a"], "then": {"job": job}});
    let schedule = json!({"every_seconds": 60, "job": job});
    let workflow = json!({"steps": {"a": {"job": "crewcall.webhook"}}});
    for (request, code, pointer) in [
        (server.post("/v1/jobs", &job), "invalid-submission", "/type"),
        (server.put("/v1/consumers/a", &consumer), "invalid-consumer", "/then/job/type"),
        (server.put("/v1/schedules/a", &schedule), "invalid-schedule", "/job/type"),
        (server.put("/v1/workflows/a", &workflow), "invalid-workflow", "/steps/a/job"),
    ] {
        let problem = problem(request).await;
        assert_eq!(problem["code"], code);
        let errors = problem["errors"].as_array().unwrap();
        let told = errors.iter().find(|error| error["pointer"] == pointer).unwrap_or(&Value::Null);
        let message = "the type crewcall.webhook is reserved: types that begin with \"crewcall\" are the backend's own; give yours another name";
        assert_eq!(told["message"], message, "{problem}");
    }
    server.announce("crewcall.webhook", json!({"type": "object"})).await;
    assert_eq!(problem(server.get("/v1/types/crewcall.webhook")).await["code"], "type-not-found");
    server.stop().await;
}
