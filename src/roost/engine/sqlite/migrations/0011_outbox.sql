-- The last batch of each outbox: a relay may send it again, however much later, and is told what it was told.
CREATE TABLE outbox_delivery (
  outbox TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  contents TEXT NOT NULL,
  reply TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
