//! The Grafana boards: each is whole, and every expression of it shows something of a live installation under a mixed load,
//! which makes some alerts fire.

pub(super) mod firing;
mod prometheus;
pub(super) mod standstill;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use e2e::{process::ENDPOINTS_SAID, stack::Stack, wait::until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::prometheus::{Prometheus, Sample, firing};

/// Grafana's format of boards: classic JSON, which Grafana 10 to 12 read.
const SCHEMA_VERSIONS: std::ops::RangeInclusive<u64> = 39..=41;

/// How wide a board is, in columns.
const COLUMNS: u64 = 24;

/// The range of rates: what was observed once stays in sight for so long.
const RATE_INTERVAL: &str = "1m";

/// Within which time every expression has to show something. A worker is lost after 15 s.
const SHOWN_WITHIN: Duration = Duration::from_secs(120);

/// Jobs of this type run one at a time, so that others wait; the board of one type shows it.
const LIMITED_TYPE: &str = "test.sleep";

/// Nobody ever announces it.
const UNKNOWN_TYPE: &str = "test.unknown";

/// Its runs wait for somebody.
const WORKFLOW: &str = "/v1/workflows/check.once";

/// It ticks each second.
const SCHEDULE: &str = "/v1/schedules/seconds";

struct Board {
    name: String,
    json: Value,
}

pub(super) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn boards() -> Vec<Board> {
    let files = fs::read_dir(deploy().join("grafana/dashboards")).unwrap();
    let boards = files.map(|file| {
        let file = file.unwrap();
        let json = serde_json::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap();
        Board { name: file.file_name().into_string().unwrap(), json }
    });
    let mut boards: Vec<_> = boards.collect();
    boards.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(boards.len() >= 4, "there are boards");
    boards
}

/// A part of a board that is asked of Prometheus.
struct Question {
    /// Where it stands.
    place: String,
    expression: String,
    /// The labels that its legend names.
    legend: Vec<String>,
}

impl Board {
    fn list(&self, pointer: &str) -> &[Value] {
        self.json
            .pointer(pointer)
            .and_then(Value::as_array)
            .unwrap_or_else(|| panic!("{} has no {pointer}", self.name))
    }

    /// All but the headings.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.list("/panels").iter().filter(|panel| panel["type"] != "row")
    }

    fn questions(&self) -> Vec<Question> {
        let mut questions = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().unwrap() {
                let legend = target["legendFormat"].as_str().unwrap().split("{{").skip(1);
                questions.push(Question {
                    place: format!("{}: {}: {}", self.name, text(&panel["title"]), text(&target["refId"])),
                    expression: text(&target["expr"]).to_owned(),
                    legend: legend.map(|rest| rest.split("}}").next().unwrap().trim().to_owned()).collect(),
                });
            }
        }
        for variable in self.list("/templating/list").iter().filter(|variable| variable["type"] == "query") {
            let query = text(&variable["query"]["query"]);
            let (series, label) = query
                .strip_prefix("label_values(")
                .unwrap()
                .strip_suffix(')')
                .unwrap()
                .rsplit_once(", ")
                .unwrap();
            questions.push(Question {
                place: format!("{}: ${}", self.name, text(&variable["name"])),
                expression: format!("group by ({label}) ({series})"),
                legend: vec![label.to_owned()],
            });
        }
        questions
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// An expression as Grafana asks it, with everything selected; on a board for one type, with one.
fn selected(expression: &str, one_type: bool) -> String {
    let job_type = if one_type { LIMITED_TYPE } else { ".+" };
    expression
        .replace("$__rate_interval", RATE_INTERVAL)
        .replace("$instance", ".+")
        .replace("$type", job_type)
}

#[test]
fn every_board_is_whole() {
    let documented = fs::read_to_string(deploy().join("../docs/metrics.md")).unwrap();
    let mut uids = BTreeSet::new();
    for board in boards() {
        let Board { name, json } = &board;
        assert!(uids.insert(text(&json["uid"]).to_owned()), "{name}: its uid is another board's");
        assert!(SCHEMA_VERSIONS.contains(&json["schemaVersion"].as_u64().unwrap()), "{name}");
        assert!(json["id"].is_null(), "{name}: an id belongs to one Grafana");
        assert!(!text(&json["title"]).is_empty() && !text(&json["description"]).is_empty(), "{name}");
        assert_eq!(
            (&json["tags"], &json["links"][0]["tags"]),
            (&json!(["crewcall"]), &json!(["crewcall"])),
            "{name}"
        );
        let variables: BTreeSet<&str> =
            board.list("/templating/list").iter().map(|variable| text(&variable["name"])).collect();
        assert!(variables.is_superset(&BTreeSet::from(["datasource", "instance"])), "{name}: {variables:?}");
        let mut places = BTreeMap::new();
        for panel in board.list("/panels") {
            let title = text(&panel["title"]);
            assert!(
                places.insert(panel["id"].as_u64().unwrap(), title).is_none(),
                "{name}: {title}: its id is taken"
            );
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("w") > 0 && at("h") > 0 && at("x") + at("w") <= COLUMNS, "{name}: {title} sticks out");
        }
        for panel in board.panels() {
            let title = text(&panel["title"]);
            assert!(text(&panel["description"]).ends_with(['.', ':']), "{name}: {title} has no description");
            assert!(
                panel["fieldConfig"]["defaults"].get("unit").is_some()
                    || panel["fieldConfig"]["defaults"].get("mappings").is_some(),
                "{name}: {title} has no unit"
            );
            let sources = [&panel["datasource"], &panel["targets"][0]["datasource"]];
            assert!(
                sources.iter().all(|source| source["uid"] == "${datasource}"),
                "{name}: {title} names a data source"
            );
        }
        for Question { place, expression, .. } in board.questions() {
            let asked = expression.replace("$__rate_interval", "");
            for variable in asked.split('$').skip(1) {
                let end = variable.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                let variable = &variable[..end.unwrap_or(variable.len())];
                assert!(variables.contains(variable), "{place}: there is no variable {variable}");
            }
            let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            for word in words.filter(|word| word.starts_with("crewcall_") || word.starts_with("process_")) {
                let metric = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|part| word.strip_suffix(part))
                    .unwrap_or(word);
                assert!(
                    documented.contains(&format!("| `{metric}` |")),
                    "{place}: there is no metric {metric}"
                );
            }
        }
    }
}

/// What every second brings: work, failures, retries, and a submission that is repeated.
async fn load(stack: &mut Stack, round: u32) {
    stack.submit("test.echo", json!({"text": "hello"})).await.unwrap();
    stack.submit("test.fail", json!({"message": "no", "permanent": true})).await.unwrap();
    stack.submit("test.fail", json!({"message": "not yet", "succeed_at": 2})).await.unwrap();
    let job = json!({"type": "test.echo", "parameters": {"text": "again"}}).to_string();
    let key = format!("round-{round}");
    for _ in 0..2 {
        let headers = [("idempotency-key", key.as_str())];
        let (_, job) = stack.api.send(Method::POST, "/v1/jobs", job.clone(), &headers).await.unwrap();
        stack.remember_accepted(text(&job["id"]).to_owned());
    }
}

/// Asks until nothing is missing any more, under load. Panics with what is.
async fn ask_all(stack: &mut Stack, prometheus: &Prometheus, mut questions: Vec<Question>) {
    let deadline = Instant::now() + SHOWN_WITHIN;
    let mut round = 0;
    loop {
        load(stack, round).await;
        round += 1;
        let mut unanswered = Vec::new();
        for question in questions {
            let samples = prometheus.ask(&question.expression).await.unwrap();
            let is_named =
                |sample: &Sample| question.legend.iter().all(|label| sample.labels.contains(label));
            if !samples.iter().any(|sample| !sample.value.is_nan()) {
                unanswered.push(question);
            } else if !samples.iter().all(is_named) {
                panic!("{}: its legend names a label that {} has not", question.place, question.expression);
            }
        }
        if unanswered.is_empty() {
            return;
        }
        questions = unanswered;
        let missing =
            || questions.iter().map(|question| format!("{}: {}", question.place, question.expression));
        assert!(
            Instant::now() < deadline,
            "nothing is shown by\n{}",
            missing().collect::<Vec<_>>().join("\n")
        );
        sleep(Duration::from_millis(500)).await;
    }
}

/// What makes the load a mixed one.
const MIXED: [&str; 5] = [
    "sum(rate(crewcall_jobs_finished_total{outcome=\"handler\"}[1m])) > 0",
    "sum(increase(crewcall_job_attempts_total{outcome=\"handler\"}[1m])) > sum(increase(crewcall_jobs_finished_total{outcome=\"handler\"}[1m]))",
    "crewcall_jobs_waiting{type=\"_other\",reason=\"first_worker\"} == 1",
    "crewcall_workers{status=\"lost\"} == 1 and on () crewcall_workers_lost_total == 1",
    "crewcall_orders_unroutable_total >= 1",
];

/// Alerts that what breaks here makes fire, without the time for which they wait elsewhere, and with which labels.
pub(super) const FIRING: [(&str, &str); 7] = [
    ("CrewcallWorkerLost", ""),
    ("CrewcallUnroutableJobs", ""),
    ("CrewcallBacklogWithoutWorker", "type=\"test.other\""),
    ("CrewcallFailureRatio", "type=\"test.fail\""),
    ("CrewcallConsumerStranded", "consumer=\"stranded\""),
    ("CrewcallConsumerFull", "consumer=\"full\""),
    ("CrewcallCircleRefused", "consumer=\"circle\""),
];

/// Sets a consumer of these subjects, which begins with the oldest event.
async fn consumer(stack: &Stack, name: &str, subject: &str, job_type: &str, in_flight_max: u32) {
    let parameters = json!({"text": "x", "steps": 20, "step_ms": 100});
    let job = json!({"type": job_type, "parameters": parameters, "labels": {"by": name}});
    let settings = json!({"subjects": [subject], "start": "oldest", "in_flight_max": in_flight_max, "then": {"job": job}});
    stack.api.put_consumer(name, &settings).await.unwrap();
}

/// A consumer that waited for too long: what it has not seen is deleted, as the backend does after 90 days.
async fn strand(stack: &mut Stack) {
    consumer(stack, "stranded", "order.*", "test.echo", 10).await;
    stack.api.post("/v1/consumers/stranded/pause", json!({})).await.unwrap();
    for _ in 0..3 {
        stack.api.post("/v1/events", json!({"subject": "order.paid", "data": {}})).await.unwrap();
    }
    stack.backend.kill().await.unwrap();
    let database = rusqlite::Connection::open(stack.database()).unwrap();
    database.execute("DELETE FROM events WHERE sequence <= 2", ()).unwrap();
    drop(database);
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
}

/// A run that waits; a schedule that ticks; a hook and a webhook, of which nobody makes use; a consumer that makes jobs of the ends of its own, and one whose only job lasts, with an event waiting behind it.
async fn go_in_circles(stack: &mut Stack, prometheus: &Prometheus) {
    consumer(stack, "circle", "job.completed.test.echo", "test.echo", 10).await;
    consumer(stack, "full", "order.*", LIMITED_TYPE, 1).await;
    let schedule = json!({"every_seconds": 1, "event": {"subject": "second.began"}}).to_string();
    stack.api.send(Method::PUT, SCHEDULE, schedule, &[]).await.unwrap();
    let workflow = json!({"steps": {"check": {"approval": {}}}}).to_string();
    stack.api.send(Method::PUT, WORKFLOW, workflow, &[]).await.unwrap();
    let hook = json!({"verify": {"standard": {}}}).to_string();
    stack.api.send(Method::PUT, "/v1/hooks/payments", hook, &[]).await.unwrap();
    let webhook = json!({"url": "https://shop.example/", "subjects": ["nothing.at.all"]}).to_string();
    stack.api.send(Method::PUT, "/v1/webhooks/shop", webhook, &[]).await.unwrap();
    stack.api.post(&format!("{WORKFLOW}/trigger"), json!({})).await.unwrap();
    // What is counted from nothing has to be seen at nothing first.
    until("the consumers are seen", SHOWN_WITHIN, async || {
        let seen = prometheus.ask("crewcall_consumer_refused_total{consumer=\"circle\"}").await;
        seen.is_ok_and(|series| !series.is_empty())
    })
    .await
    .unwrap();
    stack.submit("test.echo", json!({"text": "round"})).await.unwrap();
    for _ in 0..2 {
        stack.api.post("/v1/events", json!({"subject": "order.paid", "data": {}})).await.unwrap();
    }
}

#[tokio::test]
async fn every_expression_shows_something_of_a_live_installation() {
    let mut stack = Stack::start("boards").await.unwrap();
    stack.worker_setting("CREWCALL_WORKER_LISTEN", "127.0.0.1:0");
    let worker = stack.worker(&["test.echo", "test.fail", LIMITED_TYPE], 4).await.unwrap();
    let endpoints = worker.logged_after(ENDPOINTS_SAID).await.unwrap();
    strand(&mut stack).await;
    let prometheus = Prometheus::start(stack.folder(), &[stack.http_listen()], &[&endpoints]).await.unwrap();
    go_in_circles(&mut stack, &prometheus).await;
    let mut lost = stack.worker(&["test.other"], 2).await.unwrap();
    lost.kill().await.unwrap();
    let limits = json!({"running_max": 1, "rate_per_second": 10}).to_string();
    let path = format!("/v1/types/{LIMITED_TYPE}/limits");
    let (status, answer) = stack.api.send(Method::PUT, &path, limits, &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
    let mut left = vec![stack.submit(UNKNOWN_TYPE, json!({})).await.unwrap()];
    left.push(stack.submit("test.other", json!({"text": "for whoever is lost"})).await.unwrap());
    // They last for longer than the test, one after the other.
    for _ in 0..100 {
        left.push(stack.submit(LIMITED_TYPE, json!({"steps": 20, "step_ms": 100})).await.unwrap());
    }
    let firing = FIRING.iter().map(|(alert, labels)| firing(alert, labels));
    let mut questions: Vec<Question> = MIXED
        .iter()
        .map(|expression| (*expression).to_owned())
        .chain(firing)
        .map(|expression| Question { place: "the load".to_owned(), expression, legend: Vec::new() })
        .collect();
    for board in boards() {
        let types = board.list("/templating/list").iter().find(|variable| variable["name"] == "type");
        let one_type = types.is_some_and(|variable| variable["multi"] == false);
        let asked = board.questions().into_iter();
        questions.extend(
            asked.map(|question| Question {
                expression: selected(&question.expression, one_type),
                ..question
            }),
        );
    }
    assert!(questions.len() > 80, "{} questions", questions.len());
    ask_all(&mut stack, &prometheus, questions).await;
    // What is well is not complained of.
    let quiet = r#"ALERTS{alertname=~"CrewcallBroker.*|CrewcallDisk.*|CrewcallVersionSkew|CrewcallReconcilerHadWork"}"#;
    assert!(prometheus.ask(quiet).await.unwrap().is_empty());
    for name in ["full", "circle"] {
        let path = format!("/v1/consumers/{name}");
        stack.api.send(Method::DELETE, &path, String::new(), &[]).await.unwrap();
    }
    stack.api.send(Method::DELETE, SCHEDULE, String::new(), &[]).await.unwrap();
    stack.api.post("/v1/jobs/cancel", json!({"filter": {"labels": {"by": "full"}}})).await.unwrap();
    for id in left {
        stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.unwrap();
    }
    stack.settle().await.unwrap();
}
