//! Callers of the HTTP API that are not what they seem, or do not read what they asked for.

use std::time::Duration;

use crewcall_proto::{ContentType, JobType, MessageKind, Topology, encode};
use e2e::{footprint::Footprint, process::PATIENCE, raw_worker::RawWorker, stack::Stack};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::messages::completed;

/// Large jobs: a page of them has 8 MiB.
const LARGE_JOBS: usize = 34;

/// The text of each, in bytes.
const TEXT_BYTES: usize = 250_000;

/// Callers who ask for a page and do not read it: 160 MiB of answers.
const STALLED: usize = 20;

/// How much the memory may grow with them: the 64 MiB of the budget, what is put together for 8 pages at once, and what
/// the allocator keeps of it.
const GROWTH_BYTES_MAX: u64 = 150 * 1024 * 1024;

/// Within which time a caller that does not read is cut off: 30 s, and time for a busy machine.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(60);

/// A web page whose name suddenly resolves to us submits, reads and pauses (DNS rebinding), and the page of another site
/// sends what needs no permission. All of it is refused, and nothing has changed; people and programs are served.
#[tokio::test]
async fn f100_a_stranger_s_page_asks() {
    let mut stack = Stack::start("f100").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let (listen, mut refused) = (stack.http_listen().to_owned(), 0);
    let submission = json!({"type": "test.echo", "parameters": {"text": "from a stranger"}}).to_string();
    let rebound = "host: evil.example\r\norigin: http://evil.example\r\nsec-fetch-site: same-origin\r\n";
    let foreign = format!("host: {listen}\r\norigin: http://evil.example\r\nsec-fetch-site: cross-site\r\n");
    let older = format!("host: {listen}\r\norigin: http://evil.example\r\n");
    for (headers, expected) in [(rebound, 421), (foreign.as_str(), 403), (older.as_str(), 403)] {
        for (method, path, body) in [
            ("POST", "/v1/jobs", submission.as_str()),
            ("POST", "/v1/types/test.echo/pause", ""),
            ("POST", "/v1/workers/worker-0/drain", ""),
            ("DELETE", "/v1/quarantine", ""),
        ] {
            assert_eq!(
                ask(&listen, method, path, headers, body).await,
                expected,
                "{method} {path} {headers}"
            );
            refused += 1;
        }
    }
    for path in ["/v1/jobs", "/v1/watch", "/metrics", "/docs/"] {
        assert_eq!(ask(&listen, "GET", path, rebound, "").await, 421, "{path}");
        refused += 1;
    }
    let (_, listed) = stack.api.get("/v1/jobs").await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["jobs"], json!([]));
    let (_, echo) = stack.api.get("/v1/types/test.echo").await.unwrap();
    assert!(serde_json::from_str::<Value>(&echo).unwrap()["paused"].is_null(), "{echo}");
    let took = stack.check_resumes("test.echo", json!({"text": "a program"})).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I11",
        format_args!("{refused} requests of strangers were refused; a job done in {took:.1?} after them"),
    );
    found.print("F100 the page of a stranger asks");
}

/// Twenty callers ask for a page of 8 MiB and read only its first line. The memory stays within the budget for answers, the
/// others are told to come back, everybody else is served, and those who do not read are cut off.
#[tokio::test]
async fn f101_callers_do_not_read() {
    let mut stack = Stack::start("f101").await.unwrap();
    for _ in 0..LARGE_JOBS {
        stack.submit("test.nobody", json!({"text": "x".repeat(TEXT_BYTES)})).await.unwrap();
    }
    let before = Footprint::of(&stack.backend).unwrap().resident_bytes;
    let (mut stalled, mut sent_away) = (Vec::new(), 0);
    for _ in 0..STALLED {
        let (stream, status) = stall(stack.http_listen()).await;
        match status {
            200 => stalled.push(stream),
            503 => sent_away += 1,
            other => unreachable!("{other}"),
        }
    }
    let began = Instant::now();
    let during = Footprint::of(&stack.backend).unwrap().resident_bytes;
    let grown = during.saturating_sub(before);
    assert!(sent_away > 0, "all {STALLED} pages are held at once: {} MiB more", grown >> 20);
    assert!(grown < GROWTH_BYTES_MAX, "{} MiB more for {} callers", grown >> 20, stalled.len());
    stack.api.ready().await.unwrap();
    let cut_off = stalled.len();
    for mut stream in stalled {
        // The rest comes from the buffers of the system; then the connection is over, before the page is.
        let rest = async {
            let mut bytes = 0;
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read) = stream.read(&mut buffer).await {
                bytes += read;
                if read == 0 {
                    break;
                }
            }
            bytes
        };
        tokio::time::sleep_until(began + Duration::from_secs(31)).await;
        let bytes = timeout(CUT_OFF_WITHIN, rest).await.expect("the connection stays open");
        assert!(bytes < LARGE_JOBS * TEXT_BYTES, "it was kept until somebody read it");
    }
    let ids = stack.api.get("/v1/jobs?limit=500").await.unwrap().1;
    assert!(ids.len() > LARGE_JOBS * TEXT_BYTES, "there is room again");
    stack.api.post("/v1/jobs/cancel", json!({"filter": {}, "all": true})).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I10",
        format_args!(
            "{} MiB more for {cut_off} callers who did not read; {sent_away} were sent away; all were cut off",
            grown >> 20
        ),
    );
    found.print("F101 callers do not read");
}

/// Numbers that 64 bits hold arrive at a worker and come back digit by digit. A result with another number fails its
/// attempt for good, and says which number it was.
#[tokio::test]
async fn f102_a_number_that_64_bits_do_not_hold() {
    let mut stack = Stack::start("f102").await.unwrap();
    let job_type = JobType::new("test.numbers").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by(job_type.as_str(), 1).await.unwrap();
    let numbers = json!({"n": [u64::MAX, i64::MIN, 0.1, -0.0, 1e300]});
    let id = stack.submit(job_type.as_str(), numbers.clone()).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    assert_eq!(Value::Object(taken.order.parameters.clone()).to_string(), numbers.to_string());
    raw_worker.complete(&taken, numbers.clone()).await.unwrap();
    taken.delivery.ack().await.unwrap();
    stack.api.wait_for_end(&id).await.unwrap();
    let (_, text) = stack.api.get(&format!("/v1/jobs/{id}")).await.unwrap();
    assert_eq!(
        text.matches("[18446744073709551615,-9223372036854775808,0.1,-0.0,1e+300]").count(),
        2,
        "{text}"
    );
    drop(taken);

    let id = stack.submit(job_type.as_str(), json!({})).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    let mut answer = completed(&raw_worker, &taken);
    answer.result = json!({"sum": 777});
    let body = String::from_utf8(encode(ContentType::Json, &answer).unwrap())
        .unwrap()
        .replace(r#""sum":777"#, r#""sum":123456789012345678901234567890"#);
    assert!(body.contains("123456789012345678901234567890"), "{body}");
    let names = Topology::default();
    let key = names.response_key(MessageKind::Completed, &job_type);
    raw_worker.send(&names.response_exchange(), &key, body.into_bytes(), "application/json").await.unwrap();
    taken.delivery.ack().await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(
        (job["state"].as_str(), job["error"]["code"].as_str()),
        (Some("failed"), Some("result_not_exact"))
    );
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("123456789012345678901234567890 at /result/sum"), "{message}");
    raw_worker.vanish().await;
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I11",
        format_args!("five numbers came back as they were sent; of one that could not: {message}"),
    );
    found.print("F102 a number that 64 bits do not hold");
}

/// The status of the answer to a request written by hand.
async fn ask(listen: &str, method: &str, path: &str, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(listen).await.unwrap();
    let content = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{headers}{content}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    status(&mut stream).await
}

async fn status(stream: &mut TcpStream) -> u16 {
    let mut line = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut line)).await.unwrap().unwrap();
    std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

/// Asks for a page and reads its first line alone, with as little room for more as the system gives.
async fn stall(listen: &str) -> (TcpStream, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(listen.parse().unwrap()).await.unwrap();
    let request = format!("GET /v1/jobs?limit=500 HTTP/1.1\r\nhost: {listen}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let status = status(&mut stream).await;
    (stream, status)
}
