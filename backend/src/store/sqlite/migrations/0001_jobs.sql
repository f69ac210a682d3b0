-- Times are milliseconds since 1970-01-01T00:00:00Z. Ids and tokens are their 16 bytes, most significant first.

-- One row per job: what events change, and what they are decided by.
CREATE TABLE jobs (
    seq                INTEGER PRIMARY KEY,
    id                 BLOB    NOT NULL UNIQUE,
    type               TEXT    NOT NULL,
    priority           INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    -- The waits between attempts, in nanoseconds: all four, or none for the defaults.
    backoff_initial_ns INTEGER,
    backoff_factor     REAL,
    backoff_cap_ns     INTEGER,
    backoff_jitter     REAL,
    timeout_ns         INTEGER,
    expires_at         INTEGER,
    -- The time that the submitter named to begin at. Other waits are stored as times, too, but mean a duration.
    run_at             INTEGER,
    -- Which dispatch the current attempt was last sent with.
    dispatch_number    INTEGER,
    state              TEXT    NOT NULL,
    due_at             INTEGER NOT NULL,
    finished_at        INTEGER,
    attempt            INTEGER NOT NULL,
    attempts_max       INTEGER NOT NULL,
    token              BLOB,
    -- The execution that speaks for the attempt: all four, or none. The sequence number uses all 64 bits.
    claim_execution_id BLOB,
    claim_worker_id    TEXT,
    claim_seq          INTEGER,
    claim_held         INTEGER,
    -- Who asked to cancel it, and when: both, or none.
    cancel_by          TEXT,
    cancel_reason      TEXT,
    cancel_at          INTEGER,
    progress_percent   INTEGER,
    progress_message   TEXT,
    progress_at        INTEGER,
    failure_kind       TEXT,
    failure_code       TEXT,
    failure_message    TEXT,
    failure_detail     TEXT,
    started_at         INTEGER,
    version            INTEGER NOT NULL,
    -- Last, because it may be large: a row is read from the front.
    result             TEXT
) STRICT;

-- Lists, counts, and the oldest job of a state. Every job pays for it when its state changes: a short job
-- is inserted here once and moved once.
CREATE INDEX jobs_by_state ON jobs (state, type, id);

-- The order in which the relay takes jobs. A job that is dispatched when it is inserted is never in it.
CREATE INDEX jobs_ready ON jobs (type, priority DESC, due_at, id) WHERE state = 'ready';

CREATE INDEX jobs_scheduled ON jobs (due_at) WHERE state = 'scheduled';

-- Claims by job id. A short job never reports its start, so it is never in it.
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';

-- Jobs that were not started yet and must be by a time. Few jobs have one.
CREATE INDEX jobs_expiring ON jobs (expires_at)
WHERE expires_at IS NOT NULL AND attempt = 1 AND started_at IS NULL
    AND state IN ('scheduled', 'ready', 'unroutable', 'dispatched');

-- What is over, and for how long. Every job pays for it once, at its end, and nearly always on the last page.
CREATE INDEX jobs_finished ON jobs (state, finished_at) WHERE finished_at IS NOT NULL;

-- What never changes, apart from what does: SQLite writes the whole row at every change of it, and
-- parameters may be 256 KiB.
CREATE TABLE job_payloads (
    job_seq    INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    parameters TEXT NOT NULL,
    -- A JSON object; NULL when there are none.
    labels     TEXT
) STRICT;

-- Finds jobs by label, newest first. What a job's labels are is read from job_payloads.
CREATE TABLE job_labels (
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    job_id BLOB NOT NULL,
    PRIMARY KEY (name, value, job_id)
) STRICT, WITHOUT ROWID;

-- The attempts that ended.
CREATE TABLE attempts (
    job_seq         INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    attempt         INTEGER NOT NULL,
    outcome         TEXT    NOT NULL,
    worker_id       TEXT,
    started_at      INTEGER,
    finished_at     INTEGER NOT NULL,
    failure_kind    TEXT,
    failure_code    TEXT,
    failure_message TEXT,
    failure_detail  TEXT,
    PRIMARY KEY (job_seq, attempt)
) STRICT, WITHOUT ROWID;

-- Under which names jobs were submitted.
CREATE TABLE idempotency_keys (
    key        TEXT    PRIMARY KEY,
    -- SHA-256.
    body_hash  BLOB    NOT NULL,
    job_seq    INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job_seq);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- The types ever announced, as they were last.
CREATE TABLE types (
    type               TEXT    PRIMARY KEY,
    description        TEXT    NOT NULL,
    version            TEXT    NOT NULL,
    parameters_schema  TEXT    NOT NULL,
    result_schema      TEXT    NOT NULL,
    first_announced_at INTEGER NOT NULL,
    last_announced_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What operators set for types. A type that has no row has the default.
CREATE TABLE flows (
    type            TEXT PRIMARY KEY,
    -- Who paused it, and when: both, or none.
    paused_by       TEXT,
    pause_reason    TEXT,
    paused_at       INTEGER,
    running_max     INTEGER,
    rate_per_second REAL
) STRICT, WITHOUT ROWID;

-- Messages that could not be read. AUTOINCREMENT: the numbers are never used again, so age is order.
CREATE TABLE quarantine (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    queue       TEXT    NOT NULL,
    routing_key TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    detail      TEXT    NOT NULL,
    body        BLOB    NOT NULL,
    body_bytes  INTEGER NOT NULL,
    at          INTEGER NOT NULL
) STRICT;

-- Counts the messages without reading them.
CREATE INDEX quarantine_numbers ON quarantine (seq);

-- Numbers that only grow, but for the time.
CREATE TABLE marks (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO marks (name, value) VALUES
    ('dispatches_numbered', 0),  -- the last dispatch number that was given out
    ('dispatches_confirmed', 0), -- every dispatch up to this one is confirmed or over
    -- How far the time in a job's id was ever ahead of its created_at, or behind it, in milliseconds.
    ('ids_ahead', 0),
    ('ids_behind', 0),
    -- The time by the clock of the last process, as it last kept it: how a restart learns that the clock was set back.
    ('time', 0);
