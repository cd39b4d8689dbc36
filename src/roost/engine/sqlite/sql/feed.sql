-- name: feed_put
INSERT INTO feed (at, facts) VALUES (:now, :facts);

-- name: feed_rows
SELECT seq, at, facts FROM feed WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: feed_newest
SELECT coalesce(max(seq), 0) FROM feed;

-- name: feed_tail
SELECT seq FROM feed ORDER BY seq DESC LIMIT :limit;

-- name: feed_floor
SELECT seq FROM feed_floor;

-- name: feed_writers
-- A number is given and its row committed under the one writer's lock: none can be missing.
SELECT '[]';

-- name: feed_jobs
SELECT json_group_array(json_array(id, queue, kind)) FROM (
  SELECT id, queue, kind FROM job WHERE id IN (SELECT value FROM json_each(:ids))
  UNION ALL
  SELECT job_id, queue, kind FROM feed_gone WHERE job_id IN (SELECT value FROM json_each(:ids))
);

-- name: feed_bury
-- Jobs that ended before the feed begins are told of no more.
INSERT INTO feed_gone (job_id, queue, kind, at)
SELECT id, queue, kind, newest.at FROM job, (SELECT at FROM feed ORDER BY seq DESC LIMIT 1) newest
WHERE id IN (SELECT value FROM json_each(:ids)) AND state <> 'running'
  AND (finished_at IS NULL OR finished_at >= (SELECT at FROM feed ORDER BY seq LIMIT 1))
ON CONFLICT (job_id) DO NOTHING;

-- name: feed_gone_prune
DELETE FROM feed_gone WHERE at < :before;

-- name: feed_prune_to
SELECT coalesce(max(seq), 0) FROM (SELECT seq, at FROM feed ORDER BY seq LIMIT :limit)
WHERE at < :before AND seq < (SELECT max(seq) FROM feed);

-- name: feed_prune
DELETE FROM feed WHERE seq <= :upto;

-- name: feed_raise_floor
UPDATE feed_floor SET seq = max(seq, :upto);
