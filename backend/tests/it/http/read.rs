//! Reading jobs, lists, workers and types.

use std::collections::BTreeSet;

use crewcall_backend::engine::ports::BrokerStatus;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::server::{PATIENCE, Server, WORKER, answer, problem};

fn ids(list: &Value) -> Vec<String> {
    list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_is_paged_without_a_gap_while_jobs_come_in() {
    let server = Server::start().await;
    let mut before = BTreeSet::new();
    for number in 0..7 {
        before.insert(
            server.submit(json!({"type": "a", "labels": {"number": number.to_string()}})).await.to_string(),
        );
    }
    let mut path = "/v1/jobs?limit=3&type=a*".to_owned();
    let mut seen = Vec::new();
    loop {
        let response = answer(server.get(&path)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        assert!(ids(&page).len() <= 3);
        seen.extend(ids(&page));
        server.submit(json!({"type": "a"})).await;
        assert_eq!(link.is_some(), page["next_cursor"].is_string());
        let Some(link) = link else { break };
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        assert!(path.contains("limit=3") && path.contains(page["next_cursor"].as_str().unwrap()), "{path}");
    }
    let mut newest_first = seen.clone();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(seen, newest_first);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), before, "what came in later is not on later pages");
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_large_jobs_ends_early_and_goes_on_at_its_cursor() {
    let server = Server::start().await;
    let mut before = BTreeSet::new();
    for _ in 0..75 {
        let large = json!({"type": "a", "parameters": {"x": "y".repeat(250_000)}});
        before.insert(server.submit(large).await.to_string());
    }
    let (mut path, mut seen) = ("/v1/jobs?limit=70".to_owned(), Vec::new());
    for expected in [34, 34, 7] {
        let page = server.read(&path).await;
        assert_eq!(ids(&page).len(), expected);
        seen.extend(ids(&page));
        path = format!("/v1/jobs?limit=70&cursor={}", page["next_cursor"].as_str().unwrap_or_default());
    }
    assert_eq!(seen.len(), before.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), before);
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_many_small_jobs_is_full() {
    let server = Server::start().await;
    for _ in 0..130 {
        server.submit(json!({"type": "a"})).await;
    }
    for (limit, expected) in [(64, 64), (65, 65), (129, 129), (130, 130), (500, 130)] {
        let page = server.read(&format!("/v1/jobs?limit={limit}")).await;
        assert_eq!(ids(&page).iter().collect::<BTreeSet<_>>().len(), expected);
        assert_eq!(page["next_cursor"].is_string(), limit < 130, "{limit}");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_filter_of_a_list_filters() {
    let server = Server::start().await;
    let thumbnail =
        server.submit(json!({"type": "image.thumbnail", "labels": {"project": "x", "a.b": "c d"}})).await;
    let checksum = server.submit(json!({"type": "file.checksum", "labels": {"project": "x"}})).await;
    let running = server.submit_dispatched("file.copy").await;
    server.start_job(running).await;
    let created =
        server.read(&format!("/v1/jobs/{checksum}")).await["created_at"].as_str().unwrap().to_owned();
    let (thumbnail, checksum, running) = (thumbnail.to_string(), checksum.to_string(), running.to_string());
    for (query, expected) in [
        ("", vec![&running, &checksum, &thumbnail]),
        ("type=image.thumbnail", vec![&thumbnail]),
        ("type=*.c*", vec![&running, &checksum]),
        ("type=image", vec![]),
        ("state=ready", vec![&checksum, &thumbnail]),
        ("state=running,completed", vec![&running]),
        ("state=ready&state=running&type=file.*", vec![&running, &checksum]),
        ("label.project=x", vec![&checksum, &thumbnail]),
        ("label.project=x&label.a.b=c%20d", vec![&thumbnail]),
        ("label.project=y", vec![]),
        ("limit=1", vec![&running]),
        ("created_before=2020-01-01T00:00:00Z", vec![]),
        ("created_after=2020-01-01T00:00:00%2B01:00&limit=500", vec![&running, &checksum, &thumbnail]),
    ] {
        assert_eq!(
            ids(&server.read(&format!("/v1/jobs?{query}")).await).iter().collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }
    for length in [1, 9, 20, 36] {
        let listed = ids(&server.read(&format!("/v1/jobs?id_prefix={}", &checksum[..length])).await);
        let fit =
            [&running, &checksum, &thumbnail].into_iter().filter(|id| id[..length] == checksum[..length]);
        assert_eq!(listed.iter().collect::<Vec<_>>(), fit.collect::<Vec<_>>(), "{length}");
    }
    let bare = checksum.replace('-', "").to_uppercase();
    assert_eq!(
        ids(&server.read(&format!("/v1/jobs?id_prefix={bare}&state=ready")).await),
        [checksum.as_str()]
    );
    for bad in ["", "x", "%2B1", &format!("{bare}0")] {
        let refused = answer(server.get(&format!("/v1/jobs?id_prefix={bad}"))).await;
        assert_eq!(refused.status(), 400, "{bad}");
    }
    let after = ids(&server.read(&format!("/v1/jobs?created_after={created}")).await);
    let before = ids(&server.read(&format!("/v1/jobs?created_before={created}")).await);
    assert!(after.contains(&checksum) && !before.contains(&checksum));
    assert_eq!(server.read("/v1/jobs").await["jobs"][0].get("attempts"), None, "lists have no attempts");
    server.stop().await;
}

#[tokio::test]
async fn waiting_ends_when_the_job_does() {
    let server = Server::start().await;
    let id = server.submit_dispatched("a").await;
    let wait = server.get(&format!("/v1/jobs/{id}?wait=60")).send();
    let end = async {
        server.start_job(id).await;
        server.complete(id, json!({"bytes": 7})).await;
    };
    // Far less than the 60 s that are asked for.
    let (response, ()) =
        timeout(PATIENCE, async { tokio::join!(wait, end) }).await.expect("it was not woken");
    let job: Value = response.unwrap().json().await.unwrap();
    assert_eq!((&job["state"], &job["result"]), (&json!("completed"), &json!({"bytes": 7})));
    assert_eq!(job["waiting_for"], Value::Null);
    assert_eq!(job["attempts"][0]["outcome"], "completed");
    server.stop().await;
}

#[tokio::test]
async fn waiting_ends_when_the_time_is_up() {
    let server = Server::start().await;
    let id = server.submit(json!({"type": "a"})).await;
    let job = server.read(&format!("/v1/jobs/{id}?wait=1")).await;
    assert_eq!(job["state"], "ready");
    server.stop().await;
}

#[tokio::test]
async fn waiting_ends_when_the_backend_stops() {
    let server = Server::start().await;
    let id = server.submit(json!({"type": "a"})).await;
    let (response, ()) = tokio::join!(server.get(&format!("/v1/jobs/{id}?wait=60")).send(), async {
        server.until_watching(1).await;
        server.stop().await;
    });
    let job: Value = response.unwrap().json().await.unwrap();
    assert_eq!(job["state"], "ready");
}

#[tokio::test]
async fn an_attempt_that_failed_is_in_the_history_and_the_next_is_waited_for() {
    let server = Server::start().await;
    let id = server.submit_dispatched("a").await;
    server.start_job(id).await;
    server.fail(id, true).await;
    let job = server.read(&format!("/v1/jobs/{id}")).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("scheduled"), &json!(2)));
    let (waiting, due) = (&job["waiting_for"], job["due_at"].as_str().unwrap());
    let message = format!("waits until {due} for attempt 2, after: it did not work");
    assert_eq!(*waiting, json!({"reason": "due", "message": message}));
    let error = json!({"kind": "handler", "code": "no_luck", "message": "it did not work", "detail": null});
    assert_eq!(job["error"], error);
    let attempt = &job["attempts"][0];
    assert_eq!((&attempt["attempt"], &attempt["outcome"]), (&json!(1), &json!("handler")));
    assert_eq!((&attempt["worker_id"], &attempt["error"]), (&json!(WORKER), &error));
    server.stop().await;
}

#[tokio::test]
async fn a_job_says_what_it_waits_for() {
    let server = Server::start().await;
    let waits_for = async |id| server.read(&format!("/v1/jobs/{id}")).await["waiting_for"]["reason"].clone();
    let id = server.submit(json!({"type": "a"})).await;
    assert_eq!(waits_for(id).await, "broker");
    server.broker.set(BrokerStatus::Up);
    assert_eq!(waits_for(id).await, "first_worker");
    server.announce("a", json!({})).await;
    assert_eq!(waits_for(id).await, "turn");
    let id = server.submit_dispatched("b").await;
    server.announce("b", json!({})).await;
    assert_eq!(waits_for(id).await, "start");
    server.start_job(id).await;
    assert_eq!(waits_for(id).await, "response");
    assert_eq!(server.read(&format!("/v1/jobs/{id}")).await["worker_id"], WORKER);
    server.stop().await;
}

#[tokio::test]
async fn workers_are_shown_as_they_announced_themselves() {
    let server = Server::start().await;
    assert_eq!(server.read("/v1/workers").await, json!({"workers": []}));
    server.announce("image.thumbnail", json!({})).await;
    let mut list = server.read("/v1/workers").await;
    let one = server.read(&format!("/v1/workers/{WORKER}")).await;
    assert_eq!(list["workers"][0], one);
    for volatile in ["announced_at", "last_seen_at"] {
        assert!(one[volatile].is_string());
        list["workers"][0][volatile] = json!(volatile);
    }
    insta::assert_json_snapshot!("workers", list);
    server.stop().await;
}

#[tokio::test]
async fn types_are_what_was_announced_and_what_has_jobs() {
    let server = Server::start().await;
    server.submit(json!({"type": "nobody.serves.this"})).await;
    server.announce("image.thumbnail", json!({"type": "object"})).await;
    let done = server.submit_dispatched("image.thumbnail").await;
    server.complete(done, json!({})).await;
    server.submit_dispatched("image.thumbnail").await;
    let running = server.submit_dispatched("only.running").await;
    server.start_job(running).await;
    let mut list = server.read("/v1/types").await;
    for entry in list["types"].as_array_mut().unwrap() {
        let name = entry["type"].as_str().unwrap();
        assert_eq!(&server.read(&format!("/v1/types/{name}")).await, entry);
        for volatile in ["oldest_waiting_at", "first_announced_at", "last_announced_at"] {
            if entry[volatile].is_string() {
                entry[volatile] = json!(volatile);
            }
        }
    }
    insta::assert_json_snapshot!("types", list);
    assert_eq!(problem(server.get("/v1/types/image")).await["code"], "type-not-found");
    server.stop().await;
}
