//! Run a handler in a test, with no broker and no backend.
//!
//! It runs as it does in a worker: parameters and result pass through JSON, a panic is caught, the attempt
//! can be cancelled or run out of time. Parameters that the backend would refuse, because they do not fit the schema
//! that the type is announced with, are refused (feature `validate`, which is on by default).
//!
//! ```
//! # use crewcall_worker::prelude::*;
//! # use crewcall_worker::testing;
//! # use serde_json::json;
//! # #[derive(Deserialize, JsonSchema)]
//! # struct Resize { #[schemars(range(min = 1))] width: u32 }
//! # #[derive(Serialize, JsonSchema)]
//! # struct Resized { bytes: u64 }
//! async fn resize(job: JobContext, parameters: Resize) -> Result<Resized, JobError> {
//!     job.progress(100, "done");
//!     Ok(Resized { bytes: u64::from(parameters.width) })
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let outcome = testing::run(resize, json!({"width": 640})).await;
//! assert_eq!(outcome.result?, json!({"bytes": 640}));
//! assert_eq!(outcome.progress[0].percent, 100);
//!
//! let refused = testing::run(resize, json!({"width": 0})).await.result.unwrap_err();
//! assert_eq!(refused.message, "/parameters/width: 0 is less than the minimum of 1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crewcall_proto::{
    Attempt, AttemptToken, JobId, JobType, JsonObject, Order, PROTOCOL_VERSION, Timestamp,
    discovery::EmittedSubject, event::Event, response::ErrorKind,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    clock,
    context::JobContext,
    emit_error::EmitError,
    emitter::{Emitter, EventSink},
    execution::{Handlers, execute},
    handler::{Handler, ServedType},
    options::JobOptions,
    progress::{ProgressBoard, ProgressObserver},
    stop_cause::StopCause,
    validation,
};
pub use crate::{error::Failure, progress::Progress};

/// Runs a handler once: as the first of five attempts, with nothing in its way.
///
/// `parameters` is anything that serialises to a JSON object: `serde_json::json!({…})` or a struct.
pub async fn run<P, H>(handler: H, parameters: impl Serialize) -> Outcome
where
    P: DeserializeOwned + JsonSchema + Send + 'static,
    H: Handler<P>,
{
    Setup::new().run(handler, parameters).await
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The result as JSON, or the failure as the backend would hear of it.
    pub result: Result<Value, Failure>,
    /// Every progress that the handler posted, in order. A worker sends fewer: see [`JobContext::progress`].
    pub progress: Vec<Progress>,
    /// What would be recorded: first the events of [`JobContext::emit_now`], then, if the handler succeeded, those of
    /// [`JobContext::emit`], each in their order.
    pub events: Vec<EmittedEvent>,
}

/// An event that a handler emitted.
#[derive(Debug, Clone, PartialEq)]
pub struct EmittedEvent {
    /// Its id, if it was sent while the handler ran.
    pub id: Option<String>,
    /// What it is about.
    pub subject: String,
    /// What happened.
    pub data: Value,
    /// When it happened, if the handler said so.
    pub occurred_at: Option<Timestamp>,
}

impl EmittedEvent {
    fn new(id: Option<String>, Event { subject, data, occurred_at }: Event) -> Self {
        Self { id, subject, data, occurred_at }
    }
}

/// The circumstances of an attempt under test.
#[derive(Debug, Clone)]
pub struct Setup {
    attempt: Attempt,
    max_attempts: u32,
    timeout: Option<Duration>,
    cancel_at: Option<u8>,
    options: Option<JobOptions>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// The first of five attempts, without a timeout, never cancelled.
    #[must_use]
    pub const fn new() -> Self {
        Self { attempt: Attempt::FIRST, max_attempts: 5, timeout: None, cancel_at: None, options: None }
    }

    /// Which attempt of how many this is. An attempt of 0 counts as 1.
    #[must_use]
    pub fn attempt(mut self, attempt: u32, max_attempts: u32) -> Self {
        self.attempt = Attempt::new(attempt).unwrap_or(Attempt::FIRST);
        self.max_attempts = max_attempts;
        self
    }

    /// How long the attempt may run.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Cancels the attempt when the handler posts this percentage or more; at 0, before it begins.
    #[must_use]
    pub const fn cancel_at(mut self, percent: u8) -> Self {
        self.cancel_at = Some(percent);
        self
    }

    /// What the type is served with. A handler that emits events needs it, for it may emit what is declared there.
    #[must_use]
    pub fn options(mut self, options: JobOptions) -> Self {
        self.options = Some(options);
        self
    }

    /// Runs a handler once under these circumstances.
    pub async fn run<P, H>(mut self, handler: H, parameters: impl Serialize) -> Outcome
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        H: Handler<P>,
    {
        let options = self.options.take().unwrap_or_default();
        let served = ServedType::new(test_type(), handler, options);
        self.run_served(&served, parameters, None).await
    }

    /// Runs what a worker serves; `observer` sees progress as it is posted.
    pub(crate) async fn run_served(
        self,
        served: &ServedType,
        parameters: impl Serialize,
        observer: Option<ProgressObserver>,
    ) -> Outcome {
        let parameters = match serde_json::to_value(parameters) {
            Ok(Value::Object(parameters)) => parameters,
            Ok(_) => {
                return refusal("the parameters must be a JSON object, such as {\"width\": 640}".to_owned());
            }
            Err(error) => return refusal(format!("the parameters have no form in JSON: {error}")),
        };
        if let Err(refused) = validation::check(&served.announced.parameters_schema, &parameters) {
            return Outcome { result: Err(refused), progress: Vec::new(), events: Vec::new() };
        }
        let posted: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let (board, _news) =
            ProgressBoard::new(Some(recorder(Arc::clone(&posted), self.cancel_at, observer)));
        let sent: Arc<Mutex<Vec<EmittedEvent>>> = Arc::default();
        let sink = Box::new(Recorder(Arc::clone(&sent)));
        let emitter = Emitter::new(served.job_type().clone(), Arc::clone(&served.emits), sink);
        let job = JobContext::new(&self.order(served.job_type()), None, board, emitter);
        if self.cancel_at == Some(0) {
            job.stop(StopCause::Cancelled);
        }
        let ending = execute(served, &job, parameters, self.timeout, &Handlers::here()).await;
        let progress = posted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut events = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let result = ending.map(|completion| {
            events.extend(completion.events.into_iter().map(|event| EmittedEvent::new(None, event)));
            completion.result
        });
        Outcome { result, progress, events }
    }

    pub(crate) fn order(&self, job_type: &JobType) -> Order {
        Order {
            protocol: PROTOCOL_VERSION,
            job_id: JobId::generate(),
            job_type: job_type.clone(),
            attempt: self.attempt,
            attempt_token: AttemptToken::generate(),
            max_attempts: self.max_attempts,
            // The handler gets its parameters beside the order.
            parameters: JsonObject::new(),
            timeout_ms: None,
            expires_at: None,
            created_at: clock::now(),
        }
    }
}

/// Takes what is sent while the handler runs.
#[derive(Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<EmittedEvent>>>);

impl EventSink for Recorder {
    fn check(&self, subject: &EmittedSubject, data: &Value) -> Result<(), EmitError> {
        validation::check_event(subject, data)
    }

    fn send(&self, id: String, event: Event) -> BoxFuture<'static, Result<(), EmitError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(EmittedEvent::new(Some(id), event));
        ready(Ok(())).boxed()
    }
}

/// Keeps every progress, and cancels the job when it is far enough.
fn recorder(
    posted: Arc<Mutex<Vec<Progress>>>,
    cancel_at: Option<u8>,
    observer: Option<ProgressObserver>,
) -> ProgressObserver {
    Arc::new(move |progress| {
        posted.lock().unwrap_or_else(PoisonError::into_inner).push(progress.clone());
        let far_enough = cancel_at.is_some_and(|percent| progress.percent >= percent);
        let wish = observer.as_ref().and_then(|observer| observer(progress));
        wish.or(far_enough.then_some(StopCause::Cancelled))
    })
}

fn test_type() -> JobType {
    JobType::new("test").expect("a constant that keeps the rules")
}

fn refusal(message: String) -> Outcome {
    let failure = Failure::new(ErrorKind::InvalidParameters, false, message);
    Outcome { result: Err(failure), progress: Vec::new(), events: Vec::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::JobError;

    async fn describe(job: JobContext, _parameters: JsonObject) -> Result<Value, JobError> {
        job.progress(10, "looking");
        Ok(json!([job.attempt(), job.max_attempts(), job.is_last_attempt(), job.is_cancelled()]))
    }

    #[tokio::test]
    async fn a_test_chooses_the_attempt() {
        let first = run(describe, json!({})).await;
        assert_eq!(first.result.unwrap(), json!([1, 5, false, false]));
        assert_eq!(first.progress, [Progress { percent: 10, message: "looking".to_owned() }]);
        let last = Setup::new().attempt(3, 3).cancel_at(0).run(describe, json!({})).await;
        assert_eq!(last.result.unwrap(), json!([3, 3, true, true]));
    }
}
