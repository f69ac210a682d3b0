//! The graph of a workflow as the API shows it.

use serde::Serialize;
use utoipa::ToSchema;

/// The steps of a workflow, or of a run of it, and which needs which.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Graph {
    /// Of which workflow.
    #[schema(example = "asset.publish")]
    pub workflow: String,
    /// Of which version of it.
    pub version: u32,
    /// In the order of the document.
    pub nodes: Vec<GraphNode>,
    pub edges: Vec<GraphEdge>,
}

/// A step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GraphNode {
    /// Its name.
    pub step: String,
    /// What it does: `job`, `each` (a job for each item), `wait`, `approval` or `workflow`.
    pub kind: &'static str,
    /// What must have become of the steps that it needs: `completed`, `any_completed`, `failed` or `finished`.
    pub run_if: &'static str,
    /// Where it stands, in a run.
    #[schema(value_type = Option<super::StepState>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
}

/// One step needs another.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GraphEdge {
    /// The one that is needed.
    pub from: String,
    /// The one that needs it.
    pub to: String,
}
