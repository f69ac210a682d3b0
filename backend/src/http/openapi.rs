//! The description of the API, for programs and for people. Nothing in it is fetched from elsewhere.

use std::fmt::Write as _;

use axum::{
    Extension, Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use super::problem::{ProblemBody, ProblemCode};

/// Where the document stands.
const DOCUMENT_PATH: &str = "/openapi.json";

/// What a page of ours may load: what this server has. It makes "works offline" a fact.
const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
                           frame-ancestors 'none'; base-uri 'self'; form-action 'self'";

/// What the document says of the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Crewcall",
        description = "Dispatches jobs to workers that announce themselves, and keeps a log of published events.\n\n\
            Every failure is a problem (RFC 9457) with a stable `code`; the codes are explained on \
            `/docs/problems`. Every response carries the header `x-request-id`; a request may bring one of its own. \
            New fields and routes appear within `v1`; none changes its meaning."
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "jobs", description = "Submit jobs, read them, and change their course"),
        (name = "watch", description = "Follow jobs by server-sent events"),
        (name = "events", description = "Publish what happened elsewhere, and read it in the order in which it was recorded"),
        (name = "consumers", description = "Make a job of each event that is selected"),
        (name = "webhooks", description = "Deliver events to other services, signed"),
        (name = "hooks", description = "Take what other services tell of, verified, as events"),
        (name = "workflows", description = "Jobs that belong together, and what follows from each"),
        (name = "runs", description = "Workflows under way: read them, and change their course"),
        (name = "schedules", description = "Make jobs, runs and events whenever a moment of a calendar comes"),
        (name = "workers", description = "Who is there, and who takes jobs"),
        (name = "types", description = "What can be done, and how much of it at once"),
        (name = "operation", description = "For those who run it"),
    )
)]
pub(super) struct Document;

/// The finished document, written once.
#[derive(Clone)]
pub(super) struct DocumentText(pub(super) Bytes);

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation", operation_id = "openApi",
    responses((status = 200, description = "The OpenAPI document", body = Object))
)]
pub(super) async fn document(Extension(DocumentText(text)): Extension<DocumentText>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}

/// The pages for people: `/docs`, which shows the document, and `/docs/problems`.
pub(super) fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    // The page would otherwise ask a public service to validate the document.
    let config = utoipa_swagger_ui::Config::from(DOCUMENT_PATH).validator_url("none");
    let pages: Router<S> = SwaggerUi::new("/docs").config(config).into();
    pages.route("/docs/problems", get(problems)).layer(map_response(only_from_here))
}

async fn only_from_here(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    response
}

async fn problems() -> Html<String> {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Crewcall: problems</title>\
         <style>body{font:16px/1.5 sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}dt{margin-top:1rem}</style>\
         <h1>Problems</h1><p>What the field <code>code</code> of a failed request says.</p><dl>",
    );
    for code in ProblemCode::ALL {
        let (word, status) = (code.as_str(), code.status().as_u16());
        // Writing to a String does not fail.
        let _ = write!(
            page,
            "<dt id=\"{word}\"><code>{word}</code> ({status})</dt><dd>{}. {}</dd>",
            code.explained().title,
            code.explained().advice
        );
    }
    page.push_str("</dl></html>\n");
    Html(page)
}
