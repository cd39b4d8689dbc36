-- name: promote_candidates
SELECT json_group_array(json_array(id, queue, flags)) FROM (
  SELECT id, queue, flags FROM job WHERE state = 'waiting' AND run_at IS NOT NULL AND run_at <= :now ORDER BY run_at LIMIT :limit
);

-- name: promote
UPDATE job SET state = 'ready', reason = NULL WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'waiting';

-- name: expire_candidates
SELECT json_group_array(id) FROM (
  SELECT id FROM job WHERE expires_at IS NOT NULL AND state IN ('waiting', 'ready', 'held') AND expires_at <= :now
  ORDER BY expires_at LIMIT :limit
);

-- name: deadline_candidates
SELECT json_group_array(id) FROM (
  SELECT id FROM job WHERE deadline_at IS NOT NULL AND finished_at IS NULL AND deadline_at <= :now AND flags & 1 = 0
  ORDER BY deadline_at LIMIT :limit
);

-- name: reap_candidates
SELECT json_group_array(id) FROM (
  SELECT id FROM job WHERE state = 'running' AND lease_until <= :before AND started_at >= :granted_after
  ORDER BY lease_until LIMIT :limit
);

-- name: prune_candidates
SELECT json_group_array(id) FROM (
  SELECT id FROM job WHERE queue = :queue AND state = :state AND finished_at < :before AND finished_at IS NOT NULL
  ORDER BY finished_at LIMIT :limit
);

-- name: operation_prune
DELETE FROM operation WHERE at < :before;

-- name: unique_prune
DELETE FROM unique_key WHERE until < :before
  AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = unique_key.job_id AND j.finished_at IS NULL);

-- name: worker_prune
DELETE FROM worker WHERE seen_at < :before;
