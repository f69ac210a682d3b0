//! Serving connections, each within limits, until told to stop.

use std::{sync::Arc, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::{
    net::sockopt::set_tcp_user_timeout,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many connections are open at once; further ones wait in the kernel's queue. Fewer where the process may not
/// open so many files.
const CONNECTIONS_MAX: usize = 4_096;

/// How many of the files that the process may open are never given to callers. The store has some twenty open, each link
/// to the broker four, and a link that is lost needs them again just when everybody is asking what is wrong.
const FILES_RESERVED: usize = 96;

/// How much is read of a connection before it is looked at, in bytes; the head of a request must not be longer. The HTTP
/// library's own limit is 400 KiB, which with every connection would be 1.6 GiB.
const READ_BYTES_MAX: usize = 32 * 1024;

/// How long a connection may take to send the head of a request, or to say nothing between two.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a caller may take nothing of what is sent to it. Then its connection is closed: what it was to get holds
/// memory, and a watcher a place.
const WRITE_IDLE_MAX: Duration = Duration::from_secs(30);

/// How long requests may take to end once the backend stops. Streams and long polls end at once.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Serves `router` on `listener` until `stop`, then lets the open requests end, at most for [`STOP_GRACE`].
pub async fn serve(mut listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(connections_max()));
    let connections = TaskTracker::new();
    let grace_over = CancellationToken::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            // Waits and goes on when the process has no file left for a connection.
            (place, Listener::accept(&mut listener).await)
        };
        let (place, (stream, _)) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        let connection = connection(stream, router.clone(), stop.clone());
        let grace_over = grace_over.clone();
        connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = grace_over.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(STOP_GRACE, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "Requests are cut off: they did not end in time.");
        grace_over.cancel();
        connections.wait().await;
    }
}

/// How many connections the system lets us have beside our own files: at least one, or nobody could ask why. Where it
/// grants more than it gave us to begin with, we take that.
fn connections_max() -> usize {
    let wanted = u64::try_from(CONNECTIONS_MAX + FILES_RESERVED).unwrap_or(u64::MAX);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(limit.maximum.map_or(wanted, |most| most.min(wanted))), ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let Some(files) = limit.current else { return CONNECTIONS_MAX };
    let most = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(FILES_RESERVED);
    let most = most.clamp(1, CONNECTIONS_MAX);
    if most < CONNECTIONS_MAX {
        tracing::warn!(
            files,
            connections = most,
            "Fewer connections than usual are served at once: the process may not open more files (ulimit -Hn)."
        );
    }
    most
}

/// A stream that fails when nothing of what is written to it is taken for [`WRITE_IDLE_MAX`].
fn impatient<S: AsyncRead + AsyncWrite>(stream: S) -> TimeoutStream<S> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_IDLE_MAX));
    stream
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Answers are small and wanted at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "A connection keeps its delay.");
    }
    // The same for what the system holds: a silent stream may fit into its buffers for hours.
    let idle_ms = u32::try_from(WRITE_IDLE_MAX.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = set_tcp_user_timeout(&stream, idle_ms) {
        tracing::debug!(%error, "The system does not watch whether a connection is read.");
    }
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(impatient(stream))), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "A connection broke off.");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let mut ours = Box::pin(impatient(ours));
        let slow = TaskTracker::new().spawn(async move {
            for _ in 0..4 {
                tokio::time::sleep(WRITE_IDLE_MAX - Duration::from_secs(1)).await;
                theirs.read_u8().await.unwrap();
            }
            theirs
        });
        ours.write_all(b"slow").await.unwrap();
        let _theirs = slow.await.unwrap();
        let began = tokio::time::Instant::now();
        let given_up = ours.write_all(b"nobody reads this").await.unwrap_err();
        assert_eq!(given_up.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), WRITE_IDLE_MAX.as_secs());
    }
}
