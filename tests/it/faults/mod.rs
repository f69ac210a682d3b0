//! What breaks, one test for each fault of `docs/faults.md`, by its number: each makes the fault on real parts, heals
//! it, and prints how the invariants were seen to hold.

use tokio::sync::{Semaphore, SemaphorePermit};

mod broker;

mod link;

mod backend;

mod worker;

mod messages;

mod store;

mod webhooks;

mod catalogue;

mod clock;

mod fleet;

mod resources;

mod callers;

mod races;

mod events;

mod emissions;

mod followers;

mod runs;

mod open_runs;

mod schedules;

mod chaos;

// What they share.
mod attempts;

mod corpus;

mod crowd;

static PROCESSORS: Semaphore = Semaphore::const_new(1);

/// Waits for the turn of a fault that keeps every processor busy for long, which it has until this is dropped. One such
/// fault at a time leaves the others, which wait for most of their time, room to keep their bounds.
async fn processors() -> SemaphorePermit<'static> {
    PROCESSORS.acquire().await.unwrap()
}
