-- Events may tell of a job, and know how long the chain is that they belong to.
CREATE TABLE events_of_all (
    -- From 1, without a gap.
    sequence      INTEGER PRIMARY KEY,
    recorded_at   INTEGER NOT NULL,
    -- When it happened, if its publisher said so.
    occurred_at   INTEGER,
    subject       TEXT    NOT NULL,
    -- The publisher's own name for it, and the SHA-256 of what it says: both, or none.
    id            TEXT,
    content_hash  BLOB,
    -- Which job it tells of, where the chain of that job began, and how many jobs made each other: all three, or none.
    origin_job_id BLOB,
    origin_root   TEXT,
    origin_depth  INTEGER,
    -- JSON. Last, because it may be large: a row is read from the front.
    data          TEXT    NOT NULL
) STRICT;

INSERT INTO events_of_all (sequence, recorded_at, occurred_at, subject, id, content_hash, data)
    SELECT sequence, recorded_at, occurred_at, subject, id, content_hash, data FROM events;

DROP TABLE events;

ALTER TABLE events_of_all RENAME TO events;

-- Few events have one.
CREATE UNIQUE INDEX events_by_id ON events (id) WHERE id IS NOT NULL;

-- Who makes jobs of events, and how far they got.
CREATE TABLE consumers (
    name                    TEXT    PRIMARY KEY,
    -- Patterns: a JSON array.
    subjects                TEXT    NOT NULL,
    condition               TEXT,
    -- What it makes of an event, as somebody would submit it.
    job_type                TEXT    NOT NULL,
    parameters              TEXT    NOT NULL,
    labels                  TEXT    NOT NULL,
    priority                INTEGER,
    max_attempts            INTEGER,
    delay_seconds           REAL,
    timeout_seconds         REAL,
    backoff_initial_seconds REAL,
    backoff_factor          REAL,
    backoff_max_seconds     REAL,
    backoff_jitter          REAL,
    -- How many of its jobs may be unfinished.
    in_flight_max           INTEGER NOT NULL,
    -- Where it was told to begin.
    start                   TEXT    NOT NULL,
    -- Everything up to here was looked at, and what follows from it is stored.
    cursor                  INTEGER NOT NULL,
    first_pass              INTEGER NOT NULL,
    -- Which time through the log this is.
    pass                    INTEGER NOT NULL,
    pause_by                TEXT,
    pause_reason            TEXT,
    pause_at                INTEGER,
    created_at              INTEGER NOT NULL,
    changed_at              INTEGER NOT NULL,
    revision                INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Parts of the log that a consumer goes through once more.
CREATE TABLE replays (
    pass           INTEGER PRIMARY KEY,
    consumer       TEXT    NOT NULL REFERENCES consumers (name) ON DELETE CASCADE,
    after_sequence INTEGER NOT NULL,
    to_sequence    INTEGER NOT NULL,
    cursor         INTEGER NOT NULL,
    requested_by   TEXT    NOT NULL,
    reason         TEXT,
    requested_at   INTEGER NOT NULL,
    finished_at    INTEGER,
    -- Under which name it was asked for.
    key            TEXT
) STRICT;

CREATE INDEX replays_by_consumer ON replays (consumer);

-- Why a job was made, of those that a consumer made.
CREATE TABLE job_causes (
    job_seq  INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    consumer TEXT    NOT NULL,
    pass     INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    root     TEXT    NOT NULL,
    depth    INTEGER NOT NULL,
    -- A pass makes one job of an event.
    UNIQUE (pass, sequence)
) STRICT;

-- The last pass through the log that was begun.
INSERT INTO counters (name, value) VALUES ('passes_begun', 0);
