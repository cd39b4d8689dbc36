-- Ready jobs are claimed by their rank, smallest first, then by id; a plain queue's ranks are its priorities.

ALTER TABLE job ADD COLUMN rank INTEGER NOT NULL DEFAULT 4;

UPDATE job SET rank = 9 - priority WHERE priority <> 5;

DROP INDEX job_ready;
CREATE INDEX job_ready ON job (queue, rank, id) WHERE state = 'ready';

-- Fair queues in virtual time: where the last job of each priority ends, and where each key's last job does.
CREATE TABLE fair_band (
  queue TEXT NOT NULL,
  band INTEGER NOT NULL,
  latest INTEGER NOT NULL,
  PRIMARY KEY (queue, band)
) STRICT, WITHOUT ROWID;

CREATE TABLE fair_key (
  queue TEXT NOT NULL,
  band INTEGER NOT NULL,
  key TEXT NOT NULL,
  ends INTEGER NOT NULL,
  touched_at INTEGER NOT NULL,
  PRIMARY KEY (queue, band, key)
) STRICT, WITHOUT ROWID;
