//! What the handler of one attempt emits: kept until the attempt ends, or sent at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crewcall_proto::{
    JobType,
    codec::{DEPTH_MAX, json_depth_exceeds},
    discovery::EmittedSubject,
    event,
};
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    emit_error::EmitError,
    event::{Event, IdentifiedEvent},
    limits::{EVENTS_BYTES_MAX, EVENTS_MAX},
};

/// How many levels of an answer stand around the data of an event: the message, the list, the event.
const LEVELS_AROUND_KEPT: usize = 3;

/// How many levels stand around those of an event that is a message itself.
const LEVELS_AROUND_SENT: usize = 1;

/// Where events go.
pub(crate) trait EventSink: Send + Sync {
    /// Refuses, at once, what would not be recorded later.
    fn check(&self, subject: &EmittedSubject, data: &Value) -> Result<(), EmitError>;

    /// Sends an event that does not wait for the end of its attempt, until somebody has it.
    fn send(&self, id: String, event: event::Event) -> BoxFuture<'static, Result<(), EmitError>>;
}

/// What the handler of one attempt emits.
pub(crate) struct Emitter {
    job_type: JobType,
    /// What the type declares.
    subjects: Arc<[EmittedSubject]>,
    sink: Box<dyn EventSink>,
    emitted: Mutex<Emitted>,
}

/// What was emitted so far.
#[derive(Default)]
struct Emitted {
    /// What waits for the end of the attempt.
    kept: Vec<event::Event>,
    /// How many there are, with those that were sent.
    events: usize,
    /// How large their data are, as JSON.
    bytes: usize,
    is_over: bool,
}

impl Emitter {
    pub(crate) fn new(job_type: JobType, subjects: Arc<[EmittedSubject]>, sink: Box<dyn EventSink>) -> Self {
        Self { job_type, subjects, sink, emitted: Mutex::default() }
    }

    /// Keeps an event until the attempt ends.
    pub(crate) fn keep(&self, event: Event) -> Result<(), EmitError> {
        let (event, bytes) = self.checked(event, LEVELS_AROUND_KEPT)?;
        let mut emitted = self.emitted();
        emitted.make_room(bytes)?;
        emitted.kept.push(event);
        Ok(())
    }

    /// Sends an event at once.
    pub(crate) async fn send(&self, IdentifiedEvent { id, event }: IdentifiedEvent) -> Result<(), EmitError> {
        if !event::is_event_id(&id) {
            return Err(EmitError::InvalidId { id });
        }
        let (event, bytes) = self.checked(event, LEVELS_AROUND_SENT)?;
        self.emitted().make_room(bytes)?;
        let sent = self.sink.send(id, event).await;
        if sent.is_err() {
            self.emitted().give_room_back(bytes);
        }
        sent
    }

    /// The attempt is over. Returns what was kept; nothing is emitted from now on.
    pub(crate) fn end(&self) -> Vec<event::Event> {
        let mut emitted = self.emitted();
        emitted.is_over = true;
        std::mem::take(&mut emitted.kept)
    }

    /// The event as it travels, and how large its data are.
    fn checked(&self, event: Event, levels_around: usize) -> Result<(event::Event, usize), EmitError> {
        let Event { subject, data, occurred_at } = event;
        let Some(declared) = self.subjects.iter().find(|declared| declared.subject == subject) else {
            return Err(EmitError::Undeclared { job_type: self.job_type.clone(), subject });
        };
        let data = match data {
            Ok(Value::Null) => return Err(EmitError::NoData { subject }),
            Ok(data) => data,
            Err(reason) => return Err(EmitError::Unencodable { subject, reason }),
        };
        let (text, levels_max) = (data.to_string(), DEPTH_MAX - levels_around);
        if json_depth_exceeds(text.as_bytes(), levels_max) {
            return Err(EmitError::TooDeep { subject, levels_max });
        }
        self.sink.check(declared, &data)?;
        Ok((event::Event { subject, data, occurred_at }, text.len()))
    }

    fn emitted(&self) -> MutexGuard<'_, Emitted> {
        self.emitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Emitted {
    fn make_room(&mut self, bytes: usize) -> Result<(), EmitError> {
        let bytes = self.bytes + bytes;
        if self.is_over {
            Err(EmitError::Ended)
        } else if self.events >= EVENTS_MAX {
            Err(EmitError::TooMany)
        } else if bytes > EVENTS_BYTES_MAX {
            Err(EmitError::TooLarge { bytes })
        } else {
            self.events += 1;
            self.bytes = bytes;
            Ok(())
        }
    }

    fn give_room_back(&mut self, bytes: usize) {
        self.events -= 1;
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crewcall_proto::{JsonObject, Timestamp, response::ErrorKind};
    use schemars::JsonSchema;
    use serde::Serialize;
    use serde_json::json;

    use super::*;
    use crate::{
        JobContext, JobError, JobOptions,
        emit_error::EVENT_REFUSED,
        testing::{EmittedEvent, Outcome, Setup},
    };

    /// An order is paid.
    #[derive(Serialize, JsonSchema)]
    struct Paid {
        order: u64,
    }

    fn setup() -> Setup {
        Setup::new().options(JobOptions::new().emits::<Paid>("order.paid").emits::<Value>("order.seen"))
    }

    fn seen(id: &str) -> IdentifiedEvent {
        Event::new("order.seen", json!({"id": id})).id(id)
    }

    /// Arrays in arrays.
    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!([]), |inner, _| json!([inner]))
    }

    /// What comes of a handler that does this and succeeds.
    async fn emitting(
        setup: Setup,
        emit: impl Fn(&JobContext) -> Result<(), EmitError> + Send + Sync + 'static,
    ) -> Outcome {
        let handler = move |job: JobContext, _parameters: JsonObject| {
            let emitted = emit(&job);
            async move { Ok::<(), JobError>(emitted?) }
        };
        setup.run(handler, json!({})).await
    }

    async fn emit_and_fail(job: JobContext, _parameters: JsonObject) -> Result<(), JobError> {
        job.emit("order.paid", Paid { order: 1 })?;
        job.emit_now(seen("a")).await?;
        Err(JobError::permanent("no money"))
    }

    async fn emit_now(job: JobContext, _parameters: JsonObject) -> Result<(), JobError> {
        Ok(job.emit_now(seen("a")).await?)
    }

    #[tokio::test]
    async fn what_is_emitted_comes_with_the_result_in_its_order() {
        let outcome = emitting(setup(), |job| {
            job.emit("order.paid", Paid { order: 17 })?;
            job.emit("order.seen", "17")
        })
        .await;
        assert_eq!(outcome.result.unwrap(), Value::Null);
        let event = |subject: &str, data| EmittedEvent {
            id: None,
            subject: subject.to_owned(),
            data,
            occurred_at: None,
        };
        assert_eq!(
            outcome.events,
            [event("order.paid", json!({"order": 17})), event("order.seen", json!("17"))]
        );
    }

    #[tokio::test]
    async fn a_handler_that_fails_has_emitted_what_it_sent_and_nothing_else() {
        let outcome = setup().run(emit_and_fail, json!({})).await;
        assert_eq!(outcome.result.unwrap_err().message, "no money");
        let subjects: Vec<_> =
            outcome.events.iter().map(|event| (event.subject.as_str(), &event.id)).collect();
        assert_eq!(subjects, [("order.seen", &Some("a".to_owned()))]);
    }

    #[tokio::test]
    async fn the_time_of_an_event_travels_with_it() {
        async fn emit(job: JobContext, _parameters: JsonObject) -> Result<(), JobError> {
            let at = Timestamp::from_millis(7);
            job.emit_now(seen("a").occurred_at(at)).await?;
            Ok(job.emit_now(Event::new("order.seen", 1).occurred_at(at).id("b")).await?)
        }
        let outcome = setup().run(emit, json!({})).await;
        let times: Vec<_> = outcome.events.iter().map(|event| event.occurred_at).collect();
        assert_eq!(times, [Some(Timestamp::from_millis(7)); 2]);
    }

    #[tokio::test]
    async fn what_would_not_be_recorded_is_a_permanent_error_at_once() {
        type Emit = fn(&JobContext) -> Result<(), EmitError>;
        let wrong: [(Emit, &str); 6] = [
            (|job| job.emit("order.lost", 1), "does not declare the subject \"order.lost\""),
            (|job| job.emit("order.seen", ()), "are null"),
            (|job| job.emit("order.seen", BTreeMap::from([([1], 1)])), "have no form in JSON"),
            (|job| job.emit("order.seen", "x".repeat(EVENTS_BYTES_MAX)), "would be 262146 bytes of JSON"),
            (|job| job.emit("order.seen", nested(30)), "nest deeper than 29 levels"),
            #[cfg(feature = "validate")]
            (|job| job.emit("order.paid", json!({"order": "17"})), "do not fit their schema: /data/order:"),
            #[cfg(not(feature = "validate"))]
            (|job| job.emit("", 1), "does not declare the subject"),
        ];
        for (emit, why) in wrong {
            let outcome = emitting(setup(), emit).await;
            let failure = outcome.result.unwrap_err();
            assert!(failure.message.contains(why), "{failure}");
            assert_eq!(failure.code.as_deref(), Some(EVENT_REFUSED));
            assert_eq!((failure.kind, failure.retryable), (ErrorKind::Handler, false));
            assert_eq!(outcome.events, []);
        }
    }

    #[tokio::test]
    async fn an_id_is_checked() {
        async fn emit(job: JobContext, _parameters: JsonObject) -> Result<(), JobError> {
            Ok(job.emit_now(seen("no id")).await?)
        }
        let failure = setup().run(emit, json!({})).await.result.unwrap_err();
        assert!(failure.message.starts_with("\"no id\" is not the id of an event"), "{failure}");
    }

    #[tokio::test]
    async fn an_event_of_its_own_has_fewer_levels_around_it() {
        async fn emit(job: JobContext, _parameters: JsonObject) -> Result<(), JobError> {
            job.emit("order.seen", nested(29))?;
            job.emit_now(Event::new("order.seen", nested(31)).id("a")).await?;
            Ok(job.emit_now(Event::new("order.seen", nested(32)).id("b")).await?)
        }
        let failure = setup().run(emit, json!({})).await.result.unwrap_err();
        assert!(failure.message.contains("nest deeper than 31 levels"), "{failure}");
    }

    #[tokio::test]
    async fn all_events_of_an_attempt_share_its_limits() {
        async fn emit(job: JobContext, _parameters: JsonObject) -> Result<Vec<String>, JobError> {
            for count in 0..EVENTS_MAX {
                if count % 2 == 0 {
                    job.emit("order.seen", count)?;
                } else {
                    job.emit_now(seen(&count.to_string())).await?;
                }
            }
            let refused = [job.emit("order.seen", 1), job.emit_now(seen("more")).await];
            Ok(refused.map(|refused| refused.unwrap_err().to_string()).to_vec())
        }
        let outcome = setup().run(emit, json!({})).await;
        let said = "an attempt emits at most 100 events: say more in each of them";
        assert_eq!(outcome.result.unwrap(), json!([said, said]));
        assert_eq!(outcome.events.len(), EVENTS_MAX);
    }

    #[tokio::test]
    async fn the_data_of_an_attempt_are_limited_together() {
        let outcome = emitting(setup(), |job| {
            let half = "x".repeat(EVENTS_BYTES_MAX / 2 - 2); // and two quotation marks
            job.emit("order.seen", &half)?;
            job.emit("order.seen", &half)?;
            assert_eq!(job.emit("order.seen", 1), Err(EmitError::TooLarge { bytes: EVENTS_BYTES_MAX + 1 }));
            Ok(())
        })
        .await;
        assert_eq!(outcome.result.unwrap(), Value::Null);
        assert_eq!(outcome.events.len(), 2);
    }

    #[tokio::test]
    async fn nothing_is_emitted_after_the_attempt() {
        let kept: Arc<Mutex<Option<JobContext>>> = Arc::default();
        let keep = Arc::clone(&kept);
        let outcome = emitting(setup(), move |job| {
            *keep.lock().unwrap() = Some(job.clone());
            Ok(())
        })
        .await;
        assert_eq!(outcome.result.unwrap(), Value::Null);
        let job = kept.lock().unwrap().take().unwrap();
        assert_eq!(job.emit("order.seen", 1), Err(EmitError::Ended));
        assert_eq!(job.emit_now(seen("a")).await, Err(EmitError::Ended));
    }

    #[tokio::test]
    async fn a_stopped_attempt_sends_nothing_and_ends_as_stopped() {
        let outcome = setup().cancel_at(0).run(emit_now, json!({})).await;
        let failure = outcome.result.unwrap_err();
        assert_eq!((failure.kind, failure.retryable, failure.code), (ErrorKind::Cancelled, false, None));
        assert_eq!(outcome.events, []);
    }
}
