-- name: job_insert
-- A thousand jobs of a batch mostly differ in their input alone: each id names one of a few shapes by its place, and a
-- shape is read out of the JSON once instead of once per job.
INSERT INTO job (id, queue, kind, state, reason, priority, flags, created_at, run_at, expires_at, deadline_at,
  rank)
WITH shape AS MATERIALIZED (
  SELECT place - 1 AS place, value ->> 0 AS queue, value ->> 1 AS kind, value ->> 2 AS state, value ->> 3 AS reason,
         (value ->> 4)::smallint AS priority, (value ->> 5)::integer AS flags, (value ->> 6)::bigint AS run_at,
         (value ->> 7)::bigint AS expires_at, (value ->> 8)::bigint AS deadline_at,
         coalesce((value ->> 9)::bigint, 9 - (value ->> 4)::bigint) AS rank
  FROM json_array_elements(:shapes::json) WITH ORDINALITY AS e (value, place)
)
SELECT p.key::bigint, s.queue, s.kind, s.state, s.reason, s.priority, s.flags, :now, s.run_at, s.expires_at, s.deadline_at,
  s.rank
FROM json_each_text(:places::json) p JOIN shape s ON s.place = p.value::bigint;

-- name: input_insert
INSERT INTO job_input (job_id, input) SELECT key::bigint, value FROM json_each_text(:inputs::json);

-- name: input_insert_with_options
INSERT INTO job_input (job_id, input, options)
SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2 FROM json_array_elements(:rows::json);

-- name: unique_known
-- A key is alive while its job has not ended, or until its period is over, even where the job is deleted; nothing has
-- to release it.
SELECT coalesce(json_agg(json_build_array(u.key, u.job_id, u.input_hash,
  CASE WHEN u.until > :now OR (j.id IS NOT NULL AND j.finished_at IS NULL) THEN 1 ELSE 0 END))::text, '[]')
FROM unique_key u LEFT JOIN job j ON j.id = u.job_id
WHERE u.key = ANY (ARRAY (SELECT json_array_elements_text(:keys::json)));

-- name: unique_put
-- The fourth value is the dead holder that is replaced (0: none): a key another transaction took meanwhile stays as it is.
INSERT INTO unique_key (key, job_id, input_hash, until, touched_at)
SELECT value ->> 0, (value ->> 1)::bigint, value ->> 2, (value ->> 4)::bigint, :now FROM json_array_elements(:rows::json)
ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id, input_hash = excluded.input_hash, until = excluded.until,
  touched_at = excluded.touched_at
WHERE unique_key.job_id IN (SELECT (value ->> 3)::bigint FROM json_array_elements(:rows::json));

-- name: unique_forget
DELETE FROM unique_key USING (
  SELECT value ->> 0 AS key, (value ->> 1)::bigint AS job_id FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE unique_key.key = ANY (ARRAY[r.key]) AND unique_key.job_id = r.job_id;

-- name: unique_rename
UPDATE unique_key SET key = r.new
FROM (
  SELECT value ->> 0 AS old, value ->> 1 AS new, (value ->> 2)::bigint AS job_id
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE unique_key.key = ANY (ARRAY[r.old]) AND unique_key.job_id = r.job_id;

-- name: unique_touch
-- A duplicate's answer writes before it is given, so that it waits for what the first answer waited for.
UPDATE unique_key SET touched_at = :now WHERE key = ANY (ARRAY (SELECT json_array_elements_text(:keys::json)));

-- name: operations_known
SELECT coalesce(json_agg(json_build_array(id, fingerprint, answer))::text, '[]') FROM operation
WHERE id = ANY (ARRAY (SELECT json_array_elements_text(:ids::json)));

-- name: operations_put
-- In order, so that two transactions with the same ids wait for each other one way.
INSERT INTO operation (id, fingerprint, answer, at)
SELECT value ->> 0, value ->> 1, value ->> 2, :now FROM json_array_elements(:rows::json) ORDER BY (value ->> 0) COLLATE "C";

-- name: operations_touch
UPDATE operation SET at = :now WHERE id = ANY (ARRAY (SELECT json_array_elements_text(:ids::json)));
