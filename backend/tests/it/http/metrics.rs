//! Every figure moves when that happens which it is about, and is what docs/metrics.md says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use crewcall_backend::{
    engine::{
        discovery::Discovered,
        ports::BrokerStatus,
        responses::{DeathReason, Response},
    },
    metrics::{MetricDescription, Metrics},
};
use crewcall_proto::{
    ContentType,
    discovery::{Heartbeat, WORKER_LOST_AFTER, WorkerStatus},
};
use serde_json::json;

use super::{
    quarantine::quarantine,
    server::{Options, PATIENCE, Server, WORKER, answer},
};

/// A sample: its value by its name and labels, as they are written.
type Scrape = BTreeMap<String, f64>;

async fn scrape(server: &Server) -> Scrape {
    // A connection of its own: one that is kept ends when a test lets time pass.
    read(&answer(server.get("/metrics").header("connection", "close")).await.text().await.unwrap())
}

fn read(text: &str) -> Scrape {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// The value of a series that there must be.
#[track_caller]
fn value(scrape: &Scrape, series: &str) -> f64 {
    assert!(scrape.contains_key(series), "{series} is not in\n{:#?}", scrape.keys());
    scrape[series]
}

/// Holds what is scraped against lines `series value`.
#[track_caller]
fn shows(scrape: &Scrape, expected: &[(&str, f64)]) {
    let wrong: Vec<_> = expected
        .iter()
        .map(|(series, wanted)| (*series, value(scrape, series), *wanted))
        .filter(|(_, found, wanted)| found != wanted)
        .collect();
    assert!(wrong.is_empty(), "series, found, wanted: {wrong:#?}");
}

#[tokio::test]
async fn jobs_and_attempts_are_counted_by_how_they_end() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    let before = scrape(&server).await;
    shows(
        &before,
        &[
            (r#"crewcall_jobs_submitted_total{type="a"}"#, 0.0),
            (r#"crewcall_jobs_finished_total{outcome="handler",type="a"}"#, 0.0),
            (r#"crewcall_jobs{state="failed",type="a"}"#, 0.0),
            (r#"crewcall_job_oldest_waiting_seconds{type="a"}"#, 0.0),
        ],
    );
    let completes = server.submit_dispatched("a").await;
    server.start_job(completes).await;
    server.complete(completes, json!({})).await;
    let fails = server.submit_dispatched("a").await;
    server.fail(fails, false).await;
    let cancelled = server.submit_dispatched("a").await;
    answer(server.post_empty(&format!("/v1/jobs/{cancelled}/cancel"))).await;
    server.submit_dispatched("a").await;
    server.submit_dispatched("invented").await;
    let after = scrape(&server).await;
    shows(
        &after,
        &[
            (r#"crewcall_jobs_submitted_total{type="a"}"#, 4.0),
            (r#"crewcall_jobs_submitted_total{type="_other"}"#, 1.0),
            (r#"crewcall_jobs_finished_total{outcome="completed",type="a"}"#, 1.0),
            (r#"crewcall_jobs_finished_total{outcome="handler",type="a"}"#, 1.0),
            (r#"crewcall_jobs_finished_total{outcome="cancelled",type="a"}"#, 1.0),
            (r#"crewcall_job_attempts_total{outcome="completed",type="a"}"#, 1.0),
            (r#"crewcall_job_attempts_total{outcome="handler",type="a"}"#, 1.0),
            (r#"crewcall_jobs{state="dispatched",type="a"}"#, 1.0),
            (r#"crewcall_jobs{state="dispatched",type="_other"}"#, 1.0),
            (r#"crewcall_jobs{state="failed",type="a"}"#, 1.0),
            (r#"crewcall_job_wait_seconds_count{type="a"}"#, 2.0),
            (r#"crewcall_job_run_seconds_count{outcome="completed",type="a"}"#, 1.0),
            (r#"crewcall_job_run_seconds_count{outcome="handler",type="a"}"#, 1.0),
            (r#"crewcall_dispatch_confirm_seconds_count"#, 5.0),
        ],
    );
    assert!(value(&after, r#"crewcall_job_oldest_waiting_seconds{type="a"}"#) > 0.0);
    let confirmed = value(&after, "crewcall_dispatch_unconfirmed");
    assert!((0.0..=5.0).contains(&confirmed), "{confirmed}");
    server.stop().await;
}

#[tokio::test]
async fn what_holds_a_type_back_is_told() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    let waits = async |reason: &str, jobs: f64| {
        let scrape = scrape(&server).await;
        let told: Vec<_> = scrape.iter().filter(|(series, _)| series.contains("jobs_waiting{")).collect();
        let series = format!(r#"crewcall_jobs_waiting{{reason="{reason}",type="a"}}"#);
        assert_eq!(told, [(&series, &jobs)]);
        scrape
    };
    for _ in 0..2 {
        server.submit(json!({"type": "a"})).await;
    }
    let without_broker = waits("broker", 2.0).await;
    shows(&without_broker, &[(r#"crewcall_dispatch_window{type="a"}"#, 0.0)]);
    server.broker.set(BrokerStatus::Up);
    let before_its_turn = waits("turn", 2.0).await;
    shows(
        &before_its_turn,
        &[
            (r#"crewcall_dispatch_window{type="a"}"#, 64.0),
            (r#"crewcall_dispatch_window_used{type="a"}"#, 0.0),
            (r#"crewcall_type_paused{type="a"}"#, 0.0),
            (r#"crewcall_type_workers{type="a"}"#, 1.0),
            (r#"crewcall_type_slots{type="a"}"#, 3.0),
        ],
    );
    answer(server.post("/v1/types/a/pause", &json!({"by": "somebody"}))).await;
    let paused = waits("pause", 2.0).await;
    shows(&paused, &[(r#"crewcall_type_paused{type="a"}"#, 1.0)]);
    answer(server.post_empty("/v1/types/a/resume")).await;
    answer(server.put("/v1/types/a/limits", &json!({"running_max": 1, "rate_per_second": 2.5}))).await;
    server.run();
    let limited = async {
        loop {
            let scrape = scrape(&server).await;
            if scrape.get(r#"crewcall_jobs_waiting{reason="limit",type="a"}"#) == Some(&1.0) {
                return scrape;
            }
        }
    };
    let limited = tokio::time::timeout(PATIENCE, limited).await.expect("no job was dispatched");
    shows(
        &limited,
        &[
            (r#"crewcall_jobs_waiting{reason="start",type="a"}"#, 1.0),
            (r#"crewcall_type_running_max{type="a"}"#, 1.0),
            (r#"crewcall_type_rate_per_second_max{type="a"}"#, 2.5),
            (r#"crewcall_dispatch_window_used{type="a"}"#, 1.0),
        ],
    );
    server.goodbye().await;
    let gone = scrape(&server).await;
    shows(&gone, &[(r#"crewcall_jobs_waiting{reason="worker",type="a"}"#, 2.0)]);
    server.stop().await;
}

#[tokio::test]
async fn workers_and_what_they_run_are_counted() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    let runs = server.submit_dispatched("a").await;
    server.start_job(runs).await;
    let heartbeat = Heartbeat {
        worker_id: WORKER.parse().unwrap(),
        status: WorkerStatus::Busy,
        slots_busy: 1,
        orders: Vec::new(),
        at: server.clock.now(),
    };
    server.engine.discover(vec![Discovered::Heartbeat(heartbeat)]).await.unwrap();
    let busy = scrape(&server).await;
    shows(
        &busy,
        &[
            (r#"crewcall_workers{status="busy"}"#, 1.0),
            (r#"crewcall_workers{status="lost"}"#, 0.0),
            (r#"crewcall_worker_versions{name="player",sdk="rust 0.1.0",version="0.0.1"}"#, 1.0),
            ("crewcall_worker_slots", 3.0),
            ("crewcall_worker_slots_busy", 1.0),
            (r#"crewcall_leases{kind="delivered"}"#, 1.0),
            (r#"crewcall_leases{kind="held"}"#, 0.0),
            ("crewcall_workers_lost_total", 0.0),
            ("crewcall_discovery_reachable_seconds_total", 0.0),
        ],
    );
    server.hold(runs).await;
    let held = scrape(&server).await;
    shows(&held, &[(r#"crewcall_leases{kind="delivered"}"#, 0.0), (r#"crewcall_leases{kind="held"}"#, 1.0)]);

    server.run();
    server.hear_nobody_for(2 * WORKER_LOST_AFTER).await;
    server.until(async || value(&scrape(&server).await, "crewcall_workers_lost_total") == 1.0).await;
    let ended = r#"crewcall_leases_ended_total{reason="silent"}"#;
    server.until(async || value(&scrape(&server).await, ended) == 1.0).await;
    let lost = scrape(&server).await;
    shows(
        &lost,
        &[
            (r#"crewcall_workers{status="lost"}"#, 1.0),
            ("crewcall_worker_slots", 0.0),
            ("crewcall_worker_slots_busy", 0.0),
            (r#"crewcall_type_workers{type="a"}"#, 0.0),
            (r#"crewcall_leases{kind="held"}"#, 0.0),
            (r#"crewcall_job_attempts_total{outcome="worker_lost",type="a"}"#, 1.0),
        ],
    );
    assert!(!lost.keys().any(|series| series.contains("worker_versions{")), "{lost:?}");
    assert!(value(&lost, "crewcall_discovery_reachable_seconds_total") > 0.0);
    server.stop().await;
}

#[tokio::test]
async fn what_the_broker_gives_back_is_counted() {
    let server = Server::start().await;
    let back = [
        ("unroutable", None),
        ("killer", Some(DeathReason::DeliveryLimit { returns_max: 5 })),
        ("refused", Some(DeathReason::Rejected)),
        ("expired", Some(DeathReason::Other("expired".to_owned()))),
    ];
    for (job_type, death) in back {
        let id = server.submit_dispatched(job_type).await;
        let order = server.order(id).await;
        let response = match death {
            None => Response::Unroutable(order),
            Some(reason) => Response::DeadLettered { order, reason, content_type: ContentType::Json },
        };
        server.engine.respond(vec![response.clone()]).await.unwrap();
        if job_type == "refused" {
            server.engine.respond(vec![response]).await.unwrap();
        }
    }
    shows(
        &scrape(&server).await,
        &[
            ("crewcall_orders_unroutable_total", 1.0),
            (r#"crewcall_orders_dead_lettered_total{reason="delivery_limit"}"#, 1.0),
            (r#"crewcall_orders_dead_lettered_total{reason="rejected"}"#, 2.0),
            (r#"crewcall_orders_dead_lettered_total{reason="other"}"#, 1.0),
            (r#"crewcall_responses_stale_total{reason="terminal"}"#, 1.0),
            (r#"crewcall_responses_stale_total{reason="unknown_job"}"#, 0.0),
        ],
    );
    server.stop().await;
}

#[tokio::test]
async fn the_store_is_measured() {
    let server = Server::start().await;
    let before = scrape(&server).await;
    let keyed = |body: serde_json::Value| server.post("/v1/jobs", &body).header("idempotency-key", "one");
    for _ in 0..3 {
        answer(keyed(json!({"type": "a"}))).await;
    }
    answer(keyed(json!({"type": "b"}))).await;
    quarantine(&server, 1).await;
    let after = scrape(&server).await;
    shows(
        &after,
        &[
            (r#"crewcall_submissions_repeated_total{outcome="replayed"}"#, 2.0),
            (r#"crewcall_submissions_repeated_total{outcome="refused"}"#, 1.0),
            ("crewcall_quarantine_messages", 1.0),
            ("crewcall_store_commits_failed_total", 0.0),
        ],
    );
    let moved = |series: &str| value(&after, series) - value(&before, series);
    assert_eq!(moved("crewcall_store_commit_seconds_count"), 5.0);
    assert_eq!(moved("crewcall_store_batch_size_count"), 5.0);
    assert!(moved("crewcall_store_rows_total") >= 3.0, "a job, its key, a message");
    assert!(moved("crewcall_store_log_bytes") > 0.0);
    let database = fs::metadata(server.database()).unwrap().len();
    assert_eq!(value(&after, "crewcall_store_file_bytes"), f64::from(u32::try_from(database).unwrap()));
    assert!(value(&after, "crewcall_store_disk_free_bytes") > 1e6);
    server.stop().await;
}

/// Each of 200 kB: together more than the 16 MiB that wait in the log before they are moved into the file.
const LARGE_JOBS: usize = 90;

#[tokio::test]
async fn what_the_store_gives_up_and_what_it_moves_is_counted() {
    let server = Server::start().await;
    let other = rusqlite::Connection::open(server.database()).unwrap();
    // Takes the whole transaction back, as SQLite does by itself on a full disk.
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON jobs BEGIN SELECT RAISE(ROLLBACK, 'not now'); END";
    other.execute_batch(refuse).unwrap();
    let refused = answer(server.post("/v1/jobs", &json!({"type": "a"}))).await;
    assert!(refused.status().is_server_error(), "{refused:?}");
    other.execute_batch("DROP TRIGGER refuse").unwrap();
    let before = scrape(&server).await;
    shows(
        &before,
        &[("crewcall_store_commits_failed_total", 1.0), ("crewcall_store_checkpoint_seconds_count", 0.0)],
    );
    let large = json!({"type": "a", "parameters": {"text": "x".repeat(200_000)}});
    for _ in 0..LARGE_JOBS {
        server.submit(large.clone()).await;
    }
    // It is moved after the commit's answer.
    server
        .until(async || value(&scrape(&server).await, "crewcall_store_checkpoint_seconds_count") > 0.0)
        .await;
    assert!(value(&scrape(&server).await, "crewcall_store_checkpoint_seconds_sum") > 0.0);
    server.stop().await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_is_told() {
    let server = Server::start().await;
    shows(&scrape(&server).await, &[("crewcall_clock_set_back_seconds", 0.0)]);
    let offset = value(&scrape(&server).await, "crewcall_clock_offset_seconds");
    assert!(offset.abs() < 5.0, "{offset}");
    // Our clock goes on, the machine's does not.
    server.hear_nobody_for(Duration::from_secs(60)).await;
    let offset = value(&scrape(&server).await, "crewcall_clock_offset_seconds");
    assert!((-90.0..-55.0).contains(&offset), "{offset}");
    server.stop().await;

    // The time that is kept in the database is an hour ahead.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("crewcall.db");
    let earlier = Server::start_with(Options { file: Some(file.clone()), ..Options::default() }).await;
    earlier.submit(json!({"type": "a"})).await; // the time is kept with it
    earlier.stop().await;
    earlier.store.close().await;
    let database = rusqlite::Connection::open(&file).unwrap();
    let ahead = "UPDATE counters SET value = value + 3600000 WHERE name = 'time'";
    assert_eq!(database.execute(ahead, ()).unwrap(), 1);
    let server = Server::start_with(Options { file: Some(file), ..Options::default() }).await;
    let set_back = value(&scrape(&server).await, "crewcall_clock_set_back_seconds");
    assert!((3_500.0..=3_600.0).contains(&set_back), "{set_back}");
    server.stop().await;
}

#[tokio::test]
async fn requests_streams_and_the_process_are_measured() {
    let server = Server::start().await;
    let stream = answer(server.get("/v1/watch")).await;
    let open = scrape(&server).await;
    shows(
        &open,
        &[
            ("crewcall_http_watchers", 1.0),
            ("crewcall_http_requests_in_flight", 1.0), // this one
            (
                r#"crewcall_http_request_duration_seconds_count{method="GET",route="/v1/watch",status="200"}"#,
                1.0,
            ),
            (&format!(r#"crewcall_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION")), 1.0),
        ],
    );
    drop(stream);
    server.until(async || value(&scrape(&server).await, "crewcall_http_watchers") == 0.0).await;
    let later = scrape(&server).await;
    let cpu = "process_cpu_seconds_total";
    assert!(value(&open, cpu) > 0.0 && value(&later, cpu) > value(&open, cpu));
    assert!((1e6..1e11).contains(&value(&later, "process_resident_memory_bytes")));
    assert!(value(&later, "process_open_fds") >= 3.0);
    assert!(value(&later, "process_open_fds") < value(&later, "process_max_fds"));
    assert!(value(&later, "process_threads") >= 2.0);
    let started = value(&later, "process_start_time_seconds");
    assert!(started > 1.7e9 && value(&later, "crewcall_start_time_seconds") == started);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_scraper_keeps_nobody_waiting() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    let slow = answer(server.get("/metrics")).await; // its body is not read
    let id = server.submit_dispatched("a").await;
    server.complete(id, json!({})).await;
    assert_eq!(value(&scrape(&server).await, r#"crewcall_jobs{state="completed",type="a"}"#), 1.0);
    drop(slow);
    server.stop().await;
}

// --- the document --------------------------------------------------------------------------------------------------

/// A row of docs/metrics.md.
fn row(metric: &MetricDescription) -> String {
    let MetricDescription { name, kind, labels, help } = metric;
    let base = name.strip_suffix("_total").unwrap_or(name);
    let unit = ["seconds", "bytes"].into_iter().find(|unit| base.ends_with(unit)).unwrap_or("");
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {kind} | {unit} | {} | {help} |", labels.join(", ")).replace("  ", " ")
}

#[test]
fn the_document_lists_every_metric_and_no_other() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let document = fs::read_to_string(document).unwrap();
    // What follows is of the workers, whose end-to-end test compares it.
    let (document, _) = document.split_once("\n## What a worker shows itself\n").unwrap();
    let written: BTreeSet<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let metrics = Metrics::default();
    let exported: BTreeSet<String> = metrics.described().iter().map(row).collect();
    let missing: Vec<_> = exported.iter().filter(|row| !written.contains(row.as_str())).collect();
    let wrong: Vec<_> = written.iter().filter(|row| !exported.contains(**row)).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "missing:\n{missing:#?}\nnot exported:\n{wrong:#?}");
}

#[tokio::test]
async fn what_is_exported_is_what_is_described() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    let id = server.submit_dispatched("a").await;
    server.fail(id, false).await;
    server.submit(json!({"type": "a"})).await;
    let text = answer(server.get("/metrics")).await.text().await.unwrap();
    let described: BTreeMap<_, _> =
        Metrics::default().described().iter().map(|metric| (metric.name.clone(), metric.clone())).collect();
    let (mut helps, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            helps.insert(name, help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            kinds.insert(name, kind);
        } else {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let is_part = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| name.strip_suffix(part));
            let metric =
                described.get(name).or_else(|| described.get(is_part?)).unwrap_or_else(|| panic!("{name}"));
            let found: BTreeSet<&str> = labels
                .split(',')
                .filter_map(|label| Some(label.split_once('=')?.0))
                .filter(|label| *label != "le")
                .collect();
            assert_eq!(found, metric.labels.iter().copied().collect(), "{line}");
        }
    }
    for (name, metric) in described.iter().filter(|(name, _)| helps.contains_key(name.as_str())) {
        assert_eq!((helps[name.as_str()], kinds[name.as_str()]), (metric.help, metric.kind));
    }
    assert!(helps.keys().all(|name| described.contains_key(*name)));
    server.stop().await;
}
