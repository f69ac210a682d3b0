//! Reading the log of published events, and following it.

use tokio::sync::watch;

use super::{
    Engine,
    ports::{LogBounds, StoreError},
};
use crate::domain::{PublishedEvent, Sequence, SubjectPattern};

/// How many events are read in one step.
const STEP_EVENTS: usize = 256;

/// How much data the events of one step may have, in bytes, the last aside.
const STEP_BYTES_MAX: usize = 1024 * 1024;

/// How much data the events of one page may have, in bytes, those of the last step aside.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many events a page looks at: a pattern may select few of them.
pub const PAGE_LOOKS_MAX: usize = 10_000;

/// Which part of the log is asked for.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Which subjects; all, if there is none.
    pub subjects: Option<SubjectPattern>,
    /// The place before the first event that is wanted; `None` for the oldest that is kept.
    pub after: Option<Sequence>,
    /// How many events at most.
    pub limit: usize,
}

/// A part of the log.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// Oldest first.
    pub events: Vec<PublishedEvent>,
    /// How far was looked: the next page begins after it.
    pub after: Sequence,
    /// From where to where the log goes.
    pub bounds: LogBounds,
}

/// Why a part of the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// What comes after this place is deleted.
    #[error("the events after {after} are deleted; the oldest that is kept is {}", .bounds.oldest)]
    Gone { after: Sequence, bounds: LogBounds },
    /// There is no such place yet.
    #[error("the log has no event {after} yet; its newest is {}", .bounds.head)]
    Beyond { after: Sequence, bounds: LogBounds },
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Events, oldest first. Looks at no more than [`PAGE_LOOKS_MAX`]: a page that ends before the log does may have fewer than
    /// were asked for, or none.
    ///
    /// # Errors
    ///
    /// [`LogError`] when that part of the log is not there, or cannot be read.
    pub async fn events(&self, query: &LogQuery) -> Result<LogPage, LogError> {
        let bounds = self.store.log_bounds().await?;
        let oldest = Sequence(bounds.oldest.0.saturating_sub(1));
        let after = query.after.unwrap_or(oldest);
        if after > bounds.head {
            return Err(LogError::Beyond { after, bounds });
        }
        let mut page = LogPage { events: Vec::new(), after, bounds };
        let (mut looks, mut bytes) = (0, 0);
        while page.events.len() < query.limit && looks < PAGE_LOOKS_MAX && bytes < PAGE_BYTES_MAX {
            let step = self.store.events_after(page.after, STEP_EVENTS, STEP_BYTES_MAX).await?;
            // Retention may have come in between: what is read has no gap, or is not passed on.
            match step.first() {
                Some(first) if first.sequence != page.after.next() => {
                    let bounds = self.store.log_bounds().await?;
                    return Err(LogError::Gone { after: page.after, bounds });
                }
                Some(_) => {}
                None if page.after < oldest => return Err(LogError::Gone { after: page.after, bounds }),
                None => break,
            }
            for event in step {
                if page.events.len() == query.limit {
                    break;
                }
                looks += 1;
                page.after = event.sequence;
                if query.subjects.as_ref().is_none_or(|subjects| subjects.selects(&event.subject)) {
                    bytes += event.data.len();
                    page.events.push(event);
                }
            }
        }
        Ok(page)
    }

    /// One event; `None` when there is none there, or not any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn event(&self, sequence: Sequence) -> Result<Option<PublishedEvent>, StoreError> {
        self.store.event(sequence).await
    }

    /// The newest event, whenever it is another.
    #[must_use]
    pub fn log_head(&self) -> watch::Receiver<Sequence> {
        self.changes.log_head()
    }
}
