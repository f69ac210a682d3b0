//! What happened when: for whoever watches, for whoever studies the logs afterwards, and for the judge, who holds every
//! self-repair against the faults that struck.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::{fault::Fault, plan::Strike};

/// Its name.
pub(super) const FILE: &str = "chaos.log";

/// A file with times, the troubles, and which faults struck.
pub(super) struct FaultLog {
    file: File,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    troubles: Vec<String>,
    struck: Vec<Struck>,
    stalls: Vec<Stall>,
}

/// A fault that struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Struck {
    /// What it was.
    pub(super) fault: Fault,
    /// When it began.
    pub(super) from: Timestamp,
    /// When it was healed, if it was.
    pub(super) until: Option<Timestamp>,
    /// Why it was not made, if it was not. What was tried may have done something all the same.
    pub(super) not_made: Option<String>,
}

/// A time in which the machine let the driver itself wait, and so perhaps everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stall {
    /// Since when.
    pub(super) from: Timestamp,
    /// Until when.
    pub(super) until: Timestamp,
}

impl FaultLog {
    /// Begins `chaos.log` in `folder`.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(folder.join(FILE))?;
        Ok(Self { file, written: Mutex::default() })
    }

    /// Notes something, for whoever studies the logs.
    pub(super) fn note(&self, sentence: &str) {
        // The log of a run whose disk is full has other troubles.
        let _ = (&self.file).write_all(format!("{} {sentence}\n", Timestamp::now()).as_bytes());
    }

    /// Notes something for whoever watches, too.
    pub(super) fn tell(&self, sentence: &str) {
        // Whoever stops reading does not end the run, which has to heal what it broke.
        let _ = writeln!(std::io::stderr().lock(), "{sentence}");
        self.note(sentence);
    }

    /// Notes what must not happen.
    pub(super) fn trouble(&self, sentence: String) {
        self.tell(&format!("TROUBLE: {sentence}"));
        self.written().troubles.push(sentence);
    }

    /// A fault begins. Returns its number.
    pub(super) fn begin(&self, strike: &Strike) -> usize {
        self.tell(&strike.to_string());
        let mut written = self.written();
        written.struck.push(Struck {
            fault: strike.fault,
            from: Timestamp::now(),
            until: None,
            not_made: None,
        });
        written.struck.len() - 1
    }

    /// A fault is over.
    pub(super) fn end(&self, number: usize, not_made: Option<String>) {
        let mut written = self.written();
        let Some(struck) = written.struck.get_mut(number) else { return };
        struck.until = Some(Timestamp::now());
        struck.not_made = not_made;
        let sentence = match &struck.not_made {
            None => format!("over: {}", struck.fault),
            Some(why) => format!("not made: {}: {why}", struck.fault),
        };
        drop(written);
        self.note(&sentence);
    }

    /// The machine stood still.
    pub(super) fn record_stall(&self, from: Timestamp, until: Timestamp) {
        self.note(&format!("the machine stood still since {from}"));
        self.written().stalls.push(Stall { from, until });
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

    /// When the machine stood still.
    #[must_use]
    pub(super) fn stalls(&self) -> Vec<Stall> {
        self.written().stalls.clone()
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often each kind of fault was made, or was not.
#[must_use]
pub(super) fn counts(struck: &[Struck], made: bool) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for struck in struck.iter().filter(|struck| struck.not_made.is_none() == made) {
        *counts.entry(struck.fault.kind()).or_default() += 1;
    }
    counts
}
