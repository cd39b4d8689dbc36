-- Jobs that wait for jobs: dependencies, batches, chains, children, signals. A waiting dependent has no `run_at`, so nothing
-- that looks for due or ready jobs ever meets it; how many ends it still waits for stands in a narrow row of its own.

CREATE TABLE dependency (
  needs_id bigint NOT NULL,
  job_id bigint NOT NULL,
  attempt integer NOT NULL,
  open smallint NOT NULL,
  PRIMARY KEY (needs_id, job_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE INDEX dependency_job ON dependency (job_id);
CREATE INDEX dependency_open ON dependency (needs_id, job_id) WHERE open = 1;

CREATE TABLE dependent (
  job_id bigint PRIMARY KEY,
  attempt integer NOT NULL,
  unmet integer NOT NULL,
  after_failure text COLLATE "C" NOT NULL,
  run_at bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE child (
  parent_id bigint NOT NULL,
  job_id bigint NOT NULL,
  PRIMARY KEY (parent_id, job_id)
);

CREATE INDEX child_job ON child (job_id);

CREATE TABLE batch (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  chain smallint NOT NULL,
  total bigint NOT NULL DEFAULT 0,
  pending bigint NOT NULL DEFAULT 0,
  succeeded bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  expired bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  quarantined bigint NOT NULL DEFAULT 0,
  last_job bigint,
  created_at bigint NOT NULL,
  sealed_at bigint,
  finished_at bigint
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX batch_unfinished ON batch (id) WHERE finished_at IS NULL;
CREATE INDEX batch_finished ON batch (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE batch_callback (
  batch_id bigint NOT NULL,
  event text COLLATE "C" NOT NULL,
  job text NOT NULL,
  job_id bigint,
  PRIMARY KEY (batch_id, event)
);

CREATE TABLE batch_member (
  job_id bigint PRIMARY KEY,
  batch_id bigint NOT NULL,
  position bigint NOT NULL,
  counted text COLLATE "C"
) WITH (fillfactor = 70);

CREATE INDEX batch_member_batch ON batch_member (batch_id, position);

CREATE TABLE flow_todo (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id bigint NOT NULL,
  gone text COLLATE "C"
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX flow_todo_job ON flow_todo (job_id);

CREATE TABLE signal (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL,
  data text NOT NULL,
  job_id bigint,
  sent_at bigint NOT NULL,
  pending smallint NOT NULL
);

CREATE INDEX signal_name ON signal (name, id);
CREATE INDEX signal_sent ON signal (sent_at);
CREATE INDEX signal_pending ON signal (id) WHERE pending = 1;

CREATE TABLE signal_wait (
  job_id bigint PRIMARY KEY,
  name text COLLATE "C" NOT NULL,
  step text COLLATE "C" NOT NULL
);

CREATE INDEX signal_wait_name ON signal_wait (name, job_id);

CREATE TABLE signal_used (
  job_id bigint NOT NULL,
  signal_id bigint NOT NULL,
  PRIMARY KEY (job_id, signal_id)
);
