-- `state || ''` hides a condition from the planner: rows are found by their ids, never through a partial index that
-- holds every row of that state.

-- name: claim_candidates
-- The ids in order; how many of them count against limits; whether the queue itself is limited.
-- Rows another transaction is taking are passed over; the LIMIT counts locked rows, because the set is made once.
WITH candidate AS MATERIALIZED (
  SELECT id, rank, flags FROM job
  WHERE state = 'ready' AND queue = :queue AND (expires_at IS NULL OR expires_at > :now)
    AND NOT EXISTS (SELECT 1 FROM queue WHERE name = :queue AND paused_at IS NOT NULL)
  ORDER BY rank, id LIMIT :limit
  FOR UPDATE OF job SKIP LOCKED
)
SELECT '[' || coalesce(string_agg(id::text, ',' ORDER BY rank, id), '') || ']', count(*) FILTER (WHERE flags & 64 <> 0),
  EXISTS (SELECT 1 FROM limiter WHERE key = 'queue:' || :queue)
FROM candidate;

-- name: claim
-- A job's times never go back, whatever another node's or an adjusted clock says.
UPDATE job SET state = 'running', attempt = attempt + 1, token = :token, worker = :worker, lease_until = :lease_until,
  started_at = greatest(:now, created_at)
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: claim_fetch
-- The worker's JSON is written here, in the claim's order: no row of it passes through Python.
SELECT count(*), coalesce('[' || string_agg(concat(
  '{"id":', j.id, ',"kind":"', j.kind, '","queue":"', j.queue, '","attempt":', j.attempt,
  CASE WHEN j.failures > 0 THEN ',"failures":' || j.failures END,
  CASE WHEN j.flags > 0 THEN ',"flags":' || j.flags END,
  CASE WHEN i.options IS NOT NULL THEN ',"timeout_ms":' || (i.options::json ->> 'timeout_ms') END,
  CASE WHEN j.deadline_at IS NOT NULL THEN ',"deadline_ms":' || j.deadline_at END,
  ',"input":', i.input, '}'), ',' ORDER BY r.place) || ']', '[]')
FROM unnest(translate(:ids, '[]', '{}')::bigint[]) WITH ORDINALITY AS r (id, place)
JOIN job j ON j.id = ANY (ARRAY[r.id])
JOIN job_input i ON i.job_id = ANY (ARRAY[r.id])
WHERE j.token = :token AND j.state || '' = 'running';

-- name: claimed_before
SELECT coalesce(json_agg(id ORDER BY rank, id)::text, '[]') FROM job WHERE state = 'running' AND token = :token;
