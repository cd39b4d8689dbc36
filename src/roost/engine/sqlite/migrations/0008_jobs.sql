-- What people add to jobs (tags, metadata, summaries, chunks of results), schemas of inputs, and counts of history.
-- A job that has none of it has no row here.

CREATE TABLE job_tag (
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  job_id INTEGER NOT NULL,
  PRIMARY KEY (key, value, job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_tag_job ON job_tag (job_id);

INSERT INTO job_tag (key, value, job_id)
SELECT t.key, t.value, i.job_id FROM job_input i, json_each(i.options, '$.tags') t WHERE i.options IS NOT NULL;

CREATE TABLE job_metadata (
  job_id INTEGER PRIMARY KEY,
  metadata TEXT NOT NULL
) STRICT;

CREATE TABLE job_summary (
  job_id INTEGER PRIMARY KEY,
  summary TEXT NOT NULL
) STRICT;

CREATE TABLE job_chunk (
  job_id INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  chunk TEXT NOT NULL,
  PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE kind (
  name TEXT PRIMARY KEY,
  schema TEXT NOT NULL,
  changed_at INTEGER NOT NULL,
  changed_by TEXT
) STRICT, WITHOUT ROWID;

-- How many jobs of a queue had ended in a state, counting those that ended until a moment: what ended later is counted
-- when somebody asks, what is forgotten is subtracted by those who forget it. No commit of the hot path writes here.
CREATE TABLE queue_count (
  queue TEXT NOT NULL,
  state TEXT NOT NULL,
  until INTEGER NOT NULL,
  jobs INTEGER NOT NULL,
  PRIMARY KEY (queue, state)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_waiting_queue ON job (queue, id) WHERE state = 'waiting';
