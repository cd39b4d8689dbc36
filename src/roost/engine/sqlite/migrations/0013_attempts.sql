-- Steps that were started live, by attempt; a row goes when the attempt that wrote it records the step.
CREATE TABLE step_started (
  job_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  kind TEXT NOT NULL,
  input_hash TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  PRIMARY KEY (job_id, name, attempt)
) STRICT, WITHOUT ROWID;

-- When somebody asked a worker to end its jobs and then itself.
ALTER TABLE worker ADD COLUMN draining_at INTEGER;
