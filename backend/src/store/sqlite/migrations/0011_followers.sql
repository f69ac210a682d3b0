-- Which jobs a job comes after. The rows go with the job that comes after; those that it comes after may be deleted before.
CREATE TABLE job_links (
    job_seq    INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    -- The place in the submission, from 0.
    place      INTEGER NOT NULL,
    -- What it comes after.
    first      BLOB    NOT NULL,
    -- How that ended; NULL while it has not. As it was when the job began, after that.
    first_end  TEXT,
    -- What becomes of the job when that did not complete: 'cancel' or 'run', the same in all its rows.
    on_failure TEXT    NOT NULL,
    PRIMARY KEY (job_seq, place)
) STRICT, WITHOUT ROWID;

-- Who comes after a job.
CREATE INDEX job_links_by_first ON job_links (first);

-- A job that is blocked may expire, too.
DROP INDEX jobs_expiring;

CREATE INDEX jobs_expiring ON jobs (expires_at)
WHERE expires_at IS NOT NULL AND attempt = 1 AND started_at IS NULL
    AND state IN ('blocked', 'scheduled', 'ready', 'unroutable', 'dispatched');
