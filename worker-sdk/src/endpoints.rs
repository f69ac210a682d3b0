//! What a worker shows over HTTP when it is told where (`CREWCALL_WORKER_LISTEN`): its metrics, whether it is alive, and
//! whether it takes orders. It runs on the worker's own thread, which no handler blocks.

use std::{convert::Infallible, io, net, net::SocketAddr, sync::Arc};

use crewcall_amqp::{Consumer, Publisher};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    health::LoopState,
    limits::{ENDPOINT_CONNECTIONS_MAX, ENDPOINT_HEAD_BYTES_MAX, ENDPOINT_TIME_MAX, RETRY_PAUSE},
    metrics::WorkerMetrics,
    worker_error::WorkerError,
};

/// The Prometheus text format.
const METRICS_MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const JSON_MEDIA_TYPE: &str = "application/json";

/// Takes the address.
///
/// # Errors
///
/// [`WorkerError::Listen`] if it cannot be had.
pub(crate) fn bind(address: SocketAddr) -> Result<net::TcpListener, WorkerError> {
    let bound = || -> io::Result<_> {
        let listener = net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let (listener, bound) = bound().map_err(|source| WorkerError::Listen { address, source })?;
    tracing::info!(address = %bound, "Serving /metrics, /livez and /readyz.");
    if !bound.ip().is_loopback() {
        tracing::warn!(
            address = %bound,
            "Other machines can read the metrics: the address is not a loopback one, and nobody is asked who they are."
        );
    }
    Ok(listener)
}

/// What is shown.
pub(crate) struct Shown {
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) state: watch::Receiver<LoopState>,
    pub(crate) consumer: Consumer,
    pub(crate) publisher: Publisher,
}

/// Serves without end. Dropping it closes every connection.
pub(crate) async fn serve(listener: net::TcpListener, shown: Shown) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "The worker cannot show its metrics and its health."),
    };
    let shown = Arc::new(shown);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= ENDPOINT_CONNECTIONS_MAX {
            connections.join_next().await; // those who come meanwhile wait in the kernel's queue
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&shown)))),
            Err(error) => {
                tracing::debug!(%error, "No connection can be taken.");
                sleep(RETRY_PAUSE.0).await;
            }
        }
    }
}

/// Answers one request. Whoever is slow to ask, or to take the answer, is cut off.
async fn connection(stream: TcpStream, shown: Arc<Shown>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let answer = shown.answer(request.method(), request.uri().path());
        async { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(ENDPOINT_TIME_MAX)
        .max_buf_size(ENDPOINT_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(ENDPOINT_TIME_MAX, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "A connection broke off."),
        Err(_) => tracing::debug!("A connection was too slow and is closed."),
    }
}

impl Shown {
    fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new());
            refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/metrics" => answer(StatusCode::OK, METRICS_MEDIA_TYPE, self.metrics()),
            "/livez" => health(self.state.borrow().is_alive(), "ok", || "the worker's loop does not turn"),
            "/readyz" => {
                let reason = self.state.borrow().readiness.reason();
                health(reason.is_none(), "ready", || reason.unwrap_or_default())
            }
            _ => answer(
                StatusCode::NOT_FOUND,
                "text/plain",
                "There is /metrics, /livez and /readyz.\n".to_owned(),
            ),
        }
    }

    fn metrics(&self) -> String {
        let (consumer, publisher) = (&self.consumer, &self.publisher);
        self.metrics.set_link("consumer", consumer.state().borrow().is_connected(), consumer.reconnects());
        self.metrics.set_link("publisher", publisher.state().borrow().is_connected(), publisher.reconnects());
        self.metrics.render()
    }
}

fn health(is_well: bool, status: &str, reason: impl Fn() -> &'static str) -> Response<String> {
    let (code, body) = if is_well {
        (StatusCode::OK, json!({"status": status}))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, json!({"status": format!("not {status}"), "reason": reason()}))
    };
    answer(code, JSON_MEDIA_TYPE, body.to_string())
}

fn answer(status: StatusCode, media_type: &'static str, body: String) -> Response<String> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    answer
}
