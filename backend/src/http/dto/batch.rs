//! What became of many jobs.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::JobState;
use crate::http::problem::FieldError;

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResult {
    /// How many items are jobs now.
    pub accepted: usize,
    /// How many are not.
    pub refused: usize,
    /// One for each item, in their order.
    pub results: Vec<BatchItem>,
}

/// What became of one item of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchItem {
    /// Which item, from 0. Empty lines do not count.
    pub index: usize,
    /// 201: it is a job. 422: it is none. 503 or 500: the store failed; submit it again.
    #[schema(example = 201)]
    pub status: u16,
    /// The job's id.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<BatchProblem>,
}

/// Why one item of a batch is no job.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchProblem {
    /// A stable word to decide by.
    #[schema(example = "invalid-submission")]
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
    /// The fields that are wrong, at most 4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// Who does something, and why. Both may be left out.
// Only describes the request, as the shapes below: `fields` reads them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub struct Actor {
    /// As they call themselves, at most 200 characters; `anonymous` if they do not.
    by: Option<String>,
    /// Why, at most 1000 characters.
    reason: Option<String>,
}

/// What to do to many jobs.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub struct BulkRequest {
    /// Which jobs: at least one condition, unless `all` is true.
    filter: Option<BulkFilter>,
    /// Whether a filter without a condition is meant.
    #[schema(default = false)]
    all: Option<bool>,
    /// Whether the jobs are only counted.
    #[schema(default = false)]
    dry_run: Option<bool>,
    /// As they call themselves, at most 200 characters.
    by: Option<String>,
    /// Why, at most 1000 characters.
    reason: Option<String>,
}

/// Which jobs. All conditions must hold.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub struct BulkFilter {
    /// In one of these states. Those that cannot be changed so are left out in any case.
    state: Option<Vec<JobState>>,
    /// Of this type; `*` stands for any characters.
    #[schema(example = "image.*")]
    r#type: Option<String>,
    /// With these labels.
    labels: Option<BTreeMap<String, String>>,
    /// Accepted at or after this time.
    #[schema(format = DateTime)]
    created_after: Option<String>,
    /// Accepted before this time.
    #[schema(format = DateTime)]
    created_before: Option<String>,
}

/// What was done to many jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResult {
    /// How many jobs the filter selected, of those that can be changed so.
    pub matched: usize,
    /// How many were changed; 0 with `dry_run`.
    pub changed: usize,
    /// Whether there may be more than 10 000: ask again.
    pub more: bool,
}
