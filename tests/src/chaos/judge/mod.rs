//! Holds what was submitted against what is there, and what repaired itself against what was broken.
//!
//! `identity` asks whether every job that was acknowledged is there, and is the one that was submitted; `ends` whether it
//! came to an end that it may have; `settings` whether what operators set was kept to; `repairs` whether everything that was done twice, late or again had a cause, with
//! `logs` to know of it and `blame` to find the cause.

mod blame;

mod ends;

mod identity;

mod logs;

mod repairs;

mod settings;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use uuid::Uuid;

pub(super) use self::{blame::Blame, logs::Log};
use super::{
    forger::FORGER,
    installation::CANCELLED_KEPT_SECONDS,
    report::{DOUBLED, Executed, Found, LOST, Problem, STUCK, Submitted, UNEXPECTED},
    submission_log::{Ending, Known, Outcome, Submission, TAG},
};
use crate::invariants;

/// How much of a job is shown, in characters. Its parameters may be large.
const SHOWN_CHARACTERS_MAX: usize = 900;

/// How long it may take after the judgement until the invariants are read: what is deleted meanwhile is not lost.
const READ_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// What is known when everything is over.
pub(super) struct Facts {
    /// What was submitted and asked, and how it was answered.
    pub(super) known: Known,
    /// Every job, by id.
    pub(super) jobs: BTreeMap<String, Value>,
    /// Its attempts that ended, oldest first.
    pub(super) attempts: BTreeMap<String, Vec<Attempt>>,
    /// With which dispatch each job was sent last, by job.
    pub(super) dispatches: BTreeMap<String, i64>,
    /// Every execution that began, by job and attempt, oldest first.
    pub(super) executions: BTreeMap<(String, u64), Vec<Execution>>,
    /// What the programs logged.
    pub(super) log: Log,
    /// What was done to whom.
    pub(super) blame: Blame,
    /// When everything was healed.
    pub(super) healed_at: Timestamp,
    /// When all this was read.
    pub(super) judged_at: Timestamp,
}

/// An attempt that ended, as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// Its number.
    pub(super) number: u64,
    /// `completed`, `cancelled`, or the kind of failure.
    pub(super) outcome: String,
    /// The handler's own code.
    pub(super) code: Option<String>,
    /// What went wrong.
    pub(super) message: Option<String>,
    /// Who ran it.
    pub(super) worker: Option<String>,
    /// When it began.
    pub(super) started_at: Option<Timestamp>,
    /// When it ended.
    pub(super) finished_at: Timestamp,
}

/// An execution that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Execution {
    /// Who began it.
    pub(super) worker: String,
    /// When.
    pub(super) at: Timestamp,
}

impl Facts {
    /// How submissions were answered.
    #[must_use]
    pub(super) fn submitted(&self) -> Submitted {
        let known = &self.known;
        Submitted {
            acknowledged: known.count(|outcome| matches!(outcome, Outcome::Accepted(_))),
            unanswered: known.count(|outcome| *outcome == Outcome::Unanswered),
            refused: known.count(|outcome| *outcome == Outcome::Refused),
            unreached: known.count(|outcome| *outcome == Outcome::Unreached),
        }
    }

    /// What is in the store.
    #[must_use]
    pub(super) fn found(&self) -> Found {
        let is_recovered = |job: &&Value| {
            self.submission(job).is_some_and(|submission| submission.outcome == Outcome::Unanswered)
        };
        let recovered = self.jobs.values().filter(is_recovered).count();
        let mut found = Found { jobs: self.jobs.len(), recovered, ..Found::default() };
        for job in self.jobs.values() {
            *found.states.entry(job["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        for attempt in self.attempts.values().flatten() {
            *found.charged.entry(attempt.outcome.clone()).or_default() += 1;
        }
        found
    }

    /// What workers did.
    #[must_use]
    pub(super) fn executed(&self) -> Executed {
        Executed {
            executions: self.executions.values().map(Vec::len).sum(),
            attempts: self.executions.len(),
            repeated: self.executions.values().filter(|executions| executions.len() > 1).count(),
        }
    }

    /// What repaired itself, counted.
    #[must_use]
    pub(super) fn repaired(&self) -> BTreeMap<&'static str, usize> {
        let mut repaired = BTreeMap::new();
        for repair in &self.log.repairs {
            *repaired.entry(repair.kind.as_str()).or_default() += 1;
        }
        repaired
    }

    /// After how long work of every type went on when everything was healed; nothing when one did not.
    #[must_use]
    pub(super) fn resumed(&self) -> Option<Duration> {
        repairs::resumed(self).map(SignedDuration::unsigned_abs)
    }

    /// What must not be.
    #[must_use]
    pub(super) fn problems(&self) -> Vec<Problem> {
        let stuck =
            self.jobs.values().filter(|job| Ending::of(job).is_none()).map(Value::to_string).collect();
        let problems = [
            (LOST, identity::lost(self)),
            (UNEXPECTED, identity::unexpected(self)),
            ("not the job that was submitted", identity::exchanged(self)),
            (DOUBLED, identity::doubled(self)),
            (STUCK, stuck),
            ("ends that must not be", ends::illegal(self)),
            ("cancellations that were not made", ends::cancellations_forgotten(self)),
            ("attempts that must not be", ends::illegal_attempts(self)),
            ("more at once than the limit", settings::limits_exceeded(self)),
            ("more in a second than the limit", settings::rates_exceeded(self)),
            ("sent out of turn", settings::out_of_turn(self)),
            ("believed a forger", self.forged()),
            ("orders sent again without a cause", repairs::resends(self)),
            ("attempts lost without a cause", repairs::losses(self)),
            ("executed again without a cause", repairs::repetitions(self)),
            ("late without a cause", repairs::latenesses(self)),
            ("errors logged without a cause", logs::unexplained(&self.log, &self.blame)),
        ];
        let problems = problems.into_iter().map(|(what, cases)| Problem { what, cases });
        problems.filter(|problem| !problem.cases.is_empty()).collect()
    }

    /// What the invariants are checked for. Of a job that may be deleted nobody knows whether it is there, as of one whose
    /// submission was not answered.
    #[must_use]
    pub(super) fn submissions(&self) -> invariants::Submissions {
        let accepted = self.known.submissions.values().filter_map(|submission| match &submission.outcome {
            Outcome::Accepted(id) => Some(id.clone()),
            Outcome::Refused | Outcome::Unreached | Outcome::Unanswered => None,
        });
        // The invariants are read a while after what is judged here.
        let until = self.judged_at + READ_WITHIN;
        let (unknown, accepted): (BTreeSet<_>, _) =
            accepted.partition(|id| self.may_be_deleted_by(id, until));
        let unanswered = self.known.count(|outcome| *outcome == Outcome::Unanswered) + unknown.len();
        invariants::Submissions { accepted, unanswered }
    }

    /// The submission that a job calls its own.
    fn submission(&self, job: &Value) -> Option<&Submission> {
        self.known.submissions.get(tag(job))
    }

    /// Every stored job that somebody submitted, with its id and its submission.
    fn submitted_jobs(&self) -> impl Iterator<Item = (&str, &Submission, &Value)> {
        self.jobs.iter().filter_map(|(id, job)| Some((id.as_str(), self.submission(job)?, job)))
    }

    fn attempts_of(&self, id: &str) -> &[Attempt] {
        self.attempts.get(id).map_or(&[], Vec::as_slice)
    }

    fn executions_of(&self, id: &str, attempt: u64) -> &[Execution] {
        self.executions.get(&(id.to_owned(), attempt)).map_or(&[], Vec::as_slice)
    }

    /// Whether a job may be deleted by now.
    fn may_be_deleted(&self, id: &str) -> bool {
        self.may_be_deleted_by(id, self.judged_at)
    }

    /// Whether a job may be deleted by then: somebody asked to cancel it so long before.
    fn may_be_deleted_by(&self, id: &str, until: Timestamp) -> bool {
        let kept = SignedDuration::from_secs(CANCELLED_KEPT_SECONDS);
        let cancels = self.known.cancels.get(id);
        cancels.is_some_and(|cancels| cancels.iter().any(|cancel| cancel.asked_at + kept <= until))
    }

    /// Whether somebody asked to cancel a job, or the group that it belongs to.
    fn is_cancelled(&self, id: &str) -> bool {
        let group = self.jobs.get(id).and_then(|job| job["labels"]["group"].as_str());
        self.known.cancels.get(id).is_some_and(|cancels| !cancels.is_empty())
            || group.is_some_and(|group| self.known.groups_cancelled.contains(group))
    }

    /// Whether somebody asked for another attempt when it was over.
    fn is_retried(&self, id: &str) -> bool {
        self.known.retried.contains(id)
    }

    /// When the order of an attempt was sent first: after the attempt before it, or when the job was accepted.
    fn sent_at(&self, id: &str, attempt: u64) -> Timestamp {
        let before = self.attempts_of(id).iter().rfind(|ended| ended.number < attempt);
        before.map_or_else(
            || self.jobs.get(id).and_then(|job| time(&job["created_at"])).unwrap_or(Timestamp::MIN),
            |ended| ended.finished_at,
        )
    }

    /// Jobs and attempts that a forger had a hand in.
    fn forged(&self) -> Vec<String> {
        let forged = |(id, job): &(&String, &Value)| {
            let concluded =
                self.attempts_of(id).iter().any(|attempt| attempt.worker.as_deref() == Some(FORGER));
            concluded || job.to_string().contains(FORGER)
        };
        self.jobs.iter().filter(forged).map(|(_, job)| shown(job)).collect()
    }
}

/// The attempts in the database, by job.
///
/// # Errors
///
/// When it cannot be read.
pub(super) fn read_attempts(database: &Path) -> anyhow::Result<BTreeMap<String, Vec<Attempt>>> {
    let sql = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut rows = sql.prepare(
        "SELECT jobs.id, attempts.attempt, iif(outcome = 'failed', attempts.error_kind, outcome), attempts.error_code,
                attempts.error_message, attempts.worker_id, attempts.started_at, attempts.finished_at
            FROM attempts JOIN jobs ON jobs.seq = attempts.job_seq ORDER BY attempts.job_seq, attempts.attempt",
    )?;
    let mut rows = rows.query([])?;
    let mut attempts: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let started_at: Option<i64> = row.get(6)?;
        let attempt = Attempt {
            number: row.get::<_, u32>(1)?.into(),
            outcome: row.get(2)?,
            code: row.get(3)?,
            message: row.get(4)?,
            worker: row.get(5)?,
            started_at: started_at.map(Timestamp::from_millisecond).transpose()?,
            finished_at: Timestamp::from_millisecond(row.get(7)?)?,
        };
        attempts.entry(Uuid::from_bytes(row.get(0)?).to_string()).or_default().push(attempt);
    }
    Ok(attempts)
}

/// With which dispatch each job in the database was sent last.
///
/// # Errors
///
/// When it cannot be read.
pub(super) fn read_dispatches(database: &Path) -> anyhow::Result<BTreeMap<String, i64>> {
    let sql = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut rows = sql.prepare("SELECT id, dispatch_number FROM jobs WHERE dispatch_number IS NOT NULL")?;
    let dispatches =
        rows.query_map([], |row| Ok((Uuid::from_bytes(row.get(0)?).to_string(), row.get(1)?)))?;
    Ok(dispatches.collect::<Result<_, _>>()?)
}

/// The executions in the workers' journal, by job and attempt.
///
/// # Errors
///
/// When a line of it is not an execution.
pub(super) fn read_executions(journal: &str) -> anyhow::Result<BTreeMap<(String, u64), Vec<Execution>>> {
    let mut executions: BTreeMap<_, Vec<Execution>> = BTreeMap::new();
    for line in journal.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, attempt, worker, at] = words[..] else { anyhow::bail!("{line:?} is not an execution") };
        let at = Timestamp::from_millisecond(at.parse()?)?;
        let attempt = attempt.parse().with_context(|| format!("the attempt in {line:?}"))?;
        executions
            .entry((id.to_owned(), attempt))
            .or_default()
            .push(Execution { worker: worker.to_owned(), at });
    }
    executions.values_mut().for_each(|executions| executions.sort_by_key(|execution| execution.at));
    Ok(executions)
}

fn tag(job: &Value) -> &str {
    job["labels"][TAG].as_str().unwrap_or_default()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A job as a problem shows it.
fn shown(job: &Value) -> String {
    let text = job.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
