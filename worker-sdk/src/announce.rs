//! What a worker says about itself.

use crewcall_proto::{
    AttemptId, Timestamp, WorkerId,
    discovery::{Announcement, Goodbye, Heartbeat, RunningOrder, Sdk, WorkerStatus},
};

use crate::{checked_worker::CheckedWorker, clock, handler::ServedType};

/// The announcement of a worker that started at this time.
pub(crate) fn announcement(worker: &CheckedWorker, started_at: Timestamp) -> Announcement {
    Announcement {
        worker_id: worker.settings.worker_id.clone(),
        name: worker.name.clone(),
        version: worker.version.clone(),
        sdk: Sdk { language: "rust".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        host: host_name(),
        pid: std::process::id(),
        slots: worker.slots,
        content_type: worker.settings.content_type,
        types: worker.types.iter().map(|served: &ServedType| served.announced.clone()).collect(),
        started_at,
    }
}

/// The heartbeat of a worker with these orders, of which the first `slots_busy` run.
pub(crate) fn heartbeat(
    worker_id: &WorkerId,
    draining: bool,
    slots_busy: usize,
    orders: Vec<RunningOrder>,
) -> Heartbeat {
    let status = match (draining, slots_busy == 0 && orders.is_empty()) {
        (true, _) => WorkerStatus::Draining,
        (false, true) => WorkerStatus::Idle,
        (false, false) => WorkerStatus::Busy,
    };
    // A worker has at most 1 000 slots.
    let slots_busy = u32::try_from(slots_busy).unwrap_or(u32::MAX);
    Heartbeat { worker_id: worker_id.clone(), status, slots_busy, orders, at: clock::now() }
}

/// The goodbye of a worker that still holds these attempts.
pub(crate) fn goodbye(worker_id: &WorkerId, reason: &str, handed_back: Vec<AttemptId>) -> Goodbye {
    Goodbye { worker_id: worker_id.clone(), reason: reason.to_owned(), handed_back: Some(handed_back) }
}

/// The name of this machine, for people.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
