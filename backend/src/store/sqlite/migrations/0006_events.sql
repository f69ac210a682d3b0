-- What people publish, in the order of the commits.
CREATE TABLE events (
    -- From 1, without a gap.
    sequence     INTEGER PRIMARY KEY,
    recorded_at  INTEGER NOT NULL,
    -- When it happened, if its publisher said so.
    occurred_at  INTEGER,
    subject      TEXT    NOT NULL,
    -- The publisher's own name for it, and the SHA-256 of what it says: both, or none.
    id           TEXT,
    content_hash BLOB,
    -- JSON. Last, because it may be large: a row is read from the front.
    data         TEXT    NOT NULL
) STRICT;

-- Few events have one.
CREATE UNIQUE INDEX events_by_id ON events (id) WHERE id IS NOT NULL;

-- The last sequence that was given out: the newest events may be deleted, and their numbers are not used again.
INSERT INTO counters (name, value) VALUES ('events_sequenced', 0);
