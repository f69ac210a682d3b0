-- What is made whenever a moment of a calendar comes.
CREATE TABLE schedules (
    -- From 1: one that is made again under the same name has another.
    id               INTEGER PRIMARY KEY,
    name             TEXT    NOT NULL UNIQUE,
    -- Every tick up to here, by the wall clock, has a record.
    considered_until INTEGER NOT NULL,
    -- The last tick that fired although it is after that: the clock was ahead once.
    fired_ahead      INTEGER,
    pause_by         TEXT,
    pause_reason     TEXT,
    pause_at         INTEGER,
    -- How many fires in a row failed.
    failures         INTEGER NOT NULL,
    -- The tick of the last fire that completed.
    last_completed   INTEGER,
    -- The first tick of the record that further ticks are added to which have the same fate; and that fate: both, or none.
    tail_tick        INTEGER,
    tail_state       TEXT,
    created_at       INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL,
    changed_by       TEXT    NOT NULL,
    revision         INTEGER NOT NULL
) STRICT;

-- What schedules say, apart from what changes with each tick: SQLite writes the whole row at every change of it.
CREATE TABLE schedule_documents (
    schedule_id INTEGER PRIMARY KEY REFERENCES schedules (id) ON DELETE CASCADE,
    -- JSON.
    document    TEXT    NOT NULL
) STRICT;

-- What came out of the last fire that completed, of schedules that read it.
CREATE TABLE schedule_results (
    schedule_id INTEGER PRIMARY KEY REFERENCES schedules (id) ON DELETE CASCADE,
    -- JSON.
    result      TEXT    NOT NULL
) STRICT;

-- What became of ticks. A record outlives its schedule.
CREATE TABLE ticks (
    schedule_id INTEGER NOT NULL,
    tick        INTEGER NOT NULL,
    -- 'clock', 'hand' or 'backfill'.
    origin      TEXT    NOT NULL,
    -- The name of the schedule.
    schedule    TEXT    NOT NULL,
    -- The last of the ticks that it stands for, and how many they are.
    last_tick   INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    reason      TEXT,
    decided_at  INTEGER NOT NULL,
    -- Whether it waits until nothing else is open; nothing, if it does not wait.
    waits_alone INTEGER,
    -- What it made: one of these, or none.
    job_id      BLOB,
    run_id      BLOB,
    sequence    INTEGER,
    -- How that ended, and when: both, or none.
    outcome     TEXT,
    ended_at    INTEGER,
    PRIMARY KEY (schedule_id, tick, origin)
) STRICT, WITHOUT ROWID;

-- A tick of the calendar fires once. What somebody fires by hand is no tick of the calendar.
CREATE UNIQUE INDEX ticks_fired ON ticks (schedule_id, tick)
    WHERE state IN ('fired', 'queued') AND origin <> 'hand';

-- For which tick a job was made.
CREATE UNIQUE INDEX ticks_by_job ON ticks (job_id) WHERE job_id IS NOT NULL;

-- What waits, and what is not over.
CREATE INDEX ticks_open ON ticks (schedule_id)
    WHERE state = 'queued' OR (state = 'fired' AND sequence IS NULL AND outcome IS NULL);

-- What is forgotten next.
CREATE INDEX ticks_by_age ON ticks (decided_at);

-- For which tick a run was made.
ALTER TABLE runs ADD COLUMN schedule TEXT;
ALTER TABLE runs ADD COLUMN schedule_id INTEGER;
ALTER TABLE runs ADD COLUMN tick INTEGER;
ALTER TABLE runs ADD COLUMN tick_origin TEXT;

-- The same as expressions know it: JSON.
ALTER TABLE run_data ADD COLUMN schedule TEXT;
