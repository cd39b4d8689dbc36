-- The feed: one row for each transaction that changed anything, numbered in the order of commits (there is one writer).
-- The newest row is never deleted, so a number is not given twice.

CREATE TABLE feed (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  facts TEXT NOT NULL
);

-- What was deleted: positions before it have lost something.
CREATE TABLE feed_floor (seq INTEGER NOT NULL);

INSERT INTO feed_floor (seq) VALUES (0);

-- Names of deleted jobs for as long as the feed tells of them: a reader who filters by queue or kind misses none.
CREATE TABLE feed_gone (
  job_id INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  kind TEXT NOT NULL,
  at INTEGER NOT NULL
);

CREATE INDEX feed_gone_at ON feed_gone (at);
