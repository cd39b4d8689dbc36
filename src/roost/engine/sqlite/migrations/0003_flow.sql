-- Jobs that wait for jobs: dependencies, batches, chains, children, signals. A waiting dependent has no `run_at`, so nothing
-- that looks for due or ready jobs ever meets it; how many ends it still waits for stands in a narrow row of its own.

CREATE TABLE dependency (
  needs_id INTEGER NOT NULL,
  job_id INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  open INTEGER NOT NULL,
  PRIMARY KEY (needs_id, job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX dependency_job ON dependency (job_id);
CREATE INDEX dependency_open ON dependency (needs_id, job_id) WHERE open = 1;

CREATE TABLE dependent (
  job_id INTEGER PRIMARY KEY,
  attempt INTEGER NOT NULL,
  unmet INTEGER NOT NULL,
  after_failure TEXT NOT NULL,
  run_at INTEGER
) STRICT;

CREATE TABLE child (
  parent_id INTEGER NOT NULL,
  job_id INTEGER NOT NULL,
  PRIMARY KEY (parent_id, job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX child_job ON child (job_id);

CREATE TABLE batch (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  chain INTEGER NOT NULL,
  total INTEGER NOT NULL DEFAULT 0,
  pending INTEGER NOT NULL DEFAULT 0,
  succeeded INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0,
  expired INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0,
  quarantined INTEGER NOT NULL DEFAULT 0,
  last_job INTEGER,
  created_at INTEGER NOT NULL,
  sealed_at INTEGER,
  finished_at INTEGER
) STRICT;

CREATE INDEX batch_unfinished ON batch (id) WHERE finished_at IS NULL;
CREATE INDEX batch_finished ON batch (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE batch_callback (
  batch_id INTEGER NOT NULL,
  event TEXT NOT NULL,
  job TEXT NOT NULL,
  job_id INTEGER,
  PRIMARY KEY (batch_id, event)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch_member (
  job_id INTEGER PRIMARY KEY,
  batch_id INTEGER NOT NULL,
  position INTEGER NOT NULL,
  counted TEXT
) STRICT;

CREATE INDEX batch_member_batch ON batch_member (batch_id, position);

CREATE TABLE flow_todo (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL,
  gone TEXT
) STRICT;

CREATE INDEX flow_todo_job ON flow_todo (job_id);

CREATE TABLE signal (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  data TEXT NOT NULL,
  job_id INTEGER,
  sent_at INTEGER NOT NULL,
  pending INTEGER NOT NULL
) STRICT;

CREATE INDEX signal_name ON signal (name, id);
CREATE INDEX signal_sent ON signal (sent_at);
CREATE INDEX signal_pending ON signal (id) WHERE pending = 1;

CREATE TABLE signal_wait (
  job_id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  step TEXT NOT NULL
) STRICT;

CREATE INDEX signal_wait_name ON signal_wait (name, job_id);

CREATE TABLE signal_used (
  job_id INTEGER NOT NULL,
  signal_id INTEGER NOT NULL,
  PRIMARY KEY (job_id, signal_id)
) STRICT, WITHOUT ROWID;
