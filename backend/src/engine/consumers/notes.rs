//! What went by that people should know of, for each consumer, since the backend started.

use std::collections::VecDeque;

use crewcall_proto::Timestamp;
use dashmap::DashMap;

use crate::domain::{ConsumerName, Sequence};

/// How many of each kind are shown.
const SHOWN_MAX: usize = 10;

/// An event of which nothing was made, although its subject was selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub sequence: Sequence,
    pub at: Timestamp,
    pub message: String,
    /// How it came about, from its beginning; empty, unless that is what the note is about.
    pub chain: Vec<String>,
}

/// The last notes of a kind, and how many there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    pub count: u64,
    /// Oldest first.
    pub last: VecDeque<Note>,
}

impl Notes {
    fn add(&mut self, note: Note) {
        self.count += 1;
        self.last.push_back(note);
        if self.last.len() > SHOWN_MAX {
            self.last.pop_front();
        }
    }
}

/// What there is to know of one consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerNotes {
    /// Conditions that could not be evaluated.
    pub unclear: Notes,
    /// Events at the end of too long a chain.
    pub refused: Notes,
    /// Why it does not get on, if something keeps it that is neither full nor a pause.
    pub trouble: Option<String>,
}

/// The notes of all consumers.
#[derive(Debug, Default)]
pub(super) struct NoteBook(DashMap<ConsumerName, ConsumerNotes>);

impl NoteBook {
    pub(super) fn of(&self, name: &ConsumerName) -> ConsumerNotes {
        self.0.get(name).map(|notes| notes.clone()).unwrap_or_default()
    }

    pub(super) fn unclear(&self, name: &ConsumerName, note: Note) {
        self.0.entry(name.clone()).or_default().unclear.add(note);
    }

    pub(super) fn refused(&self, name: &ConsumerName, note: Note) {
        self.0.entry(name.clone()).or_default().refused.add(note);
    }

    /// Something keeps it from getting on; or nothing does any more. Returns whether that is news.
    pub(super) fn trouble(&self, name: &ConsumerName, trouble: Option<String>) -> bool {
        if trouble.is_none() && !self.0.contains_key(name) {
            return false;
        }
        let mut notes = self.0.entry(name.clone()).or_default();
        let before = std::mem::replace(&mut notes.trouble, trouble);
        before != notes.trouble
    }

    pub(super) fn forget(&self, name: &ConsumerName) {
        self.0.remove(name);
    }
}
