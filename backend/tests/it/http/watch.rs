//! Following jobs by server-sent events.

use std::pin::Pin;

use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::server::{Options, PATIENCE, Server, answer, problem};

/// An open stream of events.
pub(super) struct Watch(Pin<Box<dyn Stream<Item = Event>>>);

impl Watch {
    pub(super) async fn open(request: RequestBuilder) -> Self {
        let response = answer(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(Box::pin(response.bytes_stream().eventsource().map(|event| event.expect("a whole event"))))
    }

    /// The next event; `None` when the server ended the stream.
    pub(super) async fn next(&mut self) -> Option<Event> {
        timeout(PATIENCE, self.0.next()).await.expect("no event came")
    }

    /// The next event's id and data.
    async fn job(&mut self) -> (String, Value) {
        self.named("job").await
    }

    /// The id and the data of the next event, which is called so.
    pub(super) async fn named(&mut self, name: &str) -> (String, Value) {
        let event = self.next().await.expect("the stream ended");
        assert_eq!(event.event, name);
        (event.id, serde_json::from_str(&event.data).unwrap())
    }
}

pub(super) fn resumed(request: RequestBuilder, last_event_id: &str) -> RequestBuilder {
    request.header("last-event-id", last_event_id)
}

#[tokio::test]
async fn a_job_is_followed_to_its_end() {
    let server = Server::start().await;
    let id = server.submit_dispatched("a").await;
    let path = format!("/v1/jobs/{id}/watch");
    let mut watch = Watch::open(server.get(&path)).await;
    let mut versions = vec![watch.job().await.0];
    server.start_job(id).await;
    let (version, job) = watch.job().await;
    assert_eq!((&job["state"], job["version"].to_string()), (&json!("running"), version.clone()));
    versions.push(version);
    server.progress(id, 2, 40).await;
    let (version, job) = watch.job().await;
    assert_eq!((&job["progress"]["percent"], &job["progress"]["message"]), (&json!(40), &json!("step 2")));
    versions.push(version);
    server.complete(id, json!([1])).await;
    let (version, job) = watch.job().await;
    assert_eq!(job, server.read(&format!("/v1/jobs/{id}")).await);
    versions.push(version);
    assert_eq!(watch.next().await, None, "the end of the job is the end of the stream");
    assert!(versions.is_sorted_by_key(|version| version.parse::<u64>().unwrap()), "{versions:?}");

    let mut again = Watch::open(resumed(server.get(&path), &versions[2])).await;
    assert_eq!(again.job().await.0, versions[3]);
    assert_eq!(again.next().await, None);
    let seen = answer(resumed(server.get(&path), &versions[3])).await;
    assert_eq!(seen.status(), StatusCode::NO_CONTENT, "which keeps a browser from coming back");
    server.stop().await;
}

#[tokio::test]
async fn a_version_that_was_seen_is_not_sent_again() {
    let server = Server::start().await;
    let id = server.submit_dispatched("a").await;
    let job = server.read(&format!("/v1/jobs/{id}")).await;
    let request = resumed(server.get(&format!("/v1/jobs/{id}/watch")), &job["version"].to_string());
    let mut watch = Watch::open(request).await;
    server.start_job(id).await;
    assert_eq!(watch.job().await.1["state"], "running", "the first event is the first change");
    server.stop().await;
    assert_eq!(watch.next().await, None, "a stop ends the stream");
}

#[tokio::test]
async fn all_jobs_are_followed_without_their_parameters() {
    let server = Server::start().await;
    let mut watch = Watch::open(server.get("/v1/watch")).await;
    let id = server.submit(json!({"type": "a", "parameters": {"secret": 1}, "labels": {"k": "v"}})).await;
    let (_, job) = watch.job().await;
    assert_eq!(
        (&job["id"], &job["state"], &job["labels"]),
        (&json!(id), &json!("ready"), &json!({"k": "v"}))
    );
    for absent in ["parameters", "result", "attempts"] {
        assert_eq!(job.get(absent), None, "{absent}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watch_of_all_jobs_is_filtered_by_type_and_state() {
    let server = Server::start().await;
    let mut watch = Watch::open(server.get("/v1/watch?type=image.*&state=completed,failed")).await;
    for job_type in ["file.copy", "image.resize", "image.thumbnail"] {
        let id = server.submit_dispatched(job_type).await;
        server.start_job(id).await;
        if job_type == "image.thumbnail" {
            server.fail(id, false).await;
        } else {
            server.complete(id, json!({})).await;
        }
    }
    let (first, second) = (watch.job().await.1, watch.job().await.1);
    assert_eq!((&first["type"], &first["state"]), (&json!("image.resize"), &json!("completed")));
    assert_eq!((&second["type"], &second["state"]), (&json!("image.thumbnail"), &json!("failed")));
    assert_eq!(second["error"]["code"], "no_luck");
    server.stop().await;
}

#[tokio::test]
async fn a_watcher_of_all_jobs_gets_what_it_missed() {
    let server = Server::start().await;
    let mut watch = Watch::open(server.get("/v1/watch")).await;
    server.submit(json!({"type": "first"})).await;
    let (last_seen, _) = watch.job().await;
    drop(watch);
    for job_type in ["second", "third"] {
        server.submit(json!({"type": job_type})).await;
    }
    let mut again = Watch::open(resumed(server.get("/v1/watch"), &last_seen)).await;
    assert_eq!(again.job().await.1["type"], "second");
    assert_eq!(again.job().await.1["type"], "third");
    server.stop().await;
}

#[tokio::test]
async fn a_watcher_of_an_earlier_process_has_to_start_over() {
    let server = Server::start().await;
    let epoch = server.engine.watch_epoch();
    for stale in [format!("{}-0", epoch ^ 1), format!("{epoch}-1000"), "nonsense".to_owned()] {
        let mut watch = Watch::open(resumed(server.get("/v1/watch"), &stale)).await;
        assert_eq!(watch.next().await.unwrap().event, "reset", "{stale}");
        let id = server.submit(json!({"type": "a"})).await;
        assert_eq!(watch.job().await.1["id"], json!(id), "it goes on after the reset");
    }
    server.stop().await;
}

#[tokio::test]
async fn watchers_are_limited_and_leave_their_places() {
    let server = Server::start_with(Options { watchers_max: Some(1), ..Options::default() }).await;
    let id = server.submit_dispatched("a").await;
    let watch = Watch::open(server.get("/v1/watch")).await;
    for path in ["/v1/watch".to_owned(), format!("/v1/jobs/{id}/watch"), format!("/v1/jobs/{id}?wait=5")] {
        let refused = answer(server.get(&path)).await;
        assert_eq!(refused.headers()["retry-after"], "5");
        insta::assert_json_snapshot!("too_many_watchers", problem(server.get(&path)).await);
    }
    server.read(&format!("/v1/jobs/{id}")).await;
    drop(watch);
    server.until_watching(0).await;
    Watch::open(server.get("/v1/watch")).await;
    server.stop().await;
}
