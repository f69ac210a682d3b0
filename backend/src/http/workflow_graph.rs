//! The steps of a workflow as a graph: which needs which, for programs and to look at.

use std::fmt::Write as _;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{dto, fields::Fields, json::Json, problem::Problem};
use crate::domain::workflow::{
    definition::{RunIf, Step, Work, Workflow},
    known::WorkflowVersion,
    run::{Run, StepState},
};

/// The media type of diagrams as text that Mermaid draws.
const MERMAID: &str = "text/vnd.mermaid";

/// How the states of steps are filled in a diagram.
const COLOURS: [(StepState, &str); 6] = [
    (StepState::Waiting, "fill:#fff3bf,stroke:#f08c00,color:#000"),
    (StepState::Running, "fill:#d0ebff,stroke:#1971c2,color:#000"),
    (StepState::Completed, "fill:#d3f9d8,stroke:#2f9e44,color:#000"),
    (StepState::Failed, "fill:#ffe3e3,stroke:#e03131,color:#000"),
    (StepState::Skipped, "fill:#f1f3f5,stroke:#868e96,color:#495057,stroke-dasharray:4"),
    (StepState::Cancelled, "fill:#f1f3f5,stroke:#343a40,color:#000"),
];

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Mermaid,
}

impl Form {
    /// What the query string asks for, or else the header.
    pub(super) fn read(raw: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut fields = Fields::query(raw);
        let asked = fields.read("format", |word| match word {
            "json" => Ok(Self::Json),
            "mermaid" => Ok(Self::Mermaid),
            _ => Err("it is json or mermaid".to_owned()),
        });
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let takes_mermaid = accepted.flat_map(|value| value.split(',')).any(|range| {
            range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(MERMAID))
        });
        fields.conclude(Ok(asked.unwrap_or(if takes_mermaid { Self::Mermaid } else { Self::Json })))
    }
}

/// The graph of a version, or of a run of it.
pub(super) fn respond(version: &WorkflowVersion, run: Option<&Run>, form: Form) -> Response {
    let states: Vec<StepState> =
        run.map(|run| run.steps.iter().map(|step| step.state).collect()).unwrap_or_default();
    match form {
        Form::Json => Json(graph(version, &states)).into_response(),
        Form::Mermaid => {
            let media_type = HeaderValue::from_static(MERMAID);
            ([(header::CONTENT_TYPE, media_type)], mermaid(&version.workflow, &states)).into_response()
        }
    }
}

fn graph(version: &WorkflowVersion, states: &[StepState]) -> dto::Graph {
    let workflow = &version.workflow;
    let nodes = workflow.steps.iter().enumerate().map(|(index, step)| dto::GraphNode {
        step: step.name.to_string(),
        kind: kind(step),
        run_if: run_if(step.run_if),
        state: states.get(index).map(|state| state.as_str()),
    });
    let edges = workflow.steps.iter().flat_map(|step| {
        let needs = step.needs.iter().filter_map(|need| workflow.step(*need));
        needs.map(|need| dto::GraphEdge { from: need.name.to_string(), to: step.name.to_string() })
    });
    dto::Graph {
        workflow: version.name().to_string(),
        version: version.number,
        nodes: nodes.collect(),
        edges: edges.collect(),
    }
}

/// The text of a diagram. Steps are called by their places, since a name could be a word of its language; nothing else has to be
/// escaped, since names are letters, digits and underscores.
fn mermaid(workflow: &Workflow, states: &[StepState]) -> String {
    let mut text = String::from("flowchart TD\n");
    let mut line = |args: std::fmt::Arguments<'_>| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "    {args}");
    };
    for (index, step) in workflow.steps.iter().enumerate() {
        let (open, close) = shape(step);
        let state = states.get(index).map(|state| format!("<br/>{state}")).unwrap_or_default();
        line(format_args!("s{index}{open}\"{}{state}\"{close}", step.name));
    }
    for (index, step) in workflow.steps.iter().enumerate() {
        let label = match step.run_if {
            RunIf::Completed => String::new(),
            other => format!("|{}|", run_if(other)),
        };
        for need in &step.needs {
            line(format_args!("s{} -->{label} s{index}", need.0));
        }
    }
    for (state, colour) in COLOURS.into_iter().filter(|(state, _)| states.contains(state)) {
        let steps = states.iter().enumerate().filter(|(_, of)| **of == state);
        let steps: Vec<String> = steps.map(|(index, _)| format!("s{index}")).collect();
        line(format_args!("classDef {state} {colour}"));
        line(format_args!("class {} {state}", steps.join(",")));
    }
    text
}

/// What stands around the text of a node.
const fn shape(step: &Step) -> (&'static str, &'static str) {
    match &step.work {
        Work::Job { each: None, .. } => ("[", "]"),
        Work::Job { each: Some(_), .. } => ("@{ shape: procs, label: ", " }"),
        Work::Event(_) | Work::Until(_) => ("([", "])"),
        Work::Approval(_) => ("{", "}"),
        Work::Child { .. } => ("[[", "]]"),
    }
}

const fn kind(step: &Step) -> &'static str {
    match &step.work {
        Work::Job { each: None, .. } => "job",
        Work::Job { each: Some(_), .. } => "each",
        Work::Event(_) | Work::Until(_) => "wait",
        Work::Approval(_) => "approval",
        Work::Child { .. } => "workflow",
    }
}

const fn run_if(run_if: RunIf) -> &'static str {
    match run_if {
        RunIf::Completed => "completed",
        RunIf::AnyCompleted => "any_completed",
        RunIf::Failed => "failed",
        RunIf::Finished => "finished",
    }
}

#[cfg(test)]
mod tests {
    use crewcall_proto::Timestamp;
    use serde_json::json;

    use super::*;

    fn version() -> WorkflowVersion {
        let document = json!({
            "name": "asset.publish",
            "steps": {
                "probe": {"job": "media.probe"},
                "encode": {"needs": ["probe"], "job": "media.encode", "each": "${{ steps.probe.result.sizes }}"},
                "check": {"needs": ["encode"], "approval": {}},
                "end": {"needs": ["check"], "workflow": {"name": "asset.announce"}},
                "tell": {"needs": ["encode", "check"], "run_if": "failed", "job": "mail.send"},
                "paid": {"wait": {"event": "order.paid"}},
            },
        });
        let workflow = Workflow::read(&document).unwrap();
        let document = document.to_string().into();
        let made_at = Timestamp::from_millis(0);
        WorkflowVersion { workflow, number: 3, document, made_at, made_by: "anna".to_owned() }
    }

    const STATES: [StepState; 6] = [
        StepState::Completed,
        StepState::Failed,
        StepState::Skipped,
        StepState::Skipped,
        StepState::Running,
        StepState::Waiting,
    ];

    #[test]
    fn a_diagram_can_be_drawn() {
        let workflow = version().workflow;
        insta::assert_snapshot!("diagram", mermaid(&workflow, &[]));
        insta::assert_snapshot!("diagram_of_a_run", mermaid(&workflow, &STATES));
    }

    #[test]
    fn a_graph_has_nodes_and_edges() {
        insta::assert_json_snapshot!(graph(&version(), &STATES));
    }

    #[test]
    fn the_query_goes_before_the_header() {
        let read = |raw: Option<&str>, accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            Form::read(raw, &headers).map_err(|problem| problem.code().as_str())
        };
        assert_eq!(read(None, "*/*"), Ok(Form::Json));
        assert_eq!(read(None, "text/html, Text/vnd.Mermaid;q=0.5"), Ok(Form::Mermaid));
        assert_eq!(read(Some("format=json"), MERMAID), Ok(Form::Json));
        assert_eq!(read(Some("format=mermaid"), "application/json"), Ok(Form::Mermaid));
        assert_eq!(read(Some("format=svg"), MERMAID), Err("invalid-query"));
        assert_eq!(read(Some("form=json"), MERMAID), Err("invalid-query"));
    }
}
