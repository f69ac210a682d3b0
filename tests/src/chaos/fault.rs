//! What may break, and what each fault is about.

use std::{fmt, ops::RangeInclusive};

use super::routes::{self, Route};

/// The job types of a run. Every worker serves them all.
pub const JOB_TYPES: [&str; 4] = ["test.echo", "test.other", "test.sleep", "test.fail"];

/// What the types begin with that nobody knew before.
pub(super) const NEW_TYPES_PREFIX: &str = "test.new";

/// Every queue that is ours: those of the types, then those of the backend.
pub(super) const QUEUES: [&str; 11] = [
    "crewcall.jobs.test.echo",
    "crewcall.jobs.test.other",
    "crewcall.jobs.test.sleep",
    "crewcall.jobs.test.fail",
    "crewcall.completed",
    "crewcall.error",
    "crewcall.held",
    "crewcall.progression",
    "crewcall.worker-discovery",
    "crewcall.unroutable",
    "crewcall.dead",
];

/// What the names of the types' queues begin with.
const JOBS_PREFIX: &str = "crewcall.jobs.";

/// Something that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The broker is stopped in order, its process stays.
    BrokerStopped,
    /// The broker's process is killed.
    BrokerKilled,
    /// The broker's process is killed, and its disk is lost.
    BrokerWiped,
    /// The broker's process is frozen.
    BrokerFrozen,
    /// The broker has too little memory to take messages.
    MemoryAlarm,
    /// The broker's disk is too full to take messages.
    DiskAlarm,
    /// The broker closes all connections.
    ConnectionsClosed,
    /// What waits in a queue of ours is thrown away.
    QueuePurged(&'static str),
    /// So is the queue.
    QueueDeleted(&'static str),
    /// The broker's process is killed as soon as a type that nobody knew before has its queue: it may have forgotten who
    /// leads that queue.
    BrokerKilledEarly,
    /// An exchange of ours is deleted, with all that is bound to it.
    ExchangeDeleted(&'static str),
    /// A binding of ours is removed.
    Unbound(Route),
    /// The backend is killed.
    BackendKilled,
    /// The backend is asked to end, and started again.
    BackendStopped,
    /// The backend dies by itself.
    BackendDies(Death),
    /// The backend is frozen.
    BackendFrozen,
    /// The clock that the backend sees is so many seconds ahead for a while, or behind.
    ClockJumped(i64),
    /// The disk under the backend fails, which ends it, or is full.
    DiskFails(DiskFault),
    /// A worker is killed.
    WorkerKilled(usize),
    /// A worker is asked to end, and started again.
    WorkerStopped(usize),
    /// A worker dies by itself.
    WorkerDies(usize, Death),
    /// A worker is frozen; when it goes on it may have lost its attempts.
    WorkerFrozen(usize),
    /// A second process calls itself as a worker does.
    WorkerDoubled(usize),
    /// Bytes stop on a line.
    LineFrozen(Line, Way),
    /// The connections of a line are reset again and again.
    LineReset(Line),
    /// A line gets slow.
    LineSlow(Line),
    /// Somebody repeats what the workers answer.
    ResponsesRepeated,
    /// Somebody answers for jobs without knowing their tokens, and sends what nobody can read.
    ResponsesForged,
    /// Another program locks the database.
    StoreLocked,
}

/// Where a program dies, and how often it passes there before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// The failpoint.
    pub point: &'static str,
    /// How often it is passed.
    pub passes: u32,
}

/// What a disk does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// It takes no write.
    Write,
    /// It does not say that it kept what was written.
    Sync,
    /// It has no room.
    Room,
}

/// Whose line: a client's to the broker, or that of the callers to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The backend's.
    Backend,
    /// A worker's.
    Worker(usize),
    /// The callers'.
    Callers,
}

/// Which way bytes stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// From the clients.
    ToServer,
    /// From the server.
    ToClient,
}

/// What a fault is about. No two faults are about the same at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The broker and its queues.
    Broker,
    /// The backend's process.
    Backend,
    /// A worker's process.
    Worker(usize),
    /// A line.
    Line(Line),
    /// A type that nobody knew, whose queue the broker forgets. It takes long to be replaced.
    Newcomer,
    /// The exchanges and bindings on the broker, but for those of the answers.
    Routes,
    /// The way of the answers: who forges or repeats them, and by what they are routed. Somebody who listens to them would
    /// take one for delivered that reaches nobody else.
    Answers,
    /// The database.
    Store,
}

impl Target {
    /// Whether so much is broken at once by it that it counts: what waits for its queue to be replaced does not.
    #[must_use]
    pub fn counts(self) -> bool {
        self != Self::Newcomer
    }
}

impl Fault {
    /// What it is about.
    #[must_use]
    pub fn target(self) -> Target {
        match self {
            Self::BrokerStopped
            | Self::BrokerKilled
            | Self::BrokerWiped
            | Self::BrokerFrozen
            | Self::MemoryAlarm
            | Self::DiskAlarm
            | Self::ConnectionsClosed
            | Self::QueuePurged(_)
            | Self::QueueDeleted(_) => Target::Broker,
            Self::BrokerKilledEarly => Target::Newcomer,
            Self::ExchangeDeleted(exchange) | Self::Unbound(Route { exchange, .. }) => {
                if routes::is_for_answers(exchange) {
                    Target::Answers
                } else {
                    Target::Routes
                }
            }
            Self::BackendKilled
            | Self::BackendStopped
            | Self::BackendDies(_)
            | Self::BackendFrozen
            | Self::ClockJumped(_)
            | Self::DiskFails(_) => Target::Backend,
            Self::WorkerKilled(worker)
            | Self::WorkerStopped(worker)
            | Self::WorkerDies(worker, _)
            | Self::WorkerFrozen(worker)
            | Self::WorkerDoubled(worker) => Target::Worker(worker),
            Self::LineFrozen(line, _) | Self::LineReset(line) | Self::LineSlow(line) => Target::Line(line),
            Self::ResponsesRepeated | Self::ResponsesForged => Target::Answers,
            Self::StoreLocked => Target::Store,
        }
    }

    /// Whether it throws away what the broker had confirmed and was in this queue; in any, for `None`.
    #[must_use]
    pub fn loses(self, queue: Option<&str>) -> bool {
        match self {
            Self::BrokerWiped => true,
            Self::QueuePurged(lost) | Self::QueueDeleted(lost) => queue.is_none_or(|queue| queue == lost),
            // What its worker gave up has nowhere to go.
            Self::ExchangeDeleted(exchange) | Self::Unbound(Route { exchange, .. }) => {
                exchange == routes::DEAD && queue.is_none_or(|queue| queue.starts_with(JOBS_PREFIX))
            }
            _ => false,
        }
    }

    /// Whether something of ours leads nowhere until it is made again.
    #[must_use]
    pub(super) const fn removes_a_route(self) -> bool {
        matches!(self, Self::ExchangeDeleted(_) | Self::Unbound(_))
    }

    /// Whether it takes so long to heal that it is not made when the time that is left is shorter.
    #[must_use]
    pub(super) const fn heals_slowly(self) -> bool {
        matches!(self, Self::BrokerKilledEarly)
    }

    /// Its kind, for counting.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::BrokerStopped => "broker stopped",
            Self::BrokerKilled => "broker killed",
            Self::BrokerWiped => "broker wiped",
            Self::BrokerFrozen => "broker frozen",
            Self::MemoryAlarm => "memory alarm",
            Self::DiskAlarm => "disk alarm",
            Self::ConnectionsClosed => "connections closed",
            Self::QueuePurged(_) => "queue purged",
            Self::QueueDeleted(_) => "queue deleted",
            Self::BrokerKilledEarly => "broker killed after a declaration",
            Self::ExchangeDeleted(_) => "exchange deleted",
            Self::Unbound(_) => "queue unbound",
            Self::BackendKilled => "backend killed",
            Self::BackendStopped => "backend stopped",
            Self::BackendDies(_) => "backend died",
            Self::BackendFrozen => "backend frozen",
            Self::ClockJumped(_) => "clock jumped",
            Self::DiskFails(_) => "disk failed",
            Self::WorkerKilled(_) => "worker killed",
            Self::WorkerStopped(_) => "worker stopped",
            Self::WorkerDies(..) => "worker died",
            Self::WorkerFrozen(_) => "worker frozen",
            Self::WorkerDoubled(_) => "worker doubled",
            Self::LineFrozen(..) => "line frozen",
            Self::LineReset(_) => "line reset",
            Self::LineSlow(_) => "line slow",
            Self::ResponsesRepeated => "responses repeated",
            Self::ResponsesForged => "responses forged",
            Self::StoreLocked => "store locked",
        }
    }

    /// For how long it may last, in seconds. Most are short, so that many strike; those that wait for somebody to notice
    /// are long now and then: a frozen worker loses what it held after 15, a frozen link its session after 20.
    #[must_use]
    pub(super) const fn seconds(self, long: bool) -> RangeInclusive<u64> {
        match self {
            Self::ConnectionsClosed | Self::QueuePurged(_) | Self::QueueDeleted(_) => 0..=0,
            Self::BackendStopped | Self::WorkerStopped(_) => 0..=1,
            Self::BrokerStopped | Self::BrokerKilled | Self::BrokerKilledEarly | Self::BrokerWiped => 0..=4,
            Self::ExchangeDeleted(_) | Self::Unbound(_) => 6..=12,
            Self::BackendKilled | Self::WorkerKilled(_) => 0..=6,
            Self::BackendDies(_) | Self::WorkerDies(..) | Self::DiskFails(_) => 3..=10,
            Self::ClockJumped(_) => 2..=6,
            Self::BrokerFrozen | Self::BackendFrozen | Self::WorkerFrozen(_) | Self::LineFrozen(..) => {
                if long { 10..=30 } else { 1..=6 }
            }
            Self::MemoryAlarm | Self::DiskAlarm => 1..=6,
            Self::LineReset(_) | Self::LineSlow(_) | Self::WorkerDoubled(_) => 2..=8,
            Self::ResponsesRepeated | Self::ResponsesForged => 3..=8,
            Self::StoreLocked => {
                if long {
                    10..=20
                } else {
                    1..=6
                }
            }
        }
    }

    /// About how long it takes to be made and healed besides, in seconds: programs that start, and a broker that is asked.
    #[must_use]
    pub(super) const fn overhead_seconds(self) -> u64 {
        match self {
            Self::BrokerStopped | Self::BrokerKilled | Self::BrokerWiped => 9,
            Self::BrokerKilledEarly => 60,
            Self::MemoryAlarm | Self::DiskAlarm => 4,
            Self::ConnectionsClosed | Self::QueuePurged(_) | Self::QueueDeleted(_) => 2,
            Self::BackendKilled | Self::BackendStopped | Self::BackendDies(_) | Self::DiskFails(_) => 2,
            Self::WorkerStopped(_) => 6,
            _ => 0,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::QueuePurged(name) | Self::QueueDeleted(name) | Self::ExchangeDeleted(name) => {
                write!(f, ": {name}")
            }
            Self::Unbound(route) => write!(f, ": {route}"),
            Self::BackendDies(death) => write!(f, ": {death}"),
            Self::ClockJumped(seconds) => write!(f, ": {seconds:+} s"),
            Self::DiskFails(disk) => write!(f, ": {disk}"),
            Self::WorkerKilled(worker)
            | Self::WorkerStopped(worker)
            | Self::WorkerFrozen(worker)
            | Self::WorkerDoubled(worker) => write!(f, ": {worker}"),
            Self::WorkerDies(worker, death) => write!(f, ": {worker}, {death}"),
            Self::LineFrozen(line, way) => write!(f, ": {line}, {way}"),
            Self::LineReset(line) | Self::LineSlow(line) => write!(f, ": {line}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} passes", self.point, self.passes)
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "no write",
            Self::Sync => "no fsync",
            Self::Room => "no room",
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend => f.write_str("the backend's"),
            Self::Worker(worker) => write!(f, "worker {worker}'s"),
            Self::Callers => f.write_str("the callers'"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both ways",
            Self::ToServer => "to the server",
            Self::ToClient => "from the server",
        })
    }
}
