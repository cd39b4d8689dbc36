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
