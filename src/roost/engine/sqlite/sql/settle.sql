-- name: settle_plain
-- A success of a job whose end concerns nobody else: one guarded row, nothing read. The fence is token by id.
UPDATE job SET state = 'succeeded', reason = NULL, finished_at = max(:now, started_at), lease_until = NULL
FROM json_each(:fence) r
WHERE job.id = CAST(r.key AS INTEGER) AND job.token = r.value AND job.state = 'running' AND job.flags & :special = 0;

-- name: settle_plain_done
SELECT json_group_array(json_array(j.id, j.token, j.finished_at))
FROM json_each(:fence) r JOIN job j ON j.id = CAST(r.key AS INTEGER)
WHERE j.token = r.value AND j.state = 'succeeded';

-- name: job_facts
SELECT json_group_array(json_object('id', j.id, 'queue', j.queue, 'kind', j.kind, 'state', j.state, 'reason', j.reason,
  'attempt', j.attempt, 'failures', j.failures, 'deaths', j.deaths, 'flags', j.flags, 'created_at', j.created_at,
  'deadline_at', j.deadline_at, 'expires_at', j.expires_at, 'run_at', j.run_at, 'priority', j.priority,
  'started_at', j.started_at, 'token', j.token, 'worker', j.worker,
  'options', json(coalesce(i.options, '{}'))))
FROM json_each(:ids) r JOIN job j ON j.id = r.value JOIN job_input i ON i.job_id = j.id;

-- name: attempt_outcomes
SELECT json_group_array(json_array(a.job_id, a.token, a.outcome))
FROM json_each(:rows) r JOIN attempt a ON a.job_id = r.value ->> 0 AND a.token = r.value ->> 1;

-- name: settle_apply
UPDATE job SET state = r.value ->> 2, reason = r.value ->> 3, run_at = coalesce(r.value ->> 4, job.run_at),
  failures = r.value ->> 5, deaths = r.value ->> 6, flags = r.value ->> 7, finished_at = r.value ->> 8,
  token = r.value ->> 9, lease_until = NULL, expires_at = CASE WHEN r.value ->> 10 THEN NULL ELSE job.expires_at END
FROM json_each(:rows) r
WHERE job.id = r.value ->> 0 AND job.token = r.value ->> 1 AND job.state = 'running';

-- name: attempt_put
INSERT INTO attempt (job_id, number, token, worker, started_at, ended_at, outcome, error)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, :now, value ->> 5, value ->> 6
FROM json_each(:rows);

-- name: result_put
INSERT INTO job_result (job_id, result)
SELECT value ->> 0, value ->> 1 FROM json_each(:rows) WHERE true
ON CONFLICT (job_id) DO NOTHING;

-- name: hold_put
INSERT INTO hold (job_id, reason, title, subject, subject_hash, created_at, deadline, on_expiry)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, :now, value ->> 5, value ->> 6
FROM json_each(:rows);

-- name: event_put
INSERT INTO event (job_id, at, type, actor, data)
SELECT value ->> 0, :now, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:rows);

-- name: job_move
-- A job that is not running changes its state: guarded by the state the rules saw.
UPDATE job SET state = r.value ->> 2, reason = r.value ->> 3, finished_at = r.value ->> 4, flags = r.value ->> 5,
  failures = r.value ->> 6
FROM json_each(:rows) r
WHERE job.id = r.value ->> 0 AND job.state = r.value ->> 1;

-- name: job_flag
UPDATE job SET flags = job.flags | (r.value ->> 1)
FROM json_each(:rows) r
WHERE job.id = r.value ->> 0 AND job.finished_at IS NULL AND job.flags & (r.value ->> 1) <> r.value ->> 1;

-- name: job_reschedule
-- Another time to start, guarded by the state the rules saw.
UPDATE job SET state = r.value ->> 2, reason = r.value ->> 3, run_at = r.value ->> 4,
  expires_at = coalesce(r.value ->> 5, job.expires_at)
FROM json_each(:rows) r
WHERE job.id = r.value ->> 0 AND job.state = r.value ->> 1;
