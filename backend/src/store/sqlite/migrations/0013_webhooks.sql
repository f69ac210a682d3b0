-- Where events are delivered to over HTTP. Which events, and how far that got, says the consumer of the webhook.
CREATE TABLE webhooks (
    name            TEXT    PRIMARY KEY,
    url             TEXT    NOT NULL,
    -- What signs.
    secret          TEXT    NOT NULL,
    -- What signs as well, and until when: both, or none.
    retiring_secret TEXT,
    retiring_until  INTEGER,
    created_at      INTEGER NOT NULL,
    created_by      TEXT    NOT NULL,
    changed_at      INTEGER NOT NULL,
    changed_by      TEXT    NOT NULL,
    revision        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- To which webhook a consumer has events delivered, if it makes deliveries.
ALTER TABLE consumers ADD COLUMN webhook TEXT;
