//! The codes of problems: a closed set, stable, each with its status and what to do about it.

use std::time::Duration;

use axum::http::StatusCode;

/// When to try again after the store could not work.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// When to try again after too many watched.
const WATCHERS_RETRY_AFTER: Duration = Duration::from_secs(5);

/// What went wrong, as a stable word. The list stands on `/docs/problems`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The body is no JSON.
    InvalidJson,
    /// The path holds something that is no id.
    InvalidId,
    /// A query parameter is wrong or unknown.
    InvalidQuery,
    /// The cursor is none of ours.
    InvalidCursor,
    /// The body ended early or broke off.
    UnreadableBody,
    /// There is no such route.
    RouteNotFound,
    /// There is no such job.
    JobNotFound,
    /// There is no such worker.
    WorkerNotFound,
    /// There is no such type.
    TypeNotFound,
    /// The route has other methods.
    MethodNotAllowed,
    /// The body did not come in time.
    BodyTimeout,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The submission is no job.
    InvalidSubmission,
    /// The parameters do not fit the type's schema.
    InvalidParameters,
    /// It is our fault.
    InternalError,
    /// The store cannot work now.
    StoreUnavailable,
    /// Too many watch already.
    TooManyWatchers,
}

impl Code {
    /// Every code, by status.
    pub const ALL: [Self; 18] = [
        Self::InvalidJson,
        Self::InvalidId,
        Self::InvalidQuery,
        Self::InvalidCursor,
        Self::UnreadableBody,
        Self::RouteNotFound,
        Self::JobNotFound,
        Self::WorkerNotFound,
        Self::TypeNotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidSubmission,
        Self::InvalidParameters,
        Self::InternalError,
        Self::StoreUnavailable,
        Self::TooManyWatchers,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid-json",
            Self::InvalidId => "invalid-id",
            Self::InvalidQuery => "invalid-query",
            Self::InvalidCursor => "invalid-cursor",
            Self::UnreadableBody => "unreadable-body",
            Self::RouteNotFound => "route-not-found",
            Self::JobNotFound => "job-not-found",
            Self::WorkerNotFound => "worker-not-found",
            Self::TypeNotFound => "type-not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::BodyTimeout => "body-timeout",
            Self::BodyTooLarge => "body-too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::InvalidSubmission => "invalid-submission",
            Self::InvalidParameters => "invalid-parameters",
            Self::InternalError => "internal-error",
            Self::StoreUnavailable => "store-unavailable",
            Self::TooManyWatchers => "too-many-watchers",
        }
    }

    /// The status that it comes with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson
            | Self::InvalidId
            | Self::InvalidQuery
            | Self::InvalidCursor
            | Self::UnreadableBody => StatusCode::BAD_REQUEST,
            Self::RouteNotFound | Self::JobNotFound | Self::WorkerNotFound | Self::TypeNotFound => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidSubmission | Self::InvalidParameters => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::StoreUnavailable | Self::TooManyWatchers => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// It in one line.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "The body is not JSON",
            Self::InvalidId => "Not an id",
            Self::InvalidQuery => "A query parameter is wrong",
            Self::InvalidCursor => "Not a cursor",
            Self::UnreadableBody => "The body broke off",
            Self::RouteNotFound => "No such route",
            Self::JobNotFound => "No such job",
            Self::WorkerNotFound => "No such worker",
            Self::TypeNotFound => "No such type",
            Self::MethodNotAllowed => "The route has other methods",
            Self::BodyTimeout => "The body did not come in time",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body is not declared as JSON",
            Self::InvalidSubmission => "The submission is no job",
            Self::InvalidParameters => "The parameters do not fit the type",
            Self::InternalError => "The backend failed",
            Self::StoreUnavailable => "The store cannot work now",
            Self::TooManyWatchers => "Too many watch already",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::InvalidJson => "The detail names the line and the column. Nothing was stored.",
            Self::InvalidId => "A job id is a UUID of 36 characters, as the submission answered it.",
            Self::InvalidQuery => {
                "Each entry of errors names the parameter after a question mark, and what would be right."
            }
            Self::InvalidCursor => {
                "Pass next_cursor of the page before as it is, or leave it out for the first page."
            }
            Self::UnreadableBody => {
                "The connection or the encoding of the body failed. Nothing was stored; send it again."
            }
            Self::RouteNotFound => "The routes stand in /openapi.json and on /docs.",
            Self::JobNotFound => {
                "An accepted job is never lost: look whether the id is whole and the backend the right one."
            }
            Self::WorkerNotFound => {
                "A worker that said goodbye is forgotten at once, a lost one after ten minutes."
            }
            Self::TypeNotFound => "No worker ever announced the type and no job has it.",
            Self::MethodNotAllowed => "The header Allow names them.",
            Self::BodyTimeout => "Nothing was stored; send it again.",
            Self::BodyTooLarge => {
                "Pass large data by reference: put it where the worker can read it, and submit its address."
            }
            Self::UnsupportedMediaType => "Send the header content-type: application/json.",
            Self::InvalidSubmission => {
                "Each entry of errors points at a field and says what would be right. Nothing was stored."
            }
            Self::InvalidParameters => {
                "They are held against the schema that the type's workers announced: GET /v1/types/{type}."
            }
            Self::InternalError => "The cause stands in the backend's log under the request id.",
            Self::StoreUnavailable => {
                "It is locked, full or closing. Nothing was stored; try again after the time in Retry-After."
            }
            Self::TooManyWatchers => "Try again after the time in Retry-After, or ask without wait.",
        }
    }

    /// When to try again, where that is known.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::StoreUnavailable => Some(STORE_RETRY_AFTER),
            Self::TooManyWatchers => Some(WATCHERS_RETRY_AFTER),
            _ => None,
        }
    }
}
