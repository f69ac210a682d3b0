//! What nobody can read, on every queue of the backend and at a worker: set aside, counted, and work goes on.

use std::time::Duration;

use crewcall_proto::{JobType, MessageKind, Topology};
use e2e::{rogue::Rogue, stack::Stack};
use serde_json::json;

/// What is sent to each queue: a body, and how it calls itself.
fn nonsense() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (b"\xc1\xff\x00not a message".to_vec(), "application/msgpack"),
        (vec![0x91; 200_000], "application/msgpack"), // 200 000 nested arrays
        ([b"[".repeat(200_000), b"]".repeat(200_000)].concat(), "application/json"),
        (vec![0xc0; 2 * 1024 * 1024], "application/msgpack"), // beyond the size limit
        (b"{\"kind\":\"no such thing\"}".to_vec(), "application/json"),
        (b"<xml/>".to_vec(), "text/xml"),
        (Vec::new(), "application/msgpack"),
    ]
}

#[tokio::test]
async fn unreadable_messages_are_set_aside_on_every_queue() {
    let mut stack = Stack::start("malformed").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 2).await.unwrap();
    let names = Topology::default();
    let served = JobType::new("test.echo").unwrap();
    let rogue = Rogue::start(&stack.amqp_url);
    let mut targets = vec![
        (names.unroutable(), String::new()),
        (names.dead(), String::new()),
        (names.submit_exchange(), served.to_string()), // a worker reads it, refuses it, and it dies
        (names.control_exchange(), names.control_key_all().to_owned()),
    ];
    for kind in [MessageKind::Completed, MessageKind::Error, MessageKind::Held, MessageKind::Progression] {
        targets.push((names.response_exchange(), names.response_key(kind, &served)));
    }
    for key in ["announce", "heartbeat", "goodbye", "something.else"] {
        targets.push((names.discovery_exchange(), key.to_owned()));
    }
    for (exchange, routing_key) in &targets {
        for (body, content_type) in nonsense() {
            rogue.send(exchange, routing_key, body, content_type).await.unwrap();
        }
    }
    rogue.vanish().await;
    // All but those on the control exchange, which workers ignore, end up in the backend's quarantine.
    let expected = f64::from(u32::try_from((targets.len() - 1) * nonsense().len()).unwrap());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let counted = stack.api.metric("crewcall_messages_malformed_total", "").await.unwrap();
        if (counted - expected).abs() < 0.5 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{counted} of {expected} messages were counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let id = stack.submit("test.echo", json!({"text": "unharmed"})).await.unwrap();
    assert_eq!(stack.api.finished(&id).await.unwrap()["result"]["text"], "unharmed");
    let sql = rusqlite::Connection::open(stack.database()).unwrap();
    let kept: f64 = sql.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0)).unwrap();
    assert!((kept - expected).abs() < 0.5, "{kept} of {expected} messages are kept");
    stack.settled().await.unwrap();
}
