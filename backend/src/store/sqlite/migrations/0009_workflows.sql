-- Workflows that runs can be made of.
CREATE TABLE workflows (
    name         TEXT    PRIMARY KEY,
    -- The number of its newest version.
    newest       INTEGER NOT NULL,
    pause_by     TEXT,
    pause_reason TEXT,
    pause_at     INTEGER,
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What workflows said, also those that are deleted, for as long as there are runs of it.
CREATE TABLE workflow_versions (
    workflow TEXT    NOT NULL,
    -- From 1.
    number   INTEGER NOT NULL,
    made_at  INTEGER NOT NULL,
    made_by  TEXT    NOT NULL,
    -- JSON. Last, because it may be large: a row is read from the front.
    document TEXT    NOT NULL,
    PRIMARY KEY (workflow, number)
) STRICT;

-- One row per run: what changes of it, and what is read with that.
CREATE TABLE runs (
    seq               INTEGER PRIMARY KEY,
    id                BLOB    NOT NULL UNIQUE,
    workflow          TEXT    NOT NULL,
    workflow_version  INTEGER NOT NULL,
    -- Who made it: a person; a consumer, of an event; or a step of another run, by its place in the document.
    started_by        TEXT,
    consumer          TEXT,
    pass              INTEGER,
    sequence          INTEGER,
    parent_run_id     BLOB,
    parent_step       INTEGER,
    parent_generation INTEGER,
    -- What runs have in common that are counted together.
    concurrency_key   TEXT,
    -- A JSON object.
    labels            TEXT    NOT NULL,
    root              TEXT    NOT NULL,
    depth             INTEGER NOT NULL,
    -- The newest event when it was made.
    log_from          INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    -- Under which name it was started, and the SHA-256 of what was said then: both, or none.
    idempotency_key   TEXT,
    body_hash         BLOB,
    state             TEXT    NOT NULL,
    ended_at          INTEGER,
    generation        INTEGER NOT NULL,
    is_paused         INTEGER NOT NULL,
    -- Why it stops, of which step that was, and what may clean up.
    stop_cause        TEXT,
    stop_step         TEXT,
    stop_cleanup      TEXT,
    deadline_at       INTEGER,
    is_compensated    INTEGER NOT NULL,
    started_at        INTEGER,
    steps_ended       INTEGER NOT NULL,
    version           INTEGER NOT NULL
) STRICT;

-- A pass makes one run of an event.
CREATE UNIQUE INDEX runs_by_event ON runs (pass, sequence) WHERE pass IS NOT NULL;

-- Few runs have one. A name that is forgotten may be used again: the older run has none from then on.
CREATE UNIQUE INDEX runs_by_idempotency_key ON runs (idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Lists, newest first, and the runs that are open.
CREATE INDEX runs_by_state ON runs (state, id);

CREATE INDEX runs_by_workflow ON runs (workflow, state, id);

-- Which versions are still needed.
CREATE INDEX runs_by_version ON runs (workflow, workflow_version);

-- What is over, and for how long.
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at IS NOT NULL;

-- What never changes and may be large, apart from what changes: SQLite writes the whole row at every change of it.
CREATE TABLE run_data (
    run_seq INTEGER PRIMARY KEY REFERENCES runs (seq) ON DELETE CASCADE,
    -- The event that it was made of, without its data: JSON.
    event   TEXT,
    -- JSON.
    data    TEXT NOT NULL
) STRICT;

-- Finds runs by label, newest first. What a run's labels are is read from runs.
CREATE TABLE run_labels (
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    run_id BLOB NOT NULL,
    PRIMARY KEY (name, value, run_id)
) STRICT, WITHOUT ROWID;

-- How far the steps of a run got. One that was never looked at has no row.
CREATE TABLE run_steps (
    run_seq            INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    -- Its name.
    step               TEXT    NOT NULL,
    state              TEXT    NOT NULL,
    generation         INTEGER NOT NULL,
    is_due             INTEGER NOT NULL,
    -- Why it is as it is: a word, and what else there is to say.
    reason             TEXT,
    reason_detail      TEXT,
    items_total        INTEGER NOT NULL,
    items_made         INTEGER NOT NULL,
    items_making       INTEGER NOT NULL,
    items_completed    INTEGER NOT NULL,
    items_failed       INTEGER NOT NULL,
    items_cancelled    INTEGER NOT NULL,
    is_stopping        INTEGER NOT NULL,
    deadline_at        INTEGER,
    -- Whether the deadline is a moment that somebody named. Otherwise it means a duration.
    is_moment          INTEGER NOT NULL,
    -- What somebody decided: all but the comment, or none.
    decision_approved  INTEGER,
    decision_by        TEXT,
    decision_comment   TEXT,
    decision_at        INTEGER,
    -- The event that it waited for.
    answer             INTEGER,
    -- The jobs that undo it: all of these, or none.
    undo_total         INTEGER,
    undo_made          INTEGER,
    undo_making        INTEGER,
    undo_completed     INTEGER,
    undo_failed        INTEGER,
    undo_cancelled     INTEGER,
    began_at           INTEGER,
    ended_at           INTEGER,
    ended_as           INTEGER NOT NULL,
    PRIMARY KEY (run_seq, step)
) STRICT, WITHOUT ROWID;

-- The items of steps: which job or run does the work of each.
CREATE TABLE run_items (
    run_seq       INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    step          TEXT    NOT NULL,
    -- 'work', or 'undo' for those that undo others.
    role          TEXT    NOT NULL,
    generation    INTEGER NOT NULL,
    item          INTEGER NOT NULL,
    -- Which item it undoes; for the others, itself.
    of_item       INTEGER NOT NULL,
    -- One of both; none, if it could not be made.
    job_seq       INTEGER REFERENCES jobs (seq) ON DELETE CASCADE,
    child_run_id  BLOB,
    -- By which version of the run it came, and by which it ended.
    made_version  INTEGER NOT NULL,
    ended_version INTEGER,
    PRIMARY KEY (run_seq, step, role, generation, item)
) STRICT, WITHOUT ROWID;

-- Which item a job is.
CREATE UNIQUE INDEX run_items_by_job ON run_items (job_seq) WHERE job_seq IS NOT NULL;

-- What happened to runs, and what they decided.
CREATE TABLE run_journal (
    run_seq INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    -- From 1 for each run.
    number  INTEGER NOT NULL,
    -- The version of the run that it leads to.
    version INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    -- JSON. Steps are named by their place in the document, from 0.
    entry   TEXT    NOT NULL,
    PRIMARY KEY (run_seq, number)
) STRICT, WITHOUT ROWID;

-- Steps that wait for events.
CREATE TABLE waits (
    run_seq    INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    step       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    subject    TEXT    NOT NULL,
    -- It looks at the events behind this one.
    since      INTEGER NOT NULL,
    -- Whether it has looked at all that came before it was opened.
    caught_up  INTEGER NOT NULL,
    PRIMARY KEY (run_seq, step)
) STRICT, WITHOUT ROWID;

-- Of which workflow a consumer makes runs, if it makes no jobs.
ALTER TABLE consumers ADD COLUMN workflow TEXT;

-- Which run an event tells of, if it tells of no job.
ALTER TABLE events ADD COLUMN origin_run_id BLOB;

-- Up to where the log was looked at for all waits that had caught up.
INSERT INTO counters (name, value) VALUES ('waits_looked_to', 0);
