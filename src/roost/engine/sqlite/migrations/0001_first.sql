-- The first schema. Hot facts of a job stand in narrow rows; what never changes, or changes rarely, stands beside them, so
-- that a claim or a settle never rewrites an input. Ready, running and waiting jobs have an index each that holds nothing
-- else: finished history never slows a claim.

CREATE TABLE queue (
  name TEXT PRIMARY KEY,
  paused_at INTEGER,
  paused_by TEXT,
  rules TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  priority INTEGER NOT NULL,
  flags INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  run_at INTEGER,
  expires_at INTEGER,
  deadline_at INTEGER,
  attempt INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  deaths INTEGER NOT NULL DEFAULT 0,
  token TEXT,
  worker TEXT,
  lease_until INTEGER,
  started_at INTEGER,
  finished_at INTEGER
) STRICT;

CREATE INDEX job_ready ON job (queue, priority DESC, id) WHERE state = 'ready';
CREATE INDEX job_running ON job (lease_until) WHERE state = 'running';
CREATE INDEX job_waiting ON job (run_at) WHERE state = 'waiting';
CREATE INDEX job_held ON job (queue, id) WHERE state = 'held';
CREATE INDEX job_finished ON job (queue, state, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX job_expiring ON job (expires_at) WHERE expires_at IS NOT NULL AND state IN ('waiting', 'ready', 'held');
CREATE INDEX job_deadline ON job (deadline_at) WHERE deadline_at IS NOT NULL AND finished_at IS NULL;

CREATE TABLE job_input (
  job_id INTEGER PRIMARY KEY,
  input TEXT NOT NULL,
  options TEXT
) STRICT;

CREATE TABLE job_result (
  job_id INTEGER PRIMARY KEY,
  result TEXT NOT NULL
) STRICT;

CREATE TABLE job_progress (
  job_id INTEGER PRIMARY KEY,
  progress TEXT,
  saved TEXT
) STRICT;

CREATE TABLE job_log (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  level TEXT NOT NULL,
  message TEXT NOT NULL
) STRICT;

CREATE INDEX job_log_job ON job_log (job_id, id);

CREATE TABLE attempt (
  job_id INTEGER NOT NULL,
  number INTEGER NOT NULL,
  token TEXT,
  worker TEXT,
  started_at INTEGER,
  ended_at INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  error TEXT,
  PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE step (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  input_hash TEXT NOT NULL,
  output TEXT NOT NULL,
  usage TEXT,
  attempt INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER NOT NULL,
  UNIQUE (job_id, name)
) STRICT;

CREATE TABLE hold (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL,
  reason TEXT NOT NULL,
  title TEXT NOT NULL,
  subject TEXT NOT NULL,
  subject_hash TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'open',
  current INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  deadline INTEGER,
  on_expiry TEXT NOT NULL,
  decided_at INTEGER,
  decided_by TEXT,
  note TEXT,
  answer TEXT
) STRICT;

CREATE INDEX hold_job ON hold (job_id, id);
CREATE INDEX hold_open ON hold (deadline, id) WHERE state = 'open';
CREATE UNIQUE INDEX hold_one_open ON hold (job_id) WHERE state = 'open';

CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER,
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  actor TEXT,
  data TEXT
) STRICT;

CREATE INDEX event_job ON event (job_id, id) WHERE job_id IS NOT NULL;

CREATE TABLE unique_key (
  key TEXT PRIMARY KEY,
  job_id INTEGER NOT NULL,
  input_hash TEXT NOT NULL,
  until INTEGER,
  touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX unique_key_job ON unique_key (job_id);

CREATE TABLE schedule (
  name TEXT PRIMARY KEY,
  rule TEXT NOT NULL,
  job TEXT NOT NULL,
  paused INTEGER NOT NULL DEFAULT 0,
  remove_after_last INTEGER NOT NULL DEFAULT 0,
  next_fire INTEGER,
  last_fire INTEGER,
  last_job INTEGER,
  queued INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX schedule_due ON schedule (next_fire) WHERE paused = 0 AND next_fire IS NOT NULL;
CREATE INDEX schedule_queued ON schedule (name) WHERE paused = 0 AND queued = 1;

CREATE TABLE fire (
  schedule TEXT NOT NULL,
  fire_at INTEGER NOT NULL,
  fired_at INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  job_id INTEGER,
  PRIMARY KEY (schedule, fire_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE worker (
  id TEXT PRIMARY KEY,
  data TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE operation (
  id TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  answer TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX operation_at ON operation (at);
