-- Bulk operations: each set moves the cursor and acts in one transaction.

-- name: bulk_put
INSERT INTO bulk (work, query, ids, actor, cursor, total, exact, created_at)
VALUES (:work, :query, :ids, :actor, :cursor, :total, :exact, :now) RETURNING id;

-- name: bulk_row
SELECT id, work, query, ids, state, actor, cursor, total, exact, done, skipped, failed, error, created_at, next_at, ended_at
FROM bulk WHERE id = :id;

-- name: bulk_rows
SELECT id, work, query, ids, state, actor, cursor, total, exact, done, skipped, failed, error, created_at, next_at, ended_at
FROM bulk WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: bulks_running
SELECT id, work, query, ids, state, actor, cursor, total, exact, done, skipped, failed, error, created_at, next_at, ended_at
FROM bulk WHERE state = 'running' ORDER BY id LIMIT :limit;

-- name: bulk_advance
-- The one whose expectation still holds carries the set out; nothing is touched twice.
UPDATE bulk SET cursor = :cursor, next_at = :next_at
WHERE id = :id AND cursor = :expected AND state = 'running';

-- name: bulk_count
UPDATE bulk SET done = done + :done, skipped = skipped + :skipped, failed = failed + :failed WHERE id = :id;

-- name: bulk_state
UPDATE bulk SET state = :state, error = :error, ended_at = :ended_at WHERE id = :id AND ended_at IS NULL;

-- name: bulk_result_put
INSERT INTO bulk_result (bulk_id, job_id, outcome, code, message)
SELECT :id, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:rows) WHERE true
ON CONFLICT DO NOTHING;

-- name: bulk_results
SELECT job_id, outcome, code, message FROM bulk_result
WHERE bulk_id = :id AND job_id < :before ORDER BY job_id DESC LIMIT :limit;

-- name: bulk_prune_results
DELETE FROM bulk_result WHERE bulk_id IN (SELECT id FROM bulk WHERE ended_at < :before);

-- name: bulk_prune
DELETE FROM bulk WHERE ended_at < :before;

-- name: holds_open_of
SELECT json_group_array(json_object('id', id, 'job_id', job_id, 'reason', reason, 'state', state,
  'subject_hash', subject_hash, 'deadline', deadline, 'on_expiry', on_expiry, 'answer', answer))
FROM hold WHERE state = 'open' AND job_id IN (SELECT value FROM json_each(:ids));
