//! Something that happened, as a handler says it.

use crewcall_proto::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Something that happened. With an [`id`](Self::id) it can be sent while the handler runs
/// ([`JobContext::emit_now`](crate::JobContext::emit_now)).
///
/// ```
/// # use crewcall_worker::Event;
/// # use serde_json::json;
/// let found = Event::new("image.found", json!({"path": "fjord.jpg"})).id("scanner:fjord.jpg");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub(crate) subject: String,
    /// The data, or why they have no form in JSON; said when the event is emitted.
    pub(crate) data: Result<Value, String>,
    pub(crate) occurred_at: Option<Timestamp>,
}

impl Event {
    /// An event about `subject`, such as `order.paid`, which the type has to [declare](crate::JobOptions::emits). The data are
    /// whatever serialises to JSON other than null.
    #[must_use]
    pub fn new(subject: impl Into<String>, data: impl Serialize) -> Self {
        let data = serde_json::to_value(data).map_err(|error| error.to_string());
        Self { subject: subject.into(), data, occurred_at: None }
    }

    /// Your own name for what happened: 1 to 255 visible ASCII characters, such as `github:a1b2`. Under one id an event is
    /// recorded once, so it has to be the same when the handler does the same work again, and another one for everything else,
    /// also in other jobs: make it of what the event is about, not of the attempt.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> IdentifiedEvent {
        IdentifiedEvent { id: id.into(), event: self }
    }

    /// When it happened, for people: it orders nothing. Default: nothing is said of that.
    #[must_use]
    pub fn occurred_at(mut self, occurred_at: Timestamp) -> Self {
        self.occurred_at = Some(occurred_at);
        self
    }
}

/// An [`Event`] with an id, under which it is recorded once however often it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentifiedEvent {
    pub(crate) id: String,
    pub(crate) event: Event,
}

impl IdentifiedEvent {
    /// When it happened, for people: it orders nothing. A part of the event: with another time it is another event, and
    /// refused under the same id. So take the time of what happened, not the clock's. Default: nothing is said of that.
    #[must_use]
    pub fn occurred_at(mut self, occurred_at: Timestamp) -> Self {
        self.event.occurred_at = Some(occurred_at);
        self
    }
}
