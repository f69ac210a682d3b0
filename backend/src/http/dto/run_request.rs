//! What people ask of runs.

use std::collections::BTreeMap;

use utoipa::{IntoParams, ToSchema};

use super::RunState;

// These only describe requests: `fields` and `filter` read them.

/// How a run is cancelled.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct RunCancel {
    /// Whether nothing cleans up: what runs is told to stop, and no other step begins.
    #[schema(default = false)]
    force: Option<bool>,
    /// Who does it, as they call themselves.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// How a run is tried again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct RunRetry {
    /// The step from which on everything begins again; what failed or was cancelled, if it is left out.
    #[schema(example = "encode")]
    from: Option<String>,
    /// Who does it, as they call themselves.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Who decides about an approval, and what they say of it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct RunDecision {
    /// As they call themselves; `anonymous` if they do not.
    by: Option<String>,
    /// What they say of it; expressions can read it.
    comment: Option<String>,
}

/// Which runs are to be cancelled.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct BulkRunCancel {
    /// Which runs: at least one condition, unless `all` is true. Those that are over are left out in any case.
    filter: Option<RunFilter>,
    /// Whether a filter without a condition is meant.
    #[schema(default = false)]
    all: Option<bool>,
    /// Whether the runs are only counted.
    #[schema(default = false)]
    dry_run: Option<bool>,
    /// Whether nothing cleans up.
    #[schema(default = false)]
    force: Option<bool>,
    /// Who does it, as they call themselves.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Which runs. All conditions must hold.
#[derive(ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct RunFilter {
    /// Of this workflow.
    #[schema(example = "asset.publish")]
    #[param(example = "asset.publish")]
    workflow: Option<String>,
    /// In one of these states.
    #[param(style = Form, explode = false, example = "running,failed")]
    state: Option<Vec<RunState>>,
    /// With these labels; in a query string with a parameter for each.
    #[param(rename = "label.NAME", value_type = Option<String>)]
    labels: Option<BTreeMap<String, String>>,
}
