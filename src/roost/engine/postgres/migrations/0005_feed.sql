-- The feed: one row for each transaction that changed anything. The number is drawn by the transaction's last statement,
-- so that what follows another transaction on the same job has the higher number; a reader stops where one is missing
-- until the transactions that may have drawn it are over.

CREATE SEQUENCE feed_seq AS bigint CACHE 1;

CREATE TABLE feed (
  seq bigint PRIMARY KEY,
  at bigint NOT NULL,
  facts text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- What was deleted: positions before it have lost something.
CREATE TABLE feed_floor (seq bigint NOT NULL);

INSERT INTO feed_floor (seq) VALUES (0);

-- Names of deleted jobs for as long as the feed tells of them: a reader who filters by queue or kind misses none.
CREATE TABLE feed_gone (
  job_id bigint PRIMARY KEY,
  queue text NOT NULL,
  kind text NOT NULL,
  at bigint NOT NULL
);

CREATE INDEX feed_gone_at ON feed_gone (at);
