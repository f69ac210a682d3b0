//! What happened when: for whoever watches, and for whoever studies the logs afterwards.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::Path,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use super::plan::{Strike, Subject};

/// A file with times, the troubles, and which faults struck.
pub(super) struct Diary {
    file: File,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    troubles: Vec<String>,
    struck: Vec<Struck>,
}

/// A fault that struck.
#[derive(Debug, Clone, Copy)]
pub(super) struct Struck {
    /// What it was about.
    pub(super) subject: Subject,
    /// When it began.
    pub(super) from: Timestamp,
    /// When it was healed, if it was.
    pub(super) until: Option<Timestamp>,
    kind: &'static str,
}

impl Diary {
    /// Begins `chaos.log` in `folder`.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(folder.join("chaos.log"))?;
        Ok(Self { file, written: Mutex::default() })
    }

    /// Notes something, for whoever studies the logs.
    pub(super) fn note(&self, sentence: &str) {
        // The diary of a run whose disk is full has other troubles.
        let _ = (&self.file).write_all(format!("{} {sentence}\n", Timestamp::now()).as_bytes());
    }

    /// Notes something for whoever watches, too.
    #[expect(clippy::print_stderr, reason = "the plan as it goes, for whoever watches the run")]
    pub(super) fn tell(&self, sentence: &str) {
        eprintln!("{sentence}");
        self.note(sentence);
    }

    /// Notes what must not happen.
    pub(super) fn trouble(&self, sentence: String) {
        self.tell(&format!("TROUBLE: {sentence}"));
        self.written().troubles.push(sentence);
    }

    /// A fault begins. Answers its number.
    pub(super) fn begins(&self, strike: &Strike) -> usize {
        self.tell(&strike.to_string());
        let (subject, kind) = (strike.fault.subject(), strike.fault.kind());
        let mut written = self.written();
        written.struck.push(Struck { subject, from: Timestamp::now(), until: None, kind });
        written.struck.len() - 1
    }

    /// A fault is over.
    pub(super) fn over(&self, number: usize, strike: &Strike) {
        self.note(&format!("over: {strike}"));
        if let Some(struck) = self.written().struck.get_mut(number) {
            struck.until = Some(Timestamp::now());
        }
    }

    /// What must not have happened.
    #[must_use]
    pub(super) fn troubles(&self) -> Vec<String> {
        self.written().troubles.clone()
    }

    /// The faults that struck, oldest first.
    #[must_use]
    pub(super) fn struck(&self) -> Vec<Struck> {
        self.written().struck.clone()
    }

    /// How often each fault struck.
    #[must_use]
    pub(super) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for struck in &self.written().struck {
            *counts.entry(struck.kind).or_default() += 1;
        }
        counts
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
