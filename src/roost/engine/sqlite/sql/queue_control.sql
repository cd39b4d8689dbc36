-- Queues as a whole: who is in them, who runs, and how many have ended.

-- name: queue_jobs
-- Some jobs of a queue in one state, each state by an index of its own.
SELECT json_group_array(id) FROM (
  SELECT id FROM job WHERE state = 'waiting' AND queue = :queue AND :state = 'waiting'
  UNION ALL SELECT id FROM job WHERE state = 'ready' AND queue = :queue AND :state = 'ready'
  UNION ALL SELECT id FROM job WHERE state = 'held' AND queue = :queue AND :state = 'held'
  UNION ALL SELECT id FROM job WHERE state = 'running' AND queue = :queue AND :state = 'running'
  UNION ALL SELECT id FROM job WHERE finished_at IS NOT NULL AND queue = :queue AND state = :state
  LIMIT :limit
);

-- name: queue_running
SELECT count(*) FROM job WHERE state = 'running' AND queue = :queue;

-- name: claims_under_way
-- A pause that is committed has no other transaction beside it.
SELECT name FROM queue WHERE false;

-- name: queue_delete
DELETE FROM queue WHERE name = :name;

-- name: count_lock
INSERT INTO queue_count (queue, state, until, jobs) VALUES (:queue, :state, -1, 0)
ON CONFLICT (queue, state) DO UPDATE SET jobs = queue_count.jobs;

-- name: count_roll
UPDATE queue_count SET until = :until, jobs = jobs + (
  SELECT count(*) FROM job j
  WHERE j.finished_at IS NOT NULL AND j.queue = :queue AND j.state = :state AND j.finished_at > queue_count.until
    AND j.finished_at <= :until
)
WHERE queue = :queue AND state = :state AND until < :until;

-- name: count_lock_of
-- Whoever forgets jobs decides alone what was counted already; only then it looks.
SELECT count(*) FROM queue_count
WHERE (queue, state) IN (SELECT queue, state FROM job WHERE id IN (SELECT value FROM json_each(:ids)));

-- name: count_subtract
UPDATE queue_count SET jobs = jobs - r.n
FROM (
  SELECT j.queue, j.state, count(*) AS n
  FROM json_each(:ids) e JOIN job j ON j.id = e.value
  JOIN queue_count c ON c.queue = j.queue AND c.state = j.state AND j.finished_at <= c.until
  GROUP BY j.queue, j.state
) r
WHERE queue_count.queue = r.queue AND queue_count.state = r.state;

-- name: count_delete
DELETE FROM queue_count WHERE queue = :queue;

-- name: result_candidates
-- Results older than their queue keeps them; what a pass has seen, the next one does not look at again.
SELECT json_group_array(json_array(id, finished_at)) FROM (
  SELECT id, finished_at FROM job
  WHERE queue = :queue AND state = :state AND finished_at IS NOT NULL AND finished_at >= :after AND finished_at < :before
    AND (EXISTS (SELECT 1 FROM job_result r WHERE r.job_id = job.id)
      OR EXISTS (SELECT 1 FROM job_chunk c WHERE c.job_id = job.id))
  ORDER BY finished_at LIMIT :limit
);

-- name: queue_uncounted
-- Where enough has ended until a moment that it is worth to count it for good.
WITH RECURSIVE lane (queue) AS (
  SELECT min(queue) FROM job WHERE finished_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(j.queue) FROM job j WHERE j.finished_at IS NOT NULL AND j.queue > lane.queue)
  FROM lane WHERE lane.queue IS NOT NULL
), ending (state) AS (VALUES ('succeeded'), ('failed'), ('cancelled'), ('expired'))
SELECT lane.queue, ending.state
FROM lane CROSS JOIN ending LEFT JOIN queue_count c ON c.queue = lane.queue AND c.state = ending.state
WHERE lane.queue IS NOT NULL AND (
  SELECT count(*) FROM (
    SELECT 1 FROM job j
    WHERE j.finished_at IS NOT NULL AND j.queue = lane.queue AND j.state = ending.state
      AND j.finished_at > coalesce(c.until, -1) AND j.finished_at <= :until
    LIMIT :worth
  ) lately
) >= :worth;
