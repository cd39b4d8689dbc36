-- `state || ''` hides a condition from the planner: rows are found by their ids, never through a partial index that
-- holds every row of that state.

-- name: beat
UPDATE job SET lease_until = r.lease_until
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS token, (value ->> 2)::bigint AS lease_until
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE job.id = ANY (ARRAY[r.id]) AND job.token = r.token AND job.state || '' = 'running';

-- name: beat_refused
-- Only what is worth telling: leases that are lost (0) and jobs somebody wants cancelled (1).
SELECT coalesce(json_agg(json_build_array(r.id, r.token, CASE WHEN j.id IS NULL THEN 0 ELSE 1 END))::text, '[]')
FROM (SELECT (value ->> 0)::bigint AS id, value ->> 1 AS token FROM json_array_elements(:rows::json)) r
LEFT JOIN job j ON j.id = ANY (ARRAY[r.id]) AND j.token = r.token AND j.state || '' = 'running'
WHERE j.id IS NULL OR j.flags & 1 = 1;

-- name: progress_put
INSERT INTO job_progress (job_id, progress, saved)
SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2 FROM json_array_elements(:rows::json)
ON CONFLICT (job_id) DO UPDATE SET progress = coalesce(excluded.progress, job_progress.progress),
  saved = coalesce(excluded.saved, job_progress.saved);

-- name: log_put
INSERT INTO job_log (job_id, at, attempt, level, message)
WITH line AS MATERIALIZED (
  SELECT (value ->> 0)::bigint AS job_id, (value ->> 1)::bigint AS at, value ->> 2 AS level, value ->> 3 AS message, place
  FROM json_array_elements(:rows::json) WITH ORDINALITY AS e (value, place)
), logging AS MATERIALIZED (
  SELECT j.id, j.attempt, (SELECT count(*) FROM job_log l WHERE l.job_id = j.id) AS lines
  FROM (SELECT DISTINCT job_id FROM line) r JOIN job j ON j.id = ANY (ARRAY[r.job_id])
)
SELECT line.job_id, line.at, logging.attempt, line.level, line.message
FROM line JOIN logging ON logging.id = line.job_id
WHERE logging.lines < :line_limit
ORDER BY line.place;

-- name: step_facts
-- Each asked step: whether the asker holds the lease and its attempt; then the step as it was recorded before, if it was.
-- The job's row stays locked, so that no other outcome of this lease comes between the answer and the record.
WITH asked AS MATERIALIZED (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS token, value ->> 2 AS name FROM json_array_elements(:rows::json)
), lease AS MATERIALIZED (
  SELECT j.id, j.token, j.attempt
  FROM (SELECT DISTINCT id, token FROM asked) a
  JOIN job j ON j.id = ANY (ARRAY[a.id]) AND j.token = a.token AND j.state || '' = 'running'
  ORDER BY j.id
  FOR NO KEY UPDATE OF j
)
SELECT coalesce(json_agg(json_build_array(a.id, a.token, a.name, j.id IS NOT NULL, j.attempt,
  (SELECT count(*) FROM step o WHERE o.job_id = a.id AND o.id <= coalesce(s.id, o.id)),
  s.kind, s.input_hash, s.output, s.usage, s.attempt, s.started_at, s.finished_at))::text, '[]')
FROM asked a
LEFT JOIN lease j ON j.id = a.id AND j.token = a.token
LEFT JOIN step s ON s.job_id = ANY (ARRAY[a.id]) AND s.name = a.name;

-- name: step_put
INSERT INTO step (job_id, name, kind, input_hash, output, usage, attempt, started_at, finished_at)
SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, (value ->> 6)::integer,
  (value ->> 7)::bigint, :now
FROM json_array_elements(:rows::json) WITH ORDINALITY AS e (value, place) ORDER BY place;

-- name: step_started_put
-- A beat that arrives late must not open again what is recorded; one that arrives twice changes nothing.
INSERT INTO step_started (job_id, name, attempt, kind, input_hash, started_at)
SELECT r.id, r.name, j.attempt, r.kind, r.input_hash, r.started_at
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS name, value ->> 2 AS kind, value ->> 3 AS input_hash,
    (value ->> 4)::bigint AS started_at
  FROM json_array_elements(:rows::json)
) r JOIN job j ON j.id = ANY (ARRAY[r.id])
WHERE NOT EXISTS (SELECT 1 FROM step s WHERE s.job_id = ANY (ARRAY[r.id]) AND s.name = r.name)
ON CONFLICT (job_id, name, attempt) DO UPDATE SET kind = excluded.kind, input_hash = excluded.input_hash,
  started_at = excluded.started_at;

-- name: step_started_done
DELETE FROM step_started s
USING (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS name, (value ->> 2)::integer AS attempt
  FROM json_array_elements(:rows::json)
) r
WHERE s.job_id = r.id AND s.name = r.name AND s.attempt = r.attempt;
