-- The names by which the API and the code call these things. Nothing moves: only names change.
ALTER TABLE jobs RENAME COLUMN backoff_cap_ns TO backoff_max_delay_ns;
ALTER TABLE jobs RENAME COLUMN attempts_max TO max_attempts;
ALTER TABLE jobs RENAME COLUMN failure_kind TO error_kind;
ALTER TABLE jobs RENAME COLUMN failure_code TO error_code;
ALTER TABLE jobs RENAME COLUMN failure_message TO error_message;
ALTER TABLE jobs RENAME COLUMN failure_detail TO error_detail;

ALTER TABLE attempts RENAME COLUMN failure_kind TO error_kind;
ALTER TABLE attempts RENAME COLUMN failure_code TO error_code;
ALTER TABLE attempts RENAME COLUMN failure_message TO error_message;
ALTER TABLE attempts RENAME COLUMN failure_detail TO error_detail;

ALTER TABLE flows RENAME TO type_settings;
ALTER TABLE type_settings RENAME COLUMN paused_by TO pause_by;
ALTER TABLE type_settings RENAME COLUMN paused_at TO pause_at;

ALTER TABLE marks RENAME TO counters;
