//! With which problems an operation may fail, as the document says it: `responses(…, Problems<{ JOB | STORE }>)`.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{Content, OpenApi, Ref, RefOr, Response, path::Operation},
};

use super::problem::{PROBLEM_MEDIA_TYPE, ProblemCode};

/// Codes, a bit for each: only a plain number can be the parameter of a type.
pub(super) type Codes = u128;

/// These codes.
pub(super) const fn of(codes: &[ProblemCode]) -> Codes {
    let (mut set, mut rest) = (0, codes);
    while let [first, others @ ..] = rest {
        set |= 1 << *first as u128;
        rest = others;
    }
    set
}

/// Reading a body.
pub(super) const BODY: Codes = ANY_BODY | of(&[ProblemCode::TooManyBodies]);

/// Reading a body for which there is a place.
pub(super) const ANY_BODY: Codes = of(&[
    ProblemCode::InvalidJson,
    ProblemCode::UnreadableBody,
    ProblemCode::BodyTimeout,
    ProblemCode::BodyTooLarge,
    ProblemCode::UnsupportedMediaType,
]);

/// Reading a body that asks for a change.
pub(super) const CHANGE: Codes = BODY | of(&[ProblemCode::InvalidRequest]);

/// Reading a query string.
pub(super) const QUERY: Codes = of(&[ProblemCode::InvalidQuery]);

/// Reading the query string of a list.
pub(super) const PAGE: Codes = QUERY | of(&[ProblemCode::InvalidCursor]);

/// Naming a type.
pub(super) const TYPE: Codes = STORE | of(&[ProblemCode::TypeNotFound]);

/// Finding a job.
pub(super) const JOB: Codes = STORE | of(&[ProblemCode::InvalidId, ProblemCode::JobNotFound]);

/// Telling a worker something.
pub(super) const WORKER: Codes = of(&[
    ProblemCode::WorkerNotFound,
    ProblemCode::WorkerLost,
    ProblemCode::InternalError,
    ProblemCode::BrokerUnavailable,
]);

/// Asking the store.
pub(super) const STORE: Codes = of(&[ProblemCode::InternalError, ProblemCode::StoreUnavailable]);

/// Asking the store for jobs by a filter.
pub(super) const SEARCH: Codes = STORE | of(&[ProblemCode::ReadTooSlow]);

/// What [`super::access`] and [`super::answers`] may respond in the place of every operation.
const EVERY: Codes =
    of(&[ProblemCode::InvalidHost, ProblemCode::HostNotAllowed, ProblemCode::TooManyAnswers]);

/// The same for those that change something.
const EVERY_CHANGE: Codes = EVERY | of(&[ProblemCode::CrossSite]);

/// The responses of an operation that may fail with these codes.
pub(super) struct Problems<const CODES: Codes>;

impl<const CODES: Codes> IntoResponses for Problems<CODES> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = BTreeMap::new();
        add(&mut responses, CODES);
        responses
    }
}

/// Adds to every operation what it may respond whatever it does.
pub(super) fn add_to_every(document: &mut OpenApi) {
    let every = |operation: &mut Operation, codes| add(&mut operation.responses.responses, codes);
    for item in document.paths.paths.values_mut() {
        item.get.iter_mut().for_each(|operation| every(operation, EVERY));
        let changing = [&mut item.put, &mut item.post, &mut item.delete].into_iter().flatten();
        changing.for_each(|operation| every(operation, EVERY_CHANGE));
    }
}

fn add(responses: &mut BTreeMap<String, RefOr<Response>>, codes: Codes) {
    for code in ProblemCode::ALL.iter().filter(|code| codes & of(&[**code]) != 0) {
        let status = code.status().as_str().to_owned();
        if let RefOr::T(response) = responses.entry(status).or_insert_with(|| Response::new("").into()) {
            let before = std::mem::take(&mut response.description);
            let problem = format!("{before} `{}`: {}.", code.as_str(), code.explained().title);
            problem.trim_start().clone_into(&mut response.description);
            let content = || Content::new(Some(Ref::from_schema_name("Problem"))).into();
            response.content.entry(PROBLEM_MEDIA_TYPE.to_owned()).or_insert_with(content);
        }
    }
}
