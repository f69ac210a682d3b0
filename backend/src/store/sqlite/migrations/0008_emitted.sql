-- What a worker published while an attempt ran may come after the end of that: its token proves the right to. Attempts that ended
-- before this step have none.
ALTER TABLE attempts ADD COLUMN token BLOB;

-- Which events the jobs of a type publish, as it was last announced: a JSON array.
ALTER TABLE types ADD COLUMN emits TEXT NOT NULL DEFAULT '[]';
