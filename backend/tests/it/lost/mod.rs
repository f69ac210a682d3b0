//! Attempts that are lost, and how that is seen, with the real store: only the broker is played.

mod orders;

mod workers;

use crewcall_backend::{
    domain::{Event, Submission, times::Times},
    engine::ports::{Accepted, BrokerStatus, JobChanged, JobEvent},
};
use crewcall_proto::{ExecutionId, JobId, response::Origin};

use crate::http::server::Server;

const TYPE: &str = "lost.test";

/// A backend whose broker is up.
async fn server() -> Server {
    let server = Server::start().await;
    server.broker.set(BrokerStatus::Up);
    server
}

/// Stores and dispatches jobs. A store that has just dispatched them counts them as confirmed once they are published.
async fn dispatch(server: &Server, count: usize, timeout_seconds: Option<f64>) -> Vec<JobId> {
    let now = server.clock.now();
    let accepted = || {
        let times = Times { timeout_seconds, ..Times::default() };
        let submission = Submission { job_type: TYPE.to_owned(), times, ..Submission::default() };
        let job = submission.validate(now).unwrap().accept(JobId::generate(), now);
        Accepted { job, window: usize::MAX, idempotency: None, after: None }
    };
    let inserted = server.store.insert((0..count).map(|_| accepted()).collect()).await.unwrap();
    let mut ids = Vec::new();
    for change in inserted.changes {
        assert!(change.dispatch.is_some(), "it should be dispatched: {change:?}");
        ids.push(change.job_id);
    }
    server.engine.recover().await.unwrap();
    // What the mark of the store says is confirmed, is.
    loop {
        server.engine.close().await.unwrap();
        let marks = server.store.dispatch_marks().await.unwrap();
        if marks.confirmed == marks.issued {
            break;
        }
        tokio::task::yield_now().await;
    }
    ids
}

/// A figure of the metrics.
async fn figure(server: &Server, series: &str) -> f64 {
    let text = server.engine.render_metrics().await;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.expect("the series is there").parse().unwrap()
}

/// Says something about the current attempt of each job, as its worker does.
async fn say(server: &Server, ids: &[JobId], what: fn(Origin) -> Event) -> Vec<JobChanged> {
    let mut changes = Vec::new();
    for ids in ids.chunks(1_000) {
        let mut events = Vec::new();
        for id in ids {
            let (job, _) = server.store.get(*id).await.unwrap().unwrap();
            let origin = Origin {
                job_id: *id,
                attempt: job.status.attempt,
                attempt_token: job.status.token.unwrap(),
                execution_id: ExecutionId::from_uuid(*id.as_uuid()),
                worker_id: "worker-1".parse().unwrap(),
            };
            events.push(JobEvent { job_id: *id, event: what(origin) });
        }
        changes.extend(server.engine.changes().record(events).await.unwrap().changes);
    }
    changes
}
