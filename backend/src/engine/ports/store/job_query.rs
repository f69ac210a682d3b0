//! Which jobs are meant.

use std::{collections::BTreeMap, ops::RangeInclusive};

use crewcall_proto::{JobId, JobType, Timestamp};

use crate::domain::{State, pattern};

/// Which jobs to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// In one of these states; empty for any.
    pub states: Vec<State>,
    /// Of this type; `*` stands for any characters. `None` for any.
    pub job_type: Option<String>,
    /// With these labels.
    pub labels: BTreeMap<String, String>,
    /// Accepted at or after this time.
    pub created_after: Option<Timestamp>,
    /// Accepted before this time.
    pub created_before: Option<Timestamp>,
    /// With ids in this range, both ends included: those that begin with the same characters.
    pub ids: Option<RangeInclusive<JobId>>,
    /// Only jobs older than this one: where the last page ended.
    pub before: Option<JobId>,
    /// How many at most.
    pub limit: usize,
    /// After how many bytes of parameters and results a list of whole jobs ends early, with the job that reaches
    /// them. `None` for never.
    pub bytes_max: Option<usize>,
}

impl JobQuery {
    /// Whether it asks for jobs of this type in this state. Its other conditions need the job.
    #[must_use]
    pub fn selects(&self, job_type: &JobType, state: State) -> bool {
        self.selects_state(state) && self.selects_type(job_type)
    }

    /// Whether it asks for jobs in this state.
    #[must_use]
    pub fn selects_state(&self, state: State) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    /// Whether it asks for jobs of this type.
    #[must_use]
    pub fn selects_type(&self, job_type: &JobType) -> bool {
        self.job_type.as_ref().is_none_or(|wanted| pattern::matches(wanted, job_type.as_str()))
    }
}
