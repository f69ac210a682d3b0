//! What a caller is told when a request fails: RFC 9457 problems with a stable code.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

pub(super) use super::code::ProblemCode;
use crate::{
    domain::{Problem as FieldProblem, excerpt::cut, workflow::limits},
    engine::{
        ConsumerError, LogError, PublishError, SubmitError,
        ports::StoreError,
        settings::{limits::TypeLimitsError, schema::PROBLEMS_MAX},
    },
};

/// The media type of a problem.
pub(super) const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// How much of a pointer is told, in characters: its parts are names that the caller chose.
const POINTER_CHARACTERS_MAX: usize = 256;

/// How much of one message is told, in characters: a message may quote the value that it complains of.
const MESSAGE_CHARACTERS_MAX: usize = 500;

/// A failed request. As a response it has no body yet: the middleware knows the request id and writes it.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    code: ProblemCode,
    detail: String,
    errors: Vec<FieldProblem>,
    /// Where the job or run stands that the request would have changed.
    state: Option<&'static str>,
}

impl Problem {
    /// A problem with a sentence for the caller.
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), state: None }
    }

    /// A problem that lies in certain fields, told in the order of their pointers.
    pub(super) fn with_errors(code: ProblemCode, mut errors: Vec<FieldProblem>) -> Self {
        for error in &mut errors {
            error.pointer = cut(&error.pointer, POINTER_CHARACTERS_MAX);
        }
        errors.sort_by(|a, b| (&a.pointer, &a.message).cmp(&(&b.pointer, &b.message)));
        let detail = match errors.as_slice() {
            [only] if only.pointer.is_empty() => only.message.clone(),
            [only] => format!("{}: {}", only.pointer, only.message),
            more => format!("{} fields are wrong: see errors", more.len()),
        };
        Self { code, detail, errors, state: None }
    }

    /// Our fault. The cause is for the log alone.
    pub(super) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "A request failed.");
        Self::new(ProblemCode::InternalError, "the backend failed; its log tells why, under this request id")
    }

    /// The same, with the state that stands in the way.
    pub(super) fn with_state(self, state: &'static str) -> Self {
        Self { state: Some(state), ..self }
    }

    /// What went wrong.
    pub(super) const fn code(&self) -> ProblemCode {
        self.code
    }

    /// It as the body of a response.
    pub(super) fn body(&self, request_id: &str) -> ProblemBody {
        let errors_max = match self.code {
            ProblemCode::InvalidWorkflow => limits::PROBLEMS_MAX,
            _ => PROBLEMS_MAX,
        };
        ProblemBody {
            r#type: format!("/docs/problems#{}", self.code.as_str()),
            title: self.code.explained().title,
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: self.detail(),
            errors: self.errors(errors_max),
            state: self.state,
            request_id: request_id.to_owned(),
        }
    }

    /// What it says to the caller.
    pub(super) fn detail(&self) -> String {
        shortened(&self.detail)
    }

    /// The first `errors_max` of the fields that are wrong.
    pub(super) fn errors(&self, errors_max: usize) -> Vec<FieldError> {
        self.errors.iter().take(errors_max).map(FieldError::from).collect()
    }
}

fn shortened(message: &str) -> String {
    cut(message, MESSAGE_CHARACTERS_MAX)
}

/// One field that is wrong.
pub(super) fn field(pointer: impl Into<String>, message: impl Into<String>) -> FieldProblem {
    FieldProblem { pointer: pointer.into(), message: message.into() }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(after) = self.code.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    fn too_many_types(error: &dyn std::error::Error) -> Self {
        let advice =
            "start a worker of this one first, or look for a typing error in it; /v1/types lists the others";
        Self::new(
            ProblemCode::TooManyTypes,
            format!("no worker has ever announced this type, and {error}: {advice}"),
        )
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { reason } => {
                tracing::warn!(reason, "The store is unavailable.");
                Self::new(
                    ProblemCode::StoreUnavailable,
                    format!("the store cannot work now: {reason}; try again after the time in Retry-After"),
                )
            }
            StoreError::TooSlow { after } => {
                tracing::warn!(after = after.as_secs_f64(), "A read took too long and was given up.");
                let detail = format!(
                    "the read took longer than {} s and was given up: ask for less, such as one type with one state, a rarer label, or a shorter time (created_after, created_before)",
                    after.as_secs_f64()
                );
                Self::new(ProblemCode::ReadTooSlow, detail)
            }
            StoreError::Closed => {
                Self::new(ProblemCode::StoreUnavailable, "the backend is shutting down: try again")
            }
            StoreError::Failed { .. } => {
                tracing::error!(cause = %error, "A request failed.");
                Self::new(
                    ProblemCode::InternalError,
                    "the store failed and the backend is shutting down: whether this was stored will show when it is back",
                )
            }
            StoreError::Broken { .. } => Self::internal(&error),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(problems) => Self::with_errors(ProblemCode::InvalidSubmission, problems),
            SubmitError::InvalidParameters(problems) => {
                Self::with_errors(ProblemCode::InvalidParameters, problems)
            }
            SubmitError::CheckBusy => Self::new(
                ProblemCode::TooManyChecks,
                "checking the parameters takes more than a moment, and too many others are being checked already",
            ),
            SubmitError::KeyReused => Self::new(
                ProblemCode::IdempotencyKeyReused,
                "this Idempotency-Key was used for a submission with another body: use a new key for another job",
            ),
            SubmitError::TooManyTypes => Self::too_many_types(&error),
            SubmitError::TooManyLinks => Self::new(
                ProblemCode::TooManyLinks,
                format!("{error}: submit it when some of those are over, or have it come after fewer"),
            ),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Invalid(problems) => Self::with_errors(ProblemCode::InvalidEvent, problems),
            PublishError::IdReused(sequence) => Self::new(
                ProblemCode::EventIdReused,
                format!(
                    "this id was used for event {sequence}, which says something else: use a new id for another event"
                ),
            ),
            PublishError::Store(error) => error.into(),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Gone { .. } => Self::new(ProblemCode::EventsGone, error.to_string()),
            LogError::Beyond { .. } => {
                Self::with_errors(ProblemCode::InvalidQuery, vec![field("?after", error.to_string())])
            }
            LogError::Store(error) => error.into(),
        }
    }
}

impl From<ConsumerError> for Problem {
    fn from(error: ConsumerError) -> Self {
        let code = match &error {
            ConsumerError::Unknown => ProblemCode::ConsumerNotFound,
            ConsumerError::TooMany => ProblemCode::TooManyConsumers,
            ConsumerError::TooManyReplays => ProblemCode::TooManyReplays,
            ConsumerError::OtherStart => ProblemCode::ConsumerHasBegun,
            ConsumerError::Gone { .. } => ProblemCode::EventsGone,
            ConsumerError::KeyReused => ProblemCode::IdempotencyKeyReused,
            ConsumerError::Beyond { .. } => {
                return Self::with_errors(ProblemCode::InvalidRequest, vec![field("", error.to_string())]);
            }
            ConsumerError::Backwards => {
                return Self::with_errors(ProblemCode::InvalidRequest, vec![field("/to", error.to_string())]);
            }
            ConsumerError::Invalid(_) | ConsumerError::Store(_) => ProblemCode::InvalidConsumer,
        };
        match error {
            ConsumerError::Invalid(problems) => Self::with_errors(code, problems),
            ConsumerError::Store(error) => error.into(),
            other => Self::new(code, other.to_string()),
        }
    }
}

impl From<TypeLimitsError> for Problem {
    fn from(error: TypeLimitsError) -> Self {
        match error {
            TypeLimitsError::TooManyTypes => Self::too_many_types(&error),
            TypeLimitsError::Store(error) => error.into(),
        }
    }
}

/// Why a request failed (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Where the code is explained: a path of this server.
    #[schema(example = "/docs/problems#job-not-found")]
    pub r#type: String,
    /// The code in one line.
    #[schema(example = "No such job")]
    pub title: &'static str,
    /// The status of the response.
    #[schema(example = 404)]
    pub status: u16,
    /// A stable word to decide by.
    #[schema(example = "job-not-found")]
    pub code: &'static str,
    /// What happened this time.
    pub detail: String,
    /// The fields that are wrong, at most 32; of a workflow, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// With `job-is-over`, `job-not-retryable` and `run-refused`: the state that the job or run is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// What the backend's log calls this request; also in the header `x-request-id`.
    pub request_id: String,
}

/// One field that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// A JSON pointer into the body, or a question mark and the name of a query parameter.
    #[schema(example = "/priority")]
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl From<&FieldProblem> for FieldError {
    fn from(problem: &FieldProblem) -> Self {
        Self { pointer: cut(&problem.pointer, POINTER_CHARACTERS_MAX), message: shortened(&problem.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_shortened_between_characters() {
        let body = Problem::new(ProblemCode::InternalError, "ü".repeat(MESSAGE_CHARACTERS_MAX + 1)).body("r");
        assert_eq!(body.detail.chars().count(), MESSAGE_CHARACTERS_MAX + 1);
        assert!(body.detail.ends_with('…'));
    }
}
