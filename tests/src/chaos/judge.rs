//! Holds what was submitted against what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::{
    book::{Ending, Outcome, Pages, TAG},
    diary::Struck,
    installation::{Installation, worker_number},
    plan::{Line, Subject},
    report::{DOUBLED, Executed, Found, LOST, Problem, STUCK, Submitted, UNEXPECTED},
    stranger::STRANGER,
};
use crate::invariants;

/// An attempt that begins within this time after something was done to its worker may be lost for that: so long may a
/// link take to notice.
const GRUDGE: SignedDuration = SignedDuration::from_secs(30);

/// What a program may log as an error because of the faults that strike here.
const EXPECTED_ERRORS: [&str; 3] = [
    // A queue was deleted.
    "An order reached no queue: somebody removed a binding or a queue.",
    // The store was locked.
    "A transaction of the store was given up.",
    // The broker was away.
    "A type has no queue; its workers get no jobs until this is mended.",
];

/// What an error looks like in a log.
const ERROR_MARKS: [&str; 2] = [" ERROR ", "panicked at"];

/// What is known when everything is over.
pub(super) struct Facts<'a> {
    /// What was submitted, and how it was answered.
    pub(super) pages: &'a Pages,
    /// Every job, by id.
    pub(super) jobs: BTreeMap<String, Value>,
    /// Every execution that began.
    pub(super) executions: Executions,
    /// What was done to whom.
    pub(super) struck: Vec<Struck>,
}

/// How often each attempt was executed.
#[derive(Debug, Default)]
pub(super) struct Executions(BTreeMap<(String, u64), usize>);

impl Executions {
    /// Reads the lines of a journal.
    #[must_use]
    pub(super) fn of(journal: &[String]) -> Self {
        let mut counts = BTreeMap::new();
        for line in journal {
            let mut words = line.split(' ');
            if let (Some(id), Some(Ok(attempt))) = (words.next(), words.next().map(str::parse)) {
                *counts.entry((id.to_owned(), attempt)).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// The sums.
    #[must_use]
    pub(super) fn sums(&self) -> Executed {
        Executed {
            executions: self.0.values().sum(),
            attempts: self.0.len(),
            repeated: self.0.values().filter(|count| **count > 1).count(),
        }
    }
}

impl Facts<'_> {
    /// How submissions were answered.
    #[must_use]
    pub(super) fn submitted(&self) -> Submitted {
        Submitted {
            acknowledged: self.pages.count(|outcome| matches!(outcome, Outcome::Accepted(_))),
            unanswered: self.pages.count(|outcome| *outcome == Outcome::Unanswered),
            refused: self.pages.count(|outcome| *outcome == Outcome::Refused),
            unreached: self.pages.count(|outcome| *outcome == Outcome::Unreached),
        }
    }

    /// What is in the store.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(super) fn found(&self, database: &Path) -> anyhow::Result<Found> {
        let outcome_of = |job: &Value| self.pages.outcomes.get(tag(job));
        let recovered =
            self.jobs.values().filter(|job| outcome_of(job) == Some(&Outcome::Unanswered)).count();
        let mut found = Found { jobs: self.jobs.len(), recovered, ..Found::default() };
        for job in self.jobs.values() {
            *found.states.entry(job["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let sql = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut rows = sql.prepare(
            "SELECT iif(outcome = 'failed', failure_kind, outcome), worker_id, coalesce(started_at, finished_at), finished_at
                FROM attempts",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let outcome: String = row.get(0)?;
            let (worker, ran): (Option<String>, _) = (row.get(1)?, row.get(2)?..=row.get(3)?);
            let worker = worker.unwrap_or_default();
            found.lost_alive += usize::from(outcome == "worker_lost" && !self.has_grudge(&worker, &ran));
            found.forged += usize::from(worker == STRANGER);
            *found.charged.entry(outcome).or_default() += 1;
        }
        Ok(found)
    }

    /// Whether something was done to a worker while it had an attempt, in milliseconds since 1970. That it is lost may be
    /// noticed much later: each restart of the backend begins its lease anew.
    fn has_grudge(&self, worker_id: &str, ran: &RangeInclusive<i64>) -> bool {
        let (Some(number), Ok(began), Ok(lost_at)) = (
            worker_number(worker_id),
            Timestamp::from_millisecond(*ran.start()),
            Timestamp::from_millisecond(*ran.end()),
        ) else {
            return true;
        };
        let subjects = [Subject::Worker(number), Subject::Line(Line::Worker(number))];
        self.struck.iter().any(|struck| {
            let until = struck.until.map_or(Timestamp::MAX, |until| until + GRUDGE);
            subjects.contains(&struck.subject) && struck.from <= lost_at && until >= began
        })
    }

    /// What must not be.
    #[must_use]
    pub(super) fn problems(&self) -> Vec<Problem> {
        let problems = [
            Problem { what: LOST, cases: self.lost() },
            Problem {
                what: STUCK,
                cases: self
                    .jobs
                    .values()
                    .filter(|job| Ending::of(job).is_none())
                    .map(Value::to_string)
                    .collect(),
            },
            Problem { what: UNEXPECTED, cases: self.unexpected() },
            Problem { what: DOUBLED, cases: self.doubled() },
            Problem { what: "wrong results", cases: self.wrong() },
        ];
        problems.into_iter().filter(|problem| !problem.cases.is_empty()).collect()
    }

    fn lost(&self) -> Vec<String> {
        let mut lost = Vec::new();
        for (tag, outcome) in &self.pages.outcomes {
            if let Outcome::Accepted(id) = outcome
                && !self.jobs.contains_key(id)
            {
                lost.push(format!("{id}, submitted as {tag}, was acknowledged and is not there"));
            }
        }
        lost
    }

    fn unexpected(&self) -> Vec<String> {
        let mut unexpected = Vec::new();
        for job in self.jobs.values() {
            let outcome = self.pages.outcomes.get(tag(job));
            if !matches!(outcome, Some(Outcome::Accepted(_) | Outcome::Unanswered)) {
                unexpected.push(format!("its submission was {outcome:?}: {job}"));
            }
        }
        unexpected
    }

    fn doubled(&self) -> Vec<String> {
        let mut doubled = self.pages.changed.clone();
        let mut by_tag: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (id, job) in &self.jobs {
            by_tag.entry(tag(job)).or_default().insert(id);
            if let (Some(before), Some(now)) = (self.pages.endings.get(id), Ending::of(job))
                && *before != now
            {
                doubled.push(format!("{id} was {before:?}, and is {now:?}: {job}"));
            }
        }
        for (tag, ids) in by_tag {
            if ids.len() > 1 {
                doubled.push(format!("{tag} was submitted once and is {ids:?}"));
            }
        }
        doubled
    }

    /// Jobs that a stranger had a hand in, completed jobs whose result is not what their handler gives, and
    /// those whose last attempt nobody executed.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (id, job) in &self.jobs {
            if job.to_string().contains(STRANGER) {
                wrong.push(format!("a stranger was believed: {job}"));
            }
            if job["state"] != "completed" {
                continue;
            }
            let text = &job["parameters"]["text"];
            if text.is_string() && job["result"]["text"] != *text {
                wrong.push(format!("not its handler's result: {job}"));
            }
            let attempt = job["attempt"].as_u64().unwrap_or_default();
            if !self.executions.0.contains_key(&(id.clone(), attempt)) {
                wrong.push(format!("nobody executed its last attempt: {job}"));
            }
        }
        wrong
    }
}

/// What the invariants are checked for.
#[must_use]
pub(super) fn submissions(pages: &Pages) -> invariants::Submissions {
    let accepted = pages.outcomes.values().filter_map(|outcome| match outcome {
        Outcome::Accepted(id) => Some(id.clone()),
        Outcome::Refused | Outcome::Unreached | Outcome::Unanswered => None,
    });
    invariants::Submissions {
        accepted: accepted.collect(),
        unanswered: pages.count(|outcome| *outcome == Outcome::Unanswered),
    }
}

/// The errors and panics in the logs that no fault explains.
#[must_use]
pub(super) fn unexpected_errors(installation: &Installation) -> Vec<String> {
    let mut unexpected = Vec::new();
    for (name, log) in installation.logs() {
        let errors = log.lines().filter(|line| {
            ERROR_MARKS.iter().any(|mark| line.contains(mark))
                && !EXPECTED_ERRORS.iter().any(|expected| line.contains(expected))
        });
        unexpected.extend(errors.map(|line| format!("{name}: {line}")));
    }
    unexpected
}

fn tag(job: &Value) -> &str {
    job["labels"][TAG].as_str().unwrap_or_default()
}
