-- Limits by key: what a key allows and how much of it is taken (in microseconds for its rate), what each job takes of which
-- keys, and what running jobs hold. A job that waits for a key has its rank in `parked`: it costs no claim anything.

CREATE TABLE limiter (
  key text COLLATE "C" PRIMARY KEY,
  concurrency bigint,
  rate text COLLATE "C",
  spacing bigint,
  burst bigint,
  tat bigint NOT NULL DEFAULT 0,
  used bigint NOT NULL DEFAULT 0,
  freed_at bigint NOT NULL DEFAULT 0,
  next_at bigint,
  changed_at bigint NOT NULL
);

CREATE INDEX limiter_next ON limiter (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE limiter_queue (
  key text COLLATE "C" NOT NULL,
  queue text COLLATE "C" NOT NULL,
  PRIMARY KEY (key, queue)
);

CREATE INDEX limiter_queue_queue ON limiter_queue (queue, key);

CREATE TABLE job_limit (
  job_id bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  queue text COLLATE "C" NOT NULL,
  cost bigint NOT NULL,
  parked bigint,
  turn bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (job_id, key)
);

CREATE INDEX job_limit_key ON job_limit (key);
CREATE INDEX job_limit_parked ON job_limit (key, queue, parked, job_id) WHERE parked IS NOT NULL;
CREATE INDEX job_limit_turn ON job_limit (key, queue) WHERE turn = 1;

CREATE TABLE slot (
  key text COLLATE "C" NOT NULL,
  job_id bigint NOT NULL,
  cost bigint NOT NULL,
  PRIMARY KEY (job_id, key)
);

CREATE INDEX slot_key ON slot (key);
