-- The last batch of each outbox: a relay may send it again, however much later, and is told what it was told.
CREATE TABLE outbox_delivery (
  outbox text COLLATE "C" PRIMARY KEY,
  number bigint NOT NULL,
  contents text NOT NULL,
  reply text NOT NULL,
  at bigint NOT NULL
);
