-- Bulk operations: what they do, how far they are, and whom they could not do it to.

CREATE TABLE bulk (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  work text COLLATE "C" NOT NULL,
  query text COLLATE "C" NOT NULL,
  ids text COLLATE "C",
  state text COLLATE "C" NOT NULL DEFAULT 'running',
  actor text COLLATE "C",
  cursor bigint NOT NULL,
  total bigint NOT NULL,
  exact bigint NOT NULL,
  done bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  error text COLLATE "C",
  created_at bigint NOT NULL,
  next_at bigint,
  ended_at bigint
);

CREATE INDEX bulk_running ON bulk (id) WHERE state = 'running';

CREATE TABLE bulk_result (
  bulk_id bigint NOT NULL,
  job_id bigint NOT NULL,
  outcome text COLLATE "C" NOT NULL,
  code text COLLATE "C" NOT NULL,
  message text COLLATE "C" NOT NULL,
  PRIMARY KEY (bulk_id, job_id)
);
