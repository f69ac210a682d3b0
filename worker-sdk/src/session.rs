//! The link on which orders and instructions come in: a control queue of our own per session, and the job
//! queues that are wanted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crewcall_amqp::{
    Consumer, ConsumerEvent, Declaration, Delivery, LinkConfig, LinkError, LinkState, SessionPlan,
    Subscription,
};
use crewcall_proto::{JobType, Topology, WorkerId};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::limits::{CONTROL_PREFETCH, RETRY_PAUSE};

/// The job queues to consume in a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// The session; what was consumed in an earlier one is not in this one.
    generation: u64,
    /// Counts the wishes, to tell whether the latest one was followed.
    version: u64,
    /// How many orders of each type may be here at once; what is not in here is not consumed.
    prefetches: BTreeMap<JobType, u16>,
}

/// The consuming link of a worker.
pub(crate) struct Session {
    pub(crate) events: mpsc::Receiver<ConsumerEvent>,
    /// What is consumed, as far as the broker has been told.
    pub(crate) applied: watch::Receiver<Wanted>,
    consumer: Consumer,
    wanted: watch::Sender<Wanted>,
    topology: Topology,
    /// Counts the sessions that came up, for the name of the next control queue.
    names_used: Arc<AtomicU64>,
}

/// What a session is made of.
pub(crate) struct SessionSetup {
    pub(crate) config: LinkConfig,
    pub(crate) topology: Topology,
    pub(crate) worker_id: WorkerId,
    pub(crate) types: BTreeSet<JobType>,
}

impl Session {
    /// Starts to connect; the tasks run on `tracker` until `stop` is cancelled.
    pub(crate) fn start(setup: SessionSetup, stop: &CancellationToken, tracker: &TaskTracker) -> Self {
        let names_used = Arc::new(AtomicU64::new(0));
        let plan = plan(&setup, Arc::clone(&names_used));
        let (consumer, events) = Consumer::start_with_plan(setup.config.clone(), plan, stop, tracker);
        let (wanted, wishes) = watch::channel(Wanted::default());
        let (done, applied) = watch::channel(Wanted::default());
        let topology = setup.topology.clone();
        let subscriber = Subscriber { consumer: consumer.clone(), setup, subscribed: BTreeMap::new() };
        tracker.spawn(stop.clone().run_until_cancelled_owned(subscriber.run(wishes, done)));
        let watcher = watch_link(consumer.state(), Arc::clone(&names_used));
        tracker.spawn(stop.clone().run_until_cancelled_owned(watcher));
        Self { events, applied, consumer, wanted, topology, names_used }
    }

    /// The link itself.
    pub(crate) fn consumer(&self) -> Consumer {
        self.consumer.clone()
    }

    /// A session came up.
    pub(crate) fn count_session(&self) {
        self.names_used.fetch_add(1, Ordering::Relaxed);
    }

    /// A session ended: the next one begins with the control queue alone, for the job queues may be gone.
    pub(crate) fn forget_subscriptions(&self) {
        self.consumer.forget_subscriptions();
    }

    /// Says which job queues are to be consumed, and with which prefetch. It is done in the background; `applied`
    /// tells when.
    pub(crate) fn want(&self, generation: u64, prefetches: BTreeMap<JobType, u16>) {
        self.wanted.send_if_modified(|wanted| {
            let is_new = wanted.generation != generation || wanted.prefetches != prefetches;
            if is_new {
                *wanted = Wanted { generation, version: wanted.version + 1, prefetches };
            }
            is_new
        });
    }

    /// Says the same again: what could not be consumed is tried at once.
    pub(crate) fn want_again(&self) {
        self.wanted.send_modify(|wanted| wanted.version += 1);
    }

    /// Whether the broker has been told, in this session, that a type is not consumed.
    pub(crate) fn is_closed(&self, generation: Option<u64>, job_type: &JobType) -> bool {
        self.is_applied(generation, |prefetches| !prefetches.contains_key(job_type))
    }

    /// Whether the broker has been told, in this session, that no type is consumed.
    pub(crate) fn is_all_closed(&self, generation: Option<u64>) -> bool {
        self.is_applied(generation, BTreeMap::is_empty)
    }

    /// An answer counts only if it is to the latest wish: a subscription may be under way otherwise.
    fn is_applied(
        &self,
        generation: Option<u64>,
        holds: impl FnOnce(&BTreeMap<JobType, u16>) -> bool,
    ) -> bool {
        let version = self.wanted.borrow().version;
        let applied = self.applied.borrow();
        generation == Some(applied.generation) && version == applied.version && holds(&applied.prefetches)
    }

    /// Takes at most so many orders, of one type after the other for as long as any has one. The session is asked in the
    /// background; what is asked of it later does not wait.
    pub(crate) fn fetch(
        &self,
        types: &[JobType],
        orders_max: usize,
    ) -> impl Future<Output = Vec<Delivery>> + Send + use<> {
        let queues = types.iter().map(|job_type| self.topology.jobs_queue(job_type)).collect();
        fetch(self.consumer.clone(), queues, orders_max)
    }

    /// Closes the connection: everything unacknowledged goes back to its queue.
    pub(crate) async fn close(&self) {
        self.consumer.close().await;
    }
}

/// Whether this is the worker's queue for instructions.
pub(crate) fn is_control_queue(topology: &Topology, worker_id: &WorkerId, queue: &str) -> bool {
    queue.starts_with(&topology.control_queue(worker_id, ""))
}

/// Each session's plan. The queue of a dead connection can linger, locked, so every session gets a queue
/// with a name of its own.
fn plan(
    setup: &SessionSetup,
    names_used: Arc<AtomicU64>,
) -> impl Fn(u64) -> SessionPlan + Send + Sync + 'static {
    // Tells this process apart from an earlier one with the same worker id.
    let start: String = Uuid::new_v4().simple().to_string().chars().take(8).collect();
    let (topology, worker_id) = (setup.topology.clone(), setup.worker_id.clone());
    let mut keys = vec![topology.control_key_worker(&worker_id), topology.control_key_all().to_owned()];
    keys.extend(setup.types.iter().map(|job_type| topology.control_key_type(job_type)));
    move |_generation| {
        let session = format!("{start}-{}", names_used.load(Ordering::Relaxed));
        let queue = topology.control_queue(&worker_id, &session);
        let mut declarations = vec![Declaration::ExclusiveQueue { name: queue.clone() }];
        declarations.extend(keys.iter().map(|key| Declaration::Binding {
            queue: queue.clone(),
            exchange: topology.control_exchange(),
            routing_key: key.clone(),
        }));
        let subscription = Subscription {
            tag: format!("{worker_id}.control"),
            queue,
            prefetch: CONTROL_PREFETCH,
            exclusive: true, // the queue is this session's alone
        };
        SessionPlan { declarations, subscriptions: vec![subscription] }
    }
}

/// Says once in clear words that the backend has not been here yet, and takes a new name when a
/// session that never came up has left its queue locked.
async fn watch_link(mut state: watch::Receiver<LinkState>, names_used: Arc<AtomicU64>) {
    let mut told = false;
    while state.changed().await.is_ok() {
        let state = state.borrow_and_update().clone();
        match state {
            LinkState::Connecting { last_error: Some(error), .. } => match error {
                // The broker has not noticed yet that our last connection died, and keeps its queue for it. To wait for
                // that would take up to two heartbeats; another name takes none.
                LinkError::Locked { .. } => drop(names_used.fetch_add(1, Ordering::Relaxed)),
                LinkError::NotFound { .. } if !told => {
                    told = true;
                    tracing::warn!(
                        "The exchanges of Crewcall do not exist on this broker yet: the worker waits until the \
                         backend (`crewcall serve`, with the same AMQP URL and prefix) has declared them."
                    );
                }
                _ => {}
            },
            LinkState::Connected { .. } => told = false,
            LinkState::Connecting { last_error: None, .. }
            | LinkState::Blocked { .. }
            | LinkState::Stopped => {}
        }
    }
}

/// Goes round the queues, and leaves out those that are found empty.
async fn fetch(consumer: Consumer, mut queues: VecDeque<String>, orders_max: usize) -> Vec<Delivery> {
    let mut orders = Vec::new();
    let Ok(mut fetcher) = consumer.fetcher().await else { return orders };
    while orders.len() < orders_max
        && let Some(queue) = queues.pop_front()
    {
        match fetcher.fetch(&queue).await {
            Ok(Some(order)) => {
                orders.push(order);
                queues.push_back(queue);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(queue, %error, "No order can be fetched.");
                let Ok(another) = consumer.fetcher().await else { return orders };
                fetcher = another;
            }
        }
    }
    orders
}

/// Makes the subscriptions what is wanted. A task of its own, so that a slow broker holds up no heartbeat.
struct Subscriber {
    consumer: Consumer,
    setup: SessionSetup,
    /// What is subscribed in the current session.
    subscribed: BTreeMap<JobType, u16>,
}

impl Subscriber {
    async fn run(mut self, mut wishes: watch::Receiver<Wanted>, done: watch::Sender<Wanted>) {
        let mut generation = 0;
        while wishes.changed().await.is_ok() {
            let wanted = wishes.borrow_and_update().clone();
            // A new session begins with the control queue alone. What was subscribed in the one before is not, even if
            // nobody has told us of its end: wishes are coalesced, and the `Down` between two `Up`s may be skipped here.
            if generation != wanted.generation {
                generation = wanted.generation;
                self.subscribed.clear();
            }
            while !self.apply(&wanted).await {
                self.tell(&wanted, &done);
                tokio::select! {
                    () = sleep(RETRY_PAUSE.1) => {}
                    // A new wish: leave the old one.
                    _ = wishes.changed() => {
                        wishes.mark_changed();
                        break;
                    }
                }
            }
            self.tell(&wanted, &done);
        }
    }

    fn tell(&self, wanted: &Wanted, done: &watch::Sender<Wanted>) {
        done.send_replace(Wanted { prefetches: self.subscribed.clone(), ..*wanted });
    }

    /// Tries each change once; returns whether everything is as wanted.
    async fn apply(&mut self, wanted: &Wanted) -> bool {
        let mut complete = true;
        for job_type in self.setup.types.clone() {
            let prefetch = wanted.prefetches.get(&job_type).copied();
            let result = match prefetch {
                Some(_) if prefetch == self.subscribed.get(&job_type).copied() => continue,
                Some(prefetch) => self.subscribe(&job_type, prefetch).await,
                // Also where none is known of: a session can begin with a subscription of the one before.
                None => self.consumer.unsubscribe(&self.queue(&job_type)).await,
            };
            match result {
                Ok(()) => drop(match prefetch {
                    Some(prefetch) => self.subscribed.insert(job_type, prefetch),
                    None => self.subscribed.remove(&job_type),
                }),
                // Nothing to try again: the next session begins anew, with a wish of its own.
                Err(LinkError::NotConnected(_) | LinkError::Stopped) => return true,
                Err(error) => {
                    complete = false;
                    tracing::warn!(job.r#type = %job_type, %error, "The queue cannot be consumed; it is tried again.");
                }
            }
        }
        complete
    }

    async fn subscribe(&self, job_type: &JobType, prefetch: u16) -> Result<(), LinkError> {
        let subscription = Subscription {
            queue: self.queue(job_type),
            prefetch,
            tag: format!("{}.{job_type}", self.setup.worker_id),
            exclusive: false, // the other workers of the type consume from it too
        };
        // For a queue that is not consumed yet this is the same as to subscribe.
        self.consumer.resubscribe(subscription).await
    }

    fn queue(&self, job_type: &JobType) -> String {
        self.setup.topology.jobs_queue(job_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> SessionSetup {
        SessionSetup {
            config: LinkConfig::new("amqp://localhost", "test"),
            topology: Topology::default(),
            worker_id: "w-1".parse().unwrap(),
            types: [JobType::new("image.resize").unwrap()].into(),
        }
    }

    #[test]
    fn every_session_has_a_control_queue_of_its_own_and_the_three_keys() {
        let (setup, names_used) = (setup(), Arc::new(AtomicU64::new(0)));
        let plan = plan(&setup, Arc::clone(&names_used));
        let first = plan(1);
        assert_eq!(first, plan(2), "a session that did not come up leaves its name to the next");
        names_used.fetch_add(1, Ordering::Relaxed);
        let queue = &plan(3).subscriptions[0].queue;
        assert_ne!(*queue, first.subscriptions[0].queue);
        assert!(is_control_queue(&setup.topology, &setup.worker_id, queue), "{queue}");
        assert!(!is_control_queue(&setup.topology, &setup.worker_id, "crewcall.jobs.image.resize"));
        let keys: Vec<&str> = first
            .declarations
            .iter()
            .filter_map(|declaration| match declaration {
                Declaration::Binding { routing_key, exchange, .. } if exchange == "crewcall.control" => {
                    Some(routing_key.as_str())
                }
                _ => None,
            })
            .collect();
        assert_eq!(keys, ["worker.w-1", "all", "type.image.resize"]);
    }
}
