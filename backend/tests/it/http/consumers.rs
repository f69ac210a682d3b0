//! Consumers: an event makes a job.

use crewcall_backend::domain::cause::DEPTH_MAX_DEFAULT;
use crewcall_proto::JobId;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{Server, answer, problem};

const PATH: &str = "/v1/consumers/invoices";

async fn started() -> Server {
    let server = Server::start().await;
    server.run();
    server
}

async fn publish(server: &Server, subject: &str, data: Value) -> u64 {
    let response = answer(server.post("/v1/events", &json!({"subject": subject, "data": data}))).await;
    response.json::<Value>().await.unwrap()["sequence"].as_u64().unwrap()
}

fn settings() -> Value {
    json!({
        "subjects": ["order.*"],
        "if": "event.data.total > 100",
        "then": {"job": {
            "type": "invoice.render",
            "parameters": {"order": "${{ event.data.id }}", "title": "Order ${{ event.data.id }}", "all": "${{ event }}"},
            "labels": {"order": "${{ event.data.id }}"},
            "max_attempts": 2,
        }},
    })
}

async fn put(server: &Server, settings: &Value) -> Value {
    let response = answer(server.put(PATH, settings)).await;
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}

async fn state(server: &Server) -> (String, u64, u64) {
    let consumer = server.read(PATH).await;
    let number = |field: &str| consumer[field].as_u64().unwrap();
    (consumer["state"].as_str().unwrap().to_owned(), number("cursor"), number("in_flight"))
}

/// Waits until the consumer has this state, place and number of unfinished jobs.
async fn until(server: &Server, expected: (&str, u64, u64)) {
    let expected = (expected.0.to_owned(), expected.1, expected.2);
    server.until(async || state(server).await == expected).await;
}

/// Waits until there are so many jobs of the type and the last is dispatched, and returns that.
async fn dispatched(server: &Server, job_type: &str, number: usize) -> Value {
    let is_there = async || {
        let jobs = jobs(server, job_type).await;
        jobs.len() == number && jobs[number - 1]["state"] == "dispatched"
    };
    server.until(is_there).await;
    jobs(server, job_type).await.pop().unwrap()
}

/// The jobs of a type, oldest first.
async fn jobs(server: &Server, job_type: &str) -> Vec<Value> {
    let list = server.read(&format!("/v1/jobs?type={job_type}&limit=500")).await;
    let mut jobs = list["jobs"].as_array().unwrap().clone();
    jobs.reverse();
    jobs
}

fn id_of(job: &Value) -> JobId {
    job["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_event_makes_a_job() {
    let server = started().await;
    let made = answer(server.put(PATH, &settings())).await;
    assert_eq!((made.status(), made.headers()["location"].to_str().unwrap()), (StatusCode::CREATED, PATH));
    publish(&server, "order.paid", json!({"id": 9_007_199_254_740_993_u64, "total": 250.5})).await;
    publish(&server, "order.paid", json!({"id": "cheap", "total": 1})).await;
    publish(&server, "user.created", json!({"id": "other", "total": 250})).await;
    until(&server, ("following", 3, 1)).await;
    let jobs = jobs(&server, "invoice.render").await;
    assert_eq!(jobs.len(), 1);
    let mut job = server.read(&format!("/v1/jobs/{}", id_of(&jobs[0]))).await;
    let recorded_at = job["parameters"]["all"]["recorded_at"].take();
    assert!(recorded_at.as_str().unwrap().ends_with('Z'));
    assert_eq!((&job["labels"], &job["max_attempts"]), (&json!({"order": "9007199254740993"}), &json!(2)));
    assert_eq!(
        job["cause"],
        json!({"consumer": "invoices", "event": 1, "pass": 1, "root": "event 1", "depth": 1})
    );
    insta::assert_json_snapshot!("filled_parameters", job["parameters"]);
    let mut consumer = put(&server, &settings()).await;
    for field in ["created_at", "changed_at"] {
        consumer[field] = json!("then");
    }
    insta::assert_json_snapshot!("consumer", consumer);
    assert_eq!(server.read("/v1/consumers").await["consumers"].as_array().unwrap().len(), 1);
    assert_eq!(answer(server.delete(PATH)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(server.get(PATH)).await["code"], "consumer-not-found");
    publish(&server, "order.paid", json!({"id": 1, "total": 250})).await;
    assert_eq!(server.read("/v1/consumers").await, json!({"consumers": []}));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_filled_in_is_a_failed_job_and_blocks_nobody() {
    let server = started().await;
    server
        .announce("invoice.render", json!({"type": "object", "properties": {"order": {"type": "string"}}}))
        .await;
    put(&server, &settings()).await;
    publish(&server, "order.paid", json!({"total": 101})).await;
    publish(&server, "order.paid", json!({"id": 7, "total": 101})).await;
    publish(&server, "order.paid", json!({"id": "x".repeat(257), "total": 101})).await;
    publish(&server, "order.paid", json!({"total": "much"})).await;
    publish(&server, "order.paid", json!({"id": "a", "total": 101})).await;
    until(&server, ("following", 5, 1)).await;
    let jobs = jobs(&server, "invoice.render").await;
    let ends: Vec<_> =
        jobs.iter().map(|job| (job["state"].as_str().unwrap(), &job["error"]["code"])).collect();
    let (unfilled, unfit) = (json!("unfilled"), json!("unfit"));
    assert_eq!(ends[..3], [("failed", &unfilled), ("failed", &unfit), ("failed", &unfilled)]);
    assert_ne!(ends[3].0, "failed");
    insta::assert_json_snapshot!("unfilled", jobs[0]["error"]);
    let refused = problem(server.post_empty(&format!("/v1/jobs/{}/retry", id_of(&jobs[0])))).await;
    assert_eq!(refused["code"], "job-not-retryable");
    let retried = answer(server.post_empty(&format!("/v1/jobs/{}/retry", id_of(&jobs[1])))).await;
    assert_eq!(retried.status(), StatusCode::OK);
    let errors = &server.read(PATH).await["condition_errors"];
    assert_eq!((&errors["count"], &errors["last"][0]["sequence"]), (&json!(1), &json!(4)));
    let metrics = answer(server.get("/metrics")).await.text().await.unwrap();
    for line in [
        r#"crewcall_consumer_jobs_total{consumer="invoices",outcome="made"} 1"#,
        r#"crewcall_consumer_jobs_total{consumer="invoices",outcome="invalid_parameters"} 3"#,
        r#"crewcall_consumer_condition_errors_total{consumer="invoices"} 1"#,
        r#"crewcall_consumer_refused_total{consumer="invoices"} 0"#,
        r#"crewcall_consumer_in_flight{consumer="invoices"} 2"#,
        r#"crewcall_consumer_lag_events{consumer="invoices"} 0"#,
        r#"crewcall_consumer_lag_seconds{consumer="invoices"} 0"#,
        r#"crewcall_consumer_state{consumer="invoices",state="following"} 1"#,
        r#"crewcall_consumer_state{consumer="invoices",state="paused"} 0"#,
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}\n{metrics}");
    }
    answer(server.delete(PATH)).await;
    let metrics = answer(server.get("/metrics")).await.text().await.unwrap();
    assert!(!metrics.contains("invoices"), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_consumer_is_refused_with_every_problem() {
    let server = started().await;
    let wrong = json!({
        "subjects": [],
        "if": "event.data.total >",
        "then": {"job": {
            "type": "Bad", "parameters": {"a": ["${{ evnt.data }}"], "b": "${{ event.data"}, "labels": {"k": "${{ event. }}"}, "max_attempts": 0,
        }},
        "in_flight_max": 10_001,
    });
    insta::assert_json_snapshot!("no_consumer", problem(server.put(PATH, &wrong)).await);
    assert_eq!(problem(server.put("/v1/consumers/In", &settings())).await["code"], "consumer-not-found");
    let begins = |start: Value| {
        let mut settings = settings();
        settings["start"] = start;
        settings
    };
    let beyond = problem(server.put(PATH, &begins(json!({"after": 1})))).await;
    assert_eq!((&beyond["code"], &beyond["status"]), (&json!("invalid-request"), &json!(422)));
    put(&server, &begins(json!("oldest"))).await;
    put(&server, &begins(json!("oldest"))).await;
    let elsewhere = problem(server.put(PATH, &begins(json!("now")))).await;
    assert_eq!((&elsewhere["code"], &elsewhere["status"]), (&json!("consumer-has-begun"), &json!(409)));
    for (verb, body) in [
        ("seek", json!({})),
        ("seek", json!({"to": "then"})),
        ("seek", json!({"to": {"after": 9}})),
        ("replay", json!({"after": 1})),
        ("replay", json!({"after": 3, "to": 2})),
        ("replay", json!({"after": 0, "to": 9})),
        ("resume", json!({"from": "oldest"})),
        ("pause", json!({"why": 1})),
    ] {
        let refused = problem(server.post(&format!("{PATH}/{verb}"), &body)).await;
        assert_eq!(
            (&refused["code"], &refused["status"]),
            (&json!("invalid-request"), &json!(422)),
            "{verb} {body}: {refused}"
        );
    }
    assert_eq!(problem(server.post_empty("/v1/consumers/none/pause")).await["code"], "consumer-not-found");
    server.stop().await;
}

#[tokio::test]
async fn one_after_the_other_in_the_order_of_the_log() {
    let server = started().await;
    server.connect();
    let settings = json!({"subjects": ["#"], "in_flight_max": 1, "then": {"job": {"type": "a", "parameters": {"n": "${{ event.data }}"}}}});
    put(&server, &settings).await;
    for number in 0..4 {
        publish(&server, "x", json!(number)).await;
    }
    for number in 0..4_u64 {
        let job = dispatched(&server, "a", usize::try_from(number + 1).unwrap()).await;
        assert_eq!(job["parameters"]["n"], json!(number));
        // The ends of the jobs before are events, too, which it selects as well.
        assert_eq!(state(&server).await, ("full".to_owned(), number + 1, 1));
        server.complete(id_of(&job), json!({})).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_is_paused_moved_and_replayed() {
    let server = started().await;
    put(&server, &settings()).await;
    let paused =
        answer(server.post(&format!("{PATH}/pause"), &json!({"by": "anna", "reason": "the printer burns"})))
            .await;
    let paused: Value = paused.json().await.unwrap();
    assert_eq!((&paused["state"], &paused["pause"]["by"]), (&json!("paused"), &json!("anna")));
    for number in 1..=3 {
        publish(&server, "order.paid", json!({"id": number, "total": 200})).await;
    }
    let waiting = server.read(PATH).await;
    assert_eq!((&waiting["lag_events"], &waiting["cursor"]), (&json!(3), &json!(0)));
    assert_eq!(waiting["reason"], "anna paused it: the printer burns; 3 events wait for it");
    assert_eq!(jobs(&server, "invoice.render").await.len(), 0);
    let resumed: Value =
        answer(server.post(&format!("{PATH}/resume"), &json!({"from": "now"}))).await.json().await.unwrap();
    assert_eq!(resumed["moved"], json!({"from": 0, "to": 3, "skipped": 3, "repeated": 0}));
    let sought: Value = answer(server.post(&format!("{PATH}/seek"), &json!({"to": {"after": 1}})))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(sought["moved"], json!({"from": 3, "to": 1, "skipped": 0, "repeated": 2}));
    until(&server, ("following", 3, 2)).await;
    let replay = || {
        server
            .post(&format!("{PATH}/replay"), &json!({"after": 0, "to": 2, "by": "ben"}))
            .header("idempotency-key", "k1")
    };
    let asked = answer(replay()).await;
    assert_eq!(asked.status(), StatusCode::CREATED);
    let again = answer(replay()).await;
    assert_eq!(
        (again.status(), again.headers()["idempotency-replayed"].to_str().unwrap()),
        (StatusCode::OK, "true")
    );
    until(&server, ("following", 3, 4)).await;
    let orders: Vec<Value> =
        jobs(&server, "invoice.render").await.iter().map(|job| job["parameters"]["order"].clone()).collect();
    assert_eq!(orders.iter().filter(|order| **order == json!(2)).count(), 2, "{orders:?}");
    assert_eq!(orders.iter().filter(|order| **order == json!(1)).count(), 1, "{orders:?}");
    let replays = server.read(PATH).await["replays"].clone();
    assert_eq!((&replays[0]["cursor"], replays.as_array().unwrap().len()), (&json!(2), 1));
    assert!(replays[0]["finished_at"].is_string());
    let since = json!({"to": {"since": "2100-01-01T00:00:00Z"}});
    let sought: Value = answer(server.post(&format!("{PATH}/seek"), &since)).await.json().await.unwrap();
    assert_eq!(sought["moved"]["to"], 3);
    let since = json!({"to": {"since": "2000-01-01T00:00:00Z"}});
    let sought: Value = answer(server.post(&format!("{PATH}/seek"), &since)).await.json().await.unwrap();
    assert_eq!(sought["moved"]["to"], 0);
    server.stop().await;
}

#[tokio::test]
async fn a_circle_comes_to_an_end() {
    let server = started().await;
    let settings = json!({"subjects": ["job.completed.*"], "then": {"job": {"type": "a", "parameters": {"of": "${{ event.data.job_id }}"}}}});
    put(&server, &settings).await;
    let first = server.submit_dispatched("a").await;
    let mut last = first;
    for made in 1..=DEPTH_MAX_DEFAULT {
        server.complete(last, json!({})).await;
        let job = dispatched(&server, "a", usize::try_from(made + 1).unwrap()).await;
        assert_eq!(job["parameters"]["of"], json!(last.to_string()));
        last = id_of(&job);
        let cause = &server.read(&format!("/v1/jobs/{last}")).await["cause"];
        assert_eq!((&cause["depth"], &cause["root"]), (&json!(made), &json!(format!("job {first}"))));
    }
    server.complete(last, json!({})).await;
    server.until(async || server.read(PATH).await["refused"]["count"] == 1).await;
    let refused = server.read(PATH).await["refused"]["last"][0].clone();
    let chain = refused["chain"].as_array().unwrap();
    assert_eq!(chain.len(), 2 * usize::try_from(DEPTH_MAX_DEFAULT + 1).unwrap(), "{refused}");
    assert_eq!((&chain[0], &chain[1]), (&json!(format!("job {first}")), &json!("event 1")));
    assert_eq!(jobs(&server, "a").await.len(), 17);
    let event = server.read(&format!("/v1/events/{}", refused["sequence"])).await;
    assert_eq!(
        event["origin"],
        json!({"job_id": last.to_string(), "root": format!("job {first}"), "depth": 16})
    );
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_whose_events_are_deleted_is_stranded() {
    let server = started().await;
    put(&server, &settings()).await;
    answer(server.post_empty(&format!("{PATH}/pause"))).await;
    for number in 1..=3 {
        publish(&server, "order.paid", json!({"id": number, "total": 200})).await;
    }
    let none = std::time::Duration::ZERO;
    server.store.delete_events(none, none, 2).await.unwrap();
    answer(server.post_empty(&format!("{PATH}/resume"))).await;
    let stranded = server.read(PATH).await;
    assert_eq!(stranded["state"], "stranded", "{stranded}");
    assert!(stranded["reason"].as_str().unwrap().starts_with("2 events behind 0 are deleted"), "{stranded}");
    publish(&server, "order.paid", json!({"id": 4, "total": 200})).await;
    let gone = problem(server.post(&format!("{PATH}/seek"), &json!({"to": {"after": 1}}))).await;
    assert_eq!((&gone["code"], &gone["status"]), (&json!("events-gone"), &json!(410)));
    assert_eq!(jobs(&server, "invoice.render").await.len(), 0);
    answer(server.post(&format!("{PATH}/seek"), &json!({"to": "oldest"}))).await;
    until(&server, ("following", 4, 2)).await;
    server.stop().await;
}
