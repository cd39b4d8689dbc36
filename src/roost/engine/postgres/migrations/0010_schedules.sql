-- How often a schedule has fired, and what is looked at when a fire should have started or ended.

ALTER TABLE schedule ADD COLUMN runs bigint NOT NULL DEFAULT 0;

CREATE TABLE alarm (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  schedule text COLLATE "C" NOT NULL,
  fire_at bigint NOT NULL,
  job_id bigint,
  expected text COLLATE "C" NOT NULL,
  due_at bigint NOT NULL
);

CREATE INDEX alarm_due ON alarm (due_at, id);
