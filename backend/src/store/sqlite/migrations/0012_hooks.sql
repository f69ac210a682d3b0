-- Where other services tell us what happened.
CREATE TABLE hooks (
    name            TEXT    NOT NULL PRIMARY KEY,
    -- How a request is checked, without what it is checked by: JSON.
    settings        TEXT    NOT NULL,
    secret          TEXT    NOT NULL,
    -- The secret before that, and until when it is accepted: both, or none.
    retiring_secret TEXT,
    retiring_until  INTEGER,
    created_at      INTEGER NOT NULL,
    created_by      TEXT    NOT NULL,
    changed_at      INTEGER NOT NULL,
    changed_by      TEXT    NOT NULL,
    revision        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
