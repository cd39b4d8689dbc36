-- What searches need. Plain jobs that succeed write none of it: rare states have an index of their own, errors are noted
-- when attempts fail, inputs only where somebody declared a path.

CREATE INDEX job_state ON job (state, id) WHERE state IN ('waiting', 'held', 'failed', 'cancelled', 'expired');
CREATE INDEX fire_job ON fire (schedule, job_id) WHERE job_id IS NOT NULL;
CREATE INDEX fire_of_job ON fire (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX batch_member_job ON batch_member (batch_id, job_id);

-- The last error of each job that had one.
CREATE TABLE job_error (
  job_id bigint PRIMARY KEY,
  fingerprint text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  message text COLLATE "C" NOT NULL,
  at bigint NOT NULL
);

CREATE INDEX job_error_fingerprint ON job_error (fingerprint, job_id);
CREATE INDEX job_error_type ON job_error (type, job_id);

CREATE TABLE error_group (
  fingerprint text COLLATE "C" PRIMARY KEY,
  type text COLLATE "C" NOT NULL,
  message text COLLATE "C" NOT NULL,
  frame text COLLATE "C" NOT NULL,
  first_seen bigint NOT NULL,
  last_seen bigint NOT NULL,
  last_job bigint NOT NULL,
  count bigint NOT NULL,
  state text COLLATE "C" NOT NULL DEFAULT 'open',
  changed_at bigint,
  changed_by text COLLATE "C"
);

CREATE INDEX error_group_seen ON error_group (last_seen, fingerprint);

-- Paths of inputs that somebody declared, and what the jobs have there. Jobs above filled_to are indexed as they enter.
CREATE TABLE index_path (
  path text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL,
  declared_at bigint NOT NULL,
  declared_by text COLLATE "C",
  filled_to bigint,
  PRIMARY KEY (path, kind)
);

CREATE TABLE job_index (
  path text COLLATE "C" NOT NULL,
  value text COLLATE "C" NOT NULL,
  job_id bigint NOT NULL,
  PRIMARY KEY (path, value, job_id)
);

CREATE INDEX job_index_job ON job_index (job_id, path);

CREATE TABLE saved_view (
  name text COLLATE "C" PRIMARY KEY,
  query text COLLATE "C" NOT NULL,
  sort text COLLATE "C" NOT NULL,
  columns text COLLATE "C" NOT NULL,
  owner text COLLATE "C",
  shared smallint NOT NULL,
  created_at bigint NOT NULL,
  changed_at bigint NOT NULL
);
