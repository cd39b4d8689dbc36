-- name: feed_put
INSERT INTO feed (seq, at, facts) VALUES (nextval('feed_seq'), :now, :facts);

-- name: feed_rows
SELECT seq, at, facts FROM feed WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: feed_newest
SELECT coalesce(max(seq), 0) FROM feed;

-- name: feed_tail
SELECT seq FROM feed ORDER BY seq DESC LIMIT :limit;

-- name: feed_floor
SELECT seq FROM feed_floor;

-- name: feed_writers
-- Transactions that may have drawn a number and not committed its row: the INSERT locks the table before it draws, and
-- the lock is let go after the row is visible.
SELECT coalesce(json_agg(DISTINCT virtualtransaction)::text, '[]') FROM pg_locks
WHERE locktype = 'relation' AND relation = 'feed'::regclass AND mode = 'RowExclusiveLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: feed_jobs
SELECT coalesce(json_agg(json_build_array(id, queue, kind))::text, '[]') FROM (
  SELECT id, queue, kind FROM job WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[])
  UNION ALL
  SELECT job_id, queue, kind FROM feed_gone WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[])
) named;

-- name: feed_bury
-- Jobs that ended before the feed begins are told of no more.
INSERT INTO feed_gone (job_id, queue, kind, at)
SELECT id, queue, kind, newest.at FROM job, (SELECT at FROM feed ORDER BY seq DESC LIMIT 1) newest
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND state || '' <> 'running'
  AND (finished_at IS NULL OR finished_at >= (SELECT at FROM feed ORDER BY seq LIMIT 1))
ON CONFLICT (job_id) DO NOTHING;

-- name: feed_gone_prune
DELETE FROM feed_gone WHERE at < :before;

-- name: feed_prune_to
SELECT coalesce(max(seq), 0) FROM (SELECT seq, at FROM feed ORDER BY seq LIMIT :limit) oldest
WHERE at < :before AND seq < (SELECT max(seq) FROM feed);

-- name: feed_prune
DELETE FROM feed WHERE seq <= :upto;

-- name: feed_raise_floor
UPDATE feed_floor SET seq = greatest(seq, :upto);
