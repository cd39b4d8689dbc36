-- Jobs, dependents and batches are locked in the order of their ids. Batches are locked after jobs, and what is counted of
-- their members is read after that lock: a statement sees what was committed when it began.
-- `state || ''` hides a condition from the planner: rows are found by their ids, never through a partial index that
-- holds every row of that state.

-- name: flow_jobs
-- What is asked of the jobs that others wait for; those that are not there are left out.
WITH found AS MATERIALIZED (
  SELECT id, state, reason, queue FROM job WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) ORDER BY id FOR UPDATE
)
SELECT coalesce(json_agg(json_build_array(id, state, reason, queue))::text, '[]') FROM found;

-- name: flow_todo_put
INSERT INTO flow_todo (job_id) SELECT unnest(translate(:ids, '[]', '{}')::bigint[]);

-- name: flow_gone
-- A job that is deleted before its end was carried on leaves word of how it counts.
INSERT INTO flow_todo (job_id, gone)
SELECT id, CASE WHEN state IN ('succeeded', 'failed', 'expired') THEN state
  WHEN state = 'cancelled' AND reason = 'early_exit' THEN 'skipped' ELSE 'cancelled' END
FROM job
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND flags & 32 = 32 AND state || '' <> 'running'
  AND (finished_at IS NULL OR EXISTS (SELECT 1 FROM flow_todo t WHERE t.job_id = job.id));

-- name: flow_waits
SELECT EXISTS (SELECT 1 FROM flow_todo) OR EXISTS (SELECT 1 FROM signal WHERE pending = 1);

-- name: flow_take
WITH taken AS MATERIALIZED (
  SELECT id, job_id, gone FROM flow_todo ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
)
SELECT coalesce(json_agg(json_build_array(id, job_id, gone) ORDER BY id)::text, '[]') FROM taken;

-- name: flow_todo_delete
DELETE FROM flow_todo WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: dependency_put
INSERT INTO dependency (needs_id, job_id, attempt, open)
SELECT (value ->> 0)::bigint, (value ->> 1)::bigint, (value ->> 2)::integer, (value ->> 3)::smallint
FROM json_array_elements(:rows::json)
ON CONFLICT (needs_id, job_id) DO UPDATE SET attempt = excluded.attempt, open = excluded.open;

-- name: dependent_put
INSERT INTO dependent (job_id, attempt, unmet, after_failure, run_at)
SELECT (value ->> 0)::bigint, (value ->> 1)::integer, (value ->> 2)::integer, value ->> 3, (value ->> 4)::bigint
FROM json_array_elements(:rows::json)
ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, unmet = excluded.unmet,
  after_failure = excluded.after_failure, run_at = excluded.run_at;

-- name: dependency_close
-- Each edge is closed once; whoever closes it counts it.
WITH edge AS MATERIALIZED (
  SELECT needs_id, job_id FROM dependency
  WHERE open = 1 AND needs_id = ANY (translate(:ids, '[]', '{}')::bigint[])
  ORDER BY needs_id, job_id LIMIT :limit
  FOR UPDATE
)
UPDATE dependency SET open = 0
FROM edge
WHERE dependency.needs_id = ANY (ARRAY[edge.needs_id]) AND dependency.job_id = ANY (ARRAY[edge.job_id])
RETURNING dependency.needs_id, dependency.job_id, dependency.attempt;

-- name: dependent_met
-- Only of the wait the edges were made for: those of an earlier one mean nothing any more.
UPDATE dependent SET unmet = unmet - r.count
FROM (
  SELECT (value ->> 0)::bigint AS id, (value ->> 1)::integer AS attempt, (value ->> 2)::integer AS count
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE dependent.job_id = ANY (ARRAY[r.id]) AND dependent.attempt = r.attempt
RETURNING dependent.job_id, dependent.attempt, dependent.unmet, dependent.after_failure, dependent.run_at;

-- name: dependent_delete
DELETE FROM dependent WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: dependency_delete
DELETE FROM dependency WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: wait_clear
-- A wait has the time it was given, or none: not the one the job once started at.
UPDATE job SET run_at = NULL
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND state || '' = 'waiting' AND reason IN ('dependency', 'event');

-- name: circles_lock
-- One transaction after the other looks behind waits: two that close a circle together could not see each other.
SELECT count(pg_advisory_xact_lock(1919905651, -1));

-- name: waits_behind
-- Who waits for whom, from these jobs on, each edge once; whoever goes on by the clock is not waited for in vain.
WITH RECURSIVE behind (job_id, needs_id) AS (
  SELECT p.job_id, p.needs_id
  FROM unnest(translate(:ids, '[]', '{}')::bigint[]) r (id)
  JOIN job j ON j.id = ANY (ARRAY[r.id]) AND j.state || '' = 'waiting' AND j.reason = 'dependency' AND j.run_at IS NULL
  JOIN dependency p ON p.job_id = ANY (ARRAY[j.id]) AND p.attempt = j.attempt AND p.open = 1
  UNION
  SELECT p.job_id, p.needs_id
  FROM behind b
  JOIN job j ON j.id = ANY (ARRAY[b.needs_id]) AND j.state || '' = 'waiting' AND j.reason = 'dependency' AND j.run_at IS NULL
  JOIN dependency p ON p.job_id = ANY (ARRAY[j.id]) AND p.attempt = j.attempt AND p.open = 1
)
SELECT coalesce(json_agg(json_build_array(job_id, needs_id))::text, '[]')
FROM (SELECT job_id, needs_id FROM behind LIMIT :limit) found;

-- name: job_places
-- Where these jobs are.
SELECT j.id, j.kind, j.queue, j.state, j.reason
FROM job j WHERE j.id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: child_put
INSERT INTO child (parent_id, job_id)
SELECT (value ->> 0)::bigint, (value ->> 1)::bigint FROM json_array_elements(:rows::json);

-- name: child_delete
-- The children of one that was cancelled are kept until that is carried on to them.
DELETE FROM child
WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[])
  OR parent_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND NOT EXISTS (
    SELECT 1 FROM job j JOIN flow_todo t ON t.job_id = j.id WHERE j.id = parent_id AND j.state = 'cancelled'
  );

-- name: children_open
SELECT coalesce(json_agg(id)::text, '[]') FROM (
  SELECT j.id FROM child c JOIN job j ON j.id = ANY (ARRAY[c.job_id])
  WHERE c.parent_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND j.finished_at IS NULL AND j.flags & 1 = 0 LIMIT :limit
) open_child;

-- name: job_exists
SELECT 1 FROM job WHERE id = :id;

-- name: batch_insert
INSERT INTO batch (name, chain, created_at, sealed_at) VALUES (:name, :chain, :now, NULL) RETURNING id;

-- name: batch_lock
WITH found AS MATERIALIZED (
  SELECT id, chain, sealed_at, total, last_job FROM batch
  WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) ORDER BY id FOR UPDATE
)
SELECT coalesce(json_agg(json_build_array(id, chain, sealed_at, total, last_job,
  (SELECT counted FROM batch_member m WHERE m.job_id = last_job)))::text, '[]')
FROM found;

-- name: batch_grow
UPDATE batch SET total = total + r.count, pending = pending + r.count, last_job = r.last
FROM (
  SELECT (value ->> 0)::bigint AS id, (value ->> 1)::bigint AS count, (value ->> 2)::bigint AS last
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE batch.id = r.id AND batch.sealed_at IS NULL;

-- name: batch_seal
UPDATE batch SET sealed_at = :now WHERE id = :id AND sealed_at IS NULL;

-- name: batch_finish
-- Once, whoever sees the last member end: what is finished stays so.
UPDATE batch SET finished_at = :now
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND finished_at IS NULL AND sealed_at IS NOT NULL AND pending = 0
RETURNING id, total, created_at, succeeded, failed, cancelled, expired, skipped, quarantined;

-- name: batch_member_put
INSERT INTO batch_member (job_id, batch_id, position)
SELECT (value ->> 0)::bigint, (value ->> 1)::bigint, (value ->> 2)::bigint FROM json_array_elements(:rows::json);

-- name: batch_members_lock
-- The unfinished batches of these jobs.
WITH found AS MATERIALIZED (
  SELECT id FROM batch
  WHERE finished_at IS NULL
    AND id IN (SELECT batch_id FROM batch_member WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]))
  ORDER BY id
  FOR UPDATE
)
SELECT coalesce(json_agg(id)::text, '[]') FROM found;

-- name: batch_members
SELECT coalesce(json_agg(json_build_array(m.job_id, m.batch_id, m.position, m.counted, b.chain))::text, '[]')
FROM batch_member m JOIN batch b ON b.id = ANY (ARRAY[m.batch_id])
WHERE m.job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND b.finished_at IS NULL;

-- name: member_count
UPDATE batch_member SET counted = r.counted
FROM (SELECT (value ->> 0)::bigint AS id, value ->> 1 AS counted FROM json_array_elements(:rows::json)) r
WHERE batch_member.job_id = ANY (ARRAY[r.id]);

-- name: batch_count
UPDATE batch SET pending = batch.pending + r.pending, succeeded = batch.succeeded + r.succeeded,
  failed = batch.failed + r.failed, cancelled = batch.cancelled + r.cancelled, expired = batch.expired + r.expired,
  skipped = batch.skipped + r.skipped, quarantined = batch.quarantined + r.quarantined
FROM (
  SELECT (value ->> 0)::bigint AS id, (value ->> 1)::bigint AS pending, (value ->> 2)::bigint AS succeeded,
    (value ->> 3)::bigint AS failed, (value ->> 4)::bigint AS cancelled, (value ->> 5)::bigint AS expired,
    (value ->> 6)::bigint AS skipped, (value ->> 7)::bigint AS quarantined
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE batch.id = r.id;

-- name: chain_rest
-- What is still to start behind these places of chains.
SELECT coalesce(json_agg(json_build_array(m.job_id, r.reason))::text, '[]')
FROM (
  SELECT (value ->> 0)::bigint AS batch, (value ->> 1)::bigint AS place, value ->> 2 AS reason
  FROM json_array_elements(:rows::json)
) r
JOIN batch_member m ON m.batch_id = ANY (ARRAY[r.batch]) AND m.position > r.place
JOIN dependent d ON d.job_id = ANY (ARRAY[m.job_id]) AND d.attempt = 0;

-- name: batch_open_members
SELECT coalesce(json_agg(json_build_array(job_id, position) ORDER BY position)::text, '[]') FROM (
  SELECT m.job_id, m.position FROM batch_member m JOIN job j ON j.id = ANY (ARRAY[m.job_id])
  WHERE m.batch_id = :id AND m.position > :after AND j.finished_at IS NULL ORDER BY m.position LIMIT :limit
) member;

-- name: batch_callback_put
INSERT INTO batch_callback (batch_id, event, job)
SELECT :id, value ->> 0, value ->> 1 FROM json_array_elements(:rows::json);

-- name: batch_callbacks
SELECT coalesce(json_agg(json_build_array(batch_id, event, job) ORDER BY batch_id, event)::text, '[]') FROM batch_callback
WHERE batch_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND job_id IS NULL;

-- name: batch_called_back
UPDATE batch_callback SET job_id = r.job
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS event, (value ->> 2)::bigint AS job
  FROM json_array_elements(:rows::json)
) r
WHERE batch_callback.batch_id = r.id AND batch_callback.event = r.event;

-- name: batch_rows
SELECT b.id, b.name, b.chain, b.total, b.pending, b.succeeded, b.failed, b.cancelled, b.expired, b.skipped, b.quarantined,
  b.created_at, b.sealed_at, b.finished_at,
  (SELECT json_agg(c.job_id ORDER BY c.event)::text FROM batch_callback c WHERE c.batch_id = b.id AND c.job_id IS NOT NULL)
FROM batch b WHERE b.id = ANY (translate(:ids, '[]', '{}')::bigint[]) ORDER BY b.id DESC;

-- name: batches_all
SELECT coalesce(json_agg(id)::text, '[]') FROM (SELECT id FROM batch WHERE id < :before ORDER BY id DESC LIMIT :limit) page;

-- name: batches_open
SELECT coalesce(json_agg(id)::text, '[]') FROM (
  SELECT id FROM batch WHERE finished_at IS NULL AND sealed_at IS NULL AND id < :before ORDER BY id DESC LIMIT :limit
) page;

-- name: batches_sealed
SELECT coalesce(json_agg(id)::text, '[]') FROM (
  SELECT id FROM batch WHERE finished_at IS NULL AND sealed_at IS NOT NULL AND id < :before ORDER BY id DESC LIMIT :limit
) page;

-- name: batches_finished
SELECT coalesce(json_agg(id)::text, '[]') FROM (
  SELECT id FROM batch WHERE finished_at IS NOT NULL AND id < :before ORDER BY id DESC LIMIT :limit
) page;

-- name: batch_prune_candidates
-- Finished long ago, and none of its jobs is kept any more.
SELECT coalesce(json_agg(id)::text, '[]') FROM (
  SELECT b.id FROM batch b
  WHERE b.finished_at IS NOT NULL AND b.finished_at < :before
    AND NOT EXISTS (
      SELECT 1 FROM batch_member m JOIN job j ON j.id = ANY (ARRAY[m.job_id]) WHERE m.batch_id = ANY (ARRAY[b.id])
    )
  ORDER BY b.finished_at LIMIT :limit
) old;

-- name: batch_delete
DELETE FROM batch WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: batch_callback_delete
DELETE FROM batch_callback WHERE batch_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: batch_member_delete
DELETE FROM batch_member WHERE batch_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: signal_lock
-- A signal and a wait for it never pass each other: whoever comes second sees what the first has committed.
SELECT count(pg_advisory_xact_lock(1919905651, hashtext(name)))
FROM (SELECT name FROM json_array_elements_text(:names::json) AS e (name) ORDER BY hashtext(name)) ordered;

-- name: signal_put
INSERT INTO signal (name, data, job_id, sent_at, pending) VALUES (:name, :data, :job, :now, 1) RETURNING id;

-- name: signals_pending
WITH found AS MATERIALIZED (
  SELECT id, name, data, job_id FROM signal WHERE pending = 1 ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
)
SELECT coalesce(json_agg(json_build_array(id, name, data, job_id) ORDER BY id)::text, '[]') FROM found;

-- name: signal_served
UPDATE signal SET pending = 0 WHERE id = :id;

-- name: signal_waiters
SELECT coalesce(json_agg(json_build_array(job_id, step, attempt) ORDER BY job_id)::text, '[]') FROM (
  SELECT w.job_id, w.step, j.attempt FROM signal_wait w JOIN job j ON j.id = ANY (ARRAY[w.job_id])
  WHERE w.name = :name AND (:job::bigint IS NULL OR w.job_id = :job) AND j.state || '' = 'waiting' AND j.reason = 'event'
    AND NOT EXISTS (SELECT 1 FROM signal_used u WHERE u.job_id = w.job_id AND u.signal_id = :signal)
  ORDER BY w.job_id LIMIT :limit
) waiter;

-- name: signal_unused
-- The first signal each of these jobs may still use: sent since it was created, and not used by it before.
SELECT coalesce(json_agg(json_build_array(f.job_id, f.step, f.attempt, s.id, s.data))::text, '[]')
FROM (
  SELECT r.job_id, r.step, r.attempt,
    (SELECT min(s.id) FROM signal s
     WHERE s.name = r.name AND s.sent_at >= r.created_at AND (s.job_id IS NULL OR s.job_id = r.job_id)
       AND NOT EXISTS (SELECT 1 FROM signal_used u WHERE u.job_id = r.job_id AND u.signal_id = s.id)) AS signal_id
  FROM (
    SELECT (value ->> 0)::bigint AS job_id, value ->> 1 AS name, value ->> 2 AS step, (value ->> 3)::integer AS attempt,
      (value ->> 4)::bigint AS created_at
    FROM json_array_elements(:rows::json)
  ) r
) f JOIN signal s ON s.id = f.signal_id;

-- name: signal_wait_put
INSERT INTO signal_wait (job_id, name, step)
SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2 FROM json_array_elements(:rows::json)
ON CONFLICT (job_id) DO UPDATE SET name = excluded.name, step = excluded.step;

-- name: signal_wait_delete
DELETE FROM signal_wait WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: signal_used_put
INSERT INTO signal_used (job_id, signal_id)
SELECT (value ->> 0)::bigint, (value ->> 1)::bigint FROM json_array_elements(:rows::json);

-- name: signal_used_delete
DELETE FROM signal_used WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: signal_step_put
-- A step that is there already stays what it is.
INSERT INTO step (job_id, name, kind, input_hash, output, attempt, finished_at)
SELECT (value ->> 0)::bigint, value ->> 1, 'wait', value ->> 2, value ->> 3, (value ->> 4)::integer, :now
FROM json_array_elements(:rows::json)
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
