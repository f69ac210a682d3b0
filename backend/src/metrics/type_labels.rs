//! Which job types have labels of their own.

use crewcall_proto::JobType;
use dashmap::DashSet;

/// How many job types get labels of their own, and only such as a worker announced; the rest share [`OTHER_TYPES`].
/// Submitters choose type names, and each costs a hundred time series.
pub(super) const TYPE_LABELS_MAX: usize = 500;

/// The label of types that nobody announced, and of those beyond [`TYPE_LABELS_MAX`]. No job type has this name.
pub(super) const OTHER_TYPES: &str = "_other";

/// The types that have labels of their own.
#[derive(Debug, Default)]
pub(super) struct TypeLabels(DashSet<JobType>);

impl TypeLabels {
    /// Gives the type a label of its own, if there is one left. Returns whether it is new.
    pub(super) fn admit(&self, job_type: &JobType) -> bool {
        self.0.len() < TYPE_LABELS_MAX && !self.0.contains(job_type) && self.0.insert(job_type.clone())
    }

    /// Whether the type has a label of its own.
    pub(super) fn has(&self, job_type: &JobType) -> bool {
        self.0.contains(job_type)
    }

    /// The type's label.
    pub(super) fn of<'a>(&self, job_type: &'a JobType) -> &'a str {
        if self.has(job_type) { job_type.as_str() } else { OTHER_TYPES }
    }
}
