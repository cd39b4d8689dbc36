-- name: job_summary
SELECT id, kind, queue, state, reason, priority, attempt, failures, created_at, run_at, started_at, finished_at,
  expires_at, deadline_at, worker, flags
FROM job WHERE id = :id;

-- name: job_whole
SELECT i.input, r.result, i.options, p.progress, p.saved, j.lease_until
FROM job j JOIN job_input i ON i.job_id = j.id
LEFT JOIN job_result r ON r.job_id = j.id LEFT JOIN job_progress p ON p.job_id = j.id
WHERE j.id = :id;

-- name: job_states
SELECT json_group_array(json_array(id, state)) FROM job WHERE id IN (SELECT value FROM json_each(:ids));

-- name: job_attempts
SELECT number, worker, started_at, ended_at, outcome, error FROM attempt WHERE job_id = :id ORDER BY number;

-- name: job_events
SELECT at, type, actor, data FROM event WHERE job_id = :id ORDER BY id;

-- name: job_logs
SELECT number, at, level, message, attempt FROM (
  SELECT row_number() OVER (ORDER BY id) AS number, at, level, message, attempt FROM job_log WHERE job_id = :id
) WHERE number > :after ORDER BY number LIMIT :limit;

-- name: job_steps
SELECT row_number() OVER (ORDER BY id), name, kind, input_hash, output, usage, attempt, started_at, finished_at
FROM step WHERE job_id = :id ORDER BY id;

-- name: job_steps_started
-- With how the attempt ended that started them: nothing while it runs; a plain success has no row of its own.
SELECT s.name, s.kind, s.input_hash, s.attempt, s.started_at,
  CASE WHEN j.state = 'running' AND j.attempt = s.attempt THEN NULL ELSE coalesce(a.outcome, 'succeeded') END
FROM step_started s JOIN job j ON j.id = s.job_id
LEFT JOIN attempt a ON a.job_id = s.job_id AND a.number = s.attempt
WHERE s.job_id = :id ORDER BY s.attempt, s.started_at, s.name;

-- name: job_holds
SELECT h.id, h.job_id, j.kind, j.queue, h.reason, h.title, h.subject, h.subject_hash, h.state, h.created_at, h.deadline,
  h.on_expiry, h.decided_at, h.decided_by, h.note, h.answer, h.current
FROM hold h JOIN job j ON j.id = h.job_id WHERE h.job_id = :id ORDER BY h.id;

-- name: hold_one
SELECT h.id, h.job_id, j.kind, j.queue, h.reason, h.title, h.subject, h.subject_hash, h.state, h.created_at, h.deadline,
  h.on_expiry, h.decided_at, h.decided_by, h.note, h.answer, h.current
FROM hold h JOIN job j ON j.id = h.job_id WHERE h.id = :id;

-- name: holds_open
SELECT h.id, h.job_id, j.kind, j.queue, h.reason, h.title, h.subject, h.subject_hash, h.state, h.created_at, h.deadline,
  h.on_expiry, h.decided_at, h.decided_by, h.note, h.answer, h.current
FROM hold h JOIN job j ON j.id = h.job_id
WHERE h.state = 'open' AND (coalesce(h.deadline, :forever), h.id) > (:after_deadline, :after_id)
ORDER BY coalesce(h.deadline, :forever), h.id LIMIT :limit;

-- name: holds_all
SELECT h.id, h.job_id, j.kind, j.queue, h.reason, h.title, h.subject, h.subject_hash, h.state, h.created_at, h.deadline,
  h.on_expiry, h.decided_at, h.decided_by, h.note, h.answer, h.current
FROM hold h JOIN job j ON j.id = h.job_id
WHERE h.id < :before_id ORDER BY h.id DESC LIMIT :limit;

-- name: jobs_before
-- Ready jobs of the queue that go before this one, counted no further than anybody wants to know.
SELECT count(*) FROM (
  SELECT 1 FROM job
  WHERE state = 'ready' AND queue = :queue AND (rank, id) < ((SELECT rank FROM job WHERE id = :id), :id) LIMIT 10000
);

-- name: queue_states
-- Each state by an index of its own; two numbers for each queue and state: how many, and the oldest's creation.
SELECT queue, state, count(*), min(created_at) FROM job WHERE state = 'ready' GROUP BY queue
UNION ALL SELECT queue, state, count(*), NULL FROM job WHERE state = 'running' GROUP BY queue
UNION ALL SELECT queue, state, count(*), NULL FROM job WHERE state = 'waiting' GROUP BY queue
UNION ALL SELECT queue, state, count(*), NULL FROM job WHERE state = 'held' GROUP BY queue;

-- name: queue_rows
SELECT name, paused_at, paused_by, rules FROM queue ORDER BY name;

-- name: finished_queues
-- From queue to queue through the index, without a look at each of their jobs.
WITH RECURSIVE lane (queue) AS (
  SELECT min(queue) FROM job WHERE finished_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(j.queue) FROM job j WHERE j.finished_at IS NOT NULL AND j.queue > lane.queue)
  FROM lane WHERE lane.queue IS NOT NULL
), ending (state) AS (VALUES ('succeeded'), ('failed'), ('cancelled'), ('expired'))
SELECT lane.queue, ending.state FROM lane CROSS JOIN ending
WHERE EXISTS (SELECT 1 FROM job j WHERE j.finished_at IS NOT NULL AND j.queue = lane.queue AND j.state = ending.state);

-- name: queue_ended
-- What was counted already, and what ended since then.
WITH RECURSIVE lane (queue) AS (
  SELECT min(queue) FROM job WHERE finished_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(j.queue) FROM job j WHERE j.finished_at IS NOT NULL AND j.queue > lane.queue)
  FROM lane WHERE lane.queue IS NOT NULL
), ending (state) AS (VALUES ('succeeded'), ('failed'), ('cancelled'), ('expired'))
SELECT lane.queue, ending.state, coalesce(c.jobs, 0) + (
  SELECT count(*) FROM job j
  WHERE j.finished_at IS NOT NULL AND j.queue = lane.queue AND j.state = ending.state
    AND j.finished_at > coalesce(c.until, -1)
)
FROM lane CROSS JOIN ending LEFT JOIN queue_count c ON c.queue = lane.queue AND c.state = ending.state
WHERE lane.queue IS NOT NULL;

-- name: schedule_rows
SELECT name, rule, job, paused, remove_after_last, next_fire, last_fire, last_job, created_at, changed_at,
  runs
FROM schedule ORDER BY name;

-- name: schedule_row
SELECT name, rule, job, paused, remove_after_last, next_fire, last_fire, last_job, created_at, changed_at,
  runs
FROM schedule WHERE name = :name;

-- name: schedule_fact
SELECT s.name, s.rule, s.job, s.paused, s.remove_after_last, s.next_fire, s.last_fire, s.created_at, s.queued, s.last_job,
  j.state, s.runs
FROM schedule s LEFT JOIN job j ON j.id = s.last_job WHERE s.name = :name;

-- name: schedules_due
SELECT s.name, s.rule, s.job, s.paused, s.remove_after_last, s.next_fire, s.last_fire, s.created_at, s.queued, s.last_job,
  j.state, s.runs
FROM schedule s LEFT JOIN job j ON j.id = s.last_job
WHERE s.paused = 0 AND s.next_fire IS NOT NULL AND s.next_fire <= :now ORDER BY s.next_fire LIMIT :limit;

-- name: schedules_queued
SELECT s.name, s.rule, s.job, s.paused, s.remove_after_last, s.next_fire, s.last_fire, s.created_at, s.queued, s.last_job,
  j.state, s.runs
FROM schedule s LEFT JOIN job j ON j.id = s.last_job
WHERE s.paused = 0 AND s.queued = 1 AND (j.id IS NULL OR j.finished_at IS NOT NULL) ORDER BY s.name LIMIT :limit;

-- name: schedule_runs
SELECT f.fire_at, f.fired_at, f.outcome, f.job_id, j.state
FROM fire f LEFT JOIN job j ON j.id = f.job_id
WHERE f.schedule = :name AND f.fire_at < :before ORDER BY f.fire_at DESC LIMIT :limit;

-- name: worker_rows
SELECT w.id, w.data, w.started_at, w.seen_at, (SELECT count(*) FROM job j WHERE j.state = 'running' AND j.worker = w.id),
  w.draining_at
FROM worker w WHERE w.seen_at >= :since ORDER BY w.id;

-- name: workers_draining
SELECT id FROM worker WHERE draining_at IS NOT NULL;

-- name: due_job
SELECT min(at) FROM (
  SELECT (SELECT min(run_at) FROM job WHERE state = 'waiting' AND run_at IS NOT NULL) AS at
  UNION ALL SELECT (SELECT min(expires_at) FROM job WHERE expires_at IS NOT NULL AND state IN ('waiting', 'ready', 'held'))
  UNION ALL SELECT (SELECT min(deadline_at) FROM job WHERE deadline_at IS NOT NULL AND finished_at IS NULL AND flags & 1 = 0)
  UNION ALL SELECT (SELECT min(deadline) FROM hold WHERE state = 'open')
  UNION ALL SELECT (SELECT min(next_at) FROM limiter WHERE next_at IS NOT NULL)
  UNION ALL SELECT (SELECT min(due_at) FROM alarm)
);

-- name: due_lease
SELECT min(lease_until) FROM job WHERE state = 'running';

-- name: due_schedule
SELECT min(next_fire) FROM schedule WHERE paused = 0 AND next_fire IS NOT NULL;

-- name: due_queued
SELECT count(*) FROM schedule s LEFT JOIN job j ON j.id = s.last_job
WHERE s.paused = 0 AND s.queued = 1 AND (j.id IS NULL OR j.finished_at IS NOT NULL);
