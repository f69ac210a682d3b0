use crewcall_amqp::{BrokerProduct, Declaration, ExchangeKind, Found, QueueDepth};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::api::{Metrics, Readiness};

const HEALTHY: &str = "crewcall_build_info{version=\"VERSION\"} 1\ncrewcall_start_time_seconds 1795190400\n\
    crewcall_store_file_bytes 12300000\ncrewcall_store_disk_free_bytes 40000000000\ncrewcall_quarantine_messages 0\n";

fn now() -> Timestamp {
    "2026-11-20T16:07:00Z".parse().unwrap()
}

fn backend(readiness: Value, at: &str, types: Value, workers: Value, metrics: &str) -> BackendFacts {
    let readiness: Readiness = serde_json::from_value(readiness).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    BackendFacts {
        readiness: Readiness { at: at.parse().ok(), ..readiness },
        answered_at: Some(now()),
        types: serde_json::from_value(types).unwrap(),
        workers: serde_json::from_value(workers).unwrap(),
        metrics: Metrics::parse(&metrics.replace("VERSION", version)),
    }
}

/// An installation that works.
pub(crate) fn healthy() -> Facts {
    let ready = json!({"checks": {"store": {"ok": true}, "broker": {"ok": true}}});
    let types = json!([
        {"type": "image.thumbnail", "workers": 2, "jobs": {"running": 1, "completed": 20, "failed": 1}},
        {"type": "file.copy", "workers": 1, "paused": {"by": "ann"}, "jobs": {"ready": 3},
         "oldest_waiting_at": "2026-11-20T16:05:00Z"},
    ]);
    let workers = json!([
        {"id": "1", "name": "images", "version": "1", "host": "forge", "status": "busy", "slots": 4, "slots_busy": 1},
        {"id": "2", "name": "images", "version": "1", "host": "anvil", "status": "idle", "slots": 4},
    ]);
    let things = [
        (
            queue("crewcall.completed", None),
            Found::AsDeclared(Some(QueueDepth { messages: 0, consumers: 1 })),
        ),
        (exchange("crewcall.submit"), Found::AsDeclared(None)),
        (queue("crewcall.jobs.file.copy", Some("crewcall.dead")), depth(9, 0)),
        (
            Declaration::Binding { queue: "q".into(), exchange: "e".into(), routing_key: "#".into() },
            Found::Unknowable,
        ),
    ];
    Facts {
        now: now(),
        url: "http://127.0.0.1:8080/".to_owned(),
        backend: Ok(backend(ready, "2026-11-20T16:06:59Z", types, workers, HEALTHY)),
        broker: BrokerFacts::Seen(inspection("3.12.1", things.into())),
    }
}

fn inspection(version: &str, things: Vec<(Declaration, Found)>) -> Inspection {
    let product = Some(BrokerProduct { name: "RabbitMQ".to_owned(), version: version.to_owned() });
    let things =
        things.into_iter().map(|(expected, found)| Thing { expected, found, refusal: None }).collect();
    Inspection { product, vhost: "/".to_owned(), prefix: "crewcall".to_owned(), things }
}

fn depth(messages: u32, consumers: u32) -> Found {
    Found::AsDeclared(Some(QueueDepth { messages, consumers }))
}

fn queue(name: &str, dead_letter_exchange: Option<&str>) -> Declaration {
    Declaration::QuorumQueue {
        name: name.to_owned(),
        delivery_limit: None,
        dead_letter_exchange: dead_letter_exchange.map(str::to_owned),
        length_max: None,
    }
}

fn exchange(name: &str) -> Declaration {
    Declaration::Exchange { name: name.to_owned(), kind: ExchangeKind::Topic, alternate: None }
}

/// One in which nearly everything is wrong.
pub(crate) fn broken() -> Facts {
    let unready = json!({"checks": {"store": {"ok": false, "reason": "the disk is full"}, "broker": {"ok": false, "reason": "not connected"}}});
    let types = json!([
        {"type": "file.copy", "workers": 0, "jobs": {"ready": 2, "dispatched": 1}, "oldest_waiting_at": "2026-11-20T16:05:00Z"},
        {"type": "file.coyp", "workers": 0, "announced": false, "jobs": {"unroutable": 1}},
        {"type": "image.crop", "workers": 1, "queue_error": "it exists with other properties"},
        {"type": "image.blur", "workers": 1, "schema_error": "a look-ahead", "refused": "there are 10 000 types"},
    ]);
    let lost = |id: u32| json!({"id": id.to_string(), "name": "images", "version": "1", "host": "forge", "status": "lost"});
    let mut workers: Vec<Value> = (0..7).map(lost).collect();
    for version in ["2", "3"] {
        workers.push(json!({"id": version, "name": "sums", "version": version, "host": "anvil", "status": "idle", "slots": 1}));
    }
    let metrics = "crewcall_build_info{version=\"9.9.9\"} 1\ncrewcall_store_disk_free_bytes 1000000\ncrewcall_quarantine_messages 3\n";
    let different = Found::Different { broker_says: "inequivalent arg 'x-delivery-limit'".to_owned() };
    let refused = Found::Refused { broker_says: "configure access refused".to_owned() };
    let things = vec![
        (queue("crewcall.completed", None), depth(7, 0)),
        (queue("crewcall.error", None), Found::Missing),
        (queue("crewcall.held", None), depth(BACKLOG, 1)),
        (queue("crewcall.jobs.file.copy", Some("crewcall.dead")), different.clone()),
        (exchange("crewcall.submit"), different),
        (exchange("crewcall.control"), refused),
        (exchange("crewcall.discovery"), Found::AsDeclared(None)),
    ];
    let mut seen = inspection("3.9.2", things);
    seen.things.last_mut().unwrap().refusal = Some("write access refused".to_owned());
    Facts {
        backend: Ok(backend(unready, "2026-11-20T16:06:48Z", types, json!(workers), metrics)),
        broker: BrokerFacts::Seen(seen),
        ..healthy()
    }
}

/// More than a backend should leave.
const BACKLOG: u32 = 20_000;

fn codes(facts: &Facts) -> Vec<&'static str> {
    Report::of(facts).findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_healthy_installation_has_no_findings() {
    let report = Report::of(&healthy());
    assert_eq!((report.status, report.findings.as_slice()), (Status::Ok, [].as_slice()));
    assert!(report.areas.iter().all(|area| area.status == Status::Ok));
    assert_eq!(report.areas.len(), 8);
}

#[test]
fn every_fault_is_found_with_what_to_do() {
    let report = Report::of(&broken());
    assert_eq!(report.status, Status::Error);
    assert!(report.findings.is_sorted_by(|a, b| a.status >= b.status), "the worst first");
    assert!(report.findings.iter().all(|finding| finding.fix.len() > 20));
    let text: Vec<String> = report
        .findings
        .iter()
        .map(|found| {
            format!("{} {} {}: {}", found.status.word(), found.area.word(), found.code, found.message)
        })
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_backend_or_broker_that_is_not_there_is_a_finding() {
    let facts = Facts {
        backend: Err("connection refused".to_owned()),
        broker: BrokerFacts::Unreachable("no broker at 127.0.0.1:1".to_owned()),
        ..healthy()
    };
    assert_eq!(codes(&facts), ["backend-unreachable", "broker-unreachable"]);
    let unknown = Facts { broker: BrokerFacts::Unknown, ..healthy() };
    assert_eq!((codes(&unknown).len(), Report::of(&unknown).not_checked.len()), (0, 1));
}

#[test]
fn limits_are_where_they_are_said_to_be() {
    let with = |at: &str, free: &str| {
        let mut facts = healthy();
        let seen = facts.backend.as_mut().unwrap();
        seen.readiness.at = at.parse().ok();
        seen.metrics = Metrics::parse(&format!("crewcall_store_disk_free_bytes {free}\n"));
        Report::of(&facts).findings.iter().map(|found| (found.code, found.status)).collect::<Vec<_>>()
    };
    assert_eq!(with("2026-11-20T16:06:55Z", "1e9"), []);
    assert_eq!(with("2026-11-20T16:07:06Z", "1e9"), [("clock-skew", Status::Warning)]);
    assert_eq!(
        with("2026-11-20T16:06:54Z", "9.9e8"),
        [("disk-nearly-full", Status::Warning), ("clock-skew", Status::Warning)]
    );
    assert_eq!(with("2026-11-20T16:07:00Z", "6e7"), [("disk-nearly-full", Status::Error)]);
}
