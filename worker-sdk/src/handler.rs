//! Typed handlers on the outside, one closed form of them inside.

use std::sync::Arc;

use crewcall_proto::{
    JobType, JsonObject, codec,
    discovery::{AnnouncedType, EmittedSubject},
    response::ErrorKind,
};
use futures_util::{FutureExt, future::BoxFuture};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    context::JobContext,
    error::{Failure, JobError},
    limits::RESULT_BYTES_MAX,
    options::{FailureStrategy, JobOptions},
    schema,
};

/// A function that runs jobs of one type: `async fn(JobContext, Parameters) -> Result<T, JobError>`.
///
/// Every such function or closure is a handler; nobody implements this by hand. Parameters are
/// `Deserialize + JsonSchema`, results `Serialize + JsonSchema`: the schemas are announced, so that the
/// backend refuses jobs whose parameters do not fit before a worker ever sees them.
#[diagnostic::on_unimplemented(
    message = "this is not a job handler",
    label = "expected `async fn(JobContext, P) -> Result<R, JobError>`",
    note = "P must be `Deserialize + JsonSchema + Send`, R `Serialize + JsonSchema`, and the future `Send`"
)]
pub trait Handler<P>: Send + Sync + 'static {
    /// What the job results in.
    type Output: Serialize + JsonSchema;

    /// Runs one attempt.
    fn call(
        &self,
        job: JobContext,
        parameters: P,
    ) -> impl Future<Output = Result<Self::Output, JobError>> + Send;
}

impl<P, R, H, F> Handler<P> for H
where
    H: Fn(JobContext, P) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R, JobError>> + Send,
    P: DeserializeOwned + JsonSchema + Send + 'static,
    R: Serialize + JsonSchema,
{
    type Output = R;

    fn call(&self, job: JobContext, parameters: P) -> impl Future<Output = Result<R, JobError>> + Send {
        self(job, parameters)
    }
}

/// What a handler returned, as JSON.
pub(crate) type Returned = Result<Value, Failure>;

type RunHandler = dyn Fn(JobContext, JsonObject) -> BoxFuture<'static, Returned> + Send + Sync;

/// One job type with its handler, whose own types are closed in.
#[derive(Clone)]
pub(crate) struct ServedType {
    pub(crate) announced: AnnouncedType,
    /// What its handler may emit, as it is announced.
    pub(crate) emits: Arc<[EmittedSubject]>,
    pub(crate) on_failure: FailureStrategy,
    run: Arc<RunHandler>,
}

impl ServedType {
    pub(crate) fn new<P, H>(job_type: JobType, handler: H, options: JobOptions) -> Self
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        H: Handler<P>,
    {
        let (parameters_schema, result_schema) = (schema::of_read::<P>(), schema::of_written::<H::Output>());
        // The doc comment of the parameters type says what the job does better than nothing does.
        let doc_comment = || schema::description(&parameters_schema);
        let description = options.description.or_else(doc_comment).unwrap_or_default();
        let version = options.version.unwrap_or_default();
        let (bundles, emits) = (options.bundles, options.emits);
        let announced = AnnouncedType {
            job_type,
            description,
            version,
            parameters_schema,
            result_schema,
            bundles,
            emits: emits.clone(),
        };
        Self { announced, emits: emits.into(), on_failure: options.on_failure, run: erase(handler) }
    }

    pub(crate) fn job_type(&self) -> &JobType {
        &self.announced.job_type
    }

    /// Decodes the parameters, runs the handler and encodes its result. A panic passes through.
    pub(crate) fn run(&self, job: JobContext, parameters: JsonObject) -> BoxFuture<'static, Returned> {
        (self.run)(job, parameters)
    }
}

fn erase<P, H>(handler: H) -> Arc<RunHandler>
where
    P: DeserializeOwned + Send + 'static,
    H: Handler<P>,
{
    let handler = Arc::new(handler);
    Arc::new(move |job, parameters| {
        let handler = Arc::clone(&handler);
        async move {
            let parameters = decode::<P>(parameters)?;
            let result = handler.call(job, parameters).await.map_err(Failure::from)?;
            encode(&result)
        }
        .boxed()
    })
}

fn decode<P: DeserializeOwned>(parameters: JsonObject) -> Result<P, Failure> {
    serde_path_to_error::deserialize(Value::Object(parameters)).map_err(|error| {
        let place = match error.path().to_string().as_str() {
            // The path of the object itself.
            "." => "the parameters".to_owned(),
            path => format!("parameters.{path}"),
        };
        let message = format!("{place}: {}", error.inner());
        Failure::new(ErrorKind::InvalidParameters, false, message)
    })
}

fn encode(result: &impl Serialize) -> Returned {
    let unencodable = |error: serde_json::Error| {
        let message = format!("the result has no form in JSON: {error}");
        Failure::new(ErrorKind::Handler, false, message).with_code("result_unencodable")
    };
    let text = serde_json::to_vec(result).map_err(unencodable)?;
    if text.len() > RESULT_BYTES_MAX {
        let message = format!(
            "the result is {} bytes of JSON and at most {RESULT_BYTES_MAX} are sent: \
             write it to a file or a store and return where it is",
            text.len()
        );
        return Err(Failure::new(ErrorKind::Handler, false, message).with_code("result_too_large"));
    }
    // The message around the result is one level itself.
    if codec::json_depth_exceeds(&text, codec::DEPTH_MAX - 1) {
        let message = format!("the result nests deeper than {} levels: flatten it", codec::DEPTH_MAX - 1);
        return Err(Failure::new(ErrorKind::Handler, false, message).with_code("result_too_deep"));
    }
    serde_json::to_value(result).map_err(unencodable)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::testing;

    /// Counts to a number.
    #[derive(Deserialize, JsonSchema)]
    struct Count {
        #[schemars(range(min = 1))]
        to: u32,
    }

    #[derive(Serialize, JsonSchema)]
    struct Counted {
        text: String,
    }

    async fn count(_job: JobContext, parameters: Count) -> Result<Counted, JobError> {
        Ok(Counted { text: "x".repeat(parameters.to as usize) })
    }

    #[test]
    fn a_type_is_announced_with_its_doc_comment_and_schemas() {
        let served = ServedType::new(JobType::new("count").unwrap(), count, JobOptions::new());
        assert_eq!(served.announced.description, "Counts to a number.");
        assert_eq!(served.announced.parameters_schema["properties"]["to"]["minimum"], json!(1));
        assert_eq!(served.announced.result_schema["required"], json!(["text"]));
        let options = JobOptions::new().description("Counts.").version("2").emits::<Counted>("count.done");
        let served = ServedType::new(JobType::new("count").unwrap(), count, options);
        assert_eq!(
            (served.announced.description.as_str(), served.announced.version.as_str()),
            ("Counts.", "2")
        );
        assert_eq!(served.announced.emits[0].subject, "count.done");
        assert_eq!(served.announced.emits[..], served.emits[..]);
    }

    #[test]
    fn parameters_that_the_type_does_not_take_are_named() {
        for (parameters, sentence) in [
            (json!({"to": "ten"}), "parameters.to: invalid type: string \"ten\", expected u32"),
            (json!({}), "the parameters: missing field `to`"),
        ] {
            let parameters = serde_json::from_value(parameters).unwrap();
            assert_eq!(decode::<Count>(parameters).err().unwrap().message, sentence);
        }
    }

    #[tokio::test]
    async fn parameters_that_do_not_fit_are_named_and_permanent() {
        for (parameters, sentence) in [
            #[cfg(feature = "validate")]
            (json!({"to": 0}), "/parameters/to: 0 is less than the minimum of 1"),
            (json!([1]), "the parameters must be a JSON object, such as {\"width\": 640}"),
        ] {
            let failure = testing::run(count, parameters).await.result.unwrap_err();
            assert_eq!(failure.kind, ErrorKind::InvalidParameters);
            assert_eq!(failure.message, sentence);
            assert!(!failure.retryable);
        }
    }

    #[tokio::test]
    async fn a_result_that_cannot_travel_is_a_permanent_error_that_says_what_to_do() {
        let failure = testing::run(count, json!({"to": RESULT_BYTES_MAX})).await.result.unwrap_err();
        assert_eq!(failure.code.as_deref(), Some("result_too_large"));
        assert!(!failure.retryable && failure.message.contains("return where it is"), "{failure}");
        let deep = |depth| (1..depth).fold(json!([]), |inside, _| json!([inside]));
        assert!(encode(&deep(31)).is_ok());
        assert_eq!(encode(&deep(32)).unwrap_err().code.as_deref(), Some("result_too_deep"));
    }
}
