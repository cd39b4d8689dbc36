-- What searches need. Plain jobs that succeed write none of it: rare states have an index of their own, errors are noted
-- when attempts fail, inputs only where somebody declared a path.

-- Three comparisons, the commonest first: a list of states would be looked up in a tree built anew for each row that is
-- written.
CREATE INDEX job_state ON job (state, id) WHERE state <> 'ready' AND state <> 'running' AND state <> 'succeeded';
CREATE INDEX fire_job ON fire (schedule, job_id) WHERE job_id IS NOT NULL;
CREATE INDEX fire_of_job ON fire (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX batch_member_job ON batch_member (batch_id, job_id);

-- The last error of each job that had one.
CREATE TABLE job_error (
  job_id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  type TEXT NOT NULL,
  message TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;

CREATE INDEX job_error_fingerprint ON job_error (fingerprint, job_id);
CREATE INDEX job_error_type ON job_error (type, job_id);

CREATE TABLE error_group (
  fingerprint TEXT PRIMARY KEY,
  type TEXT NOT NULL,
  message TEXT NOT NULL,
  frame TEXT NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  last_job INTEGER NOT NULL,
  count INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'open',
  changed_at INTEGER,
  changed_by TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX error_group_seen ON error_group (last_seen, fingerprint);

-- Paths of inputs that somebody declared, and what the jobs have there. Jobs above filled_to are indexed as they enter.
CREATE TABLE index_path (
  path TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  declared_at INTEGER NOT NULL,
  declared_by TEXT,
  filled_to INTEGER,
  PRIMARY KEY (path, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_index (
  path TEXT NOT NULL,
  value TEXT NOT NULL,
  job_id INTEGER NOT NULL,
  PRIMARY KEY (path, value, job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_index_job ON job_index (job_id, path);

CREATE TABLE saved_view (
  name TEXT PRIMARY KEY,
  query TEXT NOT NULL,
  sort TEXT NOT NULL,
  columns TEXT NOT NULL,
  owner TEXT,
  shared INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
