//! Hooks over HTTP: how they are set, and what becomes of what others deliver to them.

use crewcall_webhooks::{MessageId, Signature, SigningSecret};
use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::server::{Options, Server, answer, problem, sorted};

const PATH: &str = "/v1/hooks/github";

const SHARED: &str = "It's a Secret to Everybody";

const BODY: &str = r#"{"action":"opened","number":7}"#;

/// By `printf '{"action":"opened","number":7}' | openssl dgst -sha256 -hmac "It's a Secret to Everybody"`.
const SIGNED: &str = "sha256=34fd4221cb1c8b95d142c6dc81775bb15fcd403d46608fdf114c11b6a0f525c5";

fn github() -> Value {
    json!({"verify": {"hmac_sha256": {
        "header": "X-Hub-Signature-256", "secret": SHARED, "prefix": "sha256=", "encoding": "hex",
        "delivery_id_header": "X-GitHub-Delivery",
    }}})
}

fn standard() -> Value {
    json!({"verify": {"standard": {}}})
}

async fn done(request: RequestBuilder, status: StatusCode) -> Value {
    let response = answer(request).await;
    let found = response.status();
    let body = response.text().await.unwrap();
    assert_eq!(found, status, "{body}");
    sorted(serde_json::from_str(&body).unwrap())
}

/// The code, the status, and what is said.
async fn refused(request: RequestBuilder) -> (String, u64, String) {
    let problem = problem(request).await;
    let text = |field: &str| problem[field].as_str().unwrap().to_owned();
    (text("code"), problem["status"].as_u64().unwrap(), text("detail"))
}

/// A hook of Standard Webhooks, with its secret.
async fn standard_hook(server: &Server) -> SigningSecret {
    let made = done(server.put(PATH, &standard()), StatusCode::CREATED).await;
    SigningSecret::parse(made["secret"].as_str().unwrap()).unwrap()
}

/// The headers of a message that was signed so many seconds ago.
fn signed(server: &Server, id: &str, body: &str, secret: &SigningSecret, seconds_ago: i64) -> HeaderMap {
    let at = server.clock.wall().as_millis().div_euclid(1_000) - seconds_ago;
    Signature::new(&MessageId::new(id).unwrap(), at, body.as_bytes(), secret, None).headers()
}

/// As another service sends it: no type is needed, and nothing else than its own headers.
fn deliver(server: &Server, body: &str, headers: HeaderMap) -> RequestBuilder {
    server.post_empty(PATH).body(body.to_owned()).headers(headers)
}

fn deliver_github(server: &Server, body: &str, headers: &[(&'static str, &str)]) -> RequestBuilder {
    let header = |(name, value): &(&'static str, &str)| ((*name).parse().unwrap(), value.parse().unwrap());
    deliver(server, body, headers.iter().map(header).collect())
}

async fn published(server: &Server) -> Vec<Value> {
    server.read("/v1/events").await["events"].as_array().unwrap().clone()
}

/// How often deliveries ended in this way.
async fn counted(server: &Server, outcome: &str) -> f64 {
    let text = answer(server.get("/metrics")).await.text().await.unwrap();
    let series = format!("crewcall_hook_deliveries_total{{hook=\"github\",outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hook_is_set_shown_and_deleted() {
    let server = Server::start().await;
    let made = answer(server.put(PATH, &github())).await;
    assert_eq!((made.status(), made.headers()["location"].to_str().unwrap()), (StatusCode::CREATED, PATH));
    let mut shown = server.read(PATH).await;
    for field in ["created_at", "changed_at"] {
        shown[field] = json!("…");
    }
    insta::assert_json_snapshot!("hook", shown);
    let mut again = github();
    again["verify"]["hmac_sha256"]["secret"] = Value::Null;
    assert_eq!(done(server.put(PATH, &again), StatusCode::OK).await["revision"], 1, "it keeps its secret");
    again["verify"]["hmac_sha256"]["prefix"] = json!("v1=");
    assert_eq!(done(server.put(PATH, &again), StatusCode::OK).await["revision"], 2);
    let listed = server.read("/v1/hooks").await;
    assert_eq!(listed["hooks"][0]["name"], "github");
    assert_eq!(answer(server.delete(PATH)).await.status(), StatusCode::NO_CONTENT);
    let unknown = "there is no hook \"github\"; /v1/hooks lists those that there are";
    let expected = ("hook-not-found".to_owned(), 404, unknown.to_owned());
    let rotate = format!("{PATH}/rotate");
    for request in
        [server.get(PATH), server.delete(PATH), server.post_empty(PATH), server.post_empty(&rotate)]
    {
        assert_eq!(refused(request).await, expected);
    }
    assert_eq!(refused(server.put("/v1/hooks/GitHub", &github())).await.0, "hook-not-found");
    assert_eq!(server.read("/v1/hooks").await, json!({"hooks": []}));
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_hook_is_refused_with_every_problem() {
    let server = Server::start().await;
    let mut told = Vec::new();
    for body in [
        json!({"verify": {"standard": {"secret": "whsec_c2hvcnQ"}}}),
        json!({"verify": {"standard": {"secret": SHARED}}}),
        json!({"verify": {"hmac_sha256": {"header": "x-signature"}}}),
        json!({"verify": {"hmac_sha256": {"header": "two words", "secret": "short", "prefix": "a b", "delivery_id_header": ""}}}),
    ] {
        let problem = problem(server.put(PATH, &body)).await;
        assert_eq!((&problem["code"], &problem["status"]), (&json!("invalid-hook"), &json!(422)));
        assert!(!problem.to_string().contains(SHARED), "{problem}");
        told.push(problem["errors"].clone());
    }
    insta::assert_json_snapshot!("no_hook", told);
    assert_eq!(server.read("/v1/hooks").await, json!({"hooks": []}));
    server.stop().await;
}

#[tokio::test]
async fn what_a_standard_sender_delivers_is_an_event_once() {
    let server = Server::start().await;
    let secret = standard_hook(&server).await;
    let first = deliver(&server, BODY, signed(&server, "msg_1", BODY, &secret, 299));
    let response = answer(first).await;
    assert_eq!(response.headers()["location"], "/v1/events/1");
    assert_eq!(response.status(), StatusCode::CREATED);
    let expected = json!({"sequence": 1, "subject": "hook.github", "id": "hook:github:msg_1"});
    assert_eq!(response.json::<Value>().await.unwrap(), expected);
    // It is tried again later, and the sender writes it anew.
    for body in [BODY, r#"{"action":"opened","number":7,"attempt":2}"#] {
        let again = answer(deliver(&server, body, signed(&server, "msg_1", body, &secret, 0))).await;
        assert_eq!(
            (again.status(), &again.headers()["idempotency-replayed"]),
            (StatusCode::OK, &"true".parse().unwrap())
        );
        assert_eq!(again.json::<Value>().await.unwrap(), expected);
    }
    let other =
        deliver(&server, " {\"a\":\n[1.5]} ", signed(&server, "msg_2", " {\"a\":\n[1.5]} ", &secret, 0));
    assert_eq!(done(other, StatusCode::CREATED).await["sequence"], 2);
    let events = published(&server).await;
    assert_eq!(events.len(), 2);
    assert_eq!(
        (&events[0]["subject"], &events[0]["data"]),
        (&json!("hook.github"), &json!({"action": "opened", "number": 7}))
    );
    assert_eq!((&events[1]["id"], &events[1]["data"]), (&json!("hook:github:msg_2"), &json!({"a": [1.5]})));
    assert_eq!((counted(&server, "accepted").await, counted(&server, "repeated").await), (2.0, 2.0));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_verified_is_refused_and_not_recorded() {
    let server = Server::start().await;
    let secret = standard_hook(&server).await;
    let mut told = Vec::new();
    let mut told_of = async |request: RequestBuilder| {
        let (code, status, detail) = refused(request).await;
        assert_eq!((code.as_str(), status), ("hook-unverified", 401), "{detail}");
        told.push(detail);
    };
    told_of(deliver(&server, BODY, HeaderMap::new())).await;
    told_of(deliver(&server, "{}", signed(&server, "msg_1", BODY, &secret, 0))).await;
    told_of(deliver(&server, BODY, signed(&server, "msg_1", BODY, &SigningSecret::random(), 0))).await;
    let mut other_id = signed(&server, "msg_1", BODY, &secret, 0);
    other_id.insert("webhook-id", "msg_2".parse().unwrap());
    told_of(deliver(&server, BODY, other_id)).await;
    // What is not JSON is not looked at before it is known from whom it is.
    told_of(deliver(&server, "{", signed(&server, "msg_1", BODY, &secret, 0))).await;
    insta::assert_snapshot!("unverified", told.join("\n"));
    for (seconds_ago, expected) in [(3_600, "the message is 360"), (-3_600, "the message is from 3")] {
        let headers = signed(&server, "msg_1", BODY, &secret, seconds_ago);
        let (code, status, detail) = refused(deliver(&server, BODY, headers)).await;
        assert_eq!((code.as_str(), status), ("hook-unverified", 401));
        assert!(detail.starts_with(expected), "{detail}");
    }
    let challenged = answer(deliver(&server, BODY, HeaderMap::new())).await;
    assert_eq!(challenged.headers()["www-authenticate"], "Webhook-Signature");
    assert!(published(&server).await.is_empty());
    assert_eq!((counted(&server, "unverified").await, counted(&server, "accepted").await), (8.0, 0.0));
    server.stop().await;
}

#[tokio::test]
async fn a_delivery_as_github_sends_it_is_an_event_once() {
    let server = Server::start().await;
    done(server.put(PATH, &github()), StatusCode::CREATED).await;
    let headers = [("x-hub-signature-256", SIGNED), ("x-github-delivery", "72d3162e-cc78")];
    let made = done(deliver_github(&server, BODY, &headers), StatusCode::CREATED).await;
    assert_eq!(made["id"], "hook:github:72d3162e-cc78");
    assert_eq!(done(deliver_github(&server, BODY, &headers), StatusCode::OK).await, made);
    // Without an id, it is known by its body.
    let made = done(deliver_github(&server, BODY, &headers[..1]), StatusCode::CREATED).await;
    let hash = "0e565e2371f3aeb03a64d01213e3ff4e39fb9517721d566e63ef15a3bd76b983";
    assert_eq!(made["id"], format!("hook:github:{hash}"));
    assert_eq!(done(deliver_github(&server, BODY, &headers[..1]), StatusCode::OK).await, made);
    let bare = SIGNED.trim_start_matches("sha256=");
    for (headers, expected) in [
        (vec![], "the header x-hub-signature-256 is missing"),
        (
            vec![("x-hub-signature-256", bare)],
            "the header x-hub-signature-256 is malformed: it does not begin with the prefix that the settings name",
        ),
        (
            vec![("x-hub-signature-256", SIGNED), ("x-github-delivery", "two words")],
            "the header x-github-delivery is malformed: an id has no spaces",
        ),
    ] {
        let (code, _, detail) = refused(deliver_github(&server, BODY, &headers)).await;
        assert_eq!((code.as_str(), detail.as_str()), ("hook-unverified", expected));
    }
    assert_eq!(published(&server).await.len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn what_a_known_sender_delivers_and_is_no_event_is_told() {
    let server = Server::start().await;
    let secret = standard_hook(&server).await;
    let send = |id: &str, body: &str| deliver(&server, body, signed(&server, id, body, &secret, 0));
    let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
    for (body, expected) in [
        ("payload=%7B%7D", "the body is not JSON: "),
        ("null", "the body is null: an event has data"),
        (r#"{"a":18446744073709551616}"#, "/a: the number 18446744073709551616 would not arrive"),
        (&deep, "the body nests deeper than 32 levels"),
    ] {
        let (code, status, detail) = refused(send("msg_1", body)).await;
        assert_eq!((code.as_str(), status), ("invalid-delivery", 422));
        assert!(detail.starts_with(expected), "{detail}");
    }
    let large = format!("\"{}\"", "x".repeat(256 * 1024 - 1));
    assert_eq!(refused(send("msg_1", &large)).await.0, "body-too-large");
    // What was refused takes no id, and what somebody else published under one is none of the hook's.
    done(send("msg_1", &large[1..].replace('x', " ").replace('"', "1")), StatusCode::CREATED).await;
    let elsewhere = json!({"subject": "order.paid", "data": 1, "id": "hook:github:msg_2"});
    done(server.post("/v1/events", &elsewhere), StatusCode::CREATED).await;
    let (code, status, _) = refused(send("msg_2", BODY)).await;
    assert_eq!((code.as_str(), status), ("event-id-reused", 422));
    assert_eq!(counted(&server, "invalid").await, 5.0);
    // Nobody else can publish in its name.
    let forged = json!({"subject": "hook.github", "data": 1});
    assert_eq!(refused(server.post("/v1/events", &forged)).await.0, "invalid-event");
    server.stop().await;
}

#[tokio::test]
async fn a_rotated_secret_is_told_once_and_the_one_before_still_counts() {
    let server = Server::start().await;
    let first = standard_hook(&server).await;
    let rotate = format!("{PATH}/rotate");
    let rotated = done(server.post_empty(&rotate), StatusCode::OK).await;
    let second = SigningSecret::parse(rotated["secret"].as_str().unwrap()).unwrap();
    assert_ne!(first.reveal(), second.reveal());
    assert_eq!(rotated["fingerprint"], json!(second.fingerprint()));
    assert_eq!(rotated["retiring"]["fingerprint"], json!(first.fingerprint()));
    for (id, secret) in [("msg_1", &first), ("msg_2", &second)] {
        done(deliver(&server, BODY, signed(&server, id, BODY, secret, 0)), StatusCode::CREATED).await;
    }
    let (code, status, detail) = refused(server.post_empty(&rotate)).await;
    assert_eq!((code.as_str(), status), ("hook-not-rotatable", 409));
    assert!(detail.starts_with("the secret was rotated a short time ago"), "{detail}");
    // One that leaked goes at once.
    let own = json!({"verify": {"standard": {"secret": second.reveal()}}});
    assert_eq!(done(server.put(PATH, &own), StatusCode::OK).await["revision"], 2, "it is the same");
    let third = SigningSecret::random();
    let own = json!({"verify": {"standard": {"secret": third.reveal()}}});
    let put = done(server.put(PATH, &own), StatusCode::OK).await;
    assert_eq!((&put["retiring"], &put["secret"]), (&Value::Null, &Value::Null));
    for old in [&first, &second] {
        let headers = signed(&server, "msg_3", BODY, old, 0);
        assert_eq!(refused(deliver(&server, BODY, headers)).await.0, "hook-unverified");
    }
    done(deliver(&server, BODY, signed(&server, "msg_3", BODY, &third, 0)), StatusCode::CREATED).await;
    done(server.put(PATH, &github()), StatusCode::OK).await;
    assert_eq!(refused(server.post_empty(&rotate)).await.0, "hook-not-rotatable");
    server.stop().await;
}

#[tokio::test]
async fn a_secret_is_in_no_answer_but_the_first() {
    let server = Server::start().await;
    let secret = standard_hook(&server).await.reveal();
    done(server.put("/v1/hooks/other", &github()), StatusCode::CREATED).await;
    let again = server.put(PATH, &standard());
    let requests = [
        server.get(PATH),
        server.get("/v1/hooks"),
        server.get("/v1/hooks/other"),
        again,
        server.post_empty(PATH),
        server.put("/v1/hooks/other", &github()),
        server.get("/metrics"),
        server.delete(PATH),
    ];
    for request in requests {
        let text = answer(request).await.text().await.unwrap();
        assert!(!text.contains("whsec_") && !text.contains(&secret[6..]) && !text.contains(SHARED), "{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_sender_asks_by_a_name_that_the_operator_listed_and_is_no_page() {
    let options = Options { http_hosts: Some("hooks.example.org"), ..Options::default() };
    let server = Server::start_with(options).await;
    done(server.put(PATH, &github()), StatusCode::CREATED).await;
    let send = |host: &str| {
        let headers = [("x-hub-signature-256", SIGNED), ("x-github-delivery", "1"), ("host", host)];
        deliver_github(&server, BODY, &headers)
    };
    assert_eq!(refused(send("other.example.org")).await.0, "host-not-allowed");
    let page = send("hooks.example.org").header("origin", "https://evil.example");
    assert_eq!(refused(page).await.0, "cross-site", "also with a signature");
    assert!(published(&server).await.is_empty());
    done(send("hooks.example.org"), StatusCode::CREATED).await;
    server.stop().await;
}
