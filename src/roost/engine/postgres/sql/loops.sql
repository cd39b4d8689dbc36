-- `state || ''` hides a condition from the planner: rows are found by their ids, never through a partial index that
-- holds every row of that state.

-- name: promote_candidates
WITH candidate AS MATERIALIZED (
  SELECT id, queue, flags FROM job WHERE state = 'waiting' AND run_at IS NOT NULL AND run_at <= :now ORDER BY run_at LIMIT :limit
  FOR UPDATE SKIP LOCKED
)
SELECT coalesce(json_agg(json_build_array(id, queue, flags))::text, '[]') FROM candidate;

-- name: promote
UPDATE job SET state = 'ready', reason = NULL
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND state || '' = 'waiting';

-- name: expire_candidates
WITH candidate AS MATERIALIZED (
  SELECT id FROM job WHERE expires_at IS NOT NULL AND state IN ('waiting', 'ready', 'held') AND expires_at <= :now
  ORDER BY expires_at LIMIT :limit
  FOR UPDATE SKIP LOCKED
)
SELECT coalesce(json_agg(id)::text, '[]') FROM candidate;

-- name: deadline_candidates
WITH candidate AS MATERIALIZED (
  SELECT id FROM job WHERE deadline_at IS NOT NULL AND finished_at IS NULL AND deadline_at <= :now AND flags & 1 = 0
  ORDER BY deadline_at LIMIT :limit
  FOR UPDATE SKIP LOCKED
)
SELECT coalesce(json_agg(id)::text, '[]') FROM candidate;

-- name: reap_candidates
WITH candidate AS MATERIALIZED (
  SELECT id FROM job WHERE state = 'running' AND lease_until <= :before AND started_at >= :granted_after
  ORDER BY lease_until LIMIT :limit
  FOR UPDATE SKIP LOCKED
)
SELECT coalesce(json_agg(id)::text, '[]') FROM candidate;

-- name: prune_candidates
WITH candidate AS MATERIALIZED (
  SELECT id FROM job WHERE queue = :queue AND state = :state AND finished_at < :before AND finished_at IS NOT NULL
  ORDER BY finished_at LIMIT :limit
  FOR UPDATE SKIP LOCKED
)
SELECT coalesce(json_agg(id)::text, '[]') FROM candidate;

-- name: operation_prune
DELETE FROM operation WHERE at < :before;

-- name: unique_prune
DELETE FROM unique_key WHERE until < :before
  AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = unique_key.job_id AND j.finished_at IS NULL);

-- name: worker_prune
DELETE FROM worker WHERE seen_at < :before;
