//! Events that somebody publishes, in the order in which they were recorded. What happens to a job is another kind of event:
//! [`super::Event`].

use crewcall_proto::{
    Timestamp,
    event::{EVENT_ID_LENGTH_MAX, is_event_id},
};

use super::{Origin, Problem, Root, Sequence, Subject};

/// What somebody wants to publish, as it came in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventSubmission {
    pub subject: String,
    /// JSON text.
    pub data: String,
    pub id: Option<EventId>,
    /// When it happened, by the publisher.
    pub occurred_at: Option<Timestamp>,
}

/// The publisher's own name for an event, by which it may be published again without being recorded twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId {
    /// 1 to [`EVENT_ID_LENGTH_MAX`] visible ASCII characters.
    pub text: String,
    /// What the event says: a SHA-256 that does not depend on the order of fields.
    pub content_hash: [u8; 32],
}

/// What is an event, but for its place and the time.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub subject: Subject,
    /// JSON text.
    pub data: String,
    pub id: Option<EventId>,
    pub occurred_at: Option<Timestamp>,
    /// Which job it tells of, or published it; `None`, if somebody else published it.
    pub origin: Option<Origin>,
}

/// An event of the log. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedEvent {
    pub sequence: Sequence,
    pub recorded_at: Timestamp,
    /// When it happened, if its publisher said so. The order is that of the sequence.
    pub occurred_at: Option<Timestamp>,
    pub subject: Subject,
    /// The publisher's own name for it.
    pub id: Option<String>,
    /// Which job it tells of, or published it; `None`, if somebody else published it.
    pub origin: Option<Origin>,
    /// JSON text.
    pub data: String,
}

impl EventSubmission {
    /// Reads the submission as an event.
    ///
    /// # Errors
    ///
    /// Every problem it has, in the order of the fields.
    pub fn validate(self) -> Result<NewEvent, Vec<Problem>> {
        let Self { subject, data, id, occurred_at } = self;
        let mut problems = Vec::new();
        let subject = Subject::published(&subject);
        if let Err(invalid) = &subject {
            problems.push(Problem::new("/subject", invalid.to_string()));
        }
        if !id.as_ref().is_none_or(|id| is_event_id(&id.text)) {
            let message = format!(
                "an event's id is 1 to {EVENT_ID_LENGTH_MAX} visible ASCII characters, without spaces"
            );
            problems.push(Problem::new("/id", message));
        }
        match subject {
            Ok(subject) if problems.is_empty() => {
                Ok(NewEvent { subject, data, id, occurred_at, origin: None })
            }
            _ => Err(problems),
        }
    }
}

impl PublishedEvent {
    /// Where the chain began that it belongs to.
    #[must_use]
    pub fn root(&self) -> Root {
        self.origin.map_or(Root::Event(self.sequence), |origin| origin.root)
    }

    /// How many jobs made each other before it.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.origin.map_or(0, |origin| origin.depth)
    }
}

impl NewEvent {
    /// The event in its place, recorded at `now`.
    #[must_use]
    pub fn record(self, sequence: Sequence, now: Timestamp) -> PublishedEvent {
        let Self { subject, data, id, occurred_at, origin } = self;
        let id = id.map(|id| id.text);
        PublishedEvent { sequence, recorded_at: now, occurred_at, subject, id, origin, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let submission = |subject: &str, id: &str| EventSubmission {
            subject: subject.to_owned(),
            data: "{}".to_owned(),
            id: Some(EventId { text: id.to_owned(), content_hash: [0; 32] }),
            occurred_at: None,
        };
        let problems = submission("job.x", "two words").validate().unwrap_err();
        let pointers: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(pointers, ["/subject", "/id"]);
        for id in ["", "ä", &"x".repeat(256)] {
            assert_eq!(submission("a", id).validate().unwrap_err()[0].pointer, "/id");
        }
        assert!(submission("a.b", "github:a1b2").validate().is_ok());
    }
}
