-- name: queue_pause
INSERT INTO queue (name, paused_at, paused_by) VALUES (:name, :paused_at, :paused_by)
ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by;

-- name: queue_rules
INSERT INTO queue (name, rules) VALUES (:name, :rules) ON CONFLICT (name) DO UPDATE SET rules = excluded.rules;

-- name: queue_ready
SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 'ready' AND queue = :queue LIMIT 1000) found;

-- name: worker_put
INSERT INTO worker (id, data, started_at, seen_at) VALUES (:id, :data, :now, :now)
ON CONFLICT (id) DO UPDATE SET data = excluded.data, started_at = excluded.started_at, seen_at = excluded.seen_at,
  draining_at = NULL;

-- name: worker_seen
UPDATE worker SET seen_at = r.at
FROM (
  SELECT value ->> 0 AS id, (value ->> 1)::bigint AS at FROM json_array_elements(:rows::json)
) r WHERE worker.id = r.id AND worker.seen_at < r.at;

-- name: worker_drain
UPDATE worker SET draining_at = coalesce(draining_at, :now) WHERE id = :id;
