//! Which faults strike when: chosen by a seed, and by nothing else.

use std::{fmt, ops::RangeInclusive, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// How many faults there are at once.
pub const FAULTS_AT_ONCE_MAX: usize = 3;

/// How many workers there are.
pub const WORKERS: usize = 4;

/// The job types that they serve.
pub const JOB_TYPES: [&str; 4] = ["test.echo", "test.other", "test.sleep", "test.fail"];

/// How long everything is left alone in the beginning, in seconds.
const CALM_SECONDS: u64 = 3;

/// The time between two choices, in seconds.
const GAP_SECONDS: RangeInclusive<u64> = 1..=4;

/// How often a program passes its failpoint before it dies there.
const PASSES: RangeInclusive<u32> = 0..=60;

/// The points at which a backend can die. ARCHITECTURE.md says what each leaves behind.
const BACKEND_POINTS: [&str; 7] = [
    "job_stored",
    "order_unsent",
    "order_confirmed",
    "responses_recorded",
    "leases_ended",
    "jobs_released",
    "message_unconfirmed",
];

/// The points at which a worker can die.
const WORKER_POINTS: [&str; 2] = ["attempt_ended", "message_unconfirmed"];

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// When it strikes, from the beginning.
    pub at: Duration,
    /// For how long. What happens in a moment lasts for none; what has to start again takes its time besides.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

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
    /// The orders of a type that wait at the broker are thrown away.
    QueuePurged(&'static str),
    /// So is their queue.
    QueueDeleted(&'static str),
    /// The backend is killed.
    BackendKilled,
    /// The backend dies by itself.
    BackendDies(Death),
    /// The backend is frozen.
    BackendFrozen,
    /// A worker is killed.
    WorkerKilled(usize),
    /// A worker dies by itself.
    WorkerDies(usize, Death),
    /// A worker is frozen; when it goes on it may have lost its attempts.
    WorkerFrozen(usize),
    /// Bytes stop on a line to the broker.
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

/// Whose line to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The backend's.
    Backend,
    /// A worker's.
    Worker(usize),
}

/// Which way bytes stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// From the broker's clients.
    ToBroker,
    /// From the broker.
    FromBroker,
}

/// What a fault is about. No two faults are about the same at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The broker and its queues.
    Broker,
    /// The backend's process.
    Backend,
    /// A worker's process.
    Worker(usize),
    /// A line.
    Line(Line),
    /// The stranger on the broker.
    Stranger,
    /// The database.
    Store,
}

/// The faults of a run of this length, in order. The same seed and length give the same plan, and a longer
/// run begins as a shorter one does.
#[must_use]
pub fn plan(seed: u64, length: Duration) -> Vec<Strike> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut at = Duration::from_secs(CALM_SECONDS);
    let mut strikes: Vec<Strike> = Vec::new();
    loop {
        at += Duration::from_secs(dice.random_range(GAP_SECONDS));
        if at >= length {
            return strikes;
        }
        let fault = choose(&mut dice);
        let lasts = Duration::from_secs(dice.random_range(fault.seconds()));
        let running: Vec<&Strike> = strikes.iter().filter(|strike| at <= strike.at + strike.lasts).collect();
        let taken = running.iter().any(|strike| strike.fault.subject() == fault.subject());
        if running.len() < FAULTS_AT_ONCE_MAX && !taken {
            strikes.push(Strike { at, lasts, fault });
        }
    }
}

fn choose(dice: &mut StdRng) -> Fault {
    let worker = dice.random_range(0..WORKERS);
    let job_type = JOB_TYPES[dice.random_range(0..JOB_TYPES.len())];
    let way = [Way::Both, Way::ToBroker, Way::FromBroker][dice.random_range(0..3)];
    let line = if dice.random_range(0..3) == 0 { Line::Backend } else { Line::Worker(worker) };
    let passes = dice.random_range(PASSES);
    match dice.random_range(0..27) {
        0 => Fault::BrokerStopped,
        1 => Fault::BrokerKilled,
        2 => Fault::BrokerFrozen,
        3 => Fault::MemoryAlarm,
        4 => Fault::DiskAlarm,
        5 => Fault::ConnectionsClosed,
        6 => Fault::QueuePurged(job_type),
        7 => Fault::QueueDeleted(job_type),
        8 | 9 => Fault::BackendKilled,
        10..=12 => {
            let point = BACKEND_POINTS[dice.random_range(0..BACKEND_POINTS.len())];
            Fault::BackendDies(Death { point, passes })
        }
        13 => Fault::BackendFrozen,
        14 | 15 => Fault::WorkerKilled(worker),
        16 => {
            let point = WORKER_POINTS[dice.random_range(0..WORKER_POINTS.len())];
            Fault::WorkerDies(worker, Death { point, passes })
        }
        17 | 18 => Fault::WorkerFrozen(worker),
        19 | 20 => Fault::LineFrozen(line, way),
        21 => Fault::LineReset(line),
        22 => Fault::LineSlow(line),
        23 => Fault::ResponsesRepeated,
        24 => Fault::ResponsesForged,
        25 => Fault::BrokerWiped,
        _ => Fault::StoreLocked,
    }
}

impl Fault {
    /// What it is about.
    #[must_use]
    pub const fn subject(self) -> Subject {
        match self {
            Self::BrokerStopped
            | Self::BrokerKilled
            | Self::BrokerWiped
            | Self::BrokerFrozen
            | Self::MemoryAlarm
            | Self::DiskAlarm
            | Self::ConnectionsClosed
            | Self::QueuePurged(_)
            | Self::QueueDeleted(_) => Subject::Broker,
            Self::BackendKilled | Self::BackendDies(_) | Self::BackendFrozen => Subject::Backend,
            Self::WorkerKilled(worker) | Self::WorkerDies(worker, _) | Self::WorkerFrozen(worker) => {
                Subject::Worker(worker)
            }
            Self::LineFrozen(line, _) | Self::LineReset(line) | Self::LineSlow(line) => Subject::Line(line),
            Self::ResponsesRepeated | Self::ResponsesForged => Subject::Stranger,
            Self::StoreLocked => Subject::Store,
        }
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
            Self::BackendKilled => "backend killed",
            Self::BackendDies(_) => "backend died",
            Self::BackendFrozen => "backend frozen",
            Self::WorkerKilled(_) => "worker killed",
            Self::WorkerDies(..) => "worker died",
            Self::WorkerFrozen(_) => "worker frozen",
            Self::LineFrozen(..) => "line frozen",
            Self::LineReset(_) => "line reset",
            Self::LineSlow(_) => "line slow",
            Self::ResponsesRepeated => "responses repeated",
            Self::ResponsesForged => "responses forged",
            Self::StoreLocked => "store locked",
        }
    }

    /// For how long it may last, in seconds. A frozen worker loses what it held after 15, a frozen link its
    /// session after 20; a store that is locked for more than 15 says so.
    const fn seconds(self) -> RangeInclusive<u64> {
        match self {
            Self::ConnectionsClosed | Self::QueuePurged(_) | Self::QueueDeleted(_) => 0..=0,
            Self::BrokerStopped
            | Self::BrokerKilled
            | Self::BrokerWiped
            | Self::BackendKilled
            | Self::WorkerKilled(_) => 0..=8,
            Self::BackendDies(_) | Self::WorkerDies(..) => 5..=15,
            Self::MemoryAlarm | Self::DiskAlarm => 2..=15,
            Self::BrokerFrozen | Self::BackendFrozen | Self::WorkerFrozen(_) | Self::LineFrozen(..) => 2..=30,
            Self::LineReset(_) | Self::LineSlow(_) => 4..=12,
            Self::ResponsesRepeated | Self::ResponsesForged => 3..=10,
            Self::StoreLocked => 2..=20,
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, lasts, fault } = self;
        write!(f, "[{:>4} s] {fault}", at.as_secs())?;
        if lasts.is_zero() { Ok(()) } else { write!(f, ", {} s", lasts.as_secs()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::QueuePurged(job_type) | Self::QueueDeleted(job_type) => write!(f, ": {job_type}"),
            Self::BackendDies(death) => write!(f, ": {death}"),
            Self::WorkerKilled(worker) | Self::WorkerFrozen(worker) => write!(f, ": {worker}"),
            Self::WorkerDies(worker, death) => write!(f, ": {worker}, {death}"),
            Self::LineFrozen(line, way) => write!(f, ": {line}, {way}"),
            Self::LineReset(line) | Self::LineSlow(line) => write!(f, ": {line}"),
            Self::BrokerStopped
            | Self::BrokerKilled
            | Self::BrokerWiped
            | Self::BrokerFrozen
            | Self::MemoryAlarm
            | Self::DiskAlarm
            | Self::ConnectionsClosed
            | Self::BackendKilled
            | Self::BackendFrozen
            | Self::ResponsesRepeated
            | Self::ResponsesForged
            | Self::StoreLocked => Ok(()),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} passes", self.point, self.passes)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend => f.write_str("the backend's"),
            Self::Worker(worker) => write!(f, "worker {worker}'s"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both ways",
            Self::ToBroker => "to the broker",
            Self::FromBroker => "from the broker",
        })
    }
}
