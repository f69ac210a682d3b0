//! A sink of traces, as a collector of OpenTelemetry is one: takes spans by OTLP over HTTP, in Protobuf.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::{Span, status::StatusCode},
};
use prost::Message;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// A span that came in.
#[derive(Debug, Clone)]
pub struct SeenSpan {
    /// Whose it is: the resource's `service.name`.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The trace, in hexadecimal digits.
    pub trace_id: String,
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// The id of what it is a part of; empty if it begins its trace.
    pub parent_id: String,
    /// When it began, in nanoseconds since the epoch.
    pub began: u64,
    /// When it ended, in nanoseconds since the epoch.
    pub ended: u64,
    /// What is said of it.
    pub attributes: BTreeMap<String, String>,
    /// What happened in it, each with what is said of that.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// Whether it did not do what it was for.
    pub failed: bool,
}

/// A sink on this machine; it ends when this is dropped.
pub struct OtlpSink {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<SeenSpan>>>,
    _stop: DropGuard,
}

impl OtlpSink {
    /// One that takes what comes.
    ///
    /// # Errors
    ///
    /// When there is no port for it.
    pub async fn start() -> anyhow::Result<Self> {
        Self::listen(true).await
    }

    /// One that takes every connection, and never answers.
    ///
    /// # Errors
    ///
    /// When there is no port for it.
    pub async fn start_silent() -> anyhow::Result<Self> {
        Self::listen(false).await
    }

    async fn listen(answers: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, tracker, seen) = (CancellationToken::new(), TaskTracker::new(), Arc::default());
        let connections = (tracker.clone(), stop.clone(), Arc::clone(&seen));
        let accept = async move {
            let (tracker, stop, seen) = connections;
            while let Ok((connection, _)) = listener.accept().await {
                let serve = serve(connection, Arc::clone(&seen), answers);
                tracker.spawn(stop.clone().run_until_cancelled_owned(serve));
            }
        };
        tracker.spawn(stop.clone().run_until_cancelled_owned(accept));
        Ok(Self { address, seen, _stop: stop.drop_guard() })
    }

    /// What programs are told to send their spans to.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of a trace that came in so far, in the order in which they began.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<SeenSpan> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spans: Vec<SeenSpan> =
            seen.iter().filter(|span| span.trace_id == trace_id).cloned().collect();
        spans.sort_by_key(|span| span.began);
        spans
    }
}

/// Answers the requests of a connection, or takes them and is silent.
async fn serve(connection: TcpStream, seen: Arc<Mutex<Vec<SeenSpan>>>, answers: bool) {
    let mut connection = BufReader::new(connection);
    while let Ok(body) = read_request(&mut connection).await {
        if !answers {
            continue;
        }
        let status = match ExportTraceServiceRequest::decode(&*body) {
            Ok(request) => {
                seen.lock().unwrap_or_else(PoisonError::into_inner).extend(spans(request));
                "200 OK"
            }
            Err(_) => "400 Bad Request",
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if connection.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The body of the next request.
async fn read_request(connection: &mut BufReader<TcpStream>) -> anyhow::Result<Vec<u8>> {
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        connection.read_line(&mut line).await?;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("a request without a length")?];
    connection.read_exact(&mut body).await?;
    Ok(body)
}

fn spans(request: ExportTraceServiceRequest) -> Vec<SeenSpan> {
    let mut seen = Vec::new();
    for of_program in request.resource_spans {
        let resource =
            of_program.resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let spans = of_program.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        seen.extend(spans.map(|span| seen_span(service.clone(), span)));
    }
    seen
}

fn seen_span(service: String, span: Span) -> SeenSpan {
    let events = span.events.into_iter().map(|event| (event.name, attributes(event.attributes)));
    SeenSpan {
        service,
        name: span.name,
        trace_id: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent_id: hexadecimal(&span.parent_span_id),
        began: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        events: events.collect(),
        failed: span.status.is_some_and(|status| status.code == StatusCode::Error as i32),
    }
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|KeyValue { key, value, .. }| (key, text(value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
