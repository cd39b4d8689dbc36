-- Endpoints that are told of events, what is to be delivered to them, and sources that jobs come from. A delivery that is
-- being sent has a token, and its next_at is when that one counts as lost.

CREATE TABLE webhook (
  name text COLLATE "C" PRIMARY KEY,
  url text NOT NULL,
  rule text NOT NULL,
  secret text NOT NULL,
  old_secret text,
  old_secret_until bigint,
  position text COLLATE "C" NOT NULL,
  disabled_at bigint,
  disabled_reason text,
  failures integer NOT NULL DEFAULT 0,
  failing_since bigint,
  succeeded bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  created_at bigint NOT NULL,
  changed_at bigint NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE webhook_delivery (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  webhook text COLLATE "C" NOT NULL,
  message text NOT NULL,
  type text NOT NULL,
  job_id bigint,
  body text NOT NULL,
  state text COLLATE "C" NOT NULL DEFAULT 'pending',
  attempts integer NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0,
  token text COLLATE "C",
  next_at bigint,
  created_at bigint NOT NULL,
  finished_at bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook, next_at, id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_job ON webhook_delivery (webhook, job_id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_list ON webhook_delivery (webhook, id);
CREATE INDEX webhook_delivery_finished ON webhook_delivery (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE webhook_attempt (
  delivery_id bigint NOT NULL,
  number integer NOT NULL,
  at bigint NOT NULL,
  duration_ms bigint NOT NULL,
  status integer,
  error text,
  response text NOT NULL,
  PRIMARY KEY (delivery_id, number)
);

CREATE TABLE webhook_source (
  name text COLLATE "C" PRIMARY KEY,
  queue text COLLATE "C" NOT NULL,
  kind text NOT NULL,
  scheme text NOT NULL,
  secrets text NOT NULL,
  created_at bigint NOT NULL,
  changed_at bigint NOT NULL
);

CREATE INDEX webhook_source_queue ON webhook_source (queue);
