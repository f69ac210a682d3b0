//! What workers and the broker answer, turned into events and recorded in batches.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crewcall_proto::{
    Attempt, ContentType, JobId, JobType, Order, Timestamp, WorkerId,
    codec::PAYLOAD_BYTES_MAX,
    event::Emitted,
    response::{Completed, ErrorKind, Failed, HandedBack, Held, Origin, Progression, ProgressionKind},
};

use crate::{
    domain::{Event, JobError, Stale},
    engine::{
        discovery::Discovery,
        emissions,
        ports::{Applied, JobEvent, StoreError},
    },
    metrics::DeadLettered,
};

/// The code of a result that is too large to keep.
pub const RESULT_TOO_LARGE: &str = "result_too_large";

/// The code of a result with events that are refused.
pub const EVENT_REFUSED: &str = "event_refused";

/// The code of an answer that cannot be read.
pub const UNREADABLE_RESPONSE: &str = "unreadable_response";

/// Something that came back for an attempt.
#[derive(Debug, Clone)]
pub enum Response {
    /// A worker is at it.
    Progression(Progression),
    /// A worker keeps it without its order.
    Held(Held),
    /// A worker gave it up, for another one to run.
    HandedBack(HandedBack),
    /// A worker did it.
    Completed(Completed),
    /// A worker publishes an event while it is at it.
    Emitted(Emitted),
    /// A worker did not manage.
    Failed(Failed),
    /// A worker answered, in a message that cannot be read.
    Unreadable {
        /// Whose answer it was: that much could be read.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody ever served its type.
    Unroutable(Order),
    /// The broker gave up delivering it.
    DeadLettered {
        order: Order,
        reason: DeathReason,
        /// How it was encoded.
        content_type: ContentType,
    },
}

/// Why an order was dead-lettered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeathReason {
    /// It came back more often than it may: its worker ended, or handed it back.
    DeliveryLimit {
        /// How often it may.
        returns_max: u32,
    },
    /// A worker refused it as unreadable.
    Rejected,
    /// Anything else: the order is lost, the attempt is not.
    Other(String),
}

impl DeathReason {
    const fn counted(&self) -> DeadLettered {
        match self {
            Self::DeliveryLimit { .. } => DeadLettered::DeliveryLimit,
            Self::Rejected => DeadLettered::Rejected,
            Self::Other(_) => DeadLettered::Other,
        }
    }
}

/// Records responses.
pub struct ResponseHandler {
    /// The way to the store and to the workers.
    pub discovery: Arc<Discovery>,
}

impl ResponseHandler {
    /// Records responses. When this returns `Ok` they are on disk and may be acknowledged.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was recorded; call again with the same responses.
    pub async fn record(&self, responses: Vec<Response>) -> Result<(), StoreError> {
        let unroutable: Vec<Order> = responses
            .iter()
            .filter_map(|response| match response {
                Response::Unroutable(order) => Some(order.clone()),
                Response::Progression(_)
                | Response::Held(_)
                | Response::HandedBack(_)
                | Response::Completed(_)
                | Response::Emitted(_)
                | Response::Failed(_)
                | Response::Unreadable { .. }
                | Response::DeadLettered { .. } => None,
            })
            .collect();
        let dead: Vec<DeadLettered> = responses
            .iter()
            .filter_map(|response| match response {
                Response::DeadLettered { reason, .. } => Some(reason.counted()),
                _ => None,
            })
            .collect();
        let (emitted, responses) = apart(coalesce(responses));
        // They were said before the results of their attempts.
        emissions::record(&self.discovery, emitted).await?;
        let events = self.events_of(responses).await?;
        let speakers: Vec<Option<Speaker>> = events.iter().map(Speaker::of).collect();
        let applied = self.discovery.changes.record(events).await?;
        self.discovery.metrics.orders_unroutable(unroutable.len());
        dead.into_iter().for_each(|reason| self.discovery.metrics.order_dead_lettered(reason));
        // Whose job is over, or has moved on. This also ends what was started although it was revoked.
        let late = speakers.into_iter().zip(&applied.value).filter_map(|(speaker, answer)| {
            let Speaker { worker_id, job_id, attempt } = speaker?;
            let is_late = matches!(answer, Applied::Stale(Stale::Terminal | Stale::Attempt));
            is_late.then_some((worker_id, job_id, attempt))
        });
        let late = late.collect();
        self.discovery.send_cancels(late).await;
        self.release_served(unroutable).await
    }

    /// A type may have found its first worker while its order was on the way back: such a job must not be
    /// left unroutable, because no further announcement would release it.
    async fn release_served(&self, unroutable: Vec<Order>) -> Result<(), StoreError> {
        let mut events = Vec::new();
        for order in unroutable {
            if !self.discovery.catalogue.knows(&order.job_type) {
                tracing::info!(
                    job.id = %order.job_id, job.r#type = %order.job_type,
                    "A job is unroutable: no worker ever announced its type."
                );
                continue;
            }
            // Where the queue is known to be in trouble, the rescue tries again: results must not wait for it here.
            let queue_errors = self.discovery.catalogue.queue_error(&order.job_type).is_some();
            if !queue_errors && self.discovery.declare(&order.job_type).await {
                events.push(JobEvent { job_id: order.job_id, event: Event::TypeServed });
            }
        }
        self.discovery.changes.record(events).await.map(|_| ())
    }

    /// What responses mean for their jobs.
    async fn events_of(&self, responses: Vec<Response>) -> Result<Vec<JobEvent>, StoreError> {
        let publishing = |response: &Response| match response {
            Response::Completed(completed) if !completed.events.is_empty() => Some(completed.job_id),
            _ => None,
        };
        let publishing = responses.iter().filter_map(publishing).collect();
        let types = emissions::types_of(&self.discovery, publishing).await?;
        let mut events = Vec::with_capacity(responses.len());
        for response in responses {
            match response {
                Response::Completed(completed) => {
                    let (job_id, job_type) = (completed.job_id, types.get(&completed.job_id));
                    let event = self.completed_event(completed, job_type).await;
                    events.push(JobEvent { job_id, event });
                }
                other => events.extend(self.event_of(other)),
            }
        }
        Ok(events)
    }

    /// What a result means; a failure in its place, if it is too large or its events are refused.
    async fn completed_event(&self, completed: Completed, job_type: Option<&JobType>) -> Event {
        let (origin, result) = (completed.origin(), completed.result.to_string());
        let Completed { worker_id, events, started_at, finished_at, .. } = completed;
        if result.len() > PAYLOAD_BYTES_MAX {
            let message = format!(
                "the result is {} bytes of JSON; at most {PAYLOAD_BYTES_MAX} are kept: write it somewhere and return where",
                result.len()
            );
            return no_result(origin, RESULT_TOO_LARGE, message, [started_at, finished_at]);
        }
        let emitted = match job_type {
            Some(job_type) => emissions::with_result(&self.discovery, (&worker_id, job_type), events).await,
            // There are none, or there is no such job.
            None => Ok(Vec::new()),
        };
        match emitted {
            Ok(emitted) => Event::Completed { origin, result, emitted, started_at, finished_at },
            Err(message) => no_result(origin, EVENT_REFUSED, message, [started_at, finished_at]),
        }
    }

    /// What any other response means for its job; nothing, for news of an unknown kind.
    fn event_of(&self, response: Response) -> Option<JobEvent> {
        let (job_id, event) = match response {
            Response::Progression(news) => (news.job_id, progression_event(news)?),
            Response::Held(held) => (held.job_id, Event::Held { origin: held.origin(), seq: held.seq }),
            Response::HandedBack(handed_back) => (handed_back.job_id, handed_back_event(&handed_back)),
            Response::Completed(_) | Response::Emitted(_) => return None,
            Response::Failed(failed) => (failed.job_id, failed_event(failed)),
            Response::Unreadable { origin, reason } => {
                (origin.job_id, unreadable_event(origin, &reason, self.discovery.clock.now()))
            }
            Response::Unroutable(order) => {
                (order.job_id, Event::Unroutable { attempt: order.attempt, token: order.attempt_token })
            }
            Response::DeadLettered { order, reason, content_type } => {
                let unreadable = reason == DeathReason::Rejected
                    && content_type != self.discovery.registry.order_encoding(&order.job_type);
                let reason = if unreadable {
                    DeathReason::Other("it was written before a worker came that reads only JSON".to_owned())
                } else {
                    reason
                };
                (order.job_id, dead_event(&order, reason))
            }
        };
        Some(JobEvent { job_id, event })
    }
}

/// A worker that says that it is at an attempt.
struct Speaker {
    worker_id: WorkerId,
    job_id: JobId,
    attempt: Attempt,
}

impl Speaker {
    fn of(event: &JobEvent) -> Option<Self> {
        match &event.event {
            Event::Started { origin, .. } | Event::Progressed { origin, .. } | Event::Held { origin, .. } => {
                let (worker_id, attempt) = (origin.worker_id.clone(), origin.attempt);
                Some(Self { worker_id, job_id: event.job_id, attempt })
            }
            _ => None,
        }
    }
}

/// What is published while an attempt runs, and all that is about the attempt itself.
fn apart(responses: Vec<Response>) -> (Vec<Emitted>, Vec<Response>) {
    let mut emitted = Vec::new();
    let rest = responses.into_iter().filter_map(|response| match response {
        Response::Emitted(message) => {
            emitted.push(message);
            None
        }
        other => Some(other),
    });
    let rest = rest.collect();
    (emitted, rest)
}

/// Of several progressions of one execution only the last is recorded, in its place.
fn coalesce(responses: Vec<Response>) -> Vec<Response> {
    let mut latest: HashMap<(JobId, crewcall_proto::ExecutionId), u64> = HashMap::new();
    for response in &responses {
        if let Response::Progression(news) = response
            && news.kind == ProgressionKind::Progress
        {
            let seq = latest.entry((news.job_id, news.execution_id)).or_default();
            *seq = news.seq.max(*seq);
        }
    }
    let keep = |response: &Response| match response {
        Response::Progression(news) if news.kind == ProgressionKind::Progress => {
            latest.get(&(news.job_id, news.execution_id)) == Some(&news.seq)
        }
        Response::Progression(_)
        | Response::Held(_)
        | Response::HandedBack(_)
        | Response::Completed(_)
        | Response::Emitted(_)
        | Response::Failed(_)
        | Response::Unreadable { .. }
        | Response::Unroutable(_)
        | Response::DeadLettered { .. } => true,
    };
    responses.into_iter().filter(keep).collect()
}

fn progression_event(news: Progression) -> Option<Event> {
    let origin = news.origin();
    match news.kind {
        ProgressionKind::Started => Some(Event::Started { origin, seq: news.seq, at: news.at }),
        ProgressionKind::Progress => Some(Event::Progressed {
            origin,
            seq: news.seq,
            percent: news.percent,
            message: news.message.map(|text| cut(text, Progression::MESSAGE_CHARACTERS_MAX)),
            at: news.at,
        }),
        ProgressionKind::Unknown => None,
    }
}

fn handed_back_event(handed_back: &HandedBack) -> Event {
    let message = handed_back
        .message
        .as_deref()
        .map(|why| cut(format!("handed back: {why}"), Progression::MESSAGE_CHARACTERS_MAX));
    Event::HandedBack {
        origin: handed_back.origin(),
        resend: handed_back.resend,
        message,
        started_at: handed_back.started_at,
        at: handed_back.at,
    }
}

/// A failure in the place of a result that cannot be taken.
fn no_result(
    origin: Origin,
    code: &str,
    message: String,
    [started_at, finished_at]: [Timestamp; 2],
) -> Event {
    Event::Failed {
        origin,
        error: JobError { kind: ErrorKind::Handler, code: Some(code.to_owned()), message, detail: None },
        redelivered: true, // as for any result, it does not matter who was the first
        retryable: false,
        retry_after: None,
        started_at: Some(started_at),
        finished_at,
    }
}

fn failed_event(failed: Failed) -> Event {
    let limit = Failed::MESSAGE_CHARACTERS_MAX;
    Event::Failed {
        origin: failed.origin(),
        error: JobError {
            kind: match failed.kind {
                ErrorKind::Unknown => ErrorKind::Handler,
                known => known,
            },
            code: failed.code.map(|text| cut(text, limit)),
            message: cut(failed.message, limit),
            detail: failed.detail.map(|text| cut(text, limit)),
        },
        redelivered: failed.redelivered.unwrap_or(false),
        retryable: failed.retryable && failed.kind.permits_retry(),
        retry_after: failed.retry_after_ms.map(Duration::from_millis),
        started_at: failed.started_at,
        finished_at: failed.finished_at,
    }
}

/// It may have been a success, but nobody can say of what; and what cannot be written this time cannot be written next
/// time.
fn unreadable_event(origin: Origin, reason: &str, now: Timestamp) -> Event {
    let message = format!(
        "worker {} answered in a message that cannot be read and was quarantined: {reason}",
        origin.worker_id
    );
    Event::Failed {
        origin,
        error: JobError {
            kind: ErrorKind::Malformed,
            code: Some(UNREADABLE_RESPONSE.to_owned()),
            message: cut(message, Failed::MESSAGE_CHARACTERS_MAX),
            detail: None,
        },
        redelivered: false, // it does not say
        retryable: false,
        retry_after: None,
        started_at: None,
        finished_at: now,
    }
}

fn dead_event(order: &Order, reason: DeathReason) -> Event {
    let (attempt, token) = (order.attempt, order.attempt_token);
    let job_error =
        |kind, message: &str| JobError { kind, code: None, message: message.to_owned(), detail: None };
    match reason {
        DeathReason::DeliveryLimit { returns_max } => Event::DeadLettered {
            attempt,
            token,
            error: job_error(
                ErrorKind::CrashLoop,
                &format!(
                    "the order came back more than {returns_max} times without an answer: its worker's process ended, or handed it back"
                ),
            ),
        },
        DeathReason::Rejected => Event::DeadLettered {
            attempt,
            token,
            error: job_error(ErrorKind::Malformed, "a worker refused the order as unreadable"),
        },
        DeathReason::Other(reason) => {
            tracing::warn!(job.id = %order.job_id, reason, "The broker dropped an order; it is sent again.");
            Event::OrderLost { attempt, token }
        }
    }
}

fn cut(text: String, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use crewcall_proto::{AttemptToken, ExecutionId, Timestamp};

    use super::*;

    #[test]
    fn what_stays_wrong_is_not_tried_again_whatever_the_worker_says() {
        let retryable = |kind| {
            let event = failed_event(Failed {
                job_id: JobId::from_uuid(uuid::Uuid::from_u128(1)),
                attempt: Attempt::FIRST,
                attempt_token: AttemptToken::from_bits(1),
                execution_id: ExecutionId::from_uuid(uuid::Uuid::from_u128(2)),
                worker_id: "w".parse().unwrap(),
                kind,
                code: None,
                message: String::new(),
                detail: None,
                redelivered: None,
                retryable: true,
                retry_after_ms: None,
                started_at: None,
                finished_at: Timestamp::from_millis(0),
            });
            matches!(event, Event::Failed { retryable: true, .. })
        };
        for kind in [ErrorKind::Handler, ErrorKind::Panic, ErrorKind::Timeout, ErrorKind::Unknown] {
            assert!(retryable(kind), "{kind:?}");
        }
        for kind in [ErrorKind::InvalidParameters, ErrorKind::Malformed, ErrorKind::Cancelled] {
            assert!(!retryable(kind), "{kind:?}");
        }
    }
}
