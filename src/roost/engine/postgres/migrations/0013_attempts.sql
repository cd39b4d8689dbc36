-- Steps that were started live, by attempt; a row goes when the attempt that wrote it records the step.
CREATE TABLE step_started (
  job_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  attempt integer NOT NULL,
  kind text NOT NULL,
  input_hash text NOT NULL,
  started_at bigint NOT NULL,
  PRIMARY KEY (job_id, name, attempt)
);

-- When somebody asked a worker to end its jobs and then itself.
ALTER TABLE worker ADD COLUMN draining_at bigint;
