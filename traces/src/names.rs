//! What attributes are called: ours as in log lines, the others by OpenTelemetry's semantic conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>) and for RabbitMQ
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/>).

use crewcall_proto::{Attempt, JobId};

use crate::Attribute;

/// The job's id.
pub const JOB_ID: &str = "job.id";
/// The job's type.
pub const JOB_TYPE: &str = "job.type";
/// The number of the attempt.
pub const ATTEMPT: &str = "attempt";
/// The worker's id.
pub const WORKER_ID: &str = "worker.id";

/// The kind of an error, one of few.
pub const ERROR_TYPE: &str = "error.type";

/// The method of a request.
pub const HTTP_METHOD: &str = "http.request.method";
/// The route that took it, as a pattern.
pub const HTTP_ROUTE: &str = "http.route";
/// How it was answered.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// By which scheme it came.
pub const URL_SCHEME: &str = "url.scheme";
/// Its path.
pub const URL_PATH: &str = "url.path";

/// What carries messages.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// What is done to a message, in our words.
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
/// What is done to a message, in the words of the conventions.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// Where it goes or comes from: exchange, routing key and queue with colons between.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
/// The routing key.
pub const MESSAGING_ROUTING_KEY: &str = "messaging.rabbitmq.destination.routing_key";
/// The id of the message.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// The correlation id of the message: here, the job.
pub const MESSAGING_CONVERSATION_ID: &str = "messaging.message.conversation_id";

/// What [`MESSAGING_OPERATION_TYPE`] is for whoever works on a message.
pub const PROCESS: &str = "process";

/// A message of a job.
#[derive(Debug, Clone)]
pub struct Message {
    /// What is done to it: `process`.
    pub operation: &'static str,
    /// Where it goes or comes from, as [`MESSAGING_DESTINATION_NAME`] has it.
    pub destination: String,
    /// Its routing key.
    pub routing_key: String,
    /// Its id.
    pub id: String,
}

/// A destination by the names of its exchange, its routing key and, for whoever takes from it, its queue.
#[must_use]
pub fn destination<const N: usize>(names: [&str; N]) -> String {
    names.join(":")
}

/// What every span of a job's message says.
#[must_use]
pub fn message(message: Message, job_id: JobId, job_type: &str, attempt: Attempt) -> Vec<Attribute> {
    vec![
        (MESSAGING_SYSTEM, "rabbitmq".into()),
        (MESSAGING_OPERATION_NAME, message.operation.into()),
        (MESSAGING_DESTINATION_NAME, message.destination.into()),
        (MESSAGING_ROUTING_KEY, message.routing_key.into()),
        (MESSAGING_MESSAGE_ID, message.id.into()),
        (MESSAGING_CONVERSATION_ID, job_id.to_string().into()),
        (JOB_ID, job_id.to_string().into()),
        (JOB_TYPE, job_type.to_owned().into()),
        (ATTEMPT, attempt.get().into()),
    ]
}
