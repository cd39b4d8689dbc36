-- name: job_insert
-- A thousand jobs of a batch mostly differ in their input alone: each id names one of a few shapes by its place, and a
-- shape is read out of the JSON once instead of once per job.
INSERT INTO job (id, queue, kind, state, reason, priority, flags, created_at, run_at, expires_at, deadline_at,
  rank)
WITH shape AS MATERIALIZED (
  SELECT key AS place, value ->> 0 AS queue, value ->> 1 AS kind, value ->> 2 AS state, value ->> 3 AS reason,
         value ->> 4 AS priority, value ->> 5 AS flags, value ->> 6 AS run_at, value ->> 7 AS expires_at,
         value ->> 8 AS deadline_at, coalesce(value ->> 9, 9 - (value ->> 4)) AS rank
  FROM json_each(:shapes)
)
SELECT CAST(p.key AS INTEGER), s.queue, s.kind, s.state, s.reason, s.priority, s.flags, :now, s.run_at, s.expires_at,
  s.deadline_at, s.rank
FROM json_each(:places) p CROSS JOIN shape s ON s.place = p.value;

-- name: input_insert
INSERT INTO job_input (job_id, input) SELECT CAST(key AS INTEGER), value FROM json_each(:inputs);

-- name: input_insert_with_options
INSERT INTO job_input (job_id, input, options)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows);

-- name: unique_known
-- A key is alive while its job has not ended, or until its period is over, even where the job is deleted; nothing has
-- to release it.
SELECT json_group_array(json_array(u.key, u.job_id, u.input_hash,
  CASE WHEN u.until > :now OR (j.id IS NOT NULL AND j.finished_at IS NULL) THEN 1 ELSE 0 END))
FROM unique_key u LEFT JOIN job j ON j.id = u.job_id
WHERE u.key IN (SELECT value FROM json_each(:keys));

-- name: unique_put
-- The fourth value is the dead holder that is replaced (0: none): a key another transaction took meanwhile stays as it is.
INSERT INTO unique_key (key, job_id, input_hash, until, touched_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 4, :now FROM json_each(:rows) WHERE true
ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id, input_hash = excluded.input_hash, until = excluded.until,
  touched_at = excluded.touched_at
WHERE unique_key.job_id IN (SELECT value ->> 3 FROM json_each(:rows));

-- name: unique_forget
DELETE FROM unique_key WHERE (key, job_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows));

-- name: unique_rename
UPDATE unique_key SET key = r.value ->> 1
FROM json_each(:rows) r
WHERE unique_key.key = r.value ->> 0 AND unique_key.job_id = r.value ->> 2;

-- name: unique_touch
-- A duplicate's answer writes before it is given, so that it waits for what the first answer waited for.
UPDATE unique_key SET touched_at = :now WHERE key IN (SELECT value FROM json_each(:keys));

-- name: operations_known
SELECT json_group_array(json_array(id, fingerprint, answer)) FROM operation
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: operations_put
INSERT INTO operation (id, fingerprint, answer, at)
SELECT value ->> 0, value ->> 1, value ->> 2, :now FROM json_each(:rows);

-- name: operations_touch
UPDATE operation SET at = :now WHERE id IN (SELECT value FROM json_each(:ids));
