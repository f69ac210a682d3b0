//! Workflows: documents of which runs are made.

use axum::{
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use crewcall_expressions::Json as AnyJson;
use serde_json::Map;

use super::{
    HttpState, body, cursor,
    document::{self, Document, Kind},
    dto,
    json::Json,
    preconditions,
    problem::{Problem, ProblemCode, field},
    query::PageQuery,
    request::caller,
    responses::{BODY, Codes, PAGE, Problems, QUERY, STORE, of},
    workflow_graph::{self, Form},
};
use crate::{
    domain::{
        Problem as FieldProblem,
        workflow::definition::{InvalidWorkflowName, WorkflowName},
    },
    engine::{Checked, Put, WorkflowError, WorkflowView},
};

pub(super) const TAG: &str = "workflows";

/// Naming a workflow.
pub(super) const WORKFLOW: Codes = STORE | of(&[ProblemCode::WorkflowNotFound]);

/// How many versions a page has unless the caller asks for another number.
const PAGE_VERSIONS_DEFAULT: usize = 50;

/// Set a workflow
///
/// Makes it (201), or another version of it (200). The same document again makes no version. A version never changes: a run keeps the one that
/// it began with. The document's `name` may be left out; what a document has, `docs/workflows.md` says by example.
#[utoipa::path(
    put, path = "/v1/workflows/{name}", tag = TAG, operation_id = "putWorkflow",
    params(
        ("name" = String, Path, description = "Its name: 1 to 128 characters of a-z 0-9 . _ - in dot-separated words", example = "asset.publish"),
        ("If-Match" = Option<String>, Header, description = "Only if this is its version now: the `ETag` that was read", example = "\"3\""),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such workflow yet"),
    ),
    request_body = Object,
    responses(
        (status = 200, description = "It was there, and this is its newest version now", body = dto::Workflow, headers(("ETag" = String, description = "The version in quotes"))),
        (status = 201, description = "It is made", body = dto::Workflow, headers(("Location" = String, description = "Its path"), ("ETag" = String, description = "The version in quotes"))),
        Problems<{ WORKFLOW | BODY | of(&[
            ProblemCode::InvalidPrecondition, ProblemCode::InvalidWorkflow, ProblemCode::WorkflowChanged,
            ProblemCode::TooManyWorkflows, ProblemCode::TooManyChecks,
        ]) }>,
    )
)]
pub(super) async fn put(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse(&name)?;
    let expected = preconditions::read(request.headers())?;
    let caller = caller(&request);
    let text = body::read_json(&state.bodies, request).await?;
    let Document { json, mut problems } = document::read(Kind::Workflow, &text)?;
    let json = json.map(|json| named(json, name.as_str(), &mut problems));
    let document = match json {
        Some(document) if problems.is_empty() => document,
        document => return Err(invalid(&state, document, problems).await?),
    };
    let (put, _) = state.engine.put_workflow(&caller, &name, document, expected).await?;
    let view = state.engine.workflow(&name).await?.ok_or_else(|| not_found(name.as_str()))?;
    let shown = shown(&view);
    Ok(match put {
        Put::Created => {
            let at = [(header::LOCATION, format!("/v1/workflows/{name}"))];
            (StatusCode::CREATED, at, shown).into_response()
        }
        Put::Changed | Put::Unchanged => shown.into_response(),
    })
}

/// Check the document of a workflow
///
/// Says what is wrong with it, and what may be. Changes nothing.
#[utoipa::path(
    post, path = "/v1/workflows/check", tag = TAG, operation_id = "checkWorkflow",
    request_body = Object,
    responses(
        (status = 200, description = "What was found, whatever it is", body = dto::WorkflowCheck),
        Problems<{ STORE | BODY | of(&[ProblemCode::TooManyChecks]) }>,
    )
)]
pub(super) async fn check(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::WorkflowCheck>, Problem> {
    let text = body::read_json(&state.bodies, request).await?;
    let Document { json, problems } = document::read(Kind::Workflow, &text)?;
    Ok(Json(dto::WorkflowCheck::from(&checked(&state, json, problems).await?)))
}

/// List workflows
#[utoipa::path(
    get, path = "/v1/workflows", tag = TAG, operation_id = "listWorkflows",
    responses(
        (status = 200, description = "All of them, by name, without their documents", body = dto::WorkflowList),
        Problems<{ STORE }>,
    )
)]
pub(super) async fn list(State(state): State<HttpState>) -> Result<Json<dto::WorkflowList>, Problem> {
    let workflows = state.engine.workflows().await?;
    Ok(Json(dto::WorkflowList { workflows: workflows.iter().map(dto::Workflow::from).collect() }))
}

/// Get a workflow
#[utoipa::path(
    get, path = "/v1/workflows/{name}", tag = TAG, operation_id = "getWorkflow",
    params(("name" = String, Path, description = "Its name", example = "asset.publish")),
    responses(
        (status = 200, description = "The workflow, with its newest version", body = dto::Workflow, headers(("ETag" = String, description = "The version in quotes"))),
        Problems<{ WORKFLOW }>,
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let name = parse(&name)?;
    let view = state.engine.workflow(&name).await?.ok_or_else(|| not_found(name.as_str()))?;
    Ok(shown(&view))
}

/// Delete a workflow
///
/// None of its runs may be open. Those that are over stay for as long as others. One of the same name that is put later goes on
/// counting versions where this one stopped, as long as they are kept.
#[utoipa::path(
    delete, path = "/v1/workflows/{name}", tag = TAG, operation_id = "deleteWorkflow",
    params(("name" = String, Path, description = "Its name", example = "asset.publish")),
    responses(
        (status = 204, description = "It is deleted"),
        Problems<{ WORKFLOW | of(&[ProblemCode::WorkflowHasOpenRuns]) }>,
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    state.engine.delete_workflow(&caller(&request), &parse(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the versions of a workflow
///
/// Newest first: the last hundred, and those that runs are kept of.
#[utoipa::path(
    get, path = "/v1/workflows/{name}/versions", tag = TAG, operation_id = "listWorkflowVersions",
    params(
        ("name" = String, Path, description = "Its name", example = "asset.publish"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "How many at most, 50 if not given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = dto::WorkflowVersionList),
        Problems<{ WORKFLOW | PAGE }>,
    )
)]
pub(super) async fn versions(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<dto::WorkflowVersionList>, Problem> {
    let name = parse(&name)?;
    let page = PageQuery::<u32>::read(raw.as_deref(), PAGE_VERSIONS_DEFAULT)?;
    // One more than is wanted tells whether there are more.
    let mut found = state.engine.workflow_versions(&name, page.after, page.limit + 1).await?;
    if found.is_empty() && page.after.is_none() {
        return Err(not_found(name.as_str()));
    }
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next_cursor = found.last().filter(|_| more).map(|last| cursor::encode(&last.number));
    let versions = found.iter().map(dto::WorkflowVersionEntry::from).collect();
    Ok(Json(dto::WorkflowVersionList { versions, next_cursor }))
}

/// Get a version of a workflow
///
/// With its document, also of a workflow that is deleted, as long as a run of it is kept.
#[utoipa::path(
    get, path = "/v1/workflows/{name}/versions/{version}", tag = TAG, operation_id = "getWorkflowVersion",
    params(
        ("name" = String, Path, description = "Its name", example = "asset.publish"),
        ("version" = u32, Path, description = "Its number", example = 3),
    ),
    responses(
        (status = 200, description = "The version", body = dto::WorkflowVersionEntry),
        Problems<{ WORKFLOW }>,
    )
)]
pub(super) async fn version(
    State(state): State<HttpState>,
    Path((name, number)): Path<(String, String)>,
) -> Result<Json<dto::WorkflowVersionEntry>, Problem> {
    let name = parse(&name)?;
    let found = match number.parse() {
        Ok(number) => state.engine.workflow_version(&name, number).await?,
        Err(_) => None,
    };
    let none = || {
        let detail =
            format!("no such version of {name} is kept; /v1/workflows/{name}/versions lists those that are");
        Problem::new(ProblemCode::WorkflowNotFound, detail)
    };
    Ok(Json(dto::WorkflowVersionEntry::from(found.ok_or_else(none)?.as_ref())))
}

/// Get a workflow as a graph
///
/// As nodes and edges, or with `Accept: text/vnd.mermaid` or `format=mermaid` as the text of a diagram.
#[utoipa::path(
    get, path = "/v1/workflows/{name}/graph", tag = TAG, operation_id = "getWorkflowGraph",
    params(
        ("name" = String, Path, description = "Its name", example = "asset.publish"),
        ("format" = Option<String>, Query, description = "`json` or `mermaid`; goes before the header `Accept`"),
    ),
    responses(
        (status = 200, description = "The steps, and which needs which", content((dto::Graph = "application/json"), (String = "text/vnd.mermaid"))),
        Problems<{ WORKFLOW | QUERY }>,
    )
)]
pub(super) async fn graph(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = parse(&name)?;
    let form = Form::read(raw.as_deref(), &headers)?;
    let view = state.engine.workflow(&name).await?.ok_or_else(|| not_found(name.as_str()))?;
    Ok(workflow_graph::respond(&view.known.newest, None, form))
}

/// The document with its name in the first place, whether it was there or not: both are the same version.
fn named(document: AnyJson, name: &str, problems: &mut Vec<FieldProblem>) -> AnyJson {
    let AnyJson::Object(fields) = document else { return document };
    match fields.get("name") {
        None | Some(AnyJson::Null) => {}
        Some(AnyJson::String(given)) if given == name => {}
        // The domain says what is wrong with anything else.
        Some(AnyJson::String(given)) if given.parse::<WorkflowName>().is_ok() => {
            let message = format!("the document is that of {given:?}, and the path that of {name:?}");
            problems.push(field("/name", message));
        }
        Some(_) => return AnyJson::Object(fields),
    }
    let mut named = Map::from_iter([("name".to_owned(), AnyJson::from(name))]);
    named.extend(fields.into_iter().filter(|(field, _)| field != "name"));
    AnyJson::Object(named)
}

/// What is wrong with the text of a document, and with what it says.
async fn checked(
    state: &HttpState,
    document: Option<AnyJson>,
    problems: Vec<FieldProblem>,
) -> Result<Checked, Problem> {
    let mut checked = match document {
        Some(document) => state.engine.check_workflow(document).await?,
        None => Checked::default(),
    };
    checked.problems.extend(problems);
    Ok(checked)
}

/// The problem of a document whose text is wrong.
async fn invalid(
    state: &HttpState,
    document: Option<AnyJson>,
    problems: Vec<FieldProblem>,
) -> Result<Problem, Problem> {
    Ok(WorkflowError::Invalid(checked(state, document, problems).await?.problems).into())
}

pub(super) fn shown(view: &WorkflowView) -> Response {
    let etag = preconditions::etag(view.known.newest.number);
    (etag, Json(dto::Workflow::with_document(view))).into_response()
}

/// The name. What cannot be one is not found either.
pub(super) fn parse(name: &str) -> Result<WorkflowName, Problem> {
    name.parse().map_err(|invalid: InvalidWorkflowName| {
        Problem::new(ProblemCode::WorkflowNotFound, invalid.to_string())
    })
}

pub(super) fn not_found(name: &str) -> Problem {
    let detail = format!("there is no workflow {name:?}; /v1/workflows lists those that there are");
    Problem::new(ProblemCode::WorkflowNotFound, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_has_the_name_of_its_path() {
        for (document, expected) in [
            (json!({"steps": {}, "name": "a.b"}), r#"{"name":"a.b","steps":{}}"#),
            (json!({"steps": {}}), r#"{"name":"a.b","steps":{}}"#),
            (json!({"name": null}), r#"{"name":"a.b"}"#),
            (json!([]), "[]"),
            (json!({"name": 7}), r#"{"name":7}"#),
            (json!({"name": "A"}), r#"{"name":"A"}"#),
        ] {
            let mut problems = Vec::new();
            assert_eq!(named(document, "a.b", &mut problems).to_string(), expected);
            assert_eq!(problems, []);
        }
        let mut problems = Vec::new();
        named(json!({"name": "other"}), "a.b", &mut problems);
        assert_eq!(
            problems,
            [field("/name", "the document is that of \"other\", and the path that of \"a.b\"")]
        );
    }
}
