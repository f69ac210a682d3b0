//! Lists of runs, newest first, with filters.
//!
//! Ids are of UUID version 7, so their order is that of age. Each filter is read from an index in that order. The narrowest
//! leads, the others are asked row by row.

use std::collections::{BTreeMap, BTreeSet};

use crewcall_proto::RunId;
use rusqlite::{Connection, params};

use super::{
    columns::{Columns, Parameters, Value, columns, first, list, names_of, sql},
    runs::RunReader,
    transaction_error::TransactionError,
    values::run_id_bytes,
    versions::Versions,
};
use crate::{
    domain::workflow::{definition::WorkflowName, known::StoredRun, run::RunState},
    engine::ports::RunQuery,
};

/// How many runs of a filter are counted to find the narrowest: counting more would take longer than it saves.
const COUNT_MAX: i64 = 10_000;

/// Runs, newest first.
pub(super) fn runs(
    connection: &Connection,
    versions: &Versions,
    query: &RunQuery,
) -> Result<Vec<StoredRun>, TransactionError> {
    let mut reader = RunReader::new(connection, versions);
    let mut runs = Vec::new();
    for id in (Scan { connection, query }).ids()? {
        runs.extend(reader.get(id)?.map(|(_, run)| run));
    }
    Ok(runs)
}

/// A part of an index that has ids in their order.
enum Range<'a> {
    All,
    Label(&'a str, &'a str),
    State(RunState),
    Workflow(&'a WorkflowName, RunState),
}

/// One reading of the lists.
struct Scan<'a> {
    connection: &'a Connection,
    query: &'a RunQuery,
}

impl<'a> Scan<'a> {
    fn ids(&self) -> Result<Vec<RunId>, TransactionError> {
        let limit = self.query.limit;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let ranges = self.narrowest()?;
        let mut ids: BTreeSet<RunId> = BTreeSet::new();
        for range in &ranges {
            let floor = ids.first().copied().filter(|_| ids.len() >= limit);
            ids.extend(self.newest_of(range, floor)?);
            while ids.len() > limit {
                ids.pop_first();
            }
        }
        Ok(ids.into_iter().rev().collect())
    }

    /// What to read: the runs of one label, or of states.
    fn narrowest(&self) -> Result<Vec<Range<'a>>, TransactionError> {
        let query = self.query;
        let by_states = query.workflow.is_some() || !query.states.is_empty();
        let states =
            RunState::ALL.into_iter().filter(|state| query.states.is_empty() || query.states.contains(state));
        let states: Vec<Range<'a>> = match &query.workflow {
            Some(workflow) => states.map(|state| Range::Workflow(workflow, state)).collect(),
            None if by_states => states.map(Range::State).collect(),
            None => vec![Range::All],
        };
        if query.labels.is_empty() {
            return Ok(states);
        }
        let mut narrowest = (COUNT_MAX + 1, states);
        if by_states {
            narrowest.0 = narrowest.1.iter().map(|range| self.count(range)).sum::<Result<i64, _>>()?;
        }
        for (name, value) in &query.labels {
            let label = Range::Label(name, value);
            let count = self.count(&label)?;
            if count < narrowest.0 {
                narrowest = (count, vec![label]);
            }
        }
        Ok(narrowest.1)
    }

    /// How many runs a range has, as far as they are counted.
    fn count(&self, range: &Range<'_>) -> Result<i64, TransactionError> {
        let connection = self.connection;
        let count: Option<i64> = match range {
            Range::All => Some(COUNT_MAX),
            Range::Label(name, value) => first(
                connection,
                "SELECT count(*) FROM (SELECT 1 FROM run_labels WHERE name = ? AND value = ? LIMIT ?)",
                params![name, value, COUNT_MAX],
            )?,
            Range::State(state) => first(
                connection,
                "SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_by_state WHERE state = ? LIMIT ?)",
                params![state.as_str(), COUNT_MAX],
            )?,
            Range::Workflow(workflow, state) => first(
                connection,
                "SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_by_workflow \
                 WHERE workflow = ? AND state = ? LIMIT ?)",
                params![workflow.as_str(), state.as_str(), COUNT_MAX],
            )?,
        };
        Ok(count.unwrap_or_default())
    }

    /// The newest of a range that all filters let pass, and that are not older than `floor`.
    fn newest_of(&self, range: &Range<'_>, floor: Option<RunId>) -> Result<Vec<RunId>, TransactionError> {
        let floor = floor.as_ref().map_or(&[][..], run_id_bytes);
        // Nothing is above this.
        let before = self.query.before.as_ref().map_or(&[0xff; 17][..], run_id_bytes);
        let sql = match range {
            Range::All => "SELECT id FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC",
            Range::Label(..) => {
                "SELECT run_id FROM run_labels WHERE run_id >= ? AND run_id < ? AND name = ? AND value = ? \
                 ORDER BY run_id DESC"
            }
            Range::State(_) => {
                "SELECT id FROM runs INDEXED BY runs_by_state WHERE id >= ? AND id < ? AND state = ? \
                 ORDER BY id DESC"
            }
            Range::Workflow(..) => {
                "SELECT id FROM runs INDEXED BY runs_by_workflow \
                 WHERE id >= ? AND id < ? AND workflow = ? AND state = ? ORDER BY id DESC"
            }
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = match range {
            Range::All => statement.query(params![floor, before]),
            Range::Label(name, value) => statement.query(params![floor, before, name, value]),
            Range::State(state) => statement.query(params![floor, before, state.as_str()]),
            Range::Workflow(workflow, state) => {
                statement.query(params![floor, before, workflow.as_str(), state.as_str()])
            }
        }?;
        let mut ids = Vec::new();
        while ids.len() < self.query.limit
            && let Some(row) = rows.next()?
        {
            let id = Columns::of(row).value()?;
            if self.passes(id)? {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Whether all filters let a run pass.
    fn passes(&self, id: RunId) -> Result<bool, TransactionError> {
        let RunQuery { workflow, states, labels, .. } = self.query;
        if labels.is_empty() {
            // The range knows the others.
            return Ok(true);
        }
        let sql = sql!("SELECT {} FROM runs WHERE id = ?", list::<Asked>());
        let Some(run) = first::<Asked>(self.connection, sql, [run_id_bytes(&id)])? else { return Ok(false) };
        Ok(workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow)
            && (states.is_empty() || states.contains(&run.state))
            && labels.iter().all(|(name, value)| run.labels.get(name) == Some(value)))
    }
}

/// What filters ask of a run.
struct Asked {
    workflow: WorkflowName,
    state: RunState,
    labels: BTreeMap<String, String>,
}

columns!(Asked { workflow: "workflow", state: "state", labels: "labels" });
