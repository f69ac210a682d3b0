//! What an event is about, and which subjects a pattern selects.

use std::{fmt, str::FromStr, sync::Arc};

pub use crewcall_proto::event::InvalidSubject;
use crewcall_proto::{JobType, event::check_subject};

use super::{
    HookName, ScheduleName, State, TickState,
    run_names::{RunState, WorkflowName},
};

/// The longest pattern, in characters: a subject has as many at most.
pub const PATTERN_LENGTH_MAX: usize = SUBJECT_LENGTH_MAX;

/// The longest subject, in characters: one of ours has two words and a job type. One that is published has as many as a job type.
const SUBJECT_LENGTH_MAX: usize = JobType::LENGTH_MAX + "schedule.cancelled.".len();

/// What an event is about: dot-separated words, such as `order.paid`. It has the shape of a job type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Reads the subject of an event that somebody publishes.
    ///
    /// # Errors
    ///
    /// [`InvalidSubject`] when it breaks a rule, or its first word is ours.
    pub fn published(text: &str) -> Result<Self, InvalidSubject> {
        check_subject(text)?;
        Ok(Self(text.into()))
    }

    /// That of the event that we record at the end of a job: `job`, how it ended, and its type.
    #[must_use]
    pub fn of_job(ended: State, job_type: &JobType) -> Self {
        Self(format!("job.{ended}.{job_type}").into())
    }

    /// That of the event that we record at the end of a run: `run`, how it ended, and its workflow.
    #[must_use]
    pub fn of_run(ended: RunState, workflow: &WorkflowName) -> Self {
        Self(format!("run.{ended}.{workflow}").into())
    }

    /// That of the event that we record when ticks of a schedule are missed or skipped.
    #[must_use]
    pub fn of_schedule(fate: TickState, schedule: &ScheduleName) -> Self {
        // The triggers of a workflow have a name of their own, which is none of a subject.
        let name = schedule.as_str().replace(':', ".");
        Self(format!("schedule.{fate}.{name}").into())
    }

    /// That of the event that a delivery to a hook becomes.
    #[must_use]
    pub fn of_hook(hook: &HookName) -> Self {
        Self(format!("hook.{hook}").into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        if text.len() <= SUBJECT_LENGTH_MAX && text.split('.').all(|word| JobType::new(word).is_ok()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidSubject::malformed(text))
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which subjects are meant, as in the binding of a topic exchange: `*` stands for one word, `#` for any number of them,
/// none included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubjectPattern(Arc<str>);

impl SubjectPattern {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it may select events about jobs, runs and schedules.
    #[must_use]
    pub fn may_select_ours(&self) -> bool {
        matches!(self.0.split('.').next(), Some("job" | "run" | "schedule" | "*" | "#"))
    }

    /// Whether it selects this subject.
    #[must_use]
    pub fn selects(&self, subject: &Subject) -> bool {
        // `reached[n]`: the words of the pattern so far may stand for the first n words of the subject.
        let words: Vec<&str> = subject.as_str().split('.').collect();
        let mut reached = vec![false; words.len() + 1];
        reached[0] = true;
        for expected in self.0.split('.') {
            if expected == "#" {
                let first = reached.iter().position(|reached| *reached).unwrap_or(reached.len());
                reached[first..].fill(true);
                continue;
            }
            for at in (0..words.len()).rev() {
                reached[at + 1] = reached[at] && (expected == "*" || expected == words[at]);
            }
            reached[0] = false;
        }
        reached[words.len()]
    }
}

impl FromStr for SubjectPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let is_word = |word: &str| matches!(word, "*" | "#") || JobType::new(word).is_ok();
        if text.len() <= PATTERN_LENGTH_MAX && text.split('.').all(is_word) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPattern { text: text.chars().take(PATTERN_LENGTH_MAX).collect() })
        }
    }
}

/// A text that is not a pattern of subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a pattern of subjects: it has at most 147 characters, and its dot-separated words are those of subjects, * (one word) or # (any number of words), such as \"order.*\""
)]
pub struct InvalidPattern {
    text: String,
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    #[test]
    fn a_subject_has_the_shape_of_a_job_type_and_leaves_our_words_alone() {
        for text in ["order.paid", "a", "jobs.done", "my-job.run"] {
            assert_eq!(Subject::published(text).unwrap().as_str(), text);
        }
        for text in ["", "Order", "a..b", "a.", "ä", &"x".repeat(129)] {
            assert!(matches!(Subject::published(text), Err(InvalidSubject::Malformed { .. })), "{text}");
        }
        for text in ["job", "job.completed.a", "run.x", "schedule.x", "hook.github", "crewcall.webhook"] {
            assert!(matches!(Subject::published(text), Err(InvalidSubject::Reserved { .. })), "{text}");
            assert!(text.parse::<Subject>().is_ok(), "we publish it");
        }
    }

    #[test]
    fn patterns_select_as_the_bindings_of_a_topic_exchange() {
        for (pattern, subject, expected) in [
            ("order.paid", "order.paid", true),
            ("order.paid", "order.paid.twice", false),
            ("order.*", "order.paid", true),
            ("order.*", "order", false),
            ("order.*", "order.paid.twice", false),
            ("order.#", "order", true),
            ("order.#", "order.paid.twice", true),
            ("#", "anything.at.all", true),
            ("*", "anything.at.all", false),
            ("#.twice", "order.paid.twice", true),
            ("#.twice", "twice", true),
            ("a.#.z", "a.z", true),
            ("a.#.z", "a.b.c", false),
            ("*.#", "a", true),
            ("#.#", "a", true),
            ("*.*", "a", false),
        ] {
            let selects = pattern.parse::<SubjectPattern>().unwrap().selects(&subject.parse().unwrap());
            assert_eq!(selects, expected, "{pattern} on {subject}");
        }
        for pattern in ["", "a..b", "Order.*", "a.**", "a.b*", &"a.".repeat(80)] {
            assert!(pattern.parse::<SubjectPattern>().is_err(), "{pattern}");
        }
    }

    /// The same, said naively.
    fn naive(pattern: &[&str], words: &[&str]) -> bool {
        match (pattern.split_first(), words.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((&"#", pattern_rest)), rest) => {
                naive(pattern_rest, words) || rest.is_some_and(|(_, words)| naive(pattern, words))
            }
            (Some((expected, pattern)), Some((word, words))) => {
                (*expected == "*" || expected == word) && naive(pattern, words)
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_select_what_their_definition_says(
            pattern in vec(select(vec!["a", "b", "*", "#"]), 1..7),
            words in vec(select(vec!["a", "b", "c"]), 1..7),
        ) {
            let selects = pattern.join(".").parse::<SubjectPattern>().unwrap();
            prop_assert_eq!(selects.selects(&words.join(".").parse().unwrap()), naive(&pattern, &words));
        }
    }
}
