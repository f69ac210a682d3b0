//! What the programs logged: what repaired itself, and what an operator has to hear of.

use jiff::Timestamp;

use super::blame::{Blame, is_about_the_backend, is_about_the_broker};
use crate::chaos::fault::Fault;

/// What an error looks like in a log.
const ERROR_MARKS: [&str; 2] = [" ERROR ", "panicked at"];

/// An error that a program may log while such a fault strikes, or shows.
struct Expected {
    words: &'static str,
    because: fn(Fault) -> bool,
}

const EXPECTED: [Expected; 11] = [
    Expected {
        words: "An order reached no queue: somebody removed a binding or a queue.",
        because: |fault| fault.loses(None) || fault.removes_a_route(),
    },
    Expected {
        words: "A queue confirms nothing and could not be replaced",
        because: |fault| fault == Fault::BrokerKilledEarly,
    },
    Expected { words: "A transaction of the store was given up.", because: is_about_the_store },
    Expected {
        words: "A type has no queue; its workers get no jobs until this is mended.",
        because: |fault| is_about_the_broker(fault) || is_about_the_backend(fault),
    },
    // So it is told to its workers.
    Expected {
        words: "it has no queue: the broker",
        because: |fault| is_about_the_broker(fault) || is_about_the_backend(fault),
    },
    Expected {
        words: "Some tasks did not end in time;",
        because: |fault| is_about_the_broker(fault) || is_about_the_backend(fault),
    },
    // A disk that fails ends the backend, whoever meets it first.
    Expected { words: "A request failed.", because: is_about_the_disk },
    Expected { words: "Messages cannot be recorded together.", because: is_about_the_disk },
    Expected { words: "A transaction could not be taken back.", because: is_about_the_disk },
    Expected { words: "the store failed", because: is_about_the_disk },
    Expected { words: "disk I/O error", because: is_about_the_disk },
];

const fn is_about_the_disk(fault: Fault) -> bool {
    matches!(fault, Fault::DiskFails(_))
}

const fn is_about_the_store(fault: Fault) -> bool {
    matches!(fault, Fault::DiskFails(_) | Fault::StoreLocked)
}

/// What was found in the logs.
#[derive(Debug, Default)]
pub(in crate::chaos) struct Log {
    /// What repaired itself, oldest first.
    pub(super) repairs: Vec<Repair>,
    /// What was logged as an error.
    pub(super) errors: Vec<Logged>,
}

/// Something that repaired itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repair {
    /// When.
    pub(super) at: Timestamp,
    /// What was done.
    pub(super) kind: RepairKind,
    /// For which job.
    pub(super) job: String,
    /// For which of its attempts, if it says so.
    pub(super) attempt: Option<u64>,
}

/// How the backend repairs something for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepairKind {
    /// An order was in no queue and with no worker.
    Resent,
    /// The broker gave an order up.
    Dropped,
    /// A worker that held an attempt fell silent.
    LeaseEnded,
    /// An attempt ran too long, and its worker did not end it.
    Overdue,
}

impl RepairKind {
    /// The words with which each is logged.
    const LOGGED: [(Self, &str); 4] = [
        (Self::Resent, "An order is in no queue and with no worker; it is sent again."),
        (Self::Dropped, "The broker dropped an order; it is sent again."),
        (Self::LeaseEnded, "A held attempt is lost with its worker."),
        (Self::Overdue, "An attempt ran too long, and its worker did not end it."),
    ];

    /// Its name, for counting.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Resent => "orders sent again",
            Self::Dropped => "orders dropped by the broker",
            Self::LeaseEnded => "leases ended",
            Self::Overdue => "attempts overdue",
        }
    }
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logged {
    /// Whose log.
    pub(super) program: String,
    /// When; that of the line before, for one that does not say.
    pub(super) at: Option<Timestamp>,
    /// What.
    pub(super) line: String,
}

impl Log {
    /// Reads the logs of the programs, each with its name.
    #[must_use]
    pub(in crate::chaos) fn read(logs: &[(String, String)]) -> Self {
        let mut log = Self::default();
        for (program, text) in logs {
            let mut at = None;
            for line in text.lines() {
                at = line.split(' ').next().and_then(|word| word.parse().ok()).or(at);
                log.take(program, at, line);
            }
        }
        log.repairs.sort_by_key(|repair| repair.at);
        log
    }

    fn take(&mut self, program: &str, at: Option<Timestamp>, line: &str) {
        let repair = RepairKind::LOGGED.iter().find(|(_, words)| line.contains(words));
        if let (Some((kind, _)), Some(at), Some(job)) = (repair, at, field(line, "job.id=")) {
            let attempt = field(line, "attempt=").and_then(|number| number.parse().ok());
            self.repairs.push(Repair { at, kind: *kind, job: job.to_owned(), attempt });
        }
        if ERROR_MARKS.iter().any(|mark| line.contains(mark)) {
            self.errors.push(Logged { program: program.to_owned(), at, line: line.to_owned() });
        }
    }
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(name)?.1.split(' ').next()
}

/// The errors and panics that no fault explains.
pub(super) fn unexplained(log: &Log, blame: &Blame) -> Vec<String> {
    let excused = |logged: &Logged| {
        let Some(at) = logged.at else { return false };
        let mut expected = EXPECTED.iter().filter(|expected| logged.line.contains(expected.words));
        expected.any(|expected| blame.moments(at).any(|at| blame.struck(expected.because, at, at)))
    };
    let unexplained = log.errors.iter().filter(|logged| !excused(logged));
    unexplained.map(|logged| format!("{}: {}", logged.program, logged.line)).collect()
}
