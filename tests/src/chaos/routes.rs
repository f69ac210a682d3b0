//! The exchanges and bindings of ours, and how somebody removes them.

use std::fmt;

use crate::routing::Routing;

/// The exchange of orders that the broker gave up.
pub(super) const DEAD: &str = "crewcall.dead";

const SUBMIT: &str = "crewcall.submit";
const UNROUTABLE: &str = "crewcall.unroutable";
const CONTROL: &str = "crewcall.control";
const RESPONSE: &str = "crewcall.response";
const DISCOVERY: &str = "crewcall.discovery";

/// A binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Its exchange.
    pub exchange: &'static str,
    /// What it leads to.
    pub queue: Queue,
    /// What is routed so.
    pub key: &'static str,
}

/// Where a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// A queue that stays.
    Named(&'static str),
    /// Whatever queue a worker has for what it is told.
    OfSomeWorker,
}

/// Every route of ours.
pub(super) const ROUTES: [Route; 15] = [
    route(SUBMIT, "crewcall.jobs.test.echo", "test.echo"),
    route(SUBMIT, "crewcall.jobs.test.other", "test.other"),
    route(SUBMIT, "crewcall.jobs.test.sleep", "test.sleep"),
    route(SUBMIT, "crewcall.jobs.test.fail", "test.fail"),
    route(UNROUTABLE, UNROUTABLE, ""),
    route(DEAD, DEAD, ""),
    route(RESPONSE, "crewcall.completed", "completed.#"),
    route(RESPONSE, "crewcall.error", "error.#"),
    route(RESPONSE, "crewcall.held", "held.#"),
    route(RESPONSE, "crewcall.held", "started.#"),
    route(RESPONSE, "crewcall.held", "handed_back.#"),
    route(RESPONSE, "crewcall.progression", "progression.#"),
    route(DISCOVERY, "crewcall.worker-discovery", "#"),
    Route { exchange: CONTROL, queue: Queue::OfSomeWorker, key: "all" },
    Route { exchange: CONTROL, queue: Queue::OfSomeWorker, key: "type.test.sleep" },
];

const fn route(exchange: &'static str, queue: &'static str, key: &'static str) -> Route {
    Route { exchange, queue: Queue::Named(queue), key }
}

/// Whether workers answer through this exchange.
#[must_use]
pub(super) fn is_for_answers(exchange: &str) -> bool {
    exchange == RESPONSE
}

/// Removes a binding.
///
/// # Errors
///
/// When there is none, or the broker does not answer.
pub(super) async fn unbind(routing: Routing<'_>, route: Route) -> anyhow::Result<()> {
    let Route { exchange, queue, key } = route;
    match queue {
        Queue::Named(queue) => routing.unbind(exchange, queue, key).await,
        Queue::OfSomeWorker => routing.unbind_any(exchange, key).await,
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exchange, queue, key } = self;
        let queue = match queue {
            Queue::Named(queue) => queue,
            Queue::OfSomeWorker => "a worker",
        };
        write!(f, "{queue} from {exchange}, {key:?}")
    }
}
