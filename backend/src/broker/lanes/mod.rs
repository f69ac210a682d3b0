//! The way that each type's orders take: together with all others while the type's queue confirms, and apart once it
//! does not.
//!
//! RabbitMQ stops reading a whole *connection* when one queue on it takes nothing any more, and a channel for as long as it
//! looks for the leader of a queue that has none. So no queue is ever given as much as would make it stop, and in each
//! session an order is first sent to it alone, on a channel and a connection where it can harm nobody. One that is stuck
//! is tried again in the same way, and one that stays stuck is to be replaced.

mod lane;

mod parcel;

mod serve;

use std::{sync::Arc, time::Duration};

use crewcall_amqp::{LinkError, Publisher};
use crewcall_proto::JobType;
use dashmap::DashMap;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{
    lane::{Lane, Mode},
    parcel::Waiting,
};
use super::orders::OrderLink;
use crate::{
    engine::{
        ports::{Confirmations, OutgoingOrder},
        tasks::Tasks,
    },
    metrics::Metrics,
};

/// How many orders of one type may be unconfirmed on the link that all types share. RabbitMQ's channel blocks, and soon
/// its connection, once more than 32 messages for one quorum queue are unanswered (`quorum_commands_soft_limit`). A
/// broker that takes 5 ms to confirm still takes 4 800 orders of a type in a second.
const UNCONFIRMED_PER_TYPE_MAX: usize = 24;

/// How long the broker may leave an order unconfirmed after that while it answers other questions: then its queue is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How long a stuck queue is left alone before an order is sent to it once more. What it was
/// sent before may still be confirmed, and each trial may make an order come twice. No longer, because the guilty queue may
/// be another one, which holds up the shared channel: then this one works alone.
const TRIED_AFTER: Duration = Duration::from_secs(5);

/// The ways of all types.
pub(super) struct Lanes {
    /// The link that all types share.
    shared: Arc<OrderLink>,
    /// The link on which orders are sent alone.
    trials: Publisher,
    tasks: Tasks,
    by_type: DashMap<JobType, Arc<Lane>>,
    /// What goes to the queue of the unroutable: the orders of all types that have no queue of their own.
    unknown: Arc<Lane>,
    /// Counts the queues that took orders again.
    recovered: watch::Sender<u64>,
    with_bundles: bool,
    metrics: Arc<Metrics>,
}

/// What [`Lanes`] are made of.
pub(super) struct LanesParts {
    /// The link that all types share.
    pub(super) shared: Arc<OrderLink>,
    /// The link on which orders are sent alone.
    pub(super) trials: Publisher,
    /// The queue of the unroutable.
    pub(super) unroutable: String,
    /// Whether several orders may share a message.
    pub(super) with_bundles: bool,
    pub(super) metrics: Arc<Metrics>,
    /// Where orders are sent, and those that are still open waited for.
    pub(super) tasks: Tasks,
}

impl Lanes {
    /// All types go together.
    pub(super) fn new(parts: LanesParts) -> Self {
        let LanesParts { shared, trials, unroutable, with_bundles, metrics, tasks } = parts;
        Self {
            shared,
            trials,
            tasks,
            by_type: DashMap::new(),
            unknown: Arc::new(Lane::new(unroutable)),
            recovered: watch::Sender::new(0),
            with_bundles,
            metrics,
        }
    }

    /// The type has this queue of its own.
    pub(super) fn has_queue(&self, job_type: &JobType, queue: &str) {
        if !self.by_type.contains_key(job_type) {
            self.by_type.entry(job_type.clone()).or_insert_with(|| Arc::new(Lane::new(queue.to_owned())));
        }
    }

    /// What is wrong with the queue that the type's orders go to, if it does not confirm.
    pub(super) fn queue_error(&self, job_type: &JobType) -> Option<String> {
        let lane = self.of(job_type);
        let Mode::Stuck(since) = *lane.mode.borrow() else { return None };
        let queue = &lane.queue;
        let seconds = (since.elapsed() + STUCK_AFTER).as_secs();
        let mut trouble = format!(
            "the queue {queue} does not confirm: the broker has not taken an order for it for {seconds} s, though it answers"
        );
        if let Some(failure) = &lane.replacement().failure {
            trouble.push_str(&format!(
                "; it could not be replaced ({failure}): `rabbitmqctl delete_queue {queue}` helps"
            ));
        }
        Some(trouble)
    }

    /// The types whose queues have been stuck for so long that they may have to be replaced.
    pub(super) fn to_replace(&self) -> Vec<JobType> {
        let due = self.by_type.iter().filter(|lane| lane.is_to_be_replaced());
        due.map(|lane| lane.key().clone()).collect()
    }

    /// The type's queue is a new one: the trial that waits for the old one is given up, and another one made at once.
    pub(super) fn replaced(&self, job_type: &JobType) {
        let lane = self.of(job_type);
        lane.tried_to_replace(None);
        let now = Instant::now();
        let at_once = Mode::Stuck(now.checked_sub(TRIED_AFTER).unwrap_or(now));
        // While there was no queue, its orders went to that of the unroutable, and may have been confirmed there: a type
        // that is stuck and has nothing under way would stay so.
        lane.mode.send_if_modified(|mode| {
            let is_stuck = matches!(mode, Mode::Stuck(_));
            if is_stuck {
                *mode = at_once;
            }
            is_stuck
        });
        lane.replaced.notify_waiters();
    }

    /// Whether a queue that is stuck answers all the same, asked where it harms nobody: then others are in its way.
    pub(super) async fn answers(&self, queue: &str) -> Result<bool, LinkError> {
        self.trials.queue_answers(queue).await
    }

    /// The type's queue is well: it is not looked at again at once.
    pub(super) fn is_well(&self, job_type: &JobType) {
        self.of(job_type).tried_to_replace(None);
    }

    /// The type's queue could not be replaced, and whoever looks is told what helps.
    pub(super) fn not_replaced(&self, job_type: &JobType, failure: String) {
        let lane = self.of(job_type);
        tracing::error!(
            job.r#type = %job_type, queue = lane.queue, failure,
            "A queue confirms nothing and could not be replaced: delete it with `rabbitmqctl delete_queue`, and it is declared anew."
        );
        lane.tried_to_replace(Some(failure));
    }

    /// Counts the queues that were stuck and took orders again.
    pub(super) fn recovered(&self) -> watch::Receiver<u64> {
        self.recovered.subscribe()
    }

    /// Enqueues orders, each behind those of its type that wait.
    pub(super) fn enqueue(self: &Arc<Self>, orders: Vec<OutgoingOrder>) -> Confirmations {
        let (confirmations, receiver) = mpsc::unbounded_channel();
        let mut waiting = orders.into_iter().enumerate().map(|(place, order)| {
            let confirmations = confirmations.clone();
            Waiting { order, place, confirmations }
        });
        let mut next = waiting.next();
        while let Some(first) = next {
            let job_type = first.order.dispatch.job.job_type.clone();
            let mut of_type = vec![first];
            next = loop {
                match waiting.next() {
                    Some(order) if order.order.dispatch.job.job_type == job_type => of_type.push(order),
                    other => break other,
                }
            };
            let lane = self.of(&job_type);
            if lane.enqueue(of_type.into_iter()) {
                let lanes = Arc::clone(self);
                self.tasks.errand("the sending of orders", async move { lanes.serve(&lane).await });
            }
        }
        receiver
    }

    /// Waits for the links' outstanding confirms, and closes them.
    pub(super) async fn close(&self) {
        tokio::join!(self.shared.link.close(), self.trials.close());
    }

    fn of(&self, job_type: &JobType) -> Arc<Lane> {
        self.by_type.get(job_type).map_or_else(|| Arc::clone(&self.unknown), |lane| Arc::clone(&lane))
    }
}
