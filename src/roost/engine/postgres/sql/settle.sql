-- `state || ''` hides a condition from the planner: rows are found by their ids, never through a partial index that
-- holds every row of that state.

-- name: settle_plain
-- A success of a job whose end concerns nobody else: one guarded row, nothing read. The fence is token by id.
UPDATE job SET state = 'succeeded', reason = NULL, finished_at = greatest(:now, started_at), lease_until = NULL
FROM (SELECT key::bigint AS id, value AS token FROM json_each_text(:fence::json) ORDER BY 1) r
WHERE job.id = ANY (ARRAY[r.id]) AND job.token = r.token AND job.state || '' = 'running' AND job.flags & :special = 0;

-- name: settle_plain_done
SELECT coalesce(json_agg(json_build_array(j.id, j.token, j.finished_at))::text, '[]')
FROM (SELECT key::bigint AS id, value AS token FROM json_each_text(:fence::json)) r
JOIN job j ON j.id = ANY (ARRAY[r.id])
WHERE j.token = r.token AND j.state = 'succeeded';

-- name: job_facts
-- Locked in the order of their ids until the transaction's end: what the rules decide from stays true. The ids are no
-- relation to join with: where statistics were taken of an empty table, that would be scanned once for each of them.
WITH fact AS MATERIALIZED (
  SELECT j.*, i.options
  FROM job j
  JOIN job_input i ON i.job_id = ANY (ARRAY[j.id])
  WHERE j.id = ANY (translate(:ids, '[]', '{}')::bigint[])
  ORDER BY j.id
  FOR UPDATE OF j
)
SELECT coalesce(json_agg(json_build_object('id', id, 'queue', queue, 'kind', kind, 'state', state, 'reason', reason,
  'attempt', attempt, 'failures', failures, 'deaths', deaths, 'flags', flags, 'created_at', created_at,
  'deadline_at', deadline_at, 'expires_at', expires_at, 'run_at', run_at, 'priority', priority,
  'started_at', started_at, 'token', token, 'worker', worker,
  'options', coalesce(options, '{}')::json))::text, '[]')
FROM fact;

-- name: attempt_outcomes
SELECT coalesce(json_agg(json_build_array(a.job_id, a.token, a.outcome))::text, '[]')
FROM (SELECT (value ->> 0)::bigint AS id, value ->> 1 AS token FROM json_array_elements(:rows::json)) r
JOIN attempt a ON a.job_id = ANY (ARRAY[r.id]) AND a.token = r.token;

-- name: settle_apply
UPDATE job SET state = r.state, reason = r.reason, run_at = coalesce(r.run_at, job.run_at), failures = r.failures,
  deaths = r.deaths, flags = r.flags, finished_at = r.finished_at, token = r.kept, lease_until = NULL,
  expires_at = CASE WHEN r.started THEN NULL ELSE job.expires_at END
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS token, value ->> 2 AS state, value ->> 3 AS reason,
    (value ->> 4)::bigint AS run_at, (value ->> 5)::integer AS failures, (value ->> 6)::integer AS deaths,
    (value ->> 7)::integer AS flags, (value ->> 8)::bigint AS finished_at, value ->> 9 AS kept,
    (value ->> 10)::integer = 1 AS started
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE job.id = ANY (ARRAY[r.id]) AND job.token = r.token AND job.state || '' = 'running';

-- name: attempt_put
INSERT INTO attempt (job_id, number, token, worker, started_at, ended_at, outcome, error)
SELECT (value ->> 0)::bigint, (value ->> 1)::integer, value ->> 2, value ->> 3, (value ->> 4)::bigint, :now,
  value ->> 5, value ->> 6
FROM json_array_elements(:rows::json);

-- name: result_put
INSERT INTO job_result (job_id, result)
SELECT (value ->> 0)::bigint, value ->> 1 FROM json_array_elements(:rows::json)
ON CONFLICT (job_id) DO NOTHING;

-- name: hold_put
INSERT INTO hold (job_id, reason, title, subject, subject_hash, created_at, deadline, on_expiry)
SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2, value ->> 3, value ->> 4, :now, (value ->> 5)::bigint, value ->> 6
FROM json_array_elements(:rows::json) WITH ORDINALITY AS e (value, place) ORDER BY place;

-- name: event_put
INSERT INTO event (job_id, at, type, actor, data)
SELECT (value ->> 0)::bigint, :now, value ->> 1, value ->> 2, value ->> 3
FROM json_array_elements(:rows::json) WITH ORDINALITY AS e (value, place) ORDER BY place;

-- name: job_move
-- A job that is not running changes its state: guarded by the state the rules saw.
UPDATE job SET state = r.state, reason = r.reason, finished_at = r.finished_at, flags = r.flags, failures = r.failures
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS seen, value ->> 2 AS state, value ->> 3 AS reason,
    (value ->> 4)::bigint AS finished_at, (value ->> 5)::integer AS flags, (value ->> 6)::integer AS failures
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE job.id = ANY (ARRAY[r.id]) AND job.state = r.seen;

-- name: job_flag
UPDATE job SET flags = job.flags | r.flag
FROM (
  SELECT (value ->> 0)::bigint AS id, (value ->> 1)::integer AS flag FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE job.id = ANY (ARRAY[r.id]) AND job.finished_at IS NULL AND job.flags & r.flag <> r.flag;

-- name: job_reschedule
-- Another time to start, guarded by the state the rules saw.
UPDATE job SET state = r.state, reason = r.reason, run_at = r.run_at, expires_at = coalesce(r.expires_at, job.expires_at)
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS seen, value ->> 2 AS state, value ->> 3 AS reason,
    (value ->> 4)::bigint AS run_at, (value ->> 5)::bigint AS expires_at
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE job.id = ANY (ARRAY[r.id]) AND job.state = r.seen;
