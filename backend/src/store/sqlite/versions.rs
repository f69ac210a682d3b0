//! Versions of workflows: each is read of its document once for as long as anybody has it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rusqlite::{Connection, params};

use super::{
    columns::{all, first, list, sql, unreadable},
    run_rows::{VersionRow, WorkflowRow},
    transaction_error::TransactionError,
    values::{from_json, to_limit},
};
use crate::{
    domain::{
        Problem,
        workflow::{
            definition::{Workflow, WorkflowName},
            known::{KnownWorkflow, WorkflowVersion},
        },
    },
    engine::ports::VersionLine,
};

/// Versions, for as long as anybody else has them.
type Known = HashMap<(WorkflowName, u32), Weak<WorkflowVersion>>;

/// The versions that somebody has, shared between whoever writes and whoever reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    known: Arc<Mutex<Known>>,
}

impl Versions {
    /// A version that somebody has from now on.
    pub(super) fn note(&self, version: &Arc<WorkflowVersion>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, version| version.strong_count() > 0);
        known.insert((version.name().clone(), version.number), Arc::downgrade(version));
    }

    fn known(&self, row: &VersionRow) -> Option<Arc<WorkflowVersion>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let version = known.get(&(row.workflow.clone(), row.line.number))?.upgrade()?;
        // A workflow that was deleted with all of its versions counts from the beginning when it comes again.
        (*version.document == *row.document && version.made_at == row.line.made_at).then_some(version)
    }

    /// One version, if it is kept.
    pub(super) fn get(
        &self,
        connection: &Connection,
        name: &WorkflowName,
        number: u32,
    ) -> Result<Option<Arc<WorkflowVersion>>, TransactionError> {
        let sql =
            sql!("SELECT {} FROM workflow_versions WHERE workflow = ? AND number = ?", list::<VersionRow>());
        let row = first::<VersionRow>(connection, sql, params![name.as_str(), number])?;
        row.map(|row| self.read(row)).transpose()
    }

    fn read(&self, row: VersionRow) -> Result<Arc<WorkflowVersion>, TransactionError> {
        if let Some(version) = self.known(&row) {
            return Ok(version);
        }
        let VersionRow { workflow: name, line: VersionLine { number, made_at, made_by }, document } = row;
        let read = from_json(&document)
            .and_then(|json| Workflow::read(&json).map_err(|problems| first_of(&problems)));
        let workflow =
            read.map_err(|problem| unreadable("document", format_args!("{name} {number}: {problem}")))?;
        let version =
            Arc::new(WorkflowVersion { workflow, number, document: document.into(), made_at, made_by });
        self.note(&version);
        Ok(version)
    }

    /// The workflows that runs can be made of.
    pub(super) fn workflows(&self, connection: &Connection) -> Result<Vec<KnownWorkflow>, TransactionError> {
        let rows: Vec<WorkflowRow> =
            all(connection, sql!("SELECT {} FROM workflows", list::<WorkflowRow>()), ())?;
        let known = |WorkflowRow { name, newest, pause, created_at }| {
            let newest = self.get(connection, &name, newest)?.ok_or_else(|| unreadable("newest", newest))?;
            Ok(KnownWorkflow { newest, pause, created_at })
        };
        rows.into_iter().map(known).collect()
    }
}

fn first_of(problems: &[Problem]) -> String {
    problems.first().map_or_else(String::new, |problem| format!("{}: {}", problem.pointer, problem.message))
}

/// The versions of a workflow that are kept, newest first, from the one before `before`.
pub(super) fn lines(
    connection: &Connection,
    name: &WorkflowName,
    before: Option<u32>,
    limit: usize,
) -> Result<Vec<VersionLine>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM workflow_versions WHERE workflow = ? AND number < ? ORDER BY number DESC LIMIT ?",
        list::<VersionLine>()
    );
    let before = before.map_or(i64::MAX, i64::from);
    all(connection, sql, params![name.as_str(), before, to_limit(limit)])
}

/// The newest version of a workflow that is kept.
pub(super) fn last(connection: &Connection, name: &WorkflowName) -> Result<Option<u32>, TransactionError> {
    first(
        connection,
        "SELECT number FROM workflow_versions WHERE workflow = ? ORDER BY number DESC LIMIT 1",
        [name.as_str()],
    )
}
