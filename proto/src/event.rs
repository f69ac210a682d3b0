//! Events that a handler emits: with the result of its attempt, or while it runs.
//!
//! [`Event`]s travel inside [`Completed`](crate::response::Completed) and are recorded with the end of the job, in one
//! transaction. An [`Emitted`] is a message by itself, published to `<prefix>.response` with the routing key
//! `emitted.<job type>`, and is recorded once under its id. A worker sends either only to a backend whose last welcome had
//! [`FEATURE_EVENTS`](crate::control::FEATURE_EVENTS).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Attempt, AttemptToken, ExecutionId, JobId, JobType, Timestamp, WorkerId, origin::origin};

/// The most events of one attempt, those in its answer and those by themselves together.
pub const EVENTS_MAX: usize = 100;

/// How large the data of the events of one attempt may be together, in bytes of their JSON text: as much as a result, so that
/// an answer with both stays below [`BODY_BYTES_MAX`](crate::codec::BODY_BYTES_MAX).
pub const EVENTS_BYTES_MAX: usize = 256 * 1024;

/// The longest id of an event, in characters.
pub const EVENT_ID_LENGTH_MAX: usize = 255;

/// First words of subjects that belong to the events that Crewcall makes itself.
pub const RESERVED_WORDS: [&str; 5] = ["job", "run", "schedule", "hook", "crewcall"];

/// Something that happened, as a handler says it with its result: recorded in the transaction that completes the job, or
/// never.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What it is about, such as `order.paid`: a text that [`check_subject`] takes, and that the type announced.
    pub subject: String,
    /// What happened: any JSON but null. At most [`EVENTS_BYTES_MAX`], together with that of the attempt's other events.
    pub data: Value,
    /// When it happened, if that is not when it is recorded. It orders nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
}

/// Something that happened while an attempt runs: recorded when the backend reads it, whatever becomes of the attempt. It
/// counts if its token is that of the current attempt of the job or of one that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Emitted {
    /// The job of the order that the handler works on.
    pub job_id: JobId,
    /// The number of the attempt in that order.
    pub attempt: Attempt,
    /// The token of that order, which only its receiver knows: without it nothing can be said of the attempt.
    pub attempt_token: AttemptToken,
    /// This run of the attempt. An order that is delivered again gets another one.
    pub execution_id: ExecutionId,
    /// Whose run it is: the id that the worker announced itself by.
    pub worker_id: WorkerId,
    /// The handler's own name for the event ([`is_event_id`]). The same event again under the same id is recorded once;
    /// another one under that id is refused.
    pub id: String,
    /// What it is about, such as `order.paid`: a text that [`check_subject`] takes, and that the type announced.
    pub subject: String,
    /// What happened: any JSON but null. At most [`EVENTS_BYTES_MAX`], together with that of the attempt's other events.
    pub data: Value,
    /// When it happened, if that is not when it is recorded. It orders nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
}

origin!(Emitted);

/// Whether this can be the id of an event: 1 to [`EVENT_ID_LENGTH_MAX`] visible ASCII characters, no spaces.
#[must_use]
pub fn is_event_id(text: &str) -> bool {
    (1..=EVENT_ID_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Checks the subject of an event that is not Crewcall's own: it has the shape of a job type, and its first word is none of
/// [`RESERVED_WORDS`].
///
/// # Errors
///
/// [`InvalidSubject`] says which rule the text breaks.
pub fn check_subject(text: &str) -> Result<(), InvalidSubject> {
    if JobType::new(text).is_err() {
        return Err(InvalidSubject::malformed(text));
    }
    let first = text.split('.').next().unwrap_or_default();
    if RESERVED_WORDS.contains(&first) {
        return Err(InvalidSubject::Reserved { word: first.to_owned() });
    }
    Ok(())
}

/// A text that is not the subject of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// It has not the shape of a subject.
    #[error(
        "{text:?} is not a subject: a subject is 1 to 128 characters of a-z 0-9 . _ - in dot-separated words, such as \"order.paid\""
    )]
    Malformed {
        /// The text, or its beginning.
        text: String,
    },
    /// Its first word is one of [`RESERVED_WORDS`].
    #[error(
        "a subject does not begin with {word:?}: the first words job, run, schedule, hook and crewcall are those of events that Crewcall makes"
    )]
    Reserved {
        /// That word.
        word: String,
    },
}

impl InvalidSubject {
    /// That of a text that has not the shape of a subject; only its beginning is kept.
    #[must_use]
    pub fn malformed(text: &str) -> Self {
        Self::Malformed { text: text.chars().take(JobType::LENGTH_MAX).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_the_shape_of_a_job_type_and_leaves_our_words_alone() {
        for text in ["order.paid", "a", "jobs.done", "my-job.run", "order.job", &"x".repeat(128)] {
            assert_eq!(check_subject(text), Ok(()), "{text}");
        }
        for text in ["", "Order", "a..b", "a.", "ä", "order.*", "a b", &"x".repeat(129)] {
            let refused = check_subject(text);
            assert!(matches!(refused, Err(InvalidSubject::Malformed { .. })), "{text}: {refused:?}");
        }
        for word in RESERVED_WORDS {
            for text in [word.to_owned(), format!("{word}.x")] {
                let refused = check_subject(&text);
                assert_eq!(refused, Err(InvalidSubject::Reserved { word: word.to_owned() }), "{text}");
            }
            let said = InvalidSubject::Reserved { word: word.to_owned() }.to_string();
            let words = said.split_once(": the first words ").map_or("", |(_, words)| words);
            assert!(words.contains(word), "{said}");
        }
    }

    #[test]
    fn what_is_said_of_a_long_text_is_short() {
        let InvalidSubject::Malformed { text } = InvalidSubject::malformed(&"ä".repeat(1_000)) else {
            unreachable!("it is malformed")
        };
        assert_eq!(text.chars().count(), 128);
    }

    #[test]
    fn an_event_id_is_visible_ascii_of_limited_length() {
        for text in ["a", "github:a1b2", "~!{}\"", &"x".repeat(EVENT_ID_LENGTH_MAX)] {
            assert!(is_event_id(text), "{text:?}");
        }
        for text in ["", " ", "a b", "a\n", "\u{7f}", "é", &"x".repeat(EVENT_ID_LENGTH_MAX + 1)] {
            assert!(!is_event_id(text), "{text:?}");
        }
    }
}
