//! What several of the tests need.

use std::path::PathBuf;

use crewcall_worker::{
    Handler,
    testing::{Failure, Outcome, Setup},
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What came of an attempt, with the result in its own type.
pub(crate) struct Ran<R> {
    pub(crate) result: Result<R, Failure>,
    pub(crate) progress: Vec<(u64, String)>,
}

/// Runs a handler as a worker would.
pub(crate) async fn run<P, H, R>(handler: H, parameters: Value) -> Ran<R>
where
    P: DeserializeOwned + JsonSchema + Send + 'static,
    H: Handler<P>,
    R: DeserializeOwned,
{
    typed(Setup::new().run(handler, parameters).await)
}

/// Runs a handler whose job is cancelled before it begins.
pub(crate) async fn run_cancelled<P, H, R>(handler: H, parameters: Value) -> Ran<R>
where
    P: DeserializeOwned + JsonSchema + Send + 'static,
    H: Handler<P>,
    R: DeserializeOwned,
{
    typed(Setup::new().cancel_at(0).run(handler, parameters).await)
}

fn typed<R: DeserializeOwned>(outcome: Outcome) -> Ran<R> {
    Ran {
        result: outcome.result.map(|value| serde_json::from_value(value).expect("the handler's result")),
        progress: outcome.progress.into_iter().map(|news| (u64::from(news.percent), news.message)).collect(),
    }
}

/// The two things about a failure that programs look at.
pub(crate) fn code_of(failure: &Failure) -> (&str, bool) {
    (failure.code.as_deref().unwrap_or("(no code)"), failure.retryable)
}

/// One of the files in `workers/samples/`.
pub(crate) fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}
