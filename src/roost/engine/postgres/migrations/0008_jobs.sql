-- What people add to jobs (tags, metadata, summaries, chunks of results), schemas of inputs, and counts of history.
-- A job that has none of it has no row here.

CREATE TABLE job_tag (
  key text COLLATE "C" NOT NULL,
  value text COLLATE "C" NOT NULL,
  job_id bigint NOT NULL,
  PRIMARY KEY (key, value, job_id)
);

CREATE INDEX job_tag_job ON job_tag (job_id);

INSERT INTO job_tag (key, value, job_id)
SELECT t.key, t.value, i.job_id
FROM job_input i, json_each_text(coalesce(i.options::json -> 'tags', '{}')) t WHERE i.options IS NOT NULL;

CREATE TABLE job_metadata (
  job_id bigint PRIMARY KEY,
  metadata text NOT NULL
);

CREATE TABLE job_summary (
  job_id bigint PRIMARY KEY,
  summary text NOT NULL
);

CREATE TABLE job_chunk (
  job_id bigint NOT NULL,
  number integer NOT NULL,
  at bigint NOT NULL,
  attempt integer NOT NULL,
  chunk text NOT NULL,
  PRIMARY KEY (job_id, number)
);

CREATE TABLE kind (
  name text COLLATE "C" PRIMARY KEY,
  schema text NOT NULL,
  changed_at bigint NOT NULL,
  changed_by text
);

-- How many jobs of a queue had ended in a state, counting those that ended until a moment: what ended later is counted
-- when somebody asks, what is forgotten is subtracted by those who forget it. No commit of the hot path writes here.
CREATE TABLE queue_count (
  queue text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL,
  until bigint NOT NULL,
  jobs bigint NOT NULL,
  PRIMARY KEY (queue, state)
) WITH (fillfactor = 50);

CREATE INDEX job_waiting_queue ON job (queue, id) WHERE state = 'waiting';
