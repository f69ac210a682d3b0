-- The trace that a job's submission belongs to, as the header of the request has it; NULL when it has none.
ALTER TABLE job_payloads ADD COLUMN traceparent TEXT;
