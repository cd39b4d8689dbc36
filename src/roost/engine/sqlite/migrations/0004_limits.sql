-- Limits by key: what a key allows and how much of it is taken (in microseconds for its rate), what each job takes of which
-- keys, and what running jobs hold. A job that waits for a key has its rank in `parked`: it costs no claim anything.

CREATE TABLE limiter (
  key TEXT PRIMARY KEY,
  concurrency INTEGER,
  rate TEXT,
  spacing INTEGER,
  burst INTEGER,
  tat INTEGER NOT NULL DEFAULT 0,
  used INTEGER NOT NULL DEFAULT 0,
  freed_at INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX limiter_next ON limiter (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE limiter_queue (
  key TEXT NOT NULL,
  queue TEXT NOT NULL,
  PRIMARY KEY (key, queue)
) STRICT, WITHOUT ROWID;

CREATE INDEX limiter_queue_queue ON limiter_queue (queue, key);

CREATE TABLE job_limit (
  job_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  queue TEXT NOT NULL,
  cost INTEGER NOT NULL,
  parked INTEGER,
  turn INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (job_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_limit_key ON job_limit (key);
CREATE INDEX job_limit_parked ON job_limit (key, queue, parked, job_id) WHERE parked IS NOT NULL;
CREATE INDEX job_limit_turn ON job_limit (key, queue) WHERE turn = 1;

CREATE TABLE slot (
  key TEXT NOT NULL,
  job_id INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  PRIMARY KEY (job_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX slot_key ON slot (key);
