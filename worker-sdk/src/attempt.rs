//! One attempt, step by step: run the handler, report its progress, conclude, report, and say how its
//! order is to be settled.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use crewcall_amqp::{OutboundMessage, PublishError};
use crewcall_proto::{
    EncodeError, JobType, JsonObject, MessageKind, Order, Timestamp, TraceParent,
    codec::BODY_BYTES_MAX,
    response::{Completed, ErrorKind, Failed, Held, Progression, ProgressionKind},
};
use futures_util::FutureExt;
use tokio::{sync::watch, time::Instant};

use crate::{
    answers::Answers,
    clock,
    context::JobContext,
    emit_error::EVENT_REFUSED,
    error::{Failure, truncated},
    execution::{Completion, Ending, Execution, Handlers, execute},
    failpoints::Failpoint,
    handler::ServedType,
    hold::Hold,
    limits::{PROGRESS_MESSAGE_CHARACTERS_MAX, REASON_CONFIRM_TIMEOUT, START_CONFIRM_TIMEOUT},
    metrics::WorkerMetrics,
    mutant::{die_at, mutant},
    options::FailureStrategy,
    order_key::OrderKey,
    progress::{Progress, Report, Sequence, StartReport, report_progress},
    response_publisher::{JobReference, ResponsePublisher},
    traces::AttemptSpan,
};

/// One execution of one attempt.
pub(crate) struct AttemptRun {
    pub(crate) served: ServedType,
    pub(crate) order: Order,
    pub(crate) job: JobContext,
    pub(crate) news: watch::Receiver<Progress>,
    pub(crate) redelivered: bool,
    pub(crate) responses: Arc<ResponsePublisher>,
    /// Through which it is answered; `None` unless its order came in a bundle.
    pub(crate) answers: Option<Arc<Answers>>,
    pub(crate) handlers: Handlers,
    pub(crate) hold: Hold,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) span: AttemptSpan,
    pub(crate) execution: Execution,
}

/// How an attempt ended, for the worker loop.
pub(crate) struct AttemptEnd {
    pub(crate) key: OrderKey,
    pub(crate) job_type: JobType,
    pub(crate) conclusion: Conclusion,
    /// The failure after which the worker is to end, if there was one.
    pub(crate) ends_worker: Option<Failure>,
}

/// What is to be done with the order of an attempt that ended.
pub(crate) enum Conclusion {
    /// The response is confirmed: acknowledge the order, and remember the response.
    Reported {
        answer: Box<OutboundMessage>,
        /// Whether the handler did its work.
        completed: bool,
    },
    /// Give the order back to the broker for another delivery.
    GiveBack,
    /// There is no way to report this: let the broker dead-letter the order, and the backend conclude it.
    Reject,
}

impl AttemptRun {
    /// Runs the attempt to its conclusion. Dropping the future drops the handler.
    pub(crate) async fn run(self) -> AttemptEnd {
        let key = OrderKey::of(&self.order);
        let (job_id, job_type) = (self.order.job_id, self.order.job_type.clone());
        // A panic of the handler is caught where it runs. One out here is a fault of this library, which must
        // not cost the worker a slot for ever.
        let (conclusion, ends_worker) = AssertUnwindSafe(self.conclude()).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(job.id = %job_id, job.r#type = %job_type, "The attempt broke off; its order is given back.");
            (Conclusion::GiveBack, None)
        });
        AttemptEnd { key, job_type, conclusion, ends_worker }
    }

    async fn conclude(mut self) -> (Conclusion, Option<Failure>) {
        let execution = self.execution;
        let parameters = std::mem::take(&mut self.order.parameters);
        let began_at = Instant::now();
        let ending = self.run_handler(parameters, &execution).await;
        self.span.ended(&ending);
        self.metrics.attempt_ended(&self.order.job_type, &ending, began_at.elapsed());
        self.log(&ending, execution.started_at.unwrap_or_else(clock::now));
        if let Err(failure) = &ending {
            let may_be_held = self.hold.signal.has_begun();
            match decide(self.served.on_failure, failure.kind) {
                OnFailure::Report => {}
                // An order that may be gone cannot be given back: the backend has to send another one.
                OnFailure::GiveBack if may_be_held => {}
                OnFailure::GiveBackAndExit if may_be_held => {
                    let failure = failure.clone();
                    return (self.report(ending, &execution).await, Some(failure));
                }
                OnFailure::GiveBack => {
                    self.say_why(failure, &execution).await;
                    return (Conclusion::GiveBack, None);
                }
                OnFailure::GiveBackAndExit => {
                    self.say_why(failure, &execution).await;
                    return (Conclusion::GiveBack, Some(failure.clone()));
                }
                OnFailure::ReportPermanent => {
                    let failure = Failure { retryable: false, ..failure.clone() };
                    return (self.report(Err(failure), &execution).await, None);
                }
            }
        }
        (self.report(ending, &execution).await, None)
    }

    /// Tells why the order goes back. Its next worker does not depend on it.
    async fn say_why(&self, failure: &Failure, execution: &Execution) {
        let why = truncated(failure.message.clone(), PROGRESS_MESSAGE_CHARACTERS_MAX);
        let reference = reference(&self.order, self.job.traceparent());
        let key = OrderKey::of(&self.order);
        let said = self.responses.hand_back(&reference, &key, execution, false, Some(why));
        if !matches!(tokio::time::timeout(REASON_CONFIRM_TIMEOUT, said).await, Ok(true)) {
            tracing::debug!(job.id = %self.order.job_id, "The backend was not told why an order goes back.");
        }
    }

    /// Runs the handler; tells of its start and progress for as long as it runs, and holds it when it takes long.
    async fn run_handler(&self, parameters: JsonObject, execution: &Execution) -> Ending {
        let timeout = self.order.timeout_ms.map(Duration::from_millis);
        let send = |report| self.send_progression(report, execution);
        let sequence = Sequence::default();
        let start = if self.redelivered {
            // Before any other response: the attempt now belongs to this execution. What waits too long for
            // its confirm is under way all the same, and ahead of what is sent after it.
            let _ = tokio::time::timeout(START_CONFIRM_TIMEOUT, send(Report::start(sequence.next()))).await;
            StartReport::Done
        } else if self.order.expires_at.is_some() {
            StartReport::First
        } else {
            StartReport::Unless
        };
        tokio::select! {
            ending = execute(&self.served, &self.job, parameters, timeout, &self.handlers) => ending,
            () = report_progress(self.news.clone(), start, &sequence, send) => {
                unreachable!("it reports without end")
            }
            () = self.hold(execution, &sequence) => unreachable!("it waits without end"),
        }
    }

    /// Holds the attempt once it has run for long enough, or its order came back too often: tells
    /// the backend, until that is confirmed, and then the worker loop, which acknowledges the order. Ends with the handler
    /// only.
    async fn hold(&self, execution: &Execution, sequence: &Sequence) {
        tokio::select! {
            () = tokio::time::sleep(self.hold.after) => {}
            () = self.hold.signal.at_once.notified() => {}
        }
        let held = Held {
            job_id: self.order.job_id,
            attempt: self.order.attempt,
            attempt_token: self.order.attempt_token,
            execution_id: execution.id,
            worker_id: self.responses.worker_id.clone(),
            seq: sequence.next(),
            at: clock::now(),
        };
        let reference = reference(&self.order, self.job.traceparent());
        self.hold.signal.begin();
        let delivered = match self.responses.response(MessageKind::Held, &reference, &held) {
            Ok(message) => self.responses.deliver(&message).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match delivered {
            // A loop that ended has given everything back.
            Ok(()) => drop(self.hold.done.send(OrderKey::of(&self.order)).await),
            Err(error) => tracing::warn!(
                job.id = %self.order.job_id,
                error,
                "The attempt cannot be held; it keeps its order."
            ),
        }
        std::future::pending::<()>().await;
    }

    async fn send_progression(&self, report: Report, execution: &Execution) {
        if mutant("start_unsaid") && report.kind == ProgressionKind::Started {
            return;
        }
        let (percent, message) = match report.progress {
            Some(Progress { percent, message }) => {
                (Some(percent), Some(message).filter(|text| !text.is_empty()))
            }
            None => (None, None),
        };
        let progression = Progression {
            job_id: self.order.job_id,
            attempt: self.order.attempt,
            attempt_token: self.order.attempt_token,
            execution_id: execution.id,
            worker_id: self.responses.worker_id.clone(),
            seq: report.seq,
            kind: report.kind,
            percent,
            message,
            at: clock::now(),
        };
        if let Some(percent) = progression.percent {
            self.span.progressed(percent, progression.message.as_deref().unwrap_or_default());
        }
        let reference = reference(&self.order, self.job.traceparent());
        let Ok(message) = self.responses.response(MessageKind::Progression, &reference, &progression) else {
            return;
        };
        if progression.percent.is_none() {
            die_at(Failpoint::StartUnreported);
        }
        let matters = self.redelivered || self.order.expires_at.is_some();
        if progression.kind == ProgressionKind::Started && matters {
            // On a task of its own: it goes on when nobody waits for it any more.
            let (responses, job_type) = (Arc::clone(&self.responses), self.order.job_type.clone());
            let _ = self
                .handlers
                .tracker
                .spawn(async move { responses.deliver_start(message, &job_type).await })
                .await;
        } else if let Err(error) = self.responses.publisher.publish(message).await {
            tracing::debug!(job.id = %self.order.job_id, %error, "A progress message was lost.");
        }
    }

    /// Sends the response until it is confirmed.
    async fn report(&self, ending: Ending, execution: &Execution) -> Conclusion {
        let reference = reference(&self.order, self.job.traceparent());
        let completed = ending.is_ok();
        let events = ending.as_ref().map_or(0, |completion| completion.events.len());
        // One that was stopped may go on beside its attempt, in its slot.
        let is_over = self.job.stop_cause().is_none();
        let _slot_left = self.answers.as_ref().filter(|_| is_over).map(Answers::leave_slot);
        die_at(Failpoint::AttemptEnded);
        let reported = match response(&self.responses, &self.order, &reference, execution, ending) {
            Ok(message) => match self.deliver(message).await {
                Ok(message) => {
                    die_at(Failpoint::ResponseConfirmed);
                    if message.properties.message_type.as_deref() == Some(MessageKind::Completed.as_str()) {
                        self.metrics.events_emitted(&self.order.job_type, events);
                    }
                    return Conclusion::Reported { answer: Box::new(message), completed };
                }
                Err(PublishError::Stopped) => return Conclusion::GiveBack,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        tracing::error!(
            job.id = %self.order.job_id,
            job.r#type = %self.order.job_type,
            attempt = self.order.attempt.get(),
            error = reported,
            "The response cannot be sent; the order is rejected."
        );
        Conclusion::Reject
    }

    /// Publishes the answer until it is confirmed; returns it then.
    async fn deliver(&self, message: OutboundMessage) -> Result<OutboundMessage, PublishError> {
        match &self.answers {
            Some(answers) => answers.deliver(message).await,
            None => self.responses.deliver(&message).await.map(|()| message),
        }
    }

    fn log(&self, ending: &Ending, started_at: Timestamp) {
        let elapsed_ms = clock::now().as_millis() - started_at.as_millis();
        match ending {
            Ok(_) => tracing::debug!(
                job.id = %self.order.job_id,
                job.r#type = %self.order.job_type,
                attempt = self.order.attempt.get(),
                elapsed_ms,
                "The attempt completed."
            ),
            Err(failure) => tracing::warn!(
                job.id = %self.order.job_id,
                job.r#type = %self.order.job_type,
                attempt = self.order.attempt.get(),
                elapsed_ms,
                error = %failure,
                "The attempt failed."
            ),
        }
    }
}

pub(crate) fn reference<'a>(order: &'a Order, traceparent: Option<&'a TraceParent>) -> JobReference<'a> {
    JobReference { job_id: order.job_id, job_type: &order.job_type, traceparent }
}

/// The response that tells of an ending.
pub(crate) fn response(
    responses: &ResponsePublisher,
    order: &Order,
    reference: &JobReference<'_>,
    execution: &Execution,
    ending: Ending,
) -> Result<OutboundMessage, EncodeError> {
    let finished_at = clock::now();
    let failed = |failure: Failure| Failed {
        job_id: order.job_id,
        attempt: order.attempt,
        attempt_token: order.attempt_token,
        execution_id: execution.id,
        worker_id: responses.worker_id.clone(),
        kind: failure.kind,
        code: failure.code,
        message: failure.message,
        detail: failure.detail,
        redelivered: execution.redelivered.then_some(true),
        retryable: failure.retryable,
        retry_after_ms: failure.retry_after.map(milliseconds),
        started_at: execution.started_at,
        finished_at,
    };
    let Completion { result, events } = match ending {
        Ok(completion) => completion,
        Err(failure) => return responses.response(MessageKind::Error, reference, &failed(failure)),
    };
    let completed = Completed {
        job_id: order.job_id,
        attempt: order.attempt,
        attempt_token: order.attempt_token,
        execution_id: execution.id,
        worker_id: responses.worker_id.clone(),
        result,
        events,
        started_at: execution.started_at.unwrap_or(finished_at),
        finished_at,
    };
    match responses.response(MessageKind::Completed, reference, &completed) {
        // Each is as small as it has to be in JSON, but MessagePack needs more for fractions.
        Err(EncodeError::TooLarge { bytes }) if !completed.events.is_empty() => {
            responses.response(MessageKind::Error, reference, &failed(too_large_together(bytes)))
        }
        written => written,
    }
}

fn too_large_together(bytes: usize) -> Failure {
    let message = format!(
        "the result and the events of the attempt are {bytes} bytes together and at most {BODY_BYTES_MAX} are sent: \
         write large data to a file or a store and say where they are"
    );
    Failure::new(ErrorKind::Handler, false, message).with_code(EVENT_REFUSED)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What becomes of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    Report,
    ReportPermanent,
    GiveBack,
    GiveBackAndExit,
}

/// Only what the handler itself did is up to the type's strategy.
fn decide(strategy: FailureStrategy, kind: ErrorKind) -> OnFailure {
    if !matches!(kind, ErrorKind::Handler | ErrorKind::Panic | ErrorKind::Timeout) {
        return OnFailure::Report;
    }
    match strategy {
        FailureStrategy::Report => OnFailure::Report,
        FailureStrategy::ReportPermanent => OnFailure::ReportPermanent,
        FailureStrategy::Nack => OnFailure::GiveBack,
        FailureStrategy::NackAndExit => OnFailure::GiveBackAndExit,
    }
}

#[cfg(test)]
mod tests {
    use crewcall_proto::{ContentType, codec, event::Event};
    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::testing::Setup;

    /// The answer to an attempt with this result that emitted an event with these data.
    fn answer(result: Value, data: Value) -> OutboundMessage {
        let (stop, job_type) = (CancellationToken::new(), JobType::new("test").unwrap());
        stop.cancel();
        let responses = ResponsePublisher::without_broker(ContentType::MessagePack, &stop);
        let order = Setup::new().order(&job_type);
        let events = vec![Event { subject: "order.paid".to_owned(), data, occurred_at: None }];
        let ending = Ok(Completion { result, events });
        let (execution, reference) = (Execution::beginning(false), reference(&order, None));
        response(&responses, &order, &reference, &execution, ending).unwrap()
    }

    #[tokio::test]
    async fn what_was_emitted_travels_with_the_result() {
        let answer = answer(json!(7), json!({"order": 17}));
        let completed: Completed = codec::decode(ContentType::MessagePack, &answer.body).unwrap();
        assert_eq!(completed.result, json!(7));
        let events: Vec<_> = completed.events.iter().map(|event| (&*event.subject, &event.data)).collect();
        assert_eq!(events, [("order.paid", &json!({"order": 17}))]);
    }

    #[tokio::test]
    async fn a_result_and_events_that_are_too_large_together_are_an_error_that_says_so() {
        // In JSON as large as each may be. In MessagePack a fraction takes nine bytes.
        let fractions = || json!(vec![0.5; 65_535]);
        assert!(fractions().to_string().len() <= codec::PAYLOAD_BYTES_MAX);
        let answer = answer(fractions(), fractions());
        let failed: Failed = codec::decode(ContentType::MessagePack, &answer.body).unwrap();
        assert_eq!((failed.code.as_deref(), failed.retryable), (Some("event_refused"), false));
        assert!(failed.message.contains("bytes together and at most 1048576 are sent"), "{}", failed.message);
    }

    #[test]
    fn a_cancelled_or_unreadable_attempt_is_reported_whatever_the_strategy() {
        for kind in [ErrorKind::Cancelled, ErrorKind::InvalidParameters] {
            for strategy in
                [FailureStrategy::Nack, FailureStrategy::NackAndExit, FailureStrategy::ReportPermanent]
            {
                assert_eq!(decide(strategy, kind), OnFailure::Report);
            }
        }
        assert_eq!(decide(FailureStrategy::Report, ErrorKind::Panic), OnFailure::Report);
        assert_eq!(decide(FailureStrategy::Nack, ErrorKind::Panic), OnFailure::GiveBack);
        assert_eq!(decide(FailureStrategy::NackAndExit, ErrorKind::Timeout), OnFailure::GiveBackAndExit);
        assert_eq!(decide(FailureStrategy::ReportPermanent, ErrorKind::Handler), OnFailure::ReportPermanent);
    }
}
