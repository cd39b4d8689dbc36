-- Limits by key; see `roost.engine.work.limiting`.

-- name: limits_lock
-- One transaction after the other decides about limits: a lock for each key would let two of them wait for each other.
SELECT count(pg_advisory_xact_lock(1919905651, 0));

-- name: jobs_patience
-- While it waits for somebody's long transaction, everybody else waits behind it: rather is the edit refused.
SET LOCAL lock_timeout = '2s';

-- name: jobs_lock
-- Until the commit nobody writes or locks a job; whoever does is waited for.
LOCK TABLE job IN EXCLUSIVE MODE;

-- name: limit_insert
INSERT INTO job_limit (job_id, key, queue, cost)
SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2, (value ->> 3)::bigint FROM json_array_elements(:rows::json)
ON CONFLICT (job_id, key) DO NOTHING;

-- name: limiters_known
SELECT coalesce(json_agg(json_build_array(l.key, l.concurrency, l.rate, l.spacing, l.burst))::text, '[]')
FROM limiter l WHERE l.key = ANY (ARRAY (SELECT json_array_elements_text(:keys::json)));

-- name: limiter_put
INSERT INTO limiter (key, concurrency, rate, spacing, burst, changed_at)
SELECT value ->> 0, (value ->> 1)::bigint, value ->> 2, (value ->> 3)::bigint, (value ->> 4)::bigint, :now
FROM json_array_elements(:rows::json)
ON CONFLICT (key) DO UPDATE SET concurrency = excluded.concurrency, rate = excluded.rate, spacing = excluded.spacing,
  burst = excluded.burst, changed_at = excluded.changed_at;

-- name: limit_wants
SELECT coalesce(json_agg(json_build_array(j.id, j.rank, j.created_at, (
  SELECT coalesce(json_agg(json_build_array(l.key, l.cost, l.turn, l.lost) ORDER BY l.key), '[]'::json)
  FROM job_limit l WHERE l.job_id = j.id)))::text, '[]')
FROM job j WHERE j.id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: limiter_facts
-- Each key; whether anybody waits for it; who is the first that does in this queue.
SELECT coalesce(json_agg(json_build_array(l.key, l.concurrency, l.spacing, l.burst, l.tat, l.used, l.freed_at,
  EXISTS (SELECT 1 FROM job_limit p WHERE p.key = l.key AND p.parked IS NOT NULL),
  (SELECT json_build_array(p.parked, p.job_id) FROM job_limit p
   WHERE p.key = l.key AND p.queue = :queue AND p.parked IS NOT NULL ORDER BY p.parked, p.job_id LIMIT 1)))::text, '[]')
FROM limiter l WHERE l.key = ANY (ARRAY (SELECT json_array_elements_text(:keys::json)));

-- name: slot_put
INSERT INTO slot (key, job_id, cost)
SELECT value ->> 0, (value ->> 1)::bigint, (value ->> 2)::bigint FROM json_array_elements(:rows::json);

-- name: limit_started
UPDATE job_limit SET turn = 0, lost = 0 WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND (turn = 1 OR lost > 0);

-- name: limit_insist
-- Jobs that keep their turns at all of their keys until there is room at each.
UPDATE job_limit SET turn = 1 WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND turn = 0;

-- name: limit_park
UPDATE job SET state = 'waiting', reason = :reason, run_at = NULL
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND state || '' = 'ready';

-- name: limit_mark
UPDATE job_limit SET lost = job_limit.lost + turn, turn = 0, parked = CASE WHEN job_limit.key = r.key THEN r.rank END
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS key, (value ->> 2)::bigint AS rank
  FROM json_array_elements(:rows::json)
) r
WHERE job_limit.job_id = ANY (ARRAY[r.id]);

-- name: limiter_queue_put
INSERT INTO limiter_queue (key, queue) SELECT value ->> 0, value ->> 1 FROM json_array_elements(:rows::json)
ON CONFLICT (key, queue) DO NOTHING;

-- name: limiter_take
INSERT INTO limiter (key, used, tat, next_at, changed_at)
SELECT value ->> 0, (value ->> 1)::bigint, (value ->> 2)::bigint, (value ->> 3)::bigint, :now
FROM json_array_elements(:rows::json)
ON CONFLICT (key) DO UPDATE SET used = excluded.used, tat = excluded.tat,
  next_at = coalesce(excluded.next_at, limiter.next_at);

-- name: slot_release
DELETE FROM slot WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) RETURNING key, cost;

-- name: limiter_free
UPDATE limiter SET used = limiter.used - r.cost, freed_at = greatest(limiter.freed_at, :now)
FROM (SELECT value ->> 0 AS key, (value ->> 1)::bigint AS cost FROM json_array_elements(:rows::json)) r
WHERE limiter.key = r.key;

-- name: limit_marked
-- Keys these jobs wait for, or were let go at.
SELECT coalesce(json_agg(DISTINCT key)::text, '[]') FROM job_limit
WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND (parked IS NOT NULL OR turn = 1);

-- name: limit_unmark
UPDATE job_limit SET parked = NULL, turn = 0
WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND (parked IS NOT NULL OR turn = 1);

-- name: limit_delete
DELETE FROM job_limit WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: limit_options
SELECT coalesce(json_agg(json_build_array(j.id, j.queue, i.options::json -> 'limits'))::text, '[]')
FROM job j
JOIN job_input i ON i.job_id = ANY (ARRAY[j.id])
WHERE j.id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND i.options::json -> 'limits' IS NOT NULL;

-- name: limit_follow
UPDATE job_limit SET queue = j.queue, parked = CASE WHEN job_limit.parked IS NOT NULL THEN j.rank END
FROM job j
WHERE j.id = job_limit.job_id AND job_limit.job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: limiter_queue_follow
INSERT INTO limiter_queue (key, queue)
SELECT DISTINCT key, queue FROM job_limit
WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND (parked IS NOT NULL OR turn = 1)
ON CONFLICT (key, queue) DO NOTHING;

-- name: limiter_next_at
SELECT min(next_at) FROM limiter WHERE next_at IS NOT NULL AND next_at <= :now;

-- name: limiter_due
SELECT coalesce(json_agg(key)::text, '[]') FROM (
  SELECT key FROM limiter WHERE next_at IS NOT NULL AND next_at <= :now ORDER BY next_at LIMIT :limit
) found;

-- name: limits_of_queue
SELECT coalesce(json_agg(key)::text, '[]') FROM limiter_queue WHERE queue = :queue;

-- name: limit_lines
-- For each key and queue: the cost of those that were let go and did not start yet, and the first of those that wait.
SELECT coalesce(json_agg(json_build_array(q.key, q.queue,
  (SELECT coalesce(sum(t.cost), 0)::bigint FROM job_limit t WHERE t.key = q.key AND t.queue = q.queue AND t.turn = 1),
  (SELECT coalesce(json_agg(json_build_array(p.job_id, p.cost) ORDER BY p.parked, p.job_id), '[]'::json) FROM (
    SELECT l.job_id, l.cost, l.parked FROM job_limit l
    WHERE l.key = q.key AND l.queue = q.queue AND l.parked IS NOT NULL
    ORDER BY l.parked, l.job_id LIMIT :limit) p)))::text, '[]')
FROM limiter_queue q
WHERE q.key = ANY (ARRAY (SELECT json_array_elements_text(:keys::json)))
  AND NOT EXISTS (SELECT 1 FROM queue u WHERE u.name = q.queue AND u.paused_at IS NOT NULL);

-- name: limit_unpark
-- Jobs another transaction is changing are passed over: it may be waiting for the lock that is held here.
WITH free AS MATERIALIZED (
  SELECT id FROM job WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND state || '' = 'waiting' AND reason = :reason
  ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE job SET state = 'ready', reason = NULL FROM free WHERE job.id = free.id RETURNING job.id, job.queue;

-- name: limit_let_go
UPDATE job_limit SET parked = NULL, turn = 1
WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND parked IS NOT NULL;

-- name: limiter_next
UPDATE limiter SET next_at = r.next_at
FROM (SELECT value ->> 0 AS key, (value ->> 1)::bigint AS next_at FROM json_array_elements(:rows::json)) r
WHERE limiter.key = r.key;

-- name: limiter_delete
DELETE FROM limiter WHERE key = :key;

-- name: slot_delete
DELETE FROM slot WHERE key = :key;

-- name: queue_flag
UPDATE job SET flags = flags | :flag::integer WHERE state = 'running' AND queue = :queue AND flags & :flag::integer = 0;

-- name: slot_fill
INSERT INTO slot (key, job_id, cost) SELECT :key, id, 1 FROM job WHERE state = 'running' AND queue = :queue
ON CONFLICT (job_id, key) DO NOTHING;

-- name: limiter_count
UPDATE limiter SET used = (SELECT coalesce(sum(cost), 0) FROM slot WHERE slot.key = limiter.key) WHERE key = :key;

-- name: limiter_prune
-- Keys nobody takes anything of, and nobody will: their jobs have ended.
DELETE FROM limiter
WHERE key NOT LIKE 'queue:%' AND used = 0 AND changed_at < :before AND freed_at < :before AND tat / 1000 < :before
  AND NOT EXISTS (SELECT 1 FROM job_limit l WHERE l.key = limiter.key);

-- name: limiter_queue_prune
-- Queues in which nobody waits for a key, nor was let go: with every queue of the past each look at a key would take longer.
DELETE FROM limiter_queue
WHERE NOT EXISTS (
    SELECT 1 FROM job_limit w WHERE w.key = limiter_queue.key AND w.queue = limiter_queue.queue AND w.parked IS NOT NULL
  ) AND NOT EXISTS (
    SELECT 1 FROM job_limit w WHERE w.key = limiter_queue.key AND w.queue = limiter_queue.queue AND w.turn = 1
  );

-- name: limiter_rows
SELECT l.key, l.concurrency, l.rate, l.burst, l.spacing, l.tat, l.used, l.freed_at, (SELECT count(*) FROM (
    SELECT 1 FROM job_limit p WHERE p.key = l.key AND p.parked IS NOT NULL LIMIT 10000) parked)
FROM limiter l
WHERE l.key > :after AND substr(l.key, 1, length(:prefix)) = :prefix ORDER BY l.key LIMIT :limit;

-- name: limiter_row
SELECT l.key, l.concurrency, l.rate, l.burst, l.spacing, l.tat, l.used, l.freed_at, (SELECT count(*) FROM (
    SELECT 1 FROM job_limit p WHERE p.key = l.key AND p.parked IS NOT NULL LIMIT 10000) parked)
FROM limiter l WHERE l.key = :key;
