//! The codes of problems: a closed set, stable, each with its status and what to do about it.

use std::time::Duration;

use axum::http::StatusCode;

/// When to try again after the store or the broker could not work.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When to try again after too many watched or sent batches.
const PLACE_RETRY_AFTER: Duration = Duration::from_secs(5);

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
    /// The idempotency key is none, or has no place there.
    InvalidIdempotencyKey,
    /// The body ended early or broke off.
    UnreadableBody,
    /// The request does not say, or not clearly, which host it asks for.
    InvalidHost,
    /// A page of another site wants to change something.
    CrossSite,
    /// There is no such route.
    RouteNotFound,
    /// There is no such job.
    JobNotFound,
    /// There is no such worker.
    WorkerNotFound,
    /// There is no such type.
    TypeNotFound,
    /// There is no such message in quarantine.
    MessageNotFound,
    /// The route has other methods.
    MethodNotAllowed,
    /// The body did not come in time.
    BodyTimeout,
    /// The job is over, so it cannot be cancelled.
    JobIsOver,
    /// The job has neither failed nor been cancelled.
    JobNotRetryable,
    /// The worker fell silent, so it cannot be told anything.
    WorkerLost,
    /// The type has jobs or workers, so it cannot be forgotten.
    TypeInUse,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The request asks for a host that is not this one.
    HostNotAllowed,
    /// The submission is no job.
    InvalidSubmission,
    /// The parameters do not fit the type's schema.
    InvalidParameters,
    /// The batch is no array, or too long.
    InvalidBatch,
    /// A field of the body is wrong or unknown.
    InvalidRequest,
    /// The idempotency key belongs to another body.
    IdempotencyKeyReused,
    /// Nobody announced the type, and there are too many like it.
    TooManyTypes,
    /// It is our fault.
    InternalError,
    /// The store cannot work now.
    StoreUnavailable,
    /// What was asked for takes too long to read.
    ReadTooSlow,
    /// The broker cannot be reached.
    BrokerUnavailable,
    /// Too many watch already.
    TooManyWatchers,
    /// Too many batches are read already.
    TooManyBatches,
    /// Too many bodies are held already.
    TooManyBodies,
    /// Too many answers wait to be read already.
    TooManyAnswers,
    /// Too many parameters are checked already.
    TooManyChecks,
}

/// What there is to say of a code.
struct Explanation {
    code: Code,
    word: &'static str,
    status: StatusCode,
    title: &'static str,
    advice: &'static str,
}

/// How many codes there are.
const CODES: usize = 37;

/// One for each code, in the order of [`Code`].
static EXPLANATIONS: [Explanation; CODES] = [
    Explanation {
        code: Code::InvalidJson,
        word: "invalid-json",
        status: StatusCode::BAD_REQUEST,
        title: "The body is not JSON",
        advice: "The detail names the line and the column. Nothing was stored.",
    },
    Explanation {
        code: Code::InvalidId,
        word: "invalid-id",
        status: StatusCode::BAD_REQUEST,
        title: "Not an id",
        advice: "A job id is a UUID of 36 characters, as the submission answered it; a message in quarantine has a number.",
    },
    Explanation {
        code: Code::InvalidQuery,
        word: "invalid-query",
        status: StatusCode::BAD_REQUEST,
        title: "A query parameter is wrong",
        advice: "Each entry of errors names the parameter after a question mark, and what would be right.",
    },
    Explanation {
        code: Code::InvalidCursor,
        word: "invalid-cursor",
        status: StatusCode::BAD_REQUEST,
        title: "Not a cursor",
        advice: "Pass next_cursor of the page before as it is, or leave it out for the first page.",
    },
    Explanation {
        code: Code::InvalidIdempotencyKey,
        word: "invalid-idempotency-key",
        status: StatusCode::BAD_REQUEST,
        title: "The idempotency key cannot be taken",
        advice: "A key is 1 to 255 visible ASCII characters, in one header, on a submission of one job. Nothing was stored.",
    },
    Explanation {
        code: Code::UnreadableBody,
        word: "unreadable-body",
        status: StatusCode::BAD_REQUEST,
        title: "The body broke off",
        advice: "The connection or the encoding of the body failed. Nothing was stored; send it again.",
    },
    Explanation {
        code: Code::InvalidHost,
        word: "invalid-host",
        status: StatusCode::BAD_REQUEST,
        title: "The request does not say which host it asks for",
        advice: "Send the header Host once, with a name or an address, and a port if need be.",
    },
    Explanation {
        code: Code::CrossSite,
        word: "cross-site",
        status: StatusCode::FORBIDDEN,
        title: "A page of another site asks",
        advice: "Nothing was changed. Browsers send Sec-Fetch-Site or Origin with what a page asks; programs need neither.",
    },
    Explanation {
        code: Code::RouteNotFound,
        word: "route-not-found",
        status: StatusCode::NOT_FOUND,
        title: "No such route",
        advice: "The routes stand in /openapi.json and on /docs.",
    },
    Explanation {
        code: Code::JobNotFound,
        word: "job-not-found",
        status: StatusCode::NOT_FOUND,
        title: "No such job",
        advice: "An accepted job is never lost: look whether the id is whole and the backend the right one.",
    },
    Explanation {
        code: Code::WorkerNotFound,
        word: "worker-not-found",
        status: StatusCode::NOT_FOUND,
        title: "No such worker",
        advice: "A worker that said goodbye is forgotten at once, a lost one after ten minutes.",
    },
    Explanation {
        code: Code::TypeNotFound,
        word: "type-not-found",
        status: StatusCode::NOT_FOUND,
        title: "No such type",
        advice: "No worker ever announced the type and no job has it.",
    },
    Explanation {
        code: Code::MessageNotFound,
        word: "message-not-found",
        status: StatusCode::NOT_FOUND,
        title: "No such message in quarantine",
        advice: "It was deleted, or made room for newer ones: GET /v1/quarantine lists those that are kept.",
    },
    Explanation {
        code: Code::MethodNotAllowed,
        word: "method-not-allowed",
        status: StatusCode::METHOD_NOT_ALLOWED,
        title: "The route has other methods",
        advice: "The header Allow names them.",
    },
    Explanation {
        code: Code::BodyTimeout,
        word: "body-timeout",
        status: StatusCode::REQUEST_TIMEOUT,
        title: "The body did not come in time",
        advice: "Nothing was stored; send it again.",
    },
    Explanation {
        code: Code::JobIsOver,
        word: "job-is-over",
        status: StatusCode::CONFLICT,
        title: "The job is over",
        advice: "The member state says how it ended. A job that completed or failed cannot be cancelled.",
    },
    Explanation {
        code: Code::JobNotRetryable,
        word: "job-not-retryable",
        status: StatusCode::CONFLICT,
        title: "The job cannot be tried again",
        advice: "Only a job that failed or was cancelled can be; the member state says where it stands.",
    },
    Explanation {
        code: Code::WorkerLost,
        word: "worker-lost",
        status: StatusCode::CONFLICT,
        title: "The worker is lost",
        advice: "It fell silent and hears nothing. If its process lives, it announces itself again as soon as it reaches the broker.",
    },
    Explanation {
        code: Code::TypeInUse,
        word: "type-in-use",
        status: StatusCode::CONFLICT,
        title: "The type is in use",
        advice: "The detail says by whom. A type is deleted when it has neither jobs, over or not, nor workers.",
    },
    Explanation {
        code: Code::BodyTooLarge,
        word: "body-too-large",
        status: StatusCode::PAYLOAD_TOO_LARGE,
        title: "The body is too large",
        advice: "Pass large data by reference: put it where the worker can read it, and submit its address.",
    },
    Explanation {
        code: Code::UnsupportedMediaType,
        word: "unsupported-media-type",
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        title: "The body is not declared as JSON",
        advice: "Send the header content-type: application/json.",
    },
    Explanation {
        code: Code::HostNotAllowed,
        word: "host-not-allowed",
        status: StatusCode::MISDIRECTED_REQUEST,
        title: "The backend does not answer to this name",
        advice: "Ask for it by its IP address or by localhost, or add the name to its setting --http-hosts.",
    },
    Explanation {
        code: Code::InvalidSubmission,
        word: "invalid-submission",
        status: StatusCode::UNPROCESSABLE_ENTITY,
        title: "The submission is no job",
        advice: "Each entry of errors points at a field and says what would be right. Nothing was stored.",
    },
    Explanation {
        code: Code::InvalidParameters,
        word: "invalid-parameters",
        status: StatusCode::UNPROCESSABLE_ENTITY,
        title: "The parameters do not fit the type",
        advice: "They are held against the schema that the type's workers announced: GET /v1/types/{type}.",
    },
    Explanation {
        code: Code::InvalidBatch,
        word: "invalid-batch",
        status: StatusCode::UNPROCESSABLE_ENTITY,
        title: "The batch is none",
        advice: "Send a JSON array or lines of JSON, at most 10000 submissions in one batch. Nothing was stored.",
    },
    Explanation {
        code: Code::InvalidRequest,
        word: "invalid-request",
        status: StatusCode::UNPROCESSABLE_ENTITY,
        title: "A field of the body is wrong",
        advice: "Each entry of errors points at a field and says what would be right. Nothing was changed.",
    },
    Explanation {
        code: Code::IdempotencyKeyReused,
        word: "idempotency-key-reused",
        status: StatusCode::UNPROCESSABLE_ENTITY,
        title: "The idempotency key was used for another body",
        advice: "Use a new key for another job. A key is remembered for 24 hours, together with the bytes of its body.",
    },
    Explanation {
        code: Code::TooManyTypes,
        word: "too-many-types",
        status: StatusCode::UNPROCESSABLE_ENTITY,
        title: "Too many types that nobody announced",
        advice: "1000 types that no worker ever announced have jobs or settings. Look for a typing error in the type, or for a program that makes up types; cancel its jobs. A type that a worker announces does not count. Nothing was stored.",
    },
    Explanation {
        code: Code::InternalError,
        word: "internal-error",
        status: StatusCode::INTERNAL_SERVER_ERROR,
        title: "The backend failed",
        advice: "The cause stands in the backend's log under the request id.",
    },
    Explanation {
        code: Code::StoreUnavailable,
        word: "store-unavailable",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "The store cannot work now",
        advice: "It is locked, full or closing. Nothing was stored; try again after the time in Retry-After.",
    },
    Explanation {
        code: Code::ReadTooSlow,
        word: "read-too-slow",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "The read takes too long",
        advice: "Ask for less: one type with one state, a rarer label, or a shorter time with created_after and created_before. The same again would take as long.",
    },
    Explanation {
        code: Code::BrokerUnavailable,
        word: "broker-unavailable",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "The broker cannot be reached",
        advice: "Workers are told through the broker; /readyz says what is wrong with it. Try again after the time in Retry-After.",
    },
    Explanation {
        code: Code::TooManyWatchers,
        word: "too-many-watchers",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Too many watch already",
        advice: "Try again after the time in Retry-After, or ask without wait.",
    },
    Explanation {
        code: Code::TooManyBatches,
        word: "too-many-batches",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Too many batches at once",
        advice: "Nothing was stored; send the batch again after the time in Retry-After.",
    },
    Explanation {
        code: Code::TooManyBodies,
        word: "too-many-bodies",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Too many large requests at once",
        advice: "Nothing was done; send the request again after the time in Retry-After.",
    },
    Explanation {
        code: Code::TooManyAnswers,
        word: "too-many-answers",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Too many large answers wait to be read",
        advice: "Nothing was done; ask again after the time in Retry-After, or for a smaller page.",
    },
    Explanation {
        code: Code::TooManyChecks,
        word: "too-many-checks",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Too many parameters are being checked",
        advice: "The parameters take more than a moment to be held against the type's schema, and others wait for that already. Nothing was stored; send the job again after the time in Retry-After.",
    },
];

impl Code {
    /// Every code, by status.
    pub const ALL: [Self; CODES] = {
        let mut all = [Self::InvalidJson; CODES];
        let mut index = 0;
        while index < all.len() {
            all[index] = EXPLANATIONS[index].code;
            index += 1;
        }
        all
    };

    const fn explained(self) -> &'static Explanation {
        &EXPLANATIONS[self as usize]
    }

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.explained().word
    }

    /// The status that it comes with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.explained().status
    }

    /// It in one line.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.explained().title
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.explained().advice
    }

    /// When to try again, where that is known.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::StoreUnavailable | Self::BrokerUnavailable => Some(RETRY_AFTER),
            Self::TooManyWatchers
            | Self::TooManyBatches
            | Self::TooManyBodies
            | Self::TooManyAnswers
            | Self::TooManyChecks => Some(PLACE_RETRY_AFTER),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_by_its_own_entry() {
        for code in Code::ALL {
            assert_eq!(code.explained().code, code);
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.status()));
    }
}
