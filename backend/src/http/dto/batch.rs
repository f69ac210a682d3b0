//! What became of many jobs.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::JobState;
use crate::http::problem::FieldError;

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    /// How many items are jobs now.
    pub accepted: usize,
    /// How many are not.
    pub refused: usize,
    /// One for each item, in their order.
    pub results: Vec<BatchItem>,
}

/// What became of one item of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchItem {
    /// Which item, from 0. Empty lines do not count.
    pub index: usize,
    /// 201: it is a job. 422: it is not. 503 or 500: the store failed; submit it again.
    #[schema(example = 201)]
    pub status: u16,
    /// The job's id.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it is not a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<BatchProblem>,
}

/// Why one item of a batch is not a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchProblem {
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
pub(crate) struct Actor {
    /// As they call themselves; `anonymous` if they do not.
    #[schema(max_length = 200)]
    by: Option<String>,
    /// Why.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// What to do to many jobs.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct BulkRequest {
    /// Which jobs: at least one condition, unless `all` is true. Those that cannot be changed so are left out in any case.
    filter: Option<JobFilter>,
    /// Whether a filter without a condition is meant.
    #[schema(default = false)]
    all: Option<bool>,
    /// Whether the jobs are only counted.
    #[schema(default = false)]
    dry_run: Option<bool>,
    /// As they call themselves; `anonymous` if they do not.
    #[schema(max_length = 200)]
    by: Option<String>,
    /// Why.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// Which jobs. All conditions must hold.
// Describes a query string and a body alike: `filter` reads both.
#[derive(ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct JobFilter {
    /// In one of these states.
    #[param(style = Form, explode = false, example = "ready,running")]
    state: Option<Vec<JobState>>,
    /// Of this type; `*` stands for any characters.
    #[schema(example = "image.*")]
    #[param(example = "image.*")]
    r#type: Option<String>,
    /// With these labels; in a query string with a parameter for each.
    #[param(rename = "label.NAME", value_type = Option<String>)]
    labels: Option<BTreeMap<String, String>>,
    /// Accepted at or after this time.
    #[schema(format = DateTime)]
    #[param(format = DateTime)]
    created_after: Option<String>,
    /// Accepted before this time.
    #[schema(format = DateTime)]
    #[param(format = DateTime)]
    created_before: Option<String>,
}

/// What was done to many jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkResult {
    /// How many jobs the filter selected, of those that can be changed so.
    pub matched: usize,
    /// How many were changed; 0 with `dry_run`.
    pub changed: usize,
    /// Whether there may be more than 10 000: ask again.
    pub more: bool,
}
