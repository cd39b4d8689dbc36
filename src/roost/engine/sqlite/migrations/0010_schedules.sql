-- How often a schedule has fired, and what is looked at when a fire should have started or ended.

ALTER TABLE schedule ADD COLUMN runs INTEGER NOT NULL DEFAULT 0;

CREATE TABLE alarm (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  schedule TEXT NOT NULL,
  fire_at INTEGER NOT NULL,
  job_id INTEGER,
  expected TEXT NOT NULL,
  due_at INTEGER NOT NULL
) STRICT;

CREATE INDEX alarm_due ON alarm (due_at, id);
