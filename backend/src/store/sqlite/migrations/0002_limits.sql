-- What is counted, bounded and remembered since the first version.

-- The last slot of the type's rate limit that was taken, in nanoseconds since 1970-01-01T00:00:00Z.
ALTER TABLE flows ADD COLUMN rate_slot_ns INTEGER;

-- How often the order of the current attempt was lost, or given up by the broker, and sent again; and how many of its
-- executions began.
ALTER TABLE jobs ADD COLUMN resends INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN starts INTEGER NOT NULL DEFAULT 0;

-- What tells this database apart from every other: the broker keeps it, too, so that no other takes the same names.
INSERT INTO marks (name, value) VALUES ('installation', random() & 0x7fffffffffffffff);
