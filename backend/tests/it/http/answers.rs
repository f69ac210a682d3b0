//! Callers that ask and do not read.

use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::server::{Options, PATIENCE, Server, answer, problem};

/// Large jobs: more than one page holds.
const JOBS: usize = 36;

/// How many of them a page holds: it ends with the one that makes it longer than 8 MiB.
const PAGE_JOBS: usize = 34;

/// The text of each, in bytes.
const TEXT_BYTES: usize = 250_000;

/// Callers who ask for a page and read no more than its first line.
const CALLERS: usize = 4;

/// Room for one page, and not for two.
const ANSWERS_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Asks for a page, and answers the connection with the status.
async fn ask_and_stall(server: &Server) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let address = server.base.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(b"GET /v1/jobs?limit=500 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut status)).await.unwrap().unwrap();
    (stream, String::from_utf8(status.to_vec()).unwrap())
}

#[tokio::test]
async fn answers_that_nobody_reads_are_held_within_a_budget() {
    let options = Options { answers_bytes_max: Some(ANSWERS_BYTES_MAX), ..Options::default() };
    let server = Server::start_with(options).await;
    for _ in 0..JOBS {
        server.submit(json!({"type": "a", "parameters": {"text": "x".repeat(TEXT_BYTES)}})).await;
    }
    let mut stalled = Vec::new();
    let mut refused = 0;
    for _ in 0..CALLERS {
        let (stream, status) = ask_and_stall(&server).await;
        match status.as_str() {
            "HTTP/1.1 200" => stalled.push(stream),
            "HTTP/1.1 503" => refused += 1,
            other => unreachable!("{other}"),
        }
    }
    assert!(!stalled.is_empty(), "there is room for one");
    assert!(refused > 0, "all {CALLERS} pages are held at once");
    insta::assert_json_snapshot!("too_many_answers", problem(server.get("/v1/jobs?limit=500")).await);
    let refusal = answer(server.get("/v1/jobs?limit=500")).await;
    assert_eq!(refusal.headers()["retry-after"], "5");
    // What is small is answered all the same.
    assert_eq!(answer(server.get("/livez")).await.status(), StatusCode::OK);
    assert_eq!(server.read("/v1/workers").await["workers"], json!([]));
    drop(stalled);
    let room_again = async {
        while answer(server.get("/v1/jobs?limit=500")).await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, room_again).await.expect("room is free again when nobody waits for it");
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_large_jobs_is_whole_json_and_leads_to_the_rest() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for _ in 0..JOBS {
        let text = "x".repeat(TEXT_BYTES);
        ids.push(server.submit(json!({"type": "a", "parameters": {"text": text}})).await.to_string());
    }
    ids.reverse();
    let (mut listed, mut path, mut pages) = (Vec::new(), "/v1/jobs?limit=40".to_owned(), 0);
    loop {
        let page = server.read(&path).await;
        pages += 1;
        let of_page =
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned());
        listed.extend(of_page);
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/jobs?limit=40&cursor={cursor}");
    }
    assert_eq!(listed, ids);
    assert_eq!(pages, 2);
    for limit in [1, PAGE_JOBS, 500] {
        let page = server.read(&format!("/v1/jobs?limit={limit}")).await;
        assert_eq!(page["jobs"].as_array().unwrap().len(), limit.min(PAGE_JOBS), "{limit}");
        assert!(page["next_cursor"].is_string(), "{limit}");
    }
    server.stop().await;
}
