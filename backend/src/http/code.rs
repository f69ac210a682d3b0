//! The codes of problems: a closed set, stable, each with its status and what to do about it.

use std::time::Duration;

use axum::http::StatusCode;

/// When to try again after the store or the broker could not work.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When to try again after too many watched or sent batches.
const PLACE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// What there is to say of a code.
pub(super) struct Explanation {
    word: &'static str,
    status: StatusCode,
    /// It in one line.
    pub(super) title: &'static str,
    /// What to do about it.
    pub(super) advice: &'static str,
}

/// Everything about a code stands in one place: its name, word, status, title and advice.
macro_rules! codes {
    ($($code:ident = $word:literal, $status:ident, $title:literal, $advice:literal;)*) => {
        /// What went wrong, as a stable word. The list stands on `/docs/problems`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ProblemCode {
            $(#[doc = concat!($title, ".")] $code,)*
        }

        impl ProblemCode {
            /// Every code, by status.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// What there is to say of it.
            pub(super) const fn explained(self) -> Explanation {
                match self {
                    $(Self::$code => Explanation { word: $word, status: StatusCode::$status, title: $title, advice: $advice },)*
                }
            }
        }
    };
}

codes! {
    InvalidJson = "invalid-json", BAD_REQUEST, "The body is not JSON",
        "The detail names the line and the column. Nothing was stored.";
    InvalidId = "invalid-id", BAD_REQUEST, "Not an id",
        "A job id is a UUID of 36 characters, as the submission returned it; a message in quarantine has a number.";
    InvalidQuery = "invalid-query", BAD_REQUEST, "A query parameter is wrong",
        "Each entry of errors names the parameter after a question mark, and what would be right.";
    InvalidCursor = "invalid-cursor", BAD_REQUEST, "Not a cursor",
        "Pass next_cursor of the page before as it is, or leave it out for the first page.";
    InvalidIdempotencyKey = "invalid-idempotency-key", BAD_REQUEST, "The idempotency key is not accepted",
        "A key is 1 to 255 visible ASCII characters, in one header, on a submission of one job. Nothing was stored.";
    UnreadableBody = "unreadable-body", BAD_REQUEST, "The body broke off",
        "The connection or the encoding of the body failed. Nothing was stored; send it again.";
    InvalidPrecondition = "invalid-precondition", BAD_REQUEST, "The precondition cannot be read",
        "Send If-Match with one version in quotes as ETag had it, such as \"3\", or If-None-Match: *; not both. Nothing was changed.";
    InvalidHost = "invalid-host", BAD_REQUEST, "The request does not say which host it asks for",
        "Send the header Host once, with a name or an address, and a port if need be.";
    HookUnverified = "hook-unverified", UNAUTHORIZED, "The delivery cannot be verified",
        "The detail says what is missing or wrong: a header, the signature, or the time, which may be five minutes away. Nothing was recorded. GET /v1/hooks/{name} shows how the hook verifies, and the fingerprint of its secret.";
    CrossSite = "cross-site", FORBIDDEN, "The request comes from a page of another site",
        "Nothing was changed. Browsers send Sec-Fetch-Site or Origin along with the requests of a page; programs need neither.";
    RouteNotFound = "route-not-found", NOT_FOUND, "No such route",
        "The routes are listed in /openapi.json and on /docs.";
    JobNotFound = "job-not-found", NOT_FOUND, "No such job",
        "An accepted job is never lost: check that the id is whole and that this is the right backend.";
    WorkerNotFound = "worker-not-found", NOT_FOUND, "No such worker",
        "A worker that said goodbye is forgotten at once, a lost one after ten minutes.";
    TypeNotFound = "type-not-found", NOT_FOUND, "No such type",
        "No worker has ever announced the type, and no job has it.";
    EventNotFound = "event-not-found", NOT_FOUND, "No such event",
        "It was deleted after its retention, or the log has not come so far: GET /v1/events says from where to where it goes.";
    ConsumerNotFound = "consumer-not-found", NOT_FOUND, "No such consumer",
        "GET /v1/consumers lists those that there are.";
    MessageNotFound = "message-not-found", NOT_FOUND, "No such message in quarantine",
        "It was deleted, or it made room for newer ones: GET /v1/quarantine lists those that are kept.";
    WorkflowNotFound = "workflow-not-found", NOT_FOUND, "No such workflow",
        "GET /v1/workflows lists those that there are. Of one that is deleted, runs and their versions are kept for as long as other runs.";
    RunNotFound = "run-not-found", NOT_FOUND, "No such run",
        "It was deleted after its retention, or the id is that of something else: GET /v1/runs lists those that are kept.";
    ScheduleNotFound = "schedule-not-found", NOT_FOUND, "No such schedule",
        "GET /v1/schedules lists those that there are.";
    HookNotFound = "hook-not-found", NOT_FOUND, "No such hook",
        "GET /v1/hooks lists those that there are.";
    WebhookNotFound = "webhook-not-found", NOT_FOUND, "No such webhook",
        "GET /v1/webhooks lists those that there are.";
    StepNotFound = "step-not-found", NOT_FOUND, "The run has no such step",
        "The detail names the steps. Only a step with an approval can be approved or rejected.";
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The route has other methods",
        "The header Allow names them.";
    BodyTimeout = "body-timeout", REQUEST_TIMEOUT, "The body did not come in time",
        "Nothing was stored; send it again.";
    JobIsOver = "job-is-over", CONFLICT, "The job is over",
        "The member state says how it ended. A job that completed or failed cannot be cancelled.";
    JobNotRetryable = "job-not-retryable", CONFLICT, "The job cannot be tried again",
        "Only a job that failed or was cancelled can be; the member state says where it stands.";
    WorkerLost = "worker-lost", CONFLICT, "The worker is lost",
        "It fell silent and hears nothing. If its process lives, it announces itself again as soon as it reaches the broker.";
    TypeInUse = "type-in-use", CONFLICT, "The type is in use",
        "The detail says by whom. A type is deleted when it has neither jobs, over or not, nor workers.";
    ConsumerHasBegun = "consumer-has-begun", CONFLICT, "The consumer was made to begin elsewhere",
        "Leave start out, or give the same one: a consumer keeps its place when its settings change. POST /v1/consumers/{name}/seek moves it.";
    TooManyConsumers = "too-many-consumers", CONFLICT, "There are as many consumers as may be",
        "There may be 1000. Delete one that nobody needs any more; one consumer may select many subjects.";
    TooManyHooks = "too-many-hooks", CONFLICT, "There are as many hooks as may be",
        "There may be 1000. Delete one that nobody needs any more.";
    HookNotRotatable = "hook-not-rotatable", CONFLICT, "The secret of the hook is not rotated",
        "The detail says why: it is not one of Standard Webhooks, or the secret before this one is still accepted. Nothing was changed. PUT /v1/hooks/{name} with a secret replaces both at once.";
    TooManyWebhooks = "too-many-webhooks", CONFLICT, "There are as many webhooks as may be",
        "There may be 1000. Delete one that nobody needs any more; one webhook may select many subjects.";
    WebhookRotating = "webhook-rotating", CONFLICT, "The secret of the webhook was rotated a short time ago",
        "The detail says until when the secret before this one signs as well. Nothing was changed.";
    ConsumerBelongs = "consumer-belongs", CONFLICT, "The consumer belongs to something else",
        "The detail names the workflow or the webhook whose consumer it is: it is made, changed and deleted with that.";
    TooManyReplays = "too-many-replays", CONFLICT, "Too many replays of the consumer are under way",
        "There may be 10 at once. Wait until one of them is finished.";
    TooManyLinks = "too-many-links", CONFLICT, "Too many jobs come after others",
        "500000 links from blocked jobs to those that they come after are kept already: one job that waits for a hundred has a hundred. Submit it when some of them are over, or have many jobs come after one that comes after the others. Nothing was stored.";
    TooManySchedules = "too-many-schedules", CONFLICT, "There are as many schedules as may be",
        "There may be 20000, those of workflows included. Delete one that nobody needs any more.";
    ScheduleOfWorkflow = "schedule-of-workflow", CONFLICT, "The schedule is a trigger of a workflow",
        "The detail names the workflow: change its triggers, pause it, or delete it, and the schedule follows.";
    NothingMade = "nothing-made", CONFLICT, "The schedule made nothing",
        "The detail says why, such as that an earlier job or run of it is not over. The tick is in the schedule's record as skipped, if it came so far.";
    JobOfRun = "job-of-run", CONFLICT, "The job belongs to a run",
        "Its run goes on from how it ended, so it is not tried again by itself. The detail names the run: POST /v1/runs/{id}/retry, once that is over.";
    WorkflowPaused = "workflow-paused", CONFLICT, "The workflow is paused",
        "The detail says by whom, since when and why. POST /v1/workflows/{name}/resume ends the pause.";
    WorkflowHasOpenRuns = "workflow-has-open-runs", CONFLICT, "Runs of the workflow are not over",
        "The detail names one. Wait for them, or cancel them: POST /v1/runs/cancel with the workflow as filter.";
    TooManyWorkflows = "too-many-workflows", CONFLICT, "There are as many workflows as may be",
        "There may be 1000. Delete one that nobody needs any more.";
    TooManyRuns = "too-many-runs", CONFLICT, "There are as many open runs as may be",
        "100000 runs may be open at once. Nothing was started; look for runs that wait for what never comes, and cancel them.";
    NoPlace = "no-place", CONFLICT, "As many runs of the workflow are under way as may be",
        "Its concurrency says that no run is made then. Nothing was started; try again when one has ended.";
    RunRefused = "run-refused", CONFLICT, "That cannot be done to the run as it is",
        "The member state says where the run stands, and the detail what it would have to be.";
    AlreadyDecided = "already-decided", CONFLICT, "Somebody decided before",
        "The first decision stands. The detail says who decided, how and when.";
    RunCompensated = "run-compensated", CONFLICT, "The run was undone",
        "What it did was compensated for, so it cannot go on from there. Start another run.";
    NothingToRetry = "nothing-to-retry", CONFLICT, "No step of the run would begin again",
        "All steps completed, or were skipped for a reason that a retry would not change. With from, everything from that step on begins again.";
    EventsGone = "events-gone", GONE, "The events after that place are deleted",
        "The detail names the oldest event that is kept. Whoever goes on from there has missed those in between; leave after out to begin with the oldest.";
    WorkflowChanged = "workflow-changed", PRECONDITION_FAILED, "The workflow has another version",
        "Somebody changed it since If-Match was read, or it exists although If-None-Match says that it must not. Read it again. Nothing was changed.";
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large",
        "Pass large data by reference: put it where the worker can read it, and submit its address.";
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body is not declared as JSON",
        "Send the header content-type: application/json.";
    HostNotAllowed = "host-not-allowed", MISDIRECTED_REQUEST, "The backend does not answer to this name",
        "Ask for the backend by its IP address or by localhost, or add the name to its setting --http-hosts.";
    InvalidSubmission = "invalid-submission", UNPROCESSABLE_ENTITY, "The submission is not a job",
        "Each entry of errors points at a field and says what would be right. Nothing was stored.";
    InvalidParameters = "invalid-parameters", UNPROCESSABLE_ENTITY, "The parameters do not fit the type",
        "They are checked against the schema that the type's workers announced: GET /v1/types/{type}.";
    InvalidBatch = "invalid-batch", UNPROCESSABLE_ENTITY, "The body is not a batch",
        "Send a JSON array or lines of JSON, at most 10000 submissions in one batch. Nothing was stored.";
    InvalidRequest = "invalid-request", UNPROCESSABLE_ENTITY, "A field of the body is wrong",
        "Each entry of errors points at a field and says what would be right. Nothing was changed.";
    InvalidEvent = "invalid-event", UNPROCESSABLE_ENTITY, "It is not an event",
        "Each entry of errors points at a field and says what would be right. Nothing was recorded.";
    InvalidConsumer = "invalid-consumer", UNPROCESSABLE_ENTITY, "It is not a consumer",
        "Each entry of errors points at a field and says what would be right. Nothing was changed.";
    InvalidWorkflow = "invalid-workflow", UNPROCESSABLE_ENTITY, "It is not a workflow",
        "Each entry of errors points at a place of the document and says what would be right. Nothing was changed; POST /v1/workflows/check tells the same of a document that is not to be kept yet.";
    InvalidSchedule = "invalid-schedule", UNPROCESSABLE_ENTITY, "It is not a schedule",
        "Each entry of errors points at a place of the document and says what would be right. Nothing was changed; POST /v1/schedules/preview shows what a document means.";
    InvalidHook = "invalid-hook", UNPROCESSABLE_ENTITY, "It is not a hook",
        "Each entry of errors points at a field and says what would be right. Nothing was changed.";
    InvalidWebhook = "invalid-webhook", UNPROCESSABLE_ENTITY, "It is not a webhook",
        "Each entry of errors points at a field and says what would be right. Nothing was changed.";
    InvalidDelivery = "invalid-delivery", UNPROCESSABLE_ENTITY, "The delivery cannot be an event",
        "It is from the sender, and its body is not JSON, null, too deep, or has numbers that 64 bits do not hold. Nothing was recorded; the same again would be refused again.";
    InvalidData = "invalid-data", UNPROCESSABLE_ENTITY, "The data does not fit the workflow",
        "It is checked against the parameters of the workflow: GET /v1/workflows/{name} has them in its document. Nothing was started.";
    EventIdReused = "event-id-reused", UNPROCESSABLE_ENTITY, "The id belongs to an event that says something else",
        "The detail names that event. Use a new id for another event; an id is remembered as long as its event is kept.";
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another body",
        "Use a new key for another job. A key is remembered for 24 hours, together with the bytes of its body.";
    TooManyTypes = "too-many-types", UNPROCESSABLE_ENTITY, "Too many types that nobody announced",
        "1000 types that no worker has ever announced have jobs or settings. Look for a typing error in the type, or for a program that makes up types; cancel its jobs. A type that a worker announces does not count. Nothing was stored.";
    InternalError = "internal-error", INTERNAL_SERVER_ERROR, "The backend failed",
        "The backend's log has the cause, under the request id.";
    StoreUnavailable = "store-unavailable", SERVICE_UNAVAILABLE, "The store cannot work now",
        "It is locked, full or closing. Nothing was stored; try again after the time in Retry-After.";
    ReadTooSlow = "read-too-slow", SERVICE_UNAVAILABLE, "The read takes too long",
        "Ask for less: one type with one state, a rarer label, or a shorter time with created_after and created_before. The same again would take as long.";
    BrokerUnavailable = "broker-unavailable", SERVICE_UNAVAILABLE, "The broker cannot be reached",
        "Workers are told through the broker; /readyz says what is wrong with the broker. Try again after the time in Retry-After.";
    TooManyWatchers = "too-many-watchers", SERVICE_UNAVAILABLE, "Too many requests wait for changes already",
        "Try again after the time in Retry-After, or ask without wait.";
    TooManyBatches = "too-many-batches", SERVICE_UNAVAILABLE, "Too many batches at once",
        "Nothing was stored; send the batch again after the time in Retry-After.";
    TooManyBodies = "too-many-bodies", SERVICE_UNAVAILABLE, "Too many large requests at once",
        "Nothing was done; send the request again after the time in Retry-After.";
    TooManyAnswers = "too-many-answers", SERVICE_UNAVAILABLE, "Too many large answers wait to be read",
        "Nothing was done; ask again after the time in Retry-After, or for a smaller page.";
    TooManyChecks = "too-many-checks", SERVICE_UNAVAILABLE, "Too many parameters are being checked",
        "Checking the parameters against the type's schema takes more than a moment, and others wait for that already. Nothing was stored; send the job again after the time in Retry-After.";
}

impl ProblemCode {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.explained().word
    }

    /// The status that it comes with.
    pub(super) const fn status(self) -> StatusCode {
        self.explained().status
    }

    /// When to try again, where that is known.
    pub(super) const fn retry_after(self) -> Option<Duration> {
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
    fn codes_stand_in_the_order_of_their_statuses() {
        assert!(ProblemCode::ALL.is_sorted_by_key(|code| code.status()));
    }
}
