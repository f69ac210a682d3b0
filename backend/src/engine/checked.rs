//! What was found about a document that somebody wants to keep.

use super::ports::StoreError;
use crate::domain::Problem;

/// What was found about a document.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What makes it no workflow.
    pub problems: Vec<Problem>,
    /// What may be meant, and may not work: a type that nobody announced.
    pub warnings: Vec<Problem>,
}

/// Why nothing can be said of a document now.
#[derive(Debug)]
pub enum NotChecked {
    /// Too many others are being checked: trying again helps.
    Busy,
    /// The store is closed, or a thread was lost.
    Store(StoreError),
}

impl From<StoreError> for NotChecked {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
