-- name: webhook_put
-- A new endpoint starts with this secret, key and place; one that is there keeps its own.
INSERT INTO webhook (name, url, rule, secret, signing_key, position, created_at, changed_at)
VALUES (:name, :url, :rule, :secret, :signing_key, :position, :now, :now)
ON CONFLICT (name) DO UPDATE SET url = excluded.url, rule = excluded.rule, changed_at = excluded.changed_at,
  signing_key = CASE WHEN excluded.signing_key IS NULL THEN NULL
    ELSE coalesce(webhook.signing_key, excluded.signing_key) END;

-- name: webhook_exists
SELECT count(*) FROM webhook WHERE name = :name;

-- name: webhook_delete
DELETE FROM webhook WHERE name = :name;

-- name: webhook_delete_attempts
DELETE FROM webhook_attempt WHERE delivery_id IN (SELECT id FROM webhook_delivery WHERE webhook = :name);

-- name: webhook_delete_deliveries
DELETE FROM webhook_delivery WHERE webhook = :name;

-- name: webhook_enable
UPDATE webhook SET disabled_at = NULL, disabled_reason = NULL, failures = 0, failing_since = NULL,
  position = coalesce(:position, position), changed_at = :now
WHERE name = :name;

-- name: webhook_disable
UPDATE webhook SET disabled_at = :now, disabled_reason = :reason, changed_at = :now
WHERE name = :name AND disabled_at IS NULL;

-- name: webhook_rotate
UPDATE webhook SET secret = :secret, signing_key = :signing_key, old_keys = :old_keys, changed_at = :now
WHERE name = :name;

-- name: webhook_row
SELECT name, url, rule, old_keys, disabled_at, disabled_reason, failures, failing_since, succeeded, failed,
  created_at, changed_at,
  (SELECT count(*) FROM (SELECT 1 FROM webhook_delivery d WHERE d.webhook = w.name AND d.state = 'pending' LIMIT 10000)),
  signing_key
FROM webhook w WHERE name = :name;

-- name: webhook_rows
SELECT name, url, rule, old_keys, disabled_at, disabled_reason, failures, failing_since, succeeded, failed,
  created_at, changed_at,
  (SELECT count(*) FROM (SELECT 1 FROM webhook_delivery d WHERE d.webhook = w.name AND d.state = 'pending' LIMIT 10000)),
  signing_key
FROM webhook w ORDER BY name;

-- name: webhook_cursors
SELECT name, rule, position,
  (SELECT min(next_at) FROM webhook_delivery d WHERE d.webhook = w.name AND d.state = 'pending'),
  EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.webhook = w.name AND d.state = 'pending' LIMIT 1 OFFSET :crowd)
FROM webhook w WHERE disabled_at IS NULL ORDER BY name;

-- name: webhook_facts
SELECT json_object('url', url, 'rule', rule, 'secret', secret, 'signing_key', signing_key, 'old_keys', old_keys,
  'disabled_at', disabled_at, 'failures', failures,
  'failing_since', failing_since)
FROM webhook WHERE name = :name;

-- name: webhook_advance
-- N nodes read the same events; the one whose expectation still holds makes the deliveries.
UPDATE webhook SET position = :position WHERE name = :name AND position = :expected AND disabled_at IS NULL;

-- name: webhook_health
UPDATE webhook SET failures = :failures, failing_since = :failing_since, succeeded = succeeded + :succeeded,
  failed = failed + :failed
WHERE name = :name;

-- name: delivery_put
INSERT INTO webhook_delivery (webhook, message, type, job_id, body, next_at, created_at)
SELECT :name, value ->> 0, value ->> 1, value ->> 2, value ->> 3, :now, :now FROM json_each(:rows) ORDER BY key;

-- name: delivery_facts
SELECT json_group_array(json_array(id, state, attempts, failures, token, next_at))
FROM webhook_delivery WHERE id IN (SELECT value FROM json_each(:ids));

-- name: delivery_settle
UPDATE webhook_delivery SET state = r.value ->> 1, next_at = r.value ->> 2, attempts = r.value ->> 3,
  failures = r.value ->> 4, token = r.value ->> 5,
  finished_at = CASE WHEN r.value ->> 1 = 'pending' THEN NULL ELSE coalesce(finished_at, :now) END
FROM json_each(:rows) r
WHERE webhook_delivery.id = r.value ->> 0;

-- name: delivery_attempts_put
INSERT INTO webhook_attempt (delivery_id, number, at, duration_ms, status, error, response)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each(:rows)
WHERE true ON CONFLICT (delivery_id, number) DO NOTHING;

-- name: delivery_due
-- Of one job's deliveries the first that is due goes alone: a later one waits until it was sent.
SELECT json_group_array(json_array(id, message, body)) FROM (
  SELECT id, message, body FROM webhook_delivery d
  WHERE webhook = :name AND state = 'pending' AND next_at <= :now AND NOT EXISTS (
    SELECT 1 FROM webhook_delivery o
    WHERE o.webhook = :name AND o.job_id = d.job_id AND o.state = 'pending' AND o.id <> d.id
      AND ((o.token IS NOT NULL AND o.next_at > :now) OR (o.id < d.id AND o.next_at <= :now))
  )
  ORDER BY next_at, id LIMIT :limit
);

-- name: delivery_lock
UPDATE webhook_delivery SET token = :token, next_at = :until WHERE id IN (SELECT value FROM json_each(:ids));

-- name: delivery_replay
UPDATE webhook_delivery SET state = 'pending', next_at = :now, failures = 0, token = NULL, finished_at = NULL
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: delivery_replayable
SELECT json_group_array(id) FROM (
  SELECT id FROM webhook_delivery
  WHERE webhook = :name AND created_at >= :since
    AND (state = 'failed' OR (:all = 1 AND state = 'succeeded'))
  ORDER BY id LIMIT :limit
);

-- name: delivery_row
SELECT d.id, d.webhook, d.message, d.type, d.job_id, d.state, d.attempts,
  (SELECT status FROM webhook_attempt a WHERE a.delivery_id = d.id ORDER BY number DESC LIMIT 1),
  (SELECT error FROM webhook_attempt a WHERE a.delivery_id = d.id ORDER BY number DESC LIMIT 1),
  d.created_at, d.next_at, d.finished_at, d.body
FROM webhook_delivery d WHERE d.id = :id;

-- name: delivery_rows
SELECT d.id, d.webhook, d.message, d.type, d.job_id, d.state, d.attempts,
  (SELECT status FROM webhook_attempt a WHERE a.delivery_id = d.id ORDER BY number DESC LIMIT 1),
  (SELECT error FROM webhook_attempt a WHERE a.delivery_id = d.id ORDER BY number DESC LIMIT 1),
  d.created_at, d.next_at, d.finished_at
FROM webhook_delivery d
WHERE d.webhook = :name AND d.id < :before AND (:state IS NULL OR d.state = :state)
ORDER BY d.id DESC LIMIT :limit;

-- name: delivery_attempt_rows
SELECT number, at, duration_ms, status, error, response FROM webhook_attempt WHERE delivery_id = :id ORDER BY number;

-- name: delivery_prune_candidates
SELECT json_group_array(id) FROM (
  SELECT id FROM webhook_delivery WHERE finished_at IS NOT NULL AND finished_at < :before
  ORDER BY finished_at LIMIT :limit
);

-- name: delivery_prune_attempts
DELETE FROM webhook_attempt WHERE delivery_id IN (SELECT value FROM json_each(:ids));

-- name: delivery_prune
DELETE FROM webhook_delivery WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_at IS NOT NULL;

-- name: webhook_tags
SELECT job_id, key, value FROM job_tag WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: webhook_results
SELECT job_id, result FROM job_result WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: source_put
INSERT INTO webhook_source (name, queue, kind, scheme, secrets, created_at, changed_at)
VALUES (:name, :queue, :kind, :scheme, :secrets, :now, :now)
ON CONFLICT (name) DO UPDATE SET queue = excluded.queue, kind = excluded.kind, scheme = excluded.scheme,
  secrets = excluded.secrets, changed_at = excluded.changed_at;

-- name: source_delete
DELETE FROM webhook_source WHERE name = :name;

-- name: source_row
SELECT name, queue, kind, scheme, secrets, created_at, changed_at FROM webhook_source WHERE name = :name;

-- name: source_rows
SELECT name, queue, kind, scheme, secrets, created_at, changed_at FROM webhook_source ORDER BY name;

-- name: source_rows_of_queue
SELECT name, queue, kind, scheme, secrets, created_at, changed_at FROM webhook_source WHERE queue = :queue
ORDER BY name LIMIT 2;
