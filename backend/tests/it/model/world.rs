//! The world: what the store, the backend's memory, the broker and the workers hold of one job.
//!
//! Every part is small and canonical, so that two ways to the same situation meet in one state: what is
//! unordered is kept sorted, workers have no names, and an execution's number is free again when nothing
//! mentions it any more.

use std::fmt;

use crewcall_backend::domain::State;

use super::lives::{Input, LifeId};

/// How many attempts the job has at most.
pub(super) const ATTEMPTS_MAX: u8 = 2;

/// How many executions run at once, besides those of zombies.
pub(super) const WORKERS: usize = 2;

/// An order, or what names it: its attempt and its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Order {
    pub(super) attempt: u8,
    pub(super) token: u8,
}

/// An order in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Queued {
    pub(super) order: Order,
    /// Whether it was delivered before.
    pub(super) redelivered: bool,
}

/// What a worker says of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum News {
    Started,
    Progressed,
    Held,
    /// Given up without an answer, for another worker to run. Its order is acknowledged.
    HandedBack,
    /// The same of an order that no execution began with: the bundle that it came in came back, and was split.
    NotBegun,
    Completed,
    /// With an error that may be tried again.
    Failed,
    /// It stopped because it was asked to.
    Cancelled,
}

impl News {
    /// Every kind.
    pub(super) const ALL: [Self; 8] = [
        Self::Started,
        Self::Progressed,
        Self::Held,
        Self::HandedBack,
        Self::NotBegun,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the execution is over with it.
    pub(super) const fn is_answer(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Started | Self::Progressed | Self::Held | Self::HandedBack | Self::NotBegun => false,
        }
    }
}

/// Where a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// In the broker's queue.
    Queued,
    /// Recorded by the backend, and not yet acknowledged.
    Recorded,
    /// Acknowledged, and not yet recorded: in the memory of a backend that acknowledges first.
    InMemory,
}

/// A response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Response {
    pub(super) news: News,
    pub(super) order: Order,
    pub(super) execution: u8,
    /// Whether it says that its order had been delivered before: only errors do.
    pub(super) redelivered: bool,
    pub(super) place: Place,
}

/// A delivery that a worker works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Execution {
    pub(super) number: u8,
    pub(super) order: Order,
    /// The last thing that was reported of it.
    pub(super) said: Option<News>,
    /// Whether its order had been delivered before.
    pub(super) redelivered: bool,
    /// Whether its order is not yet acknowledged: the broker delivers it again if the worker dies.
    pub(super) has_order: bool,
    /// Whether the answer is published, and only the acknowledgement of the order is left.
    pub(super) has_answered: bool,
    /// Whether its worker was silent for so long that everybody takes it for dead.
    pub(super) is_zombie: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Completed,
    Handler,
    WorkerLost,
    Cancelled,
    /// Nothing that can happen here.
    Other,
}

/// For the invariants: what really happened in an attempt, whatever the store thinks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Truth {
    /// An execution was not heard to the end: its worker died or fell silent, or its answer was lost, was
    /// refused because another execution spoke for the attempt, or came too late.
    pub(super) unheard: bool,
    /// How it was charged.
    pub(super) charged: Option<Outcome>,
}

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// The store: the life of the job.
    pub(super) status: LifeId,
    /// The store: whether the high-water mark has passed the newest dispatch.
    pub(super) is_marked: bool,
    /// The backend's memory: orders to be published.
    pub(super) sending: Bag<Order>,
    /// The broker: the queue of orders.
    pub(super) orders: Bag<Queued>,
    /// The broker: the queues of responses. They may overtake each other.
    pub(super) responses: Bag<Response>,
    /// The workers.
    pub(super) executions: Bag<Execution>,
    /// How many faults may still happen.
    pub(super) faults_left: u8,
    /// Each attempt.
    pub(super) truth: [Truth; ATTEMPTS_MAX as usize],
    /// For the invariants: whether somebody asked to cancel.
    pub(super) cancel_asked: bool,
    /// For the invariants: how often the job reached a terminal state.
    pub(super) conclusions: u8,
}

impl World {
    /// A job was accepted; nothing else happened yet.
    pub(super) fn new(status: LifeId, faults_max: u8) -> Self {
        Self {
            status,
            is_marked: true,
            sending: Bag::default(),
            orders: Bag::default(),
            responses: Bag::default(),
            executions: Bag::default(),
            faults_left: faults_max,
            truth: [Truth::default(); ATTEMPTS_MAX as usize],
            cancel_asked: false,
            conclusions: 0,
        }
    }

    /// What really happened in this attempt.
    pub(super) fn truth_mut(&mut self, attempt: u8) -> &mut Truth {
        &mut self.truth[usize::from(attempt) - 1]
    }

    /// The executions of workers that can be heard.
    pub(super) fn heard(&self) -> impl Iterator<Item = &Execution> {
        self.executions.iter().filter(|execution| !execution.is_zombie)
    }

    /// Whether the backend has still to record a response to this order.
    pub(super) fn awaits_news_of(&self, order: Order) -> bool {
        self.responses.iter().any(|response| response.order == order && response.place != Place::Recorded)
    }

    /// Forgets what no later step can tell apart. The mark matters only to a job in flight or on its way back
    /// there; and it, acknowledgements and the order of an answered execution only to a fault still to come.
    pub(super) fn forget_unobservable(&mut self, state: State) {
        self.is_marked |= state.is_terminal() || state == State::Scheduled || self.faults_left == 0;
        if self.faults_left == 0 {
            self.responses.retain(|response| response.place != Place::Recorded);
            self.executions.retain(|execution| !execution.has_answered);
            self.executions.map(|execution| Execution { has_order: false, ..execution });
        }
    }

    /// Forgets the attempts before this one: their orders, executions and responses.
    pub(super) fn forget_before(&mut self, attempt: u8) {
        self.sending.retain(|order| order.attempt >= attempt);
        self.orders.retain(|queued| queued.order.attempt >= attempt);
        self.responses.retain(|response| response.order.attempt >= attempt);
        self.executions.retain(|execution| execution.order.attempt >= attempt);
        for over in 1..attempt.min(ATTEMPTS_MAX + 1) {
            self.truth_mut(over).unheard = false;
        }
    }
}

/// A multiset: sorted, so that equal ones look equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bag<T>(Vec<T>);

impl<T> Default for Bag<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Bag<T> {
    pub(super) fn insert(&mut self, item: T) {
        let place = self.0.partition_point(|other| *other < item);
        self.0.insert(place, item);
    }

    /// Takes one of these out.
    pub(super) fn remove(&mut self, item: T) {
        let place = self.0.binary_search(&item).expect("a step takes only what is there");
        self.0.remove(place);
    }

    pub(super) fn replace(&mut self, old: T, new: T) {
        self.remove(old);
        self.insert(new);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.0.retain(|item| keep(item));
    }

    /// Changes each.
    pub(super) fn map(&mut self, change: impl Fn(T) -> T) {
        for item in &mut self.0 {
            *item = change(*item);
        }
        self.0.sort_unstable();
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Each, but equal ones only once: they are the same choice.
    pub(super) fn choices(&self) -> impl Iterator<Item = T> {
        self.0
            .iter()
            .enumerate()
            .filter(|(place, item)| *place == 0 || self.0[place - 1] != **item)
            .map(|(_, item)| *item)
    }

    pub(super) fn contains(&self, item: T) -> bool {
        self.0.contains(&item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order of attempt {}", self.attempt)
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{:?}\" of execution {} (attempt {})", self.news, self.execution, self.order.attempt)
    }
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "execution {} (attempt {})", self.number, self.order.attempt)
    }
}

impl Response {
    /// What the backend makes of it.
    pub(super) fn input(&self) -> Input {
        let Self { news, order, execution, redelivered, .. } = *self;
        Input::Response { news, order, execution, redelivered }
    }
}
