-- name: queue_pause
INSERT INTO queue (name, paused_at, paused_by) VALUES (:name, :paused_at, :paused_by)
ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by;

-- name: queue_rules
INSERT INTO queue (name, rules) VALUES (:name, :rules) ON CONFLICT (name) DO UPDATE SET rules = excluded.rules;

-- name: queue_ready
SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 'ready' AND queue = :queue LIMIT 1000);

-- name: worker_put
INSERT INTO worker (id, data, started_at, seen_at) VALUES (:id, :data, :now, :now)
ON CONFLICT (id) DO UPDATE SET data = excluded.data, started_at = excluded.started_at, seen_at = excluded.seen_at,
  draining_at = NULL;

-- name: worker_seen
UPDATE worker SET seen_at = r.value ->> 1
FROM json_each(:rows) r WHERE worker.id = r.value ->> 0 AND worker.seen_at < r.value ->> 1;

-- name: worker_drain
UPDATE worker SET draining_at = coalesce(draining_at, :now) WHERE id = :id;
