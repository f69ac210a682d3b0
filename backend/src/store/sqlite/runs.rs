//! Runs, read from the database.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crewcall_proto::{JobId, RunId};
use rusqlite::{Connection, params};

use super::{
    columns::{Columns, Parameters, Value, all, columns, first, list, names_of, sql, unreadable},
    journal,
    run_rows::{DataRow, FoundRun, StepRow, WaitRow},
    run_values::step_of,
    transaction_error::TransactionError,
    values::{id_bytes, run_id_bytes, to_integer, to_limit},
    versions::Versions,
};
use crate::{
    domain::{
        Cause, CausedBy, JobError, Root, State,
        workflow::{
            definition::WorkflowName,
            known::{ItemKey, ItemWork, Role, StoredItem, StoredRun, WorkflowVersion},
            run::{Generation, RunState},
        },
    },
    engine::ports::{ItemQuery, JournalLine, RunData},
};

/// The states that are not terminal, as they stand in statements.
pub(super) const OPEN: &str = "('queued', 'running', 'stopping', 'compensating')";

/// Reads runs, each with the version that it has.
pub(super) struct RunReader<'a> {
    connection: &'a Connection,
    versions: &'a Versions,
    /// The versions that were needed so far.
    needed: HashMap<(WorkflowName, u32), Arc<WorkflowVersion>>,
}

impl<'a> RunReader<'a> {
    pub(super) fn new(connection: &'a Connection, versions: &'a Versions) -> Self {
        Self { connection, versions, needed: HashMap::new() }
    }

    fn version(
        &mut self,
        name: &WorkflowName,
        number: u32,
    ) -> Result<Arc<WorkflowVersion>, TransactionError> {
        let key = (name.clone(), number);
        if let Some(version) = self.needed.get(&key) {
            return Ok(Arc::clone(version));
        }
        let version = self.versions.get(self.connection, name, number)?;
        let version =
            version.ok_or_else(|| unreadable("workflow_version", format_args!("{name} {number}")))?;
        self.needed.insert(key, Arc::clone(&version));
        Ok(version)
    }

    fn run(&mut self, FoundRun { seq, row }: FoundRun) -> Result<StoredRun, TransactionError> {
        let version = self.version(&row.info.workflow, row.info.number)?;
        let steps = sql!("SELECT {} FROM run_steps WHERE run_seq = ?", list::<StepRow>());
        let steps: Vec<StepRow> = all(self.connection, steps, [seq])?;
        let waits = sql!("SELECT {} FROM waits WHERE run_seq = ?", list::<WaitRow>());
        let waits: Vec<WaitRow> = all(self.connection, waits, [seq])?;
        row.run(version, steps, waits)
    }

    /// One run, with the store's own number of its row.
    pub(super) fn get(&mut self, id: RunId) -> Result<Option<(i64, StoredRun)>, TransactionError> {
        let sql = sql!("SELECT {} FROM runs WHERE id = ?", list::<FoundRun>());
        let found: Option<FoundRun> = first(self.connection, sql, [run_id_bytes(&id)])?;
        found.map(|found| Ok((found.seq, self.run(found)?))).transpose()
    }

    /// The runs that are not over.
    pub(super) fn open(&mut self) -> Result<Vec<StoredRun>, TransactionError> {
        let sql =
            sql!("SELECT {} FROM runs INDEXED BY runs_by_state WHERE state IN {OPEN}", list::<FoundRun>());
        let found: Vec<FoundRun> = all(self.connection, sql, ())?;
        found.into_iter().map(|found| self.run(found)).collect()
    }

    fn cause(&mut self, row: ItemCauseRow) -> Result<Cause, TransactionError> {
        let ItemCauseRow { run, workflow, number, root, depth, step, role, generation, index } = row;
        let version = self.version(&workflow, number)?;
        let found = step_of(&version.workflow, &step)?;
        let key = ItemKey { run, step: found, role, index, generation };
        Ok(Cause { by: CausedBy::Step { key, workflow, step: step.into() }, root, depth })
    }

    /// Why the jobs of open runs were made that are not over.
    pub(super) fn open_causes(&mut self) -> Result<Vec<(JobId, Cause)>, TransactionError> {
        // The runs come first: of jobs that are open, and of items that are over, there may be many more.
        let sql = sql!(
            "SELECT {} FROM runs INDEXED BY runs_by_state CROSS JOIN run_items ON run_seq = runs.seq \
             CROSS JOIN jobs ON jobs.seq = job_seq WHERE runs.state IN {OPEN} AND ended_version IS NULL",
            list::<OpenItemRow>()
        );
        let rows: Vec<OpenItemRow> = all(self.connection, sql, ())?;
        rows.into_iter().map(|row| Ok((row.job_id, self.cause(row.cause)?))).collect()
    }

    /// Why a job was made, if it is an item of a run.
    pub(super) fn cause_of(&mut self, job_id: JobId) -> Result<Option<Cause>, TransactionError> {
        let sql = sql!(
            "SELECT {} FROM run_items JOIN runs ON runs.seq = run_seq \
             WHERE job_seq = (SELECT seq FROM jobs WHERE id = ?)",
            list::<ItemCauseRow>()
        );
        let row: Option<ItemCauseRow> = first(self.connection, sql, [id_bytes(&job_id)])?;
        row.map(|row| self.cause(row)).transpose()
    }

    /// Items of one step of a run, by their index.
    pub(super) fn items(&mut self, query: &ItemQuery) -> Result<Vec<StoredItem>, TransactionError> {
        let workflow = "SELECT workflow, workflow_version, seq FROM runs WHERE id = ?";
        let Some(OfRun { workflow, number, seq }) =
            first(self.connection, workflow, [run_id_bytes(&query.run)])?
        else {
            return Ok(Vec::new());
        };
        let version = self.version(&workflow, number)?;
        let Some(step) = version.workflow.find(&query.step) else { return Ok(Vec::new()) };
        let sql = if query.results {
            sql!("SELECT {}, result {ITEMS}", list::<ItemRow>())
        } else {
            sql!("SELECT {}, NULL {ITEMS}", list::<ItemRow>())
        };
        let (role, generation) = (query.role.as_str(), query.generation.0);
        let after = query.after.map_or(-1, i64::from);
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![
            seq,
            &*query.step,
            role,
            generation,
            after,
            !query.open,
            to_limit(query.limit)
        ])?;
        let mut items = Vec::new();
        while let Some(row) = rows.next()? {
            let mut columns = Columns::of(row);
            let (item, result): (ItemRow, Option<String>) = (columns.value()?, columns.value()?);
            let key = ItemKey {
                run: query.run,
                step,
                role: query.role,
                index: item.index,
                generation: query.generation,
            };
            items.extend(item.stored(key, result));
        }
        Ok(items)
    }
}

/// Which items are listed. What there is no work of, because it could not be made or is gone, is not among them.
const ITEMS: &str = "FROM run_items LEFT JOIN jobs ON jobs.seq = job_seq \
    LEFT JOIN runs AS children ON children.id = child_run_id \
    WHERE run_seq = ? AND step = ? AND role = ? AND run_items.generation = ? AND item > ? \
      AND (ended_version IS NULL OR ?) AND (job_seq IS NOT NULL OR children.seq IS NOT NULL) \
    ORDER BY item LIMIT ?";

/// Of which version a run is.
struct OfRun {
    workflow: WorkflowName,
    number: u32,
    seq: i64,
}

columns!(OfRun { workflow: "workflow", number: "workflow_version", seq: "seq" });

/// Which item a job is, from `run_items` joined with `runs`.
struct ItemCauseRow {
    run: RunId,
    workflow: WorkflowName,
    number: u32,
    root: Root,
    depth: u32,
    step: String,
    role: Role,
    generation: Generation,
    index: u32,
}

columns!(ItemCauseRow {
    run: "runs.id",
    workflow: "workflow",
    number: "workflow_version",
    root: "root",
    depth: "depth",
    step: "step",
    role: "role",
    generation: "run_items.generation",
    index: "item",
});

/// The same, joined with `jobs`.
struct OpenItemRow {
    job_id: JobId,
    cause: ItemCauseRow,
}

columns!(OpenItemRow { job_id: "jobs.id", cause: "" });

/// An item, from `run_items` joined with its job or its run.
struct ItemRow {
    index: u32,
    of_index: u32,
    job_id: Option<JobId>,
    state: Option<State>,
    error: Option<JobError>,
    child: Option<RunId>,
    child_state: Option<RunState>,
}

columns!(ItemRow {
    index: "item",
    of_index: "of_item",
    job_id: "jobs.id",
    state: "jobs.state",
    error: "error",
    child: "child_run_id",
    child_state: "children.state",
});

impl ItemRow {
    fn stored(self, key: ItemKey, result: Option<String>) -> Option<StoredItem> {
        let Self { index: _, of_index, job_id, state, error, child, child_state } = self;
        let work = match (job_id, state, child, child_state) {
            (Some(id), Some(state), ..) => ItemWork::Job { id, state, result: result.map(Arc::from), error },
            (_, _, Some(id), Some(state)) => ItemWork::Run { id, state },
            _ => return None,
        };
        Some(StoredItem { key, of_index, work })
    }
}

/// Whether there is any run.
pub(super) fn any(connection: &Connection) -> Result<bool, TransactionError> {
    let any: Option<i64> = first(connection, "SELECT seq FROM runs LIMIT 1", ())?;
    Ok(any.is_some())
}

/// What a run was started with.
pub(super) fn data(connection: &Connection, run_seq: i64) -> Result<RunData, TransactionError> {
    let sql = sql!("SELECT {} FROM run_data WHERE run_seq = ?", list::<DataRow>());
    let row: Option<DataRow> = first(connection, sql, [run_seq])?;
    row.map(|row| row.data).ok_or_else(|| unreadable("data", "nothing"))
}

/// The labels of a run.
pub(super) fn labels(
    connection: &Connection,
    id: RunId,
) -> Result<Option<BTreeMap<String, String>>, TransactionError> {
    first(connection, "SELECT labels FROM runs WHERE id = ?", [run_id_bytes(&id)])
}

/// Lines of the journal of a run, oldest first.
pub(super) fn journal(
    connection: &Connection,
    id: RunId,
    after: u64,
    limit: usize,
) -> Result<Vec<JournalLine>, TransactionError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, version, at, entry FROM run_journal \
         WHERE run_seq = (SELECT seq FROM runs WHERE id = ?) AND number > ? ORDER BY number LIMIT ?",
    )?;
    let mut rows = statement.query(params![run_id_bytes(&id), to_integer(after), to_limit(limit)])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let (number, version, at) = (columns.value()?, columns.value()?, columns.value()?);
        let entry = columns.value::<String>()?;
        let entry = journal::read(&entry).map_err(|error| columns.unreadable(error))?;
        lines.push(JournalLine { number, version, at, entry });
    }
    Ok(lines)
}
