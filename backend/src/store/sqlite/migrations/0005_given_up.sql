-- The execution that gave the order of the current attempt up last; NULL when none did.
ALTER TABLE jobs ADD COLUMN given_up_by BLOB;
