//! Schedules over HTTP: documents, what they mean, ticks, and what people do to them.

use crewcall_proto::Timestamp;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, answer, problem, sorted};

const PATH: &str = "/v1/schedules/report.nightly";

/// In the future, so that what is to come is always the same.
const FROM: &str = "2100-03-27T00:00:00Z";

async fn started() -> Server {
    let server = Server::start().await;
    server.run();
    server
}

fn nightly() -> Value {
    json!({
        "cron": "30 2 * * *", "timezone": "Europe/Athens", "from": FROM,
        "job": {"type": "report.render", "parameters": {"day": "${{ schedule.scheduled_for }}"}},
    })
}

/// One that fires by hand only.
fn by_hand(overlap: &str, (what, made): (&str, &Value)) -> Value {
    json!({"every_seconds": 3600, "from": FROM, "overlap": overlap, what: made})
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

#[tokio::test]
async fn a_schedule_is_set_shown_and_deleted() {
    let server = started().await;
    let made = answer(server.put(PATH, &nightly())).await;
    assert_eq!((made.status(), made.headers()["location"].to_str().unwrap()), (StatusCode::CREATED, PATH));
    let mut named = nightly();
    named["name"] = json!("report.nightly");
    let again = done(server.put(PATH, &named), StatusCode::OK).await;
    assert_eq!(again["revision"], 1, "it says the same");
    named["jitter_seconds"] = json!(0);
    assert_eq!(done(server.put(PATH, &named), StatusCode::OK).await["revision"], 2);
    let mut shown = server.read(PATH).await;
    assert!(shown["zone_data"].is_string());
    assert_eq!(shown["next"].as_array().unwrap().len(), 10);
    for field in ["created_at", "changed_at", "considered_until", "zone_data"] {
        shown[field] = json!("…");
    }
    shown["next"].as_array_mut().unwrap().truncate(2);
    insta::assert_json_snapshot!("schedule", shown);
    let listed = server.read("/v1/schedules").await;
    let entry = &listed["schedules"][0];
    assert_eq!((&entry["name"], &entry["document"]), (&json!("report.nightly"), &Value::Null));
    assert_eq!(entry["next"].as_array().unwrap().len(), 1);
    assert_eq!(answer(server.delete(PATH)).await.status(), StatusCode::NO_CONTENT);
    let unknown = "there is no schedule \"report.nightly\"; /v1/schedules lists those that there are";
    let expected = ("schedule-not-found".to_owned(), 404, unknown.to_owned());
    for request in [server.get(PATH), server.delete(PATH), server.get(&format!("{PATH}/ticks"))] {
        assert_eq!(refused(request).await, expected);
    }
    for verb in ["pause", "resume", "trigger"] {
        assert_eq!(refused(server.post_empty(&format!("{PATH}/{verb}"))).await, expected, "{verb}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_preview_shows_what_a_document_means_and_keeps_nothing() {
    let server = started().await;
    let mut document = nightly();
    document["cron"] = json!("30 3 28 3 *");
    let mut shown = done(server.post("/v1/schedules/preview", &document), StatusCode::OK).await;
    shown["zone_data"] = json!("…");
    shown["next"].as_array_mut().unwrap().truncate(2);
    insta::assert_json_snapshot!("preview", shown);
    assert_eq!(server.read("/v1/schedules").await, json!({"schedules": []}));
    let named =
        "/name: a schedule cannot be called \"preview\": POST /v1/schedules/preview shows what one means";
    let expected = ("invalid-schedule".to_owned(), 422, named.to_owned());
    assert_eq!(refused(server.put("/v1/schedules/preview", &nightly())).await, expected);
    assert_eq!(refused(server.get("/v1/schedules/preview")).await.0, "schedule-not-found");
    assert_eq!(refused(server.put("/v1/schedules/In", &nightly())).await.0, "schedule-not-found");
    server.stop().await;
}

/// The document that is usual, with other fields; null takes one out.
fn changed(changes: &Value) -> Value {
    let mut document = nightly();
    for (field, value) in changes.as_object().unwrap() {
        document[field] = value.clone();
    }
    document
}

#[tokio::test]
async fn what_is_no_schedule_is_refused_with_every_problem() {
    let server = started().await;
    let schema = json!({"type": "object", "properties": {"day": {"type": "integer"}}});
    server.announce("report.checked", schema).await;
    let template = json!({"type": "report.render", "parameters": {"a/b": ["${{ schedul.name }}"]}});
    let result =
        json!({"type": "report.render", "parameters": {"since": "${{ schedule.last_result.until }}"}});
    let several = json!({"job": {"type": "a"}, "event": {"subject": "a"}});
    let mut told = Vec::new();
    for changes in [
        json!({"cron": "30 2 30 2 *"}),
        json!({"cron": "0 30 2 * * *"}),
        json!({"cron": "30 25 * * *", "timezone": "Europe/Athen"}),
        json!({"jitter_seconds": 86_400}),
        json!({"overlap": "allow", "job": result}),
        json!({"job": null, "event": {"subject": "a", "data": "${{ schedule.last_result }}"}}),
        json!({"time_zone": "UTC"}),
        json!({"every_seconds": 60}),
        json!({"cron": null}),
        several,
        json!({"job": null}),
        json!({"job": null, "workflow": {"name": "no.such"}}),
        json!({"job": template}),
        json!({"job": {"type": "report.checked", "parameters": {"day": "x"}}}),
        json!({"until": "2099-01-01T00:00:00Z"}),
        json!({"overlap": "skipp", "catch_up": "yes", "pause_after_failures": 0, "from": "tomorrow"}),
        json!({"name": "other"}),
        json!({"job": {"type": "report.render", "parameters": {"text": "x".repeat(65 * 1024)}}}),
    ] {
        let document = changed(&changes);
        let refused = problem(server.put(PATH, &document)).await;
        assert_eq!((&refused["code"], &refused["status"]), (&json!("invalid-schedule"), &json!(422)));
        let shown = if changes.to_string().len() > 1_000 { "65 KiB".to_owned() } else { changes.to_string() };
        told.push(shown);
        for error in refused["errors"].as_array().unwrap() {
            told.push(format!(
                "  {}: {}",
                error["pointer"].as_str().unwrap(),
                error["message"].as_str().unwrap()
            ));
        }
    }
    insta::assert_snapshot!("no_schedule", told.join("\n"));
    let twice = r#"{"cron":"30 2 * * *","cron":"* * * * *","job":{"type":"A"}}"#;
    for path in [PATH, "/v1/schedules/preview"] {
        let request = if path == PATH {
            server.put(path, &Value::Null).body(twice)
        } else {
            server.post_text(path, "application/json", twice)
        };
        let errors = problem(request).await["errors"].clone();
        assert_eq!(
            errors[0],
            json!({"pointer": "/cron", "message": "the field \"cron\" stands here more than once"})
        );
        assert_eq!(errors[1]["pointer"], "/job/type");
    }
    let deep = server.post_text("/v1/schedules/preview", "application/json", "[".repeat(10_000));
    assert_eq!(refused(deep).await.2, "a schedule is nested no deeper than 36 levels");
    let broken = server.post_text("/v1/schedules/preview", "application/json", "{");
    assert_eq!(refused(broken).await.0, "invalid-json");
    assert_eq!(server.read("/v1/schedules").await, json!({"schedules": []}));
    server.stop().await;
}

#[tokio::test]
async fn a_schedule_fires_by_hand_as_its_overlap_says() {
    let server = started().await;
    server.connect();
    let job = json!({"type": "a.b", "parameters": {"at": "${{ schedule.scheduled_for }}"}});
    answer(server.put(PATH, &by_hand("queue_one", ("job", &job)))).await;
    let trigger = format!("{PATH}/trigger");
    let fired =
        done(server.post(&trigger, &json!({"by": "anna", "reason": "try"})), StatusCode::CREATED).await;
    assert_eq!(
        (&fired["state"], &fired["origin"], &fired["count"]),
        (&json!("fired"), &json!("hand"), &json!(1))
    );
    assert_eq!(fired["tick"], fired["last_tick"]);
    let id = fired["job_id"].as_str().unwrap().to_owned();
    let job_path = format!("/v1/jobs/{id}");
    server.until(async || server.read(&job_path).await["state"] == "dispatched").await;
    let made = server.read(&job_path).await;
    assert_eq!(made["parameters"]["at"], fired["tick"]);
    assert_eq!(
        (&made["cause"]["schedule"], &made["cause"]["tick"]),
        (&json!("report.nightly"), &fired["tick"])
    );
    let queued = done(server.post_empty(&trigger), StatusCode::CREATED).await;
    assert_eq!((&queued["state"], &queued["job_id"]), (&json!("queued"), &Value::Null));
    let reason = "nothing was made: an earlier one was not over, and another waited for it already";
    let expected = ("nothing-made".to_owned(), 409, reason.to_owned());
    assert_eq!(refused(server.post_empty(&trigger)).await, expected);
    let shown = server.read(PATH).await;
    assert_eq!(shown["open"], json!([{"tick": fired["tick"], "origin": "hand", "job_id": id}]));
    assert_eq!(shown["queued"], 1);
    server.complete(id.parse().unwrap(), json!({"pages": 3})).await;
    let ticks_path = format!("{PATH}/ticks?state=fired,queued");
    server.until(async || server.read(&ticks_path).await["ticks"][0]["job_id"].is_string()).await;
    let ticks = server.read(&ticks_path).await["ticks"].clone();
    assert_eq!((&ticks[1]["job_id"], &ticks[1]["outcome"]), (&json!(id), &json!("completed")));
    assert!(ticks[1]["ended_at"].is_string() && ticks[0]["outcome"].is_null(), "{ticks}");
    let skipped = server.read(&format!("{PATH}/ticks?state=skipped")).await;
    assert_eq!(skipped["ticks"].as_array().unwrap().len(), 1);
    assert_eq!(server.read(PATH).await["last_completed"], fired["tick"]);
    server.stop().await;
}

#[tokio::test]
async fn a_schedule_is_paused_and_resumed() {
    let server = started().await;
    answer(server.put(PATH, &nightly())).await;
    let note = json!({"by": "anna", "reason": "the printer burns"});
    let paused = done(server.post(&format!("{PATH}/pause"), &note), StatusCode::OK).await;
    assert_eq!((&paused["state"], &paused["pause"]["by"]), (&json!("paused"), &json!("anna")));
    assert_eq!(paused["reason"], "paused by anna: the printer burns");
    let resumed = done(server.post_empty(&format!("{PATH}/resume")), StatusCode::OK).await;
    assert_eq!((&resumed["state"], &resumed["pause"]), (&json!("active"), &Value::Null));
    assert_eq!(resumed["reason"], "the next tick is at 2100-03-27T02:30:00+02:00");
    let wrong = refused(server.post(&format!("{PATH}/pause"), &json!({"why": 1}))).await;
    assert_eq!((wrong.0.as_str(), wrong.1), ("invalid-request", 422));
    server.stop().await;
}

#[tokio::test]
async fn the_schedule_of_a_workflow_is_shown_and_changed_with_it() {
    let server = started().await;
    let steps = json!({"a": {"job": "x"}});
    let workflow = json!({"triggers": [{"schedule": {"every_seconds": 3600, "from": FROM}}], "steps": steps});
    answer(server.put("/v1/workflows/asset.publish", &workflow)).await;
    let path = "/v1/schedules/workflow:asset.publish:0";
    let shown = server.read(path).await;
    assert_eq!(
        (&shown["name"], &shown["workflow"], &shown["document"]["every_seconds"]),
        (&json!("workflow:asset.publish:0"), &json!("asset.publish"), &json!(3600))
    );
    let listed = server.read("/v1/schedules").await;
    assert_eq!(listed["schedules"][0]["workflow"], "asset.publish");
    let sentence = "the schedule is a trigger of the workflow asset.publish: change, pause or delete that, and the schedule follows";
    let expected = ("schedule-of-workflow".to_owned(), 409, sentence.to_owned());
    for request in [
        server.put(path, &nightly()),
        server.put("/v1/schedules/workflow:asset.publish:7", &nightly()),
        server.post_empty(&format!("{path}/pause")),
        server.post_empty(&format!("{path}/resume")),
        server.delete(path),
    ] {
        // A name that nobody has is nobody's to give.
        let told = refused(request).await;
        assert_eq!(told, expected);
    }
    assert_eq!(refused(server.get("/v1/schedules/workflow:asset.publish:7")).await.0, "schedule-not-found");
    let fired = done(server.post_empty(&format!("{path}/trigger")), StatusCode::CREATED).await;
    let run = server.read(&format!("/v1/runs/{}", fired["run_id"].as_str().unwrap())).await;
    assert_eq!(run["started_by"], json!({"schedule": "workflow:asset.publish:0", "tick": fired["tick"]}));
    assert_eq!(server.read(path).await["open"][0]["run_id"], fired["run_id"]);
    server.stop().await;
}

/// A time so many hours before or after a whole hour that is just over.
fn hour(hours: i64) -> String {
    const HOUR_MS: i64 = 3_600_000;
    let now = jiff::Timestamp::now().as_millisecond();
    let at = Timestamp::from_millis((now / HOUR_MS + hours) * HOUR_MS);
    jiff::Timestamp::from_millisecond(at.as_millis()).unwrap().to_string()
}

/// One whose ticks are events, which are over at once.
fn hourly() -> Value {
    json!({"every_seconds": 3600, "event": {"subject": "hour.struck", "data": {"at": "${{ schedule.scheduled_for }}"}}})
}

#[tokio::test]
async fn ticks_are_made_up_for_once_and_listed_in_pages() {
    let server = started().await;
    answer(server.put(PATH, &hourly())).await;
    let (from, to, backfill) = (hour(-30), hour(-7), format!("{PATH}/backfill"));
    let counted =
        done(server.post(&backfill, &json!({"from": from, "to": to, "dry_run": true})), StatusCode::OK).await;
    let at = |text: &str| text.replace('Z', ".000Z");
    let expected =
        json!({"ticks": 24, "first": at(&from), "last": at(&to), "fired_before": 0, "dry_run": true});
    assert_eq!(counted, sorted(expected));
    assert_eq!(server.read(&format!("{PATH}/ticks")).await["ticks"], json!([]), "they were only counted");
    let all =
        json!({"from": from, "to": to, "overlap": "allow", "by": "anna", "reason": "the disk was full"});
    assert_eq!(done(server.post(&backfill, &all), StatusCode::OK).await["ticks"], 24);
    let fired = format!("{PATH}/ticks?state=fired&limit=10");
    let count = async || server.read(&format!("{PATH}/ticks?state=fired&limit=500")).await["ticks"].clone();
    server.until(async || count().await.as_array().unwrap().len() == 24).await;
    let again = done(server.post(&backfill, &all), StatusCode::OK).await;
    let nothing = json!({"ticks": 0, "first": null, "last": null, "fired_before": 24, "dry_run": false});
    assert_eq!(again, sorted(nothing));
    let (mut pages, mut next) = (Vec::new(), fired.clone());
    loop {
        let response = answer(server.get(&next)).await;
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        pages.extend(page["ticks"].as_array().unwrap().clone());
        let Some(link) = link else {
            assert_eq!(page["next_cursor"], Value::Null);
            break;
        };
        next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(json!(pages), count().await, "pages are parts of the whole");
    let ticks: Vec<&str> = pages.iter().map(|tick| tick["tick"].as_str().unwrap()).collect();
    assert!(ticks.is_sorted_by(|newer, older| newer > older), "{ticks:?}");
    assert_eq!((&pages[0]["origin"], &pages[0]["event"].is_u64()), (&json!("backfill"), &true));
    let event = server.read(&format!("/v1/events/{}", pages[0]["event"])).await;
    assert_eq!((&event["subject"], &event["data"]["at"]), (&json!("hour.struck"), &pages[0]["tick"]));
    for (query, code) in [
        ("state=fird", "invalid-query"),
        ("limit=501", "invalid-query"),
        ("order=up", "invalid-query"),
        ("cursor=AAAA", "invalid-cursor"),
    ] {
        assert_eq!(refused(server.get(&format!("{PATH}/ticks?{query}"))).await.0, code);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_made_up_for_is_said() {
    let server = started().await;
    answer(server.put(PATH, &hourly())).await;
    let backfill = format!("{PATH}/backfill");
    let (past, future) = (hour(-1), hour(2));
    let mut told = Vec::new();
    for (shown, body) in [
        ("1 001 ticks", json!({"from": hour(-1_001), "to": past})),
        ("a million ticks", json!({"from": "1900-01-01T00:00:00Z", "to": past})),
        ("of the future", json!({"from": past, "to": future})),
        ("backwards", json!({"from": past, "to": hour(-2)})),
        ("nothing", json!({})),
        ("null", json!({"from": null, "to": null})),
        ("wrong shapes", json!({"from": "yesterday", "to": 7, "overlap": "skip", "dryrun": true})),
    ] {
        let refused = problem(server.post(&backfill, &body)).await;
        assert_eq!((&refused["code"], &refused["status"]), (&json!("invalid-request"), &json!(422)));
        told.push(shown.to_owned());
        for error in refused["errors"].as_array().unwrap() {
            told.push(format!(
                "  {}: {}",
                error["pointer"].as_str().unwrap(),
                error["message"].as_str().unwrap()
            ));
        }
    }
    insta::assert_snapshot!("no_backfill", told.join("\n"));
    let unknown = server.post("/v1/schedules/none/backfill", &json!({"from": past, "to": past}));
    assert_eq!(refused(unknown).await.0, "schedule-not-found");
    server.stop().await;
}
