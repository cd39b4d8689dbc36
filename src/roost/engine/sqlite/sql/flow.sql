-- name: flow_jobs
-- What is asked of the jobs that others wait for; those that are not there are left out.
SELECT json_group_array(json_array(id, state, reason, queue)) FROM job WHERE id IN (SELECT value FROM json_each(:ids));

-- name: flow_todo_put
INSERT INTO flow_todo (job_id) SELECT value FROM json_each(:ids);

-- name: flow_gone
-- A job that is deleted before its end was carried on leaves word of how it counts.
INSERT INTO flow_todo (job_id, gone)
SELECT id, CASE WHEN state IN ('succeeded', 'failed', 'expired') THEN state
  WHEN state = 'cancelled' AND reason = 'early_exit' THEN 'skipped' ELSE 'cancelled' END
FROM job
WHERE id IN (SELECT value FROM json_each(:ids)) AND flags & 32 = 32 AND state <> 'running'
  AND (finished_at IS NULL OR EXISTS (SELECT 1 FROM flow_todo t WHERE t.job_id = job.id));

-- name: flow_waits
SELECT EXISTS (SELECT 1 FROM flow_todo) OR EXISTS (SELECT 1 FROM signal WHERE pending = 1);

-- name: flow_take
SELECT json_group_array(json_array(id, job_id, gone)) FROM (SELECT id, job_id, gone FROM flow_todo ORDER BY id LIMIT :limit);

-- name: flow_todo_delete
DELETE FROM flow_todo WHERE id IN (SELECT value FROM json_each(:ids));

-- name: dependency_put
INSERT INTO dependency (needs_id, job_id, attempt, open)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:rows) WHERE true
ON CONFLICT (needs_id, job_id) DO UPDATE SET attempt = excluded.attempt, open = excluded.open;

-- name: dependent_put
INSERT INTO dependent (job_id, attempt, unmet, after_failure, run_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:rows) WHERE true
ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, unmet = excluded.unmet,
  after_failure = excluded.after_failure, run_at = excluded.run_at;

-- name: dependency_close
-- Each edge is closed once; whoever closes it counts it.
UPDATE dependency SET open = 0
WHERE (needs_id, job_id) IN (
  SELECT needs_id, job_id FROM dependency
  WHERE open = 1 AND needs_id IN (SELECT value FROM json_each(:ids)) LIMIT :limit
)
RETURNING needs_id, job_id, attempt;

-- name: dependent_met
-- Only of the wait the edges were made for: those of an earlier one mean nothing any more.
UPDATE dependent SET unmet = unmet - (r.value ->> 2)
FROM json_each(:rows) r
WHERE dependent.job_id = r.value ->> 0 AND dependent.attempt = r.value ->> 1
RETURNING dependent.job_id, dependent.attempt, dependent.unmet, dependent.after_failure, dependent.run_at;

-- name: dependent_delete
DELETE FROM dependent WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: dependency_delete
DELETE FROM dependency WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: wait_clear
-- A wait has the time it was given, or none: not the one the job once started at.
UPDATE job SET run_at = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'waiting' AND reason IN ('dependency', 'event');

-- name: circles_lock
-- The only writer there is sees all waits.
SELECT 1;

-- name: waits_behind
-- Who waits for whom, from these jobs on, each edge once; whoever goes on by the clock is not waited for in vain.
WITH RECURSIVE behind (job_id, needs_id) AS (
  SELECT p.job_id, p.needs_id
  FROM json_each(:ids) r
  JOIN job j ON j.id = r.value AND j.state = 'waiting' AND j.reason = 'dependency' AND j.run_at IS NULL
  JOIN dependency p ON p.job_id = j.id AND p.attempt = j.attempt AND p.open = 1
  UNION
  SELECT p.job_id, p.needs_id
  FROM behind b
  JOIN job j ON j.id = b.needs_id AND j.state = 'waiting' AND j.reason = 'dependency' AND j.run_at IS NULL
  JOIN dependency p ON p.job_id = j.id AND p.attempt = j.attempt AND p.open = 1
)
SELECT json_group_array(json_array(job_id, needs_id)) FROM (SELECT job_id, needs_id FROM behind LIMIT :limit);

-- name: job_places
-- Where these jobs are.
SELECT j.id, j.kind, j.queue, j.state, j.reason FROM json_each(:ids) r JOIN job j ON j.id = r.value;

-- name: child_put
INSERT INTO child (parent_id, job_id) SELECT value ->> 0, value ->> 1 FROM json_each(:rows);

-- name: child_delete
-- The children of one that was cancelled are kept until that is carried on to them.
DELETE FROM child
WHERE job_id IN (SELECT value FROM json_each(:ids)) OR parent_id IN (SELECT value FROM json_each(:ids)) AND NOT EXISTS (
  SELECT 1 FROM job j JOIN flow_todo t ON t.job_id = j.id WHERE j.id = parent_id AND j.state = 'cancelled'
);

-- name: children_open
SELECT json_group_array(id) FROM (
  SELECT j.id FROM child c JOIN job j ON j.id = c.job_id
  WHERE c.parent_id IN (SELECT value FROM json_each(:ids)) AND j.finished_at IS NULL AND j.flags & 1 = 0 LIMIT :limit
);

-- name: job_exists
SELECT 1 FROM job WHERE id = :id;

-- name: batch_insert
INSERT INTO batch (name, chain, created_at, sealed_at) VALUES (:name, :chain, :now, NULL) RETURNING id;

-- name: batch_lock
SELECT json_group_array(json_array(id, chain, sealed_at, total, last_job,
  (SELECT counted FROM batch_member m WHERE m.job_id = last_job)))
FROM batch
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: batch_grow
UPDATE batch SET total = total + (r.value ->> 1), pending = pending + (r.value ->> 1), last_job = r.value ->> 2
FROM json_each(:rows) r
WHERE batch.id = r.value ->> 0 AND batch.sealed_at IS NULL;

-- name: batch_seal
UPDATE batch SET sealed_at = :now WHERE id = :id AND sealed_at IS NULL;

-- name: batch_finish
-- Once, whoever sees the last member end: what is finished stays so.
UPDATE batch SET finished_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_at IS NULL AND sealed_at IS NOT NULL AND pending = 0
RETURNING id, total, created_at, succeeded, failed, cancelled, expired, skipped, quarantined;

-- name: batch_member_put
INSERT INTO batch_member (job_id, batch_id, position)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows);

-- name: batch_members_lock
-- The unfinished batches of these jobs.
SELECT json_group_array(id) FROM batch
WHERE finished_at IS NULL
  AND id IN (SELECT batch_id FROM batch_member WHERE job_id IN (SELECT value FROM json_each(:ids)));

-- name: batch_members
SELECT json_group_array(json_array(m.job_id, m.batch_id, m.position, m.counted, b.chain))
FROM batch_member m JOIN batch b ON b.id = m.batch_id
WHERE m.job_id IN (SELECT value FROM json_each(:ids)) AND b.finished_at IS NULL;

-- name: member_count
UPDATE batch_member SET counted = r.value ->> 1 FROM json_each(:rows) r WHERE batch_member.job_id = r.value ->> 0;

-- name: batch_count
UPDATE batch SET pending = pending + (r.value ->> 1), succeeded = succeeded + (r.value ->> 2),
  failed = failed + (r.value ->> 3), cancelled = cancelled + (r.value ->> 4), expired = expired + (r.value ->> 5),
  skipped = skipped + (r.value ->> 6), quarantined = quarantined + (r.value ->> 7)
FROM json_each(:rows) r
WHERE batch.id = r.value ->> 0;

-- name: chain_rest
-- What is still to start behind these places of chains.
SELECT json_group_array(json_array(m.job_id, r.value ->> 2))
FROM json_each(:rows) r
JOIN batch_member m ON m.batch_id = r.value ->> 0 AND m.position > r.value ->> 1
JOIN dependent d ON d.job_id = m.job_id AND d.attempt = 0;

-- name: batch_open_members
SELECT json_group_array(json_array(job_id, position)) FROM (
  SELECT m.job_id, m.position FROM batch_member m JOIN job j ON j.id = m.job_id
  WHERE m.batch_id = :id AND m.position > :after AND j.finished_at IS NULL ORDER BY m.position LIMIT :limit
);

-- name: batch_callback_put
INSERT INTO batch_callback (batch_id, event, job) SELECT :id, value ->> 0, value ->> 1 FROM json_each(:rows);

-- name: batch_callbacks
SELECT json_group_array(json_array(batch_id, event, job)) FROM batch_callback
WHERE batch_id IN (SELECT value FROM json_each(:ids)) AND job_id IS NULL;

-- name: batch_called_back
UPDATE batch_callback SET job_id = r.value ->> 2
FROM json_each(:rows) r
WHERE batch_callback.batch_id = r.value ->> 0 AND batch_callback.event = r.value ->> 1;

-- name: batch_rows
SELECT b.id, b.name, b.chain, b.total, b.pending, b.succeeded, b.failed, b.cancelled, b.expired, b.skipped, b.quarantined,
  b.created_at, b.sealed_at, b.finished_at,
  (SELECT json_group_array(c.job_id) FROM batch_callback c WHERE c.batch_id = b.id AND c.job_id IS NOT NULL)
FROM batch b WHERE b.id IN (SELECT value FROM json_each(:ids)) ORDER BY b.id DESC;

-- name: batches_all
SELECT json_group_array(id) FROM (SELECT id FROM batch WHERE id < :before ORDER BY id DESC LIMIT :limit);

-- name: batches_open
SELECT json_group_array(id) FROM (
  SELECT id FROM batch WHERE finished_at IS NULL AND sealed_at IS NULL AND id < :before ORDER BY id DESC LIMIT :limit
);

-- name: batches_sealed
SELECT json_group_array(id) FROM (
  SELECT id FROM batch WHERE finished_at IS NULL AND sealed_at IS NOT NULL AND id < :before ORDER BY id DESC LIMIT :limit
);

-- name: batches_finished
SELECT json_group_array(id) FROM (
  SELECT id FROM batch WHERE finished_at IS NOT NULL AND id < :before ORDER BY id DESC LIMIT :limit
);

-- name: batch_prune_candidates
-- Finished long ago, and none of its jobs is kept any more.
SELECT json_group_array(id) FROM (
  SELECT b.id FROM batch b
  WHERE b.finished_at IS NOT NULL AND b.finished_at < :before
    AND NOT EXISTS (SELECT 1 FROM batch_member m JOIN job j ON j.id = m.job_id WHERE m.batch_id = b.id)
  ORDER BY b.finished_at LIMIT :limit
);

-- name: batch_delete
DELETE FROM batch WHERE id IN (SELECT value FROM json_each(:ids));

-- name: batch_callback_delete
DELETE FROM batch_callback WHERE batch_id IN (SELECT value FROM json_each(:ids));

-- name: batch_member_delete
DELETE FROM batch_member WHERE batch_id IN (SELECT value FROM json_each(:ids));

-- name: signal_lock
-- Here one transaction writes at a time: a signal and a wait for it never pass each other.
SELECT count(*) FROM json_each(:names);

-- name: signal_put
INSERT INTO signal (name, data, job_id, sent_at, pending) VALUES (:name, :data, :job, :now, 1) RETURNING id;

-- name: signals_pending
SELECT json_group_array(json_array(id, name, data, job_id)) FROM (
  SELECT id, name, data, job_id FROM signal WHERE pending = 1 ORDER BY id LIMIT :limit
);

-- name: signal_served
UPDATE signal SET pending = 0 WHERE id = :id;

-- name: signal_waiters
SELECT json_group_array(json_array(job_id, step, attempt)) FROM (
  SELECT w.job_id, w.step, j.attempt FROM signal_wait w JOIN job j ON j.id = w.job_id
  WHERE w.name = :name AND (:job IS NULL OR w.job_id = :job) AND j.state = 'waiting' AND j.reason = 'event'
    AND NOT EXISTS (SELECT 1 FROM signal_used u WHERE u.job_id = w.job_id AND u.signal_id = :signal)
  ORDER BY w.job_id LIMIT :limit
);

-- name: signal_unused
-- The first signal each of these jobs may still use: sent since it was created, and not used by it before.
SELECT json_group_array(json_array(f.job_id, f.step, f.attempt, s.id, s.data))
FROM (
  SELECT r.value ->> 0 AS job_id, r.value ->> 2 AS step, r.value ->> 3 AS attempt,
    (SELECT min(s.id) FROM signal s
     WHERE s.name = r.value ->> 1 AND s.sent_at >= r.value ->> 4 AND (s.job_id IS NULL OR s.job_id = r.value ->> 0)
       AND NOT EXISTS (SELECT 1 FROM signal_used u WHERE u.job_id = r.value ->> 0 AND u.signal_id = s.id)) AS signal_id
  FROM json_each(:rows) r
) f JOIN signal s ON s.id = f.signal_id;

-- name: signal_wait_put
INSERT INTO signal_wait (job_id, name, step) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows) WHERE true
ON CONFLICT (job_id) DO UPDATE SET name = excluded.name, step = excluded.step;

-- name: signal_wait_delete
DELETE FROM signal_wait WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: signal_used_put
INSERT INTO signal_used (job_id, signal_id) SELECT value ->> 0, value ->> 1 FROM json_each(:rows);

-- name: signal_used_delete
DELETE FROM signal_used WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: signal_step_put
-- A step that is there already stays what it is.
INSERT INTO step (job_id, name, kind, input_hash, output, attempt, finished_at)
SELECT value ->> 0, value ->> 1, 'wait', value ->> 2, value ->> 3, value ->> 4, :now FROM json_each(:rows) WHERE true
ON CONFLICT (job_id, name) DO NOTHING;

-- name: signal_prune
DELETE FROM signal WHERE sent_at < :before AND pending = 0;

-- name: job_waiting_for
SELECT d.unmet, w.name, j.reason
FROM job j LEFT JOIN dependent d ON d.job_id = j.id LEFT JOIN signal_wait w ON w.job_id = j.id
WHERE j.id = :id;

-- name: job_blockers
SELECT p.needs_id, n.kind, n.queue, n.state, n.reason
FROM dependency p JOIN dependent d ON d.job_id = p.job_id AND d.attempt = p.attempt
LEFT JOIN job n ON n.id = p.needs_id
WHERE p.job_id = :id AND p.open = 1 ORDER BY p.needs_id LIMIT :limit;

-- name: job_dependencies
SELECT p.needs_id, n.kind, n.queue, n.state, n.reason, n.finished_at, p.open,
  CASE WHEN :results = 1 THEN r.result END
FROM dependency p LEFT JOIN job n ON n.id = p.needs_id LEFT JOIN job_result r ON r.job_id = p.needs_id
WHERE p.job_id = :id AND p.needs_id > :after ORDER BY p.needs_id LIMIT :limit;
