//! What commands decided about workflows and runs, written row by row inside their transaction.

use std::{collections::HashMap, sync::Arc};

use crewcall_proto::{JobId, RunId, Timestamp};
use rusqlite::params;

use super::{
    columns::{
        Columns, Parameters, PartlyIndexed as _, Value, assignments, columns, first, names_of, sql, values,
    },
    counters::{self, WAITS_LOOKED_TO},
    journal,
    run_rows::{DataRow, InfoRow, RunLabelRow, RunRow, StatusRow, StepRow, VersionRow, WaitRow, WorkflowRow},
    run_values::name_of,
    runs::{self, RunReader},
    transaction_error::TransactionError,
    values::{id_bytes, run_id_bytes, to_integer},
    write_context::WriteContext,
};
use crate::{
    domain::workflow::{
        definition::{StepIndex, Work, WorkflowName},
        known::{ItemKey, KnownWorkflow, RunInfo, StoredRun, WorkflowVersion},
        run::{Generation, RunState, RunStep},
    },
    engine::ports::{
        IdempotencyKey, JournalEntry, NewItemRow, NewItemWork, RunData, VERSIONS_KEPT, VersionLine,
        WorkflowWrite,
    },
};

/// Writes all of it, in the order in which it was decided.
pub(super) fn write(context: &WriteContext, writes: Vec<WorkflowWrite>) -> Result<(), TransactionError> {
    if writes.is_empty() {
        return Ok(());
    }
    let mut writer = RunWriter { context, infos: HashMap::new(), seqs: HashMap::new() };
    for write in &writes {
        if let WorkflowWrite::Run { run, .. } | WorkflowWrite::Moved { run, .. } = write {
            writer.infos.insert(run.id(), Arc::clone(&run.info));
        }
    }
    writes.into_iter().try_for_each(|write| writer.write(write))
}

/// The writes of one command.
struct RunWriter<'a> {
    context: &'a WriteContext,
    /// Of the runs that come or move.
    infos: HashMap<RunId, Arc<RunInfo>>,
    /// The numbers of their rows, as far as they were needed.
    seqs: HashMap<RunId, i64>,
}

impl RunWriter<'_> {
    fn write(&mut self, write: WorkflowWrite) -> Result<(), TransactionError> {
        match write {
            WorkflowWrite::Version(version) => self.insert_version(&version),
            WorkflowWrite::Put(workflow) => self.put_workflow(&workflow),
            WorkflowWrite::Deleted(name) => {
                self.context.execute("DELETE FROM workflows WHERE name = ?", [name.as_str()])?;
                self.forget_versions(&name, None)
            }
            WorkflowWrite::Run { run, data, idempotency } => self.insert_run(&run, data, idempotency),
            WorkflowWrite::Moved { run, steps, journal } => self.move_run(&run, &steps, &journal),
            WorkflowWrite::Item { item, version } => self.insert_item(&item, version),
            WorkflowWrite::ItemEnded { key, version } => self.end_item(&key, version),
            WorkflowWrite::LookedTo(to) => counters::raise(&self.context.connection, WAITS_LOOKED_TO, to.0),
            WorkflowWrite::RunDeleted(id) => self.delete_run(id),
        }
    }

    fn insert_version(&self, version: &Arc<WorkflowVersion>) -> Result<(), TransactionError> {
        let WorkflowVersion { workflow, number, document, made_at, made_by } = version.as_ref();
        let line = VersionLine { number: *number, made_at: *made_at, made_by: made_by.clone() };
        let row = VersionRow { workflow: workflow.name.clone(), line, document: document.to_string() };
        self.context.versions.note(version);
        self.context.insert(sql!("INSERT INTO workflow_versions {}", values::<VersionRow>()), &row)
    }

    fn put_workflow(&self, workflow: &KnownWorkflow) -> Result<(), TransactionError> {
        let KnownWorkflow { newest, pause, created_at } = workflow;
        let row = WorkflowRow {
            name: newest.name().clone(),
            newest: newest.number,
            pause: pause.clone(),
            created_at: *created_at,
        };
        self.context.insert(sql!("INSERT OR REPLACE INTO workflows {}", values::<WorkflowRow>()), &row)?;
        self.forget_versions(newest.name(), None)
    }

    /// Versions that are too old to be kept, and that no run has, go: all of them, or this one if it is such.
    fn forget_versions(&self, name: &WorkflowName, number: Option<u32>) -> Result<(), TransactionError> {
        let (from, to) = number.map_or((0, i64::MAX), |number| (i64::from(number), i64::from(number)));
        self.context.execute(
            sql!(
                "DELETE FROM workflow_versions WHERE workflow = ?1 AND number BETWEEN ?2 AND ?3 \
                   AND number <= coalesce((SELECT newest FROM workflows WHERE name = ?1) - {VERSIONS_KEPT}, number) \
                   AND NOT EXISTS (SELECT 1 FROM runs INDEXED BY runs_by_version \
                     WHERE runs.workflow = workflow_versions.workflow AND workflow_version = number)"
            ),
            params![name.as_str(), from, to],
        )?;
        Ok(())
    }

    fn insert_run(
        &mut self,
        run: &StoredRun,
        data: RunData,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(), TransactionError> {
        let workflow = run.info.workflow();
        let (key, body_hash) = idempotency.map(|key| (key.key, key.body_hash)).unzip();
        if let Some(key) = &key {
            // Whoever had it was started too long ago: otherwise this run would not have been made.
            let forget =
                "UPDATE runs SET (idempotency_key, body_hash) = (NULL, NULL) WHERE idempotency_key = ?";
            self.context.execute(forget, [key])?;
        }
        let row = RunRow { info: InfoRow::of(&run.info), status: StatusRow::of(workflow, &run.run)? };
        let row = NewRunRow { row, key, body_hash };
        self.context.insert(sql!("INSERT INTO runs {}", values::<NewRunRow>()), &row)?;
        let run_seq = self.context.connection.last_insert_rowid();
        self.seqs.insert(run.id(), run_seq);
        let row = DataRow { run_seq, data };
        self.context.insert(sql!("INSERT INTO run_data {}", values::<DataRow>()), &row)?;
        for (name, value) in &run.info.labels {
            let label = RunLabelRow { name: name.clone(), value: value.clone(), run_id: run.id() };
            self.context.insert(sql!("INSERT INTO run_labels {}", values::<RunLabelRow>()), &label)?;
        }
        let new = RunStep::new(Generation::FIRST);
        let begun = run.run.steps.iter().enumerate().filter(|(_, step)| **step != new);
        begun.map(|(index, _)| StepIndex(index)).try_for_each(|step| self.put_step(run_seq, run, step))
    }

    fn move_run(
        &mut self,
        run: &StoredRun,
        steps: &[StepIndex],
        journal: &[(Timestamp, u64, JournalEntry)],
    ) -> Result<(), TransactionError> {
        let sql = "SELECT seq, state, ended_at FROM runs WHERE id = ?";
        let found: Option<Place> = first(&self.context.connection, sql, [run_id_bytes(&run.id())])?;
        let Place { seq, state, ended_at } =
            found.ok_or(TransactionError::Inconsistent("a run moved that is not there"))?;
        self.seqs.insert(run.id(), seq);
        let status = StatusRow::of(run.info.workflow(), &run.run)?;
        if (status.state, status.ended_at) == (state, ended_at) {
            let sql = sql!("UPDATE runs SET {} WHERE seq = ?", assignments(&StatusRow::unindexed_names()));
            let mut statement = self.context.connection.prepare_cached(sql)?;
            let mut parameters = Parameters::of(&mut statement);
            status.bind_unindexed(&mut parameters)?;
            parameters.raw(seq)?;
            parameters.execute()?;
        } else {
            let sql = sql!("UPDATE runs SET {} WHERE seq = ?", assignments(&StatusRow::names("")));
            let mut statement = self.context.connection.prepare_cached(sql)?;
            let mut parameters = Parameters::of(&mut statement);
            parameters.value(&status)?;
            parameters.raw(seq)?;
            parameters.execute()?;
        }
        steps.iter().try_for_each(|step| self.put_step(seq, run, *step))?;
        journal.iter().try_for_each(|(at, version, entry)| self.insert_line(seq, *version, *at, entry))
    }

    fn put_step(&self, run_seq: i64, run: &StoredRun, index: StepIndex) -> Result<(), TransactionError> {
        let workflow = run.info.workflow();
        let missing = TransactionError::Inconsistent("a run has a step that its workflow does not have");
        let (Some(step), Some(definition)) = (run.run.step(index), workflow.step(index)) else {
            return Err(missing);
        };
        let row = StepRow::of(run_seq, workflow, index, step)?;
        self.context.insert(sql!("INSERT OR REPLACE INTO run_steps {}", values::<StepRow>()), &row)?;
        let Work::Event(awaited) = &definition.work else { return Ok(()) };
        let Some(wait) = run.waits.get(&index) else {
            let parameters = params![run_seq, &*definition.name];
            self.context.execute("DELETE FROM waits WHERE run_seq = ? AND step = ?", parameters)?;
            return Ok(());
        };
        let row = WaitRow {
            run_seq,
            step: definition.name.to_string(),
            generation: step.generation,
            subject: awaited.subject.clone(),
            since: wait.since,
            caught_up: wait.caught_up,
        };
        self.context.insert(sql!("INSERT OR REPLACE INTO waits {}", values::<WaitRow>()), &row)
    }

    fn insert_line(
        &self,
        run_seq: i64,
        version: u64,
        at: Timestamp,
        entry: &JournalEntry,
    ) -> Result<(), TransactionError> {
        self.context.execute(
            "INSERT INTO run_journal (run_seq, number, version, at, entry) \
             SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM run_journal WHERE run_seq = ?1",
            params![run_seq, to_integer(version), at.as_millis(), journal::text(entry)],
        )?;
        Ok(())
    }

    fn insert_item(&mut self, item: &NewItemRow, version: u64) -> Result<(), TransactionError> {
        let NewItemRow { key, of_index, work, is_over } = item;
        let (run_seq, step) = self.place(key)?;
        let (job_seq, child) = match work {
            NewItemWork::Job(id) => (Some(self.seq_of_job(*id)?), None),
            NewItemWork::Run(id) => (None, Some(id)),
            NewItemWork::Nothing => (None, None),
        };
        let ended = is_over.then_some(to_integer(version));
        self.context.execute(
            "INSERT INTO run_items (run_seq, step, role, generation, item, of_item, job_seq, child_run_id, \
             made_version, ended_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                run_seq,
                step,
                key.role.as_str(),
                key.generation.0,
                key.index,
                of_index,
                job_seq,
                child.map(run_id_bytes),
                to_integer(version),
                ended
            ],
        )?;
        Ok(())
    }

    fn seq_of_job(&self, id: JobId) -> Result<i64, TransactionError> {
        let sql = "SELECT seq FROM jobs WHERE id = ?";
        let seq: Option<i64> = first(&self.context.connection, sql, [id_bytes(&id)])?;
        seq.ok_or(TransactionError::Inconsistent("an item has a job that is not there"))
    }

    fn end_item(&mut self, key: &ItemKey, version: u64) -> Result<(), TransactionError> {
        let (run_seq, step) = self.place(key)?;
        let changed = self.context.execute(
            "UPDATE run_items SET ended_version = ? \
             WHERE run_seq = ? AND step = ? AND role = ? AND generation = ? AND item = ?",
            params![to_integer(version), run_seq, step, key.role.as_str(), key.generation.0, key.index],
        )?;
        if changed == 1 {
            Ok(())
        } else {
            Err(TransactionError::Inconsistent("an item ended that is not there"))
        }
    }

    /// What never changes of a run: of one that comes or moves, is open, or is over.
    fn info(&mut self, id: RunId) -> Result<Arc<RunInfo>, TransactionError> {
        let known = self.infos.get(&id).or_else(|| Some(&self.context.rules.runs.get(id)?.info));
        if let Some(info) = known {
            return Ok(Arc::clone(info));
        }
        let mut reader = RunReader::new(&self.context.connection, &self.context.versions);
        let (seq, run) =
            reader.get(id)?.ok_or(TransactionError::Inconsistent("an item has a run that is not there"))?;
        self.seqs.insert(id, seq);
        self.infos.insert(id, Arc::clone(&run.info));
        Ok(run.info)
    }

    /// The row of the run of an item, and the name of its step.
    fn place(&mut self, key: &ItemKey) -> Result<(i64, String), TransactionError> {
        let info = self.info(key.run)?;
        let step = name_of(info.workflow(), key.step)?.to_owned();
        if let Some(seq) = self.seqs.get(&key.run) {
            return Ok((*seq, step));
        }
        let sql = "SELECT seq FROM runs WHERE id = ?";
        let seq: Option<i64> = first(&self.context.connection, sql, [run_id_bytes(&key.run)])?;
        let seq = seq.ok_or(TransactionError::Inconsistent("an item has a run that is not there"))?;
        self.seqs.insert(key.run, seq);
        Ok((seq, step))
    }

    fn delete_run(&self, id: RunId) -> Result<(), TransactionError> {
        let Some(labels) = runs::labels(&self.context.connection, id)? else { return Ok(()) };
        for (name, value) in &labels {
            self.context.execute(
                "DELETE FROM run_labels WHERE name = ? AND value = ? AND run_id = ?",
                params![name, value, run_id_bytes(&id)],
            )?;
        }
        let sql = "SELECT workflow, workflow_version FROM runs WHERE id = ?";
        let of: Option<OfVersion> = first(&self.context.connection, sql, [run_id_bytes(&id)])?;
        // Its data, steps, items, waits and journal refer to it and go with it.
        self.context.execute("DELETE FROM runs WHERE id = ?", [run_id_bytes(&id)])?;
        of.map_or(Ok(()), |OfVersion { workflow, number }| self.forget_versions(&workflow, Some(number)))
    }
}

/// A run that comes.
struct NewRunRow {
    row: RunRow,
    key: Option<String>,
    body_hash: Option<[u8; 32]>,
}

columns!(NewRunRow { row: "", key: "idempotency_key", body_hash: "body_hash" });

/// Where a run stands in the indexes.
struct Place {
    seq: i64,
    state: RunState,
    ended_at: Option<Timestamp>,
}

columns!(Place { seq: "seq", state: "state", ended_at: "ended_at" });

/// Of which version a run is.
struct OfVersion {
    workflow: WorkflowName,
    number: u32,
}

columns!(OfVersion { workflow: "workflow", number: "workflow_version" });
