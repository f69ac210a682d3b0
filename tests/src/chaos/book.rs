//! What was submitted, what was answered, and what was seen of it: all that is held against the store in the
//! end.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rand::Rng;
use serde_json::Value;

/// Among how many of the latest jobs one is picked to be cancelled, read or forged.
const LATEST: usize = 300;

/// The label under which every job has its tag.
pub(super) const TAG: &str = "chaos";

/// Everything known from outside. Cheap to ask; shared by all who submit.
#[derive(Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

/// What a [`Book`] holds.
#[derive(Default, Clone)]
pub(super) struct Pages {
    /// What became of each submission, by its tag.
    pub(super) outcomes: BTreeMap<String, Outcome>,
    /// How jobs were seen to be over, by id.
    pub(super) endings: BTreeMap<String, Ending>,
    /// Jobs that were seen to be over in two different ways.
    pub(super) changed: Vec<String>,
    accepted: Vec<(String, &'static str)>,
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

impl Book {
    /// A submission is about to be sent.
    pub(super) fn sending(&self, tag: &str) {
        self.pages().outcomes.insert(tag.to_owned(), Outcome::Unanswered);
    }

    /// A submission has an outcome.
    pub(super) fn answered(&self, tag: &str, job_type: &'static str, outcome: Outcome) {
        let mut pages = self.pages();
        if let Outcome::Accepted(id) = &outcome {
            pages.accepted.push((id.clone(), job_type));
        }
        pages.outcomes.insert(tag.to_owned(), outcome);
    }

    /// A job was read. One that is over must stay as it is.
    pub(super) fn seen(&self, job: &Value) {
        let (Some(id), Some(ending)) = (job["id"].as_str(), Ending::of(job)) else { return };
        let mut pages = self.pages();
        let before = pages.endings.entry(id.to_owned()).or_insert_with(|| ending.clone()).clone();
        if before != ending {
            pages.changed.push(format!("{id} was {before:?}, then {ending:?}"));
        }
    }

    /// One of the jobs that were accepted last, and its type.
    #[must_use]
    pub(super) fn any_accepted(&self) -> Option<(String, &'static str)> {
        let pages = self.pages();
        let latest = &pages.accepted[pages.accepted.len().saturating_sub(LATEST)..];
        (!latest.is_empty()).then(|| latest[rand::rng().random_range(0..latest.len())].clone())
    }

    /// Everything.
    #[must_use]
    pub(super) fn read(&self) -> Pages {
        self.pages().clone()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// How many submissions had an outcome that is as `wanted`.
    #[must_use]
    pub(super) fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.values().filter(|outcome| wanted(outcome)).count()
    }
}
