-- name: claim_candidates
-- The ids in order; how many of them count against limits; whether the queue itself is limited.
SELECT json_group_array(id), count(*) FILTER (WHERE flags & 64 <> 0),
  EXISTS (SELECT 1 FROM limiter WHERE key = 'queue:' || :queue)
FROM (
  SELECT id, flags FROM job
  WHERE state = 'ready' AND queue = :queue AND (expires_at IS NULL OR expires_at > :now)
    AND NOT EXISTS (SELECT 1 FROM queue WHERE name = :queue AND paused_at IS NOT NULL)
  ORDER BY rank, id LIMIT :limit
);

-- name: claim
-- A job's times never go back, whatever another node's or an adjusted clock says.
UPDATE job SET state = 'running', attempt = attempt + 1, token = :token, worker = :worker, lease_until = :lease_until,
  started_at = max(:now, created_at)
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: claim_fetch
-- The worker's JSON is written here, in the claim's order: no row of it passes through Python. The joins are nested as
-- they stand, so the ids' own order is the answer's; to sort it again would double the cost.
SELECT count(*), coalesce('[' || group_concat(
  format('{"id":%d,"kind":"%s","queue":"%s","attempt":%d', j.id, j.kind, j.queue, j.attempt)
  || CASE WHEN j.failures > 0 THEN ',"failures":' || j.failures ELSE '' END
  || CASE WHEN j.flags > 0 THEN ',"flags":' || j.flags ELSE '' END
  || CASE WHEN i.options IS NULL THEN '' ELSE coalesce(',"timeout_ms":' || (i.options ->> 'timeout_ms'), '') END
  || coalesce(',"deadline_ms":' || j.deadline_at, '')
  || ',"input":' || i.input || '}', ',') || ']', '[]')
FROM json_each(:ids) r CROSS JOIN job j ON j.id = r.value CROSS JOIN job_input i ON i.job_id = j.id
WHERE j.token = :token AND j.state = 'running';

-- name: claimed_before
SELECT json_group_array(id) FROM (SELECT id FROM job WHERE state = 'running' AND token = :token ORDER BY rank, id);
