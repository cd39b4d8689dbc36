-- Limits by key; see `roost.engine.work.limiting`.

-- name: limits_lock
-- The only writer there is decides alone.
SELECT 1;

-- name: jobs_patience
-- The only writer there is waits for nobody.
SELECT 1;

-- name: jobs_lock
-- The only writer there is waits for nobody.
SELECT 1;

-- name: limit_insert
INSERT INTO job_limit (job_id, key, queue, cost)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:rows) WHERE true
ON CONFLICT (job_id, key) DO NOTHING;

-- name: limiters_known
SELECT json_group_array(json_array(l.key, l.concurrency, l.rate, l.spacing, l.burst))
FROM json_each(:keys) r JOIN limiter l ON l.key = r.value;

-- name: limiter_put
INSERT INTO limiter (key, concurrency, rate, spacing, burst, changed_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, :now FROM json_each(:rows) WHERE true
ON CONFLICT (key) DO UPDATE SET concurrency = excluded.concurrency, rate = excluded.rate, spacing = excluded.spacing,
  burst = excluded.burst, changed_at = excluded.changed_at;

-- name: limit_wants
SELECT json_group_array(json_array(j.id, j.rank, j.created_at, json((
  SELECT json_group_array(json_array(l.key, l.cost, l.turn, l.lost)) FROM job_limit l WHERE l.job_id = j.id))))
FROM json_each(:ids) r JOIN job j ON j.id = r.value;

-- name: limiter_facts
-- Each key; whether anybody waits for it; who is the first that does in this queue.
SELECT json_group_array(json_array(l.key, l.concurrency, l.spacing, l.burst, l.tat, l.used, l.freed_at,
  EXISTS (SELECT 1 FROM job_limit p WHERE p.key = l.key AND p.parked IS NOT NULL),
  json((SELECT json_array(p.parked, p.job_id) FROM job_limit p
   WHERE p.key = l.key AND p.queue = :queue AND p.parked IS NOT NULL ORDER BY p.parked, p.job_id LIMIT 1))))
FROM json_each(:keys) r JOIN limiter l ON l.key = r.value;

-- name: slot_put
INSERT INTO slot (key, job_id, cost) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows);

-- name: limit_started
UPDATE job_limit SET turn = 0, lost = 0 WHERE job_id IN (SELECT value FROM json_each(:ids)) AND (turn = 1 OR lost > 0);

-- name: limit_insist
-- Jobs that keep their turns at all of their keys until there is room at each.
UPDATE job_limit SET turn = 1 WHERE job_id IN (SELECT value FROM json_each(:ids)) AND turn = 0;

-- name: limit_park
UPDATE job SET state = 'waiting', reason = :reason, run_at = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'ready';

-- name: limit_mark
UPDATE job_limit SET lost = job_limit.lost + turn, turn = 0, parked = CASE WHEN job_limit.key = r.value ->> 1 THEN r.value ->> 2 END
FROM json_each(:rows) r
WHERE job_limit.job_id = r.value ->> 0;

-- name: limiter_queue_put
INSERT INTO limiter_queue (key, queue) SELECT value ->> 0, value ->> 1 FROM json_each(:rows) WHERE true
ON CONFLICT (key, queue) DO NOTHING;

-- name: limiter_take
INSERT INTO limiter (key, used, tat, next_at, changed_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, :now FROM json_each(:rows) WHERE true
ON CONFLICT (key) DO UPDATE SET used = excluded.used, tat = excluded.tat,
  next_at = coalesce(excluded.next_at, limiter.next_at);

-- name: slot_release
DELETE FROM slot WHERE job_id IN (SELECT value FROM json_each(:ids)) RETURNING key, cost;

-- name: limiter_free
UPDATE limiter SET used = limiter.used - (r.value ->> 1), freed_at = max(limiter.freed_at, :now)
FROM json_each(:rows) r
WHERE limiter.key = r.value ->> 0;

-- name: limit_marked
-- Keys these jobs wait for, or were let go at.
SELECT json_group_array(DISTINCT key) FROM job_limit
WHERE job_id IN (SELECT value FROM json_each(:ids)) AND (parked IS NOT NULL OR turn = 1);

-- name: limit_unmark
UPDATE job_limit SET parked = NULL, turn = 0
WHERE job_id IN (SELECT value FROM json_each(:ids)) AND (parked IS NOT NULL OR turn = 1);

-- name: limit_delete
DELETE FROM job_limit WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: limit_options
SELECT json_group_array(json_array(j.id, j.queue, json(i.options -> 'limits')))
FROM json_each(:ids) r JOIN job j ON j.id = r.value JOIN job_input i ON i.job_id = j.id
WHERE i.options -> 'limits' IS NOT NULL;

-- name: limit_follow
UPDATE job_limit SET queue = j.queue, parked = CASE WHEN job_limit.parked IS NOT NULL THEN j.rank END
FROM job j
WHERE j.id = job_limit.job_id AND job_limit.job_id IN (SELECT value FROM json_each(:ids));

-- name: limiter_queue_follow
INSERT INTO limiter_queue (key, queue)
SELECT DISTINCT key, queue FROM job_limit WHERE job_id IN (SELECT value FROM json_each(:ids)) AND (parked IS NOT NULL OR turn = 1)
ON CONFLICT (key, queue) DO NOTHING;

-- name: limiter_next_at
SELECT min(next_at) FROM limiter WHERE next_at IS NOT NULL AND next_at <= :now;

-- name: limiter_due
SELECT json_group_array(key) FROM (
  SELECT key FROM limiter WHERE next_at IS NOT NULL AND next_at <= :now ORDER BY next_at LIMIT :limit
);

-- name: limits_of_queue
SELECT json_group_array(key) FROM limiter_queue WHERE queue = :queue;

-- name: limit_lines
-- For each key and queue: the cost of those that were let go and did not start yet, and the first of those that wait.
SELECT json_group_array(json_array(q.key, q.queue,
  (SELECT coalesce(sum(t.cost), 0) FROM job_limit t WHERE t.key = q.key AND t.queue = q.queue AND t.turn = 1),
  json((SELECT json_group_array(json_array(p.job_id, p.cost)) FROM (
    SELECT l.job_id, l.cost FROM job_limit l WHERE l.key = q.key AND l.queue = q.queue AND l.parked IS NOT NULL
    ORDER BY l.parked, l.job_id LIMIT :limit) p))))
FROM json_each(:keys) r JOIN limiter_queue q ON q.key = r.value
WHERE NOT EXISTS (SELECT 1 FROM queue u WHERE u.name = q.queue AND u.paused_at IS NOT NULL);

-- name: limit_unpark
UPDATE job SET state = 'ready', reason = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'waiting' AND reason = :reason
RETURNING id, queue;

-- name: limit_let_go
UPDATE job_limit SET parked = NULL, turn = 1
WHERE job_id IN (SELECT value FROM json_each(:ids)) AND parked IS NOT NULL;

-- name: limiter_next
UPDATE limiter SET next_at = r.value ->> 1
FROM json_each(:rows) r
WHERE limiter.key = r.value ->> 0;

-- name: limiter_delete
DELETE FROM limiter WHERE key = :key;

-- name: slot_delete
DELETE FROM slot WHERE key = :key;

-- name: queue_flag
UPDATE job SET flags = flags | :flag WHERE state = 'running' AND queue = :queue AND flags & :flag = 0;

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
