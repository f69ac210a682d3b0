//! What was declared since the start, for the sessions to come.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{Declaration, LinkError};

/// The most declarations that a publisher remembers for its next session.
const DECLARATIONS_MAX: usize = 20_000;

/// What `declare` added, to be repeated by every later session.
#[derive(Default)]
pub(super) struct DeclarationCache(Mutex<HashSet<Declaration>>);

impl DeclarationCache {
    pub(super) fn add(&self, declarations: &[Declaration]) -> Result<Vec<Declaration>, LinkError> {
        let mut declared = self.lock();
        let added: Vec<_> =
            declarations.iter().filter(|declaration| !declared.contains(*declaration)).cloned().collect();
        if declared.len() + added.len() > DECLARATIONS_MAX {
            let reason =
                format!("a publisher repeats at most {DECLARATIONS_MAX} declarations when it reconnects");
            return Err(LinkError::Invalid { what: "another declaration".to_owned(), reason });
        }
        declared.extend(added.iter().cloned());
        Ok(added)
    }

    pub(super) fn remove(&self, declarations: &[Declaration]) {
        let mut declared = self.lock();
        for declaration in declarations {
            declared.remove(declaration);
        }
    }

    pub(super) fn all(&self) -> Vec<Declaration> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Declaration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
