//! What was submitted and asked, what was answered, and what was seen of it: all that is held against the store in the
//! end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use rand::Rng;
use serde_json::Value;

/// Among how many of the latest jobs one is picked to be cancelled, read or forged.
const LATEST: usize = 300;

/// The label under which every job has its tag.
pub(super) const TAG: &str = "chaos";

/// Everything known from outside. Cheap to ask; shared by all who submit.
#[derive(Default)]
pub(super) struct SubmissionLog {
    known: Mutex<Known>,
}

/// What a [`SubmissionLog`] holds.
#[derive(Default, Clone)]
pub(super) struct Known {
    /// Each submission, by its tag.
    pub(super) submissions: BTreeMap<String, Submission>,
    /// Every request to cancel a job, by the job's id.
    pub(super) cancels: BTreeMap<String, Vec<Cancel>>,
    /// The groups of jobs that somebody asked to cancel, whether or not their submission was answered.
    pub(super) groups_cancelled: BTreeSet<String>,
    /// How jobs were seen to be over, by id.
    pub(super) endings: BTreeMap<String, Ending>,
    /// Jobs that were seen to be over in two different ways.
    pub(super) changed: Vec<String>,
    /// Jobs that were over, and that somebody asked to be tried again.
    pub(super) retried: BTreeSet<String>,
    /// What was set for types, and for how long that was known to be so.
    pub(super) settings: Vec<Setting>,
    accepted: Vec<(String, String)>,
}

/// A job that was submitted.
#[derive(Debug, Clone)]
pub(super) struct Submission {
    /// The name that its submitter gave it.
    pub(super) tag: String,
    /// Its type.
    pub(super) job_type: String,
    /// What was asked for, as it was sent.
    pub(super) body: Value,
    /// What became of it.
    pub(super) outcome: Outcome,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered with this id.
    Accepted(String),
    /// It was answered with a refusal, so nothing is stored.
    Refused,
    /// Nobody was there to take it.
    Unreached,
    /// It was sent and not answered: nobody knows.
    Unanswered,
}

/// A request to cancel a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cancel {
    /// When it was sent.
    pub(super) asked_at: Timestamp,
    /// The state of the job that the answer showed, if there was one.
    pub(super) answered: Option<String>,
}

/// What an operator set for a type.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The type.
    pub(super) job_type: &'static str,
    /// What.
    pub(super) set: Set,
    /// When that was answered.
    pub(super) from: Timestamp,
    /// When somebody was about to take it back.
    pub(super) until: Timestamp,
}

/// What can be set for a type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Set {
    /// Its jobs wait.
    Pause,
    /// No more of its attempts run at once.
    RunningMax(u64),
    /// No more of them begin in a second.
    RatePerSecond(f64),
}

/// How a job was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// Its state.
    pub(super) state: String,
    /// Its version.
    pub(super) version: u64,
}

impl Ending {
    /// How a job is over; nothing when it is not.
    #[must_use]
    pub(super) fn of(job: &Value) -> Option<Self> {
        let state = job["state"].as_str()?;
        let over = matches!(state, "completed" | "failed" | "cancelled");
        over.then(|| Self { state: state.to_owned(), version: job["version"].as_u64().unwrap_or_default() })
    }
}

impl Submission {
    /// One that is to be sent now.
    #[must_use]
    pub(super) fn new(tag: String, job_type: &str, body: Value) -> Self {
        Self { tag, job_type: job_type.to_owned(), body, outcome: Outcome::Unanswered }
    }
}

impl SubmissionLog {
    /// A submission is about to be sent.
    pub(super) fn record_sending(&self, submission: &Submission) {
        self.known().submissions.insert(submission.tag.clone(), submission.clone());
    }

    /// A submission has an outcome.
    pub(super) fn record_answer(&self, tag: &str, outcome: Outcome) {
        let mut guard = self.known();
        let known = &mut *guard;
        let Some(submission) = known.submissions.get_mut(tag) else { return };
        if let Outcome::Accepted(id) = &outcome {
            known.accepted.push((id.clone(), submission.job_type.clone()));
        }
        submission.outcome = outcome;
    }

    /// Somebody is about to ask that a job be cancelled. Returns the number of the request.
    pub(super) fn record_cancel(&self, id: &str) -> usize {
        let mut known = self.known();
        let cancels = known.cancels.entry(id.to_owned()).or_default();
        cancels.push(Cancel { asked_at: Timestamp::now(), answered: None });
        cancels.len() - 1
    }

    /// Somebody is about to ask that a whole group be cancelled.
    pub(super) fn record_group_cancel(&self, group: &str) {
        self.known().groups_cancelled.insert(group.to_owned());
    }

    /// The request was granted, and the answer shows the job.
    pub(super) fn record_cancel_answer(&self, id: &str, number: usize, job: &Value) {
        let mut known = self.known();
        let cancel = known.cancels.get_mut(id).and_then(|cancels| cancels.get_mut(number));
        if let Some(cancel) = cancel {
            cancel.answered = job["state"].as_str().map(str::to_owned);
        }
    }

    /// A job was read. One that is over must stay as it is.
    pub(super) fn record_seen(&self, job: &Value) {
        let (Some(id), Some(ending)) = (job["id"].as_str(), Ending::of(job)) else { return };
        let mut known = self.known();
        if known.retried.contains(id) {
            return;
        }
        let before = known.endings.entry(id.to_owned()).or_insert_with(|| ending.clone()).clone();
        if before != ending {
            known.changed.push(format!("{id} was {before:?}, then {ending:?}"));
        }
    }

    /// One of the jobs that were seen to be over without success. It is about to be tried again: what was seen of it says
    /// nothing any more.
    #[must_use]
    pub(super) fn take_for_retry(&self) -> Option<String> {
        let mut known = self.known();
        let failed = |(id, ending): (&String, &Ending)| (ending.state != "completed").then(|| id.clone());
        let failed: Vec<String> = known.endings.iter().filter_map(failed).collect();
        let id = failed.get(rand::rng().random_range(0..failed.len().max(1)))?.clone();
        known.endings.remove(&id);
        known.retried.insert(id.clone());
        Some(id)
    }

    /// Something was set for a type, and taken back.
    pub(super) fn record_setting(&self, setting: Setting) {
        self.known().settings.push(setting);
    }

    /// One of the jobs that were accepted last, and its type.
    #[must_use]
    pub(super) fn any_accepted(&self) -> Option<(String, String)> {
        let known = self.known();
        let latest = &known.accepted[known.accepted.len().saturating_sub(LATEST)..];
        (!latest.is_empty()).then(|| latest[rand::rng().random_range(0..latest.len())].clone())
    }

    /// What became of a submission.
    #[must_use]
    pub(super) fn outcome(&self, tag: &str) -> Option<Outcome> {
        self.known().submissions.get(tag).map(|submission| submission.outcome.clone())
    }

    /// Everything.
    #[must_use]
    pub(super) fn read(&self) -> Known {
        self.known().clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// How many submissions had an outcome that is as `wanted`.
    #[must_use]
    pub(super) fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.submissions.values().filter(|submission| wanted(&submission.outcome)).count()
    }
}
