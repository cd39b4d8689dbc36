-- Bulk operations: what they do, how far they are, and whom they could not do it to.

CREATE TABLE bulk (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  work TEXT NOT NULL,
  query TEXT NOT NULL,
  ids TEXT,
  state TEXT NOT NULL DEFAULT 'running',
  actor TEXT,
  cursor INTEGER NOT NULL,
  total INTEGER NOT NULL,
  exact INTEGER NOT NULL,
  done INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  created_at INTEGER NOT NULL,
  next_at INTEGER,
  ended_at INTEGER
) STRICT;

CREATE INDEX bulk_running ON bulk (id) WHERE state = 'running';

CREATE TABLE bulk_result (
  bulk_id INTEGER NOT NULL,
  job_id INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (bulk_id, job_id)
) STRICT, WITHOUT ROWID;
