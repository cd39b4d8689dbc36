-- Endpoints that are told of events, what is to be delivered to them, and sources that jobs come from. A delivery that is
-- being sent has a token, and its next_at is when that one counts as lost.

CREATE TABLE webhook (
  name TEXT PRIMARY KEY,
  url TEXT NOT NULL,
  rule TEXT NOT NULL,
  secret TEXT NOT NULL,
  old_secret TEXT,
  old_secret_until INTEGER,
  position TEXT NOT NULL,
  disabled_at INTEGER,
  disabled_reason TEXT,
  failures INTEGER NOT NULL DEFAULT 0,
  failing_since INTEGER,
  succeeded INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_delivery (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook TEXT NOT NULL,
  message TEXT NOT NULL,
  type TEXT NOT NULL,
  job_id INTEGER,
  body TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending',
  attempts INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  token TEXT,
  next_at INTEGER,
  created_at INTEGER NOT NULL,
  finished_at INTEGER
) STRICT;

CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook, next_at, id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_job ON webhook_delivery (webhook, job_id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_list ON webhook_delivery (webhook, id);
CREATE INDEX webhook_delivery_finished ON webhook_delivery (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE webhook_attempt (
  delivery_id INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  status INTEGER,
  error TEXT,
  response TEXT NOT NULL,
  PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_source (
  name TEXT PRIMARY KEY,
  queue TEXT NOT NULL,
  kind TEXT NOT NULL,
  scheme TEXT NOT NULL,
  secrets TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_source_queue ON webhook_source (queue);
