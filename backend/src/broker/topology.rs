//! What the backend declares on the broker. Names come from the wire contract; the arguments are ours, and
//! each is here for a reason.

use crewcall_amqp::{Declaration, ExchangeKind};
use crewcall_proto::{JobType, MessageKind, Topology};

/// How often an order may come back from a worker before the broker gives it up. A job that ends its
/// worker's process stops after this many; five leaves room for a worker that is restarted around a job.
pub(crate) const DELIVERY_LIMIT: u32 = 5;

/// How many progressions wait at most; the oldest are dropped. Progress is lossy by contract.
pub(crate) const PROGRESSION_LENGTH_MAX: u32 = 50_000;

/// How many announcements and heartbeats wait at most; they are repeated every few seconds anyway.
pub(crate) const DISCOVERY_LENGTH_MAX: u32 = 50_000;

/// What the property `app_id` of our messages says.
pub(super) const APP_ID: &str = "crewcall-backend";

/// The routing key of what the backend says to itself through discovery. Workers do not use it.
pub(crate) const PROBE_KEY: &str = "backend.probe";

/// What says whose the names are: nothing else may be done with them before.
#[must_use]
pub(crate) fn claim(topology: &Topology, installation: &str) -> Declaration {
    Declaration::Claim { name: topology.backend(), owner: installation.to_owned() }
}

/// What every installation has.
#[must_use]
pub fn declarations(topology: &Topology, installation: &str) -> Vec<Declaration> {
    let mut all = vec![claim(topology, installation)];
    // An alternate exchange keeps the original routing key, so only a fanout catches every key.
    all.extend(fanout_with_queue(&topology.unroutable()));
    all.extend(fanout_with_queue(&topology.dead()));
    all.push(topic(topology.submit_exchange(), Some(topology.unroutable())));
    all.push(topic(topology.control_exchange(), None));
    all.push(topic(topology.response_exchange(), None));
    for kind in [MessageKind::Completed, MessageKind::Error, MessageKind::Held, MessageKind::Emitted] {
        all.push(kept(topology.response_queue(kind)));
    }
    all.push(lossy(topology.response_queue(MessageKind::Progression), PROGRESSION_LENGTH_MAX));
    let bindings =
        [MessageKind::Completed, MessageKind::Error, MessageKind::Progression, MessageKind::Emitted]
            .map(|kind| (kind, topology.response_binding(kind)));
    let held = topology.held_bindings().map(|key| (MessageKind::Held, key));
    all.extend(bindings.into_iter().chain(held).map(|(kind, routing_key)| Declaration::Binding {
        queue: topology.response_queue(kind),
        exchange: topology.response_exchange(),
        routing_key,
    }));
    all.push(topic(topology.discovery_exchange(), None));
    all.push(lossy(topology.discovery_queue(), DISCOVERY_LENGTH_MAX));
    all.push(Declaration::Binding {
        queue: topology.discovery_queue(),
        exchange: topology.discovery_exchange(),
        routing_key: "#".to_owned(),
    });
    all
}

/// What the backend tells workers and itself through. Queues are declared by one link alone: were two to declare the
/// same new queue at once, RabbitMQ 3.10 would answer one of them with an internal error.
#[must_use]
pub(crate) fn spoken_through(topology: &Topology) -> Vec<Declaration> {
    vec![topic(topology.control_exchange(), None), topic(topology.discovery_exchange(), None)]
}

/// What a served type has: its queue, and the route to it.
#[must_use]
pub fn type_declarations(topology: &Topology, job_type: &JobType) -> Vec<Declaration> {
    let queue = Declaration::QuorumQueue {
        name: topology.jobs_queue(job_type),
        // Spelled out: the default is "no limit" on RabbitMQ 3.x and 20 on 4.x.
        delivery_limit: Some(DELIVERY_LIMIT),
        dead_letter_exchange: Some(topology.dead()),
        length_max: None,
    };
    vec![queue, route(topology, job_type)]
}

/// The way of a type's orders to its queue.
#[must_use]
pub(crate) fn route(topology: &Topology, job_type: &JobType) -> Declaration {
    Declaration::Binding {
        queue: topology.jobs_queue(job_type),
        exchange: topology.submit_exchange(),
        routing_key: job_type.as_str().to_owned(),
    }
}

fn topic(name: String, alternate: Option<String>) -> Declaration {
    Declaration::Exchange { name, kind: ExchangeKind::Topic, alternate }
}

/// A queue whose messages matter: read until they are recorded, however often that takes. Without a limit means a large
/// number, see [`crewcall_amqp::DELIVERIES_UNLIMITED`].
fn kept(name: String) -> Declaration {
    Declaration::QuorumQueue { name, delivery_limit: None, dead_letter_exchange: None, length_max: None }
}

fn lossy(name: String, length_max: u32) -> Declaration {
    Declaration::QuorumQueue {
        name,
        delivery_limit: None,
        dead_letter_exchange: None,
        length_max: Some(length_max),
    }
}

/// A fanout exchange and a queue of the same name that gets everything.
fn fanout_with_queue(name: &str) -> [Declaration; 3] {
    [
        Declaration::Exchange { name: name.to_owned(), kind: ExchangeKind::Fanout, alternate: None },
        kept(name.to_owned()),
        Declaration::Binding {
            queue: name.to_owned(),
            exchange: name.to_owned(),
            routing_key: String::new(),
        },
    ]
}
