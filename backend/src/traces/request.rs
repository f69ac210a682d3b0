//! The span of a request.

use crewcall_proto::TraceParent;
use crewcall_traces::{
    Opening, Span, SpanKind, Traces,
    names::{HTTP_METHOD, HTTP_ROUTE, HTTP_STATUS, URL_PATH, URL_SCHEME},
};

/// The span of a request that begins. Whoever only reads begins no trace: scrapes and polls would bury the others.
pub(crate) fn request(
    traces: &Traces,
    method: &'static str,
    route: Option<&str>,
    path: &str,
    parent: Option<&TraceParent>,
) -> Span {
    let changes = matches!(method, "POST" | "PUT" | "PATCH" | "DELETE");
    if !changes && parent.is_none() {
        return Span::none();
    }
    traces.begin(|| {
        let mut attributes = vec![
            (HTTP_METHOD, method.into()),
            (URL_SCHEME, "http".into()),
            (URL_PATH, path.to_owned().into()),
        ];
        attributes.extend(route.map(|route| (HTTP_ROUTE, route.to_owned().into())));
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        Opening { name, kind: SpanKind::Server, parent, began: None, attributes }
    })
}

/// The request is answered. What was wrong with the request is no failure of ours.
pub(crate) fn answered(mut span: Span, status: u16) {
    span.set(HTTP_STATUS, u32::from(status));
    if status >= 500 {
        span.fail("server_error", "");
    }
}
