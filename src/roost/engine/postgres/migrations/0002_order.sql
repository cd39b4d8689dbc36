-- Ready jobs are claimed by their rank, smallest first, then by id; a plain queue's ranks are its priorities.

ALTER TABLE job ADD COLUMN rank bigint NOT NULL DEFAULT 4;

UPDATE job SET rank = 9 - priority WHERE priority <> 5;

DROP INDEX job_ready;
CREATE INDEX job_ready ON job (queue, rank, id) WHERE state = 'ready';

-- Fair queues in virtual time: where the last job of each priority ends, and where each key's last job does.
CREATE TABLE fair_band (
  queue text COLLATE "C" NOT NULL,
  band bigint NOT NULL,
  latest bigint NOT NULL,
  PRIMARY KEY (queue, band)
);

CREATE TABLE fair_key (
  queue text COLLATE "C" NOT NULL,
  band bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  ends bigint NOT NULL,
  touched_at bigint NOT NULL,
  PRIMARY KEY (queue, band, key)
);
