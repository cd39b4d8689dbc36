-- The first schema; table for table what the SQLite engine has. Hot facts of a job stand in narrow rows; what never
-- changes, or changes rarely, stands beside them, so that a claim or a settle never rewrites an input. Ready, running and
-- waiting jobs have an index each that holds nothing else: finished history never slows a claim.
-- JSON is kept as text, byte for byte as it came. Texts that are compared or sorted do so by bytes, as in SQLite.
-- No foreign keys: they would lock a job's row for every row beside it.

CREATE TABLE queue (
  name text COLLATE "C" PRIMARY KEY,
  paused_at bigint,
  paused_by text,
  rules text
);

-- Handed out one by one: a cache for each session would let a later job of another session overtake an earlier one.
CREATE SEQUENCE job_id AS bigint CACHE 1;

CREATE TABLE job (
  id bigint PRIMARY KEY,
  queue text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL,
  reason text COLLATE "C",
  priority smallint NOT NULL,
  flags integer NOT NULL DEFAULT 0,
  created_at bigint NOT NULL,
  run_at bigint,
  expires_at bigint,
  deadline_at bigint,
  attempt integer NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0,
  deaths integer NOT NULL DEFAULT 0,
  token text COLLATE "C",
  worker text COLLATE "C",
  lease_until bigint,
  started_at bigint,
  finished_at bigint
) WITH (
  -- A job's row is written three times in its life: room for the next version keeps them on one page. Dead rows are
  -- taken away by their number, not by their share of a history that only grows.
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
  autovacuum_vacuum_insert_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX job_ready ON job (queue, priority DESC, id) WHERE state = 'ready';
CREATE INDEX job_running ON job (lease_until) WHERE state = 'running';
CREATE INDEX job_waiting ON job (run_at) WHERE state = 'waiting';
CREATE INDEX job_held ON job (queue, id) WHERE state = 'held';
CREATE INDEX job_finished ON job (queue, state, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX job_expiring ON job (expires_at) WHERE expires_at IS NOT NULL AND state IN ('waiting', 'ready', 'held');
CREATE INDEX job_deadline ON job (deadline_at) WHERE deadline_at IS NOT NULL AND finished_at IS NULL;

CREATE TABLE job_input (
  job_id bigint PRIMARY KEY,
  input text NOT NULL,
  options text
);

CREATE TABLE job_result (
  job_id bigint PRIMARY KEY,
  result text NOT NULL
);

CREATE TABLE job_progress (
  job_id bigint PRIMARY KEY,
  progress text,
  saved text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE job_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id bigint NOT NULL,
  at bigint NOT NULL,
  attempt integer NOT NULL,
  level text NOT NULL,
  message text NOT NULL
);

CREATE INDEX job_log_job ON job_log (job_id, id);

CREATE TABLE attempt (
  job_id bigint NOT NULL,
  number integer NOT NULL,
  token text COLLATE "C",
  worker text,
  started_at bigint,
  ended_at bigint NOT NULL,
  outcome text COLLATE "C" NOT NULL,
  error text,
  PRIMARY KEY (job_id, number)
);

CREATE TABLE step (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  kind text NOT NULL,
  input_hash text NOT NULL,
  output text NOT NULL,
  usage text,
  attempt integer NOT NULL,
  started_at bigint,
  finished_at bigint NOT NULL,
  UNIQUE (job_id, name)
);

CREATE TABLE hold (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id bigint NOT NULL,
  reason text NOT NULL,
  title text NOT NULL,
  subject text NOT NULL,
  subject_hash text NOT NULL,
  state text COLLATE "C" NOT NULL DEFAULT 'open',
  current smallint NOT NULL DEFAULT 1,
  created_at bigint NOT NULL,
  deadline bigint,
  on_expiry text NOT NULL,
  decided_at bigint,
  decided_by text,
  note text,
  answer text
);

CREATE INDEX hold_job ON hold (job_id, id);
CREATE INDEX hold_open ON hold (deadline, id) WHERE state = 'open';
CREATE UNIQUE INDEX hold_one_open ON hold (job_id) WHERE state = 'open';

CREATE TABLE event (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id bigint,
  at bigint NOT NULL,
  type text NOT NULL,
  actor text,
  data text
);

CREATE INDEX event_job ON event (job_id, id) WHERE job_id IS NOT NULL;

CREATE TABLE unique_key (
  key text COLLATE "C" PRIMARY KEY,
  job_id bigint NOT NULL,
  input_hash text NOT NULL,
  until bigint,
  touched_at bigint NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX unique_key_job ON unique_key (job_id);

CREATE TABLE schedule (
  name text COLLATE "C" PRIMARY KEY,
  rule text NOT NULL,
  job text NOT NULL,
  paused smallint NOT NULL DEFAULT 0,
  remove_after_last smallint NOT NULL DEFAULT 0,
  next_fire bigint,
  last_fire bigint,
  last_job bigint,
  queued smallint NOT NULL DEFAULT 0,
  created_at bigint NOT NULL,
  changed_at bigint NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX schedule_due ON schedule (next_fire) WHERE paused = 0 AND next_fire IS NOT NULL;
CREATE INDEX schedule_queued ON schedule (name) WHERE paused = 0 AND queued = 1;

CREATE TABLE fire (
  schedule text COLLATE "C" NOT NULL,
  fire_at bigint NOT NULL,
  fired_at bigint NOT NULL,
  outcome text NOT NULL,
  job_id bigint,
  PRIMARY KEY (schedule, fire_at)
);

CREATE TABLE worker (
  id text COLLATE "C" PRIMARY KEY,
  data text NOT NULL,
  started_at bigint NOT NULL,
  seen_at bigint NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE operation (
  id text COLLATE "C" PRIMARY KEY,
  fingerprint text NOT NULL,
  answer text NOT NULL,
  at bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX operation_at ON operation (at);
