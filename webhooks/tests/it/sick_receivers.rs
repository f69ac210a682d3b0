//! Receivers that are too slow, too talkative, or no receivers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crewcall_webhooks::{DeliveryFailure, EXCERPT_CHARACTERS_MAX, Outcome};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use crate::{LONG, deliver, failure_of, receiver::Receiver};

/// What a delivery may take here: long enough for a slow machine to get as far as it is to get.
const SHORT: Duration = Duration::from_secs(2);

/// More than the buffers of a connection hold, and much less than a gigabyte.
const SOCKET_BUFFERS_BYTES_MAX: u64 = 64 * 1024 * 1024;

async fn failure_in_time(receiver: &Receiver) -> DeliveryFailure {
    failure_of(deliver(&receiver.url(), "127.0.0.1", SHORT).await)
}

/// Sends the beginning, and then the rest again and again, a little at a time, for as long as somebody listens.
async fn dripping(beginning: &'static str, rest: &'static str) -> Receiver {
    Receiver::start(move |mut connection: TcpStream| async move {
        let mut next = beginning;
        while connection.write_all(next.as_bytes()).await.is_ok() {
            next = rest;
            tokio::time::sleep(SHORT / 20).await;
        }
    })
    .await
}

#[tokio::test]
async fn one_that_never_answers_runs_out_of_time() {
    let receiver = Receiver::start(async |_connection| std::future::pending().await).await;
    let failure = failure_in_time(&receiver).await;
    assert_eq!(failure.reason, "the receiver did not answer within 2 s");
    assert_eq!((failure.status, failure.permanent), (None, false));
}

#[tokio::test]
async fn one_that_drips_its_headers_runs_out_of_time() {
    let receiver = dripping("HTTP/1.1 200 OK\r\n", "x").await;
    assert_eq!(failure_in_time(&receiver).await.reason, "the receiver did not answer within 2 s");
}

#[tokio::test]
async fn one_that_drips_an_excuse_is_left_with_what_it_said() {
    let receiver = dripping("HTTP/1.1 500 Odd\r\ncontent-length: 100000\r\n\r\nsorry", ".").await;
    let failure = failure_in_time(&receiver).await;
    assert_eq!((failure.status, failure.permanent), (Some(500), false));
    assert!(failure.excerpt.as_deref().is_some_and(|said| said.starts_with("sorry")), "{failure:?}");
}

#[tokio::test]
async fn one_that_says_yes_and_goes_on_talking_has_the_message() {
    let receiver = dripping("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nok", ".").await;
    // Whoever waited for the rest would wait for the deadline.
    let outcome =
        tokio::time::timeout(LONG / 2, receiver.deliver()).await.expect("nobody waits for the rest");
    assert!(matches!(outcome, Outcome::Delivered { status: 200, .. }), "{outcome:?}");
}

#[tokio::test]
async fn of_a_gigabyte_only_the_beginning_is_read() {
    const GIGABYTE: u64 = 1024 * 1024 * 1024;
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    let receiver = Receiver::start(move |mut connection: TcpStream| {
        let counter = Arc::clone(&counter);
        async move {
            let head = format!("HTTP/1.1 500 Odd\r\ncontent-length: {GIGABYTE}\r\n\r\n");
            connection.write_all(head.as_bytes()).await.unwrap();
            let chunk = vec![b'x'; 64 * 1024];
            while counter.load(Ordering::SeqCst) < GIGABYTE && connection.write_all(&chunk).await.is_ok() {
                counter.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    let failure = failure_of(receiver.deliver().await);
    assert_eq!(failure.excerpt, Some("x".repeat(EXCERPT_CHARACTERS_MAX)));
    let written = written.load(Ordering::SeqCst);
    assert!(written < SOCKET_BUFFERS_BYTES_MAX, "{written} bytes were taken");
}

#[tokio::test]
async fn one_with_too_many_or_too_long_headers_is_not_heard_out() {
    let many: String = (0..101).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(1024 * 1024));
    for headers in [many, long] {
        let text = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
        let failure = failure_of(Receiver::answering(text).await.deliver().await);
        assert!(failure.reason.contains("head is too large"), "{failure:?}");
        assert!(!failure.permanent);
    }
}

#[tokio::test]
async fn one_that_hangs_up_or_speaks_something_else_is_tried_again() {
    for text in ["", "HTTP/1.1 200", "220 mail.example ESMTP\r\n"] {
        let failure = failure_of(Receiver::answering(text).await.deliver().await);
        assert!(failure.reason.starts_with("the connection to the receiver broke: "), "{text}: {failure:?}");
        assert_eq!((failure.status, failure.permanent), (None, false));
        assert!(!failure.reason.contains("secret"), "{failure:?}");
    }
}

#[tokio::test]
async fn one_that_is_not_there_or_has_no_tls_is_tried_again() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plain = Receiver::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    for url in [format!("http://{nobody}/?key=secret"), format!("https://{}/?key=secret", plain.address)] {
        let failure = failure_of(deliver(&url, "127.0.0.1", SHORT * 5).await);
        assert!(failure.reason.starts_with("the receiver cannot be reached: "), "{failure:?}");
        assert_eq!((failure.status, failure.permanent), (None, false));
        assert!(!failure.reason.contains("secret"), "{failure:?}");
    }
}
