-- name: claim_candidates
SELECT json_group_array(id) FROM (
  SELECT id FROM job
  WHERE state = 'ready' AND queue = :queue AND (expires_at IS NULL OR expires_at > :now)
    AND NOT EXISTS (SELECT 1 FROM queue WHERE name = :queue AND paused_at IS NOT NULL)
  ORDER BY priority DESC, id LIMIT :limit
);

-- name: claim
UPDATE job SET state = 'running', attempt = attempt + 1, token = :token, worker = :worker, lease_until = :lease_until,
  started_at = :now
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: claim_fetch
-- The worker's JSON is written here, in the claim's order: no row of it passes through Python.
SELECT count(*), coalesce('[' || group_concat(
  '{"id":' || j.id || ',"kind":"' || j.kind || '","queue":"' || j.queue || '","attempt":' || j.attempt
  || CASE WHEN j.failures > 0 THEN ',"failures":' || j.failures ELSE '' END
  || CASE WHEN j.flags > 0 THEN ',"flags":' || j.flags ELSE '' END
  || coalesce(',"timeout_ms":' || (i.options ->> 'timeout_ms'), '')
  || coalesce(',"deadline_ms":' || j.deadline_at, '')
  || ',"input":' || i.input || '}', ',' ORDER BY r.key) || ']', '[]')
FROM json_each(:ids) r JOIN job j ON j.id = r.value JOIN job_input i ON i.job_id = j.id
WHERE j.token = :token AND j.state = 'running';

-- name: claimed_before
SELECT json_group_array(id) FROM (SELECT id FROM job WHERE state = 'running' AND token = :token ORDER BY priority DESC, id);
