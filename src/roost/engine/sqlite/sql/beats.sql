-- name: beat
UPDATE job SET lease_until = r.value ->> 2
FROM json_each(:rows) r
WHERE job.id = r.value ->> 0 AND job.token = r.value ->> 1 AND job.state = 'running';

-- name: beat_refused
-- Only what is worth telling: leases that are lost (0) and jobs somebody wants cancelled (1).
SELECT json_group_array(json_array(r.value ->> 0, r.value ->> 1, CASE WHEN j.id IS NULL THEN 0 ELSE 1 END))
FROM json_each(:rows) r
LEFT JOIN job j ON j.id = r.value ->> 0 AND j.token = r.value ->> 1 AND j.state = 'running'
WHERE j.id IS NULL OR j.flags & 1 = 1;

-- name: progress_put
INSERT INTO job_progress (job_id, progress, saved)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows) WHERE true
ON CONFLICT (job_id) DO UPDATE SET progress = coalesce(excluded.progress, job_progress.progress),
  saved = coalesce(excluded.saved, job_progress.saved);

-- name: log_put
INSERT INTO job_log (job_id, at, attempt, level, message)
SELECT r.value ->> 0, r.value ->> 1, j.attempt, r.value ->> 2, r.value ->> 3
FROM json_each(:rows) r JOIN job j ON j.id = r.value ->> 0
WHERE (SELECT count(*) FROM job_log l WHERE l.job_id = j.id) < :line_limit
ORDER BY r.key;

-- name: step_facts
-- Each asked step: whether the asker holds the lease and its attempt; then the step as it was recorded before, if it was.
SELECT json_group_array(json_array(r.value ->> 0, r.value ->> 1, r.value ->> 2, j.id IS NOT NULL, j.attempt,
  (SELECT count(*) FROM step o WHERE o.job_id = r.value ->> 0 AND o.id <= coalesce(s.id, o.id)),
  s.kind, s.input_hash, s.output, s.usage, s.attempt, s.started_at, s.finished_at))
FROM json_each(:rows) r
LEFT JOIN job j ON j.id = r.value ->> 0 AND j.token = r.value ->> 1 AND j.state = 'running'
LEFT JOIN step s ON s.job_id = r.value ->> 0 AND s.name = r.value ->> 2;

-- name: step_put
INSERT INTO step (job_id, name, kind, input_hash, output, usage, attempt, started_at, finished_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, :now
FROM json_each(:rows) ORDER BY key;

-- name: step_started_put
-- A beat that arrives late must not open again what is recorded; one that arrives twice changes nothing.
INSERT INTO step_started (job_id, name, attempt, kind, input_hash, started_at)
SELECT r.value ->> 0, r.value ->> 1, j.attempt, r.value ->> 2, r.value ->> 3, r.value ->> 4
FROM json_each(:rows) r JOIN job j ON j.id = r.value ->> 0
WHERE NOT EXISTS (SELECT 1 FROM step s WHERE s.job_id = r.value ->> 0 AND s.name = r.value ->> 1)
ON CONFLICT (job_id, name, attempt) DO UPDATE SET kind = excluded.kind, input_hash = excluded.input_hash,
  started_at = excluded.started_at;

-- name: step_started_done
DELETE FROM step_started WHERE (job_id, name, attempt) IN (
  SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows));
