-- `state || ''` hides a condition from the planner: rows are found by their ids, never through a partial index that
-- holds every row of that state.

-- name: hold_facts
-- The job's row is locked with the hold's and before it, as by everything else that ends a hold.
SELECT json_build_object('id', h.id, 'job_id', h.job_id, 'reason', h.reason, 'state', h.state,
  'subject_hash', h.subject_hash, 'deadline', h.deadline, 'on_expiry', h.on_expiry, 'answer', h.answer)::text
FROM job j JOIN hold h ON h.job_id = j.id WHERE h.id = :id
FOR UPDATE OF j FOR UPDATE OF h;

-- name: hold_expired
WITH late AS MATERIALIZED (
  SELECT h.* FROM job j JOIN hold h ON h.job_id = j.id WHERE h.state = 'open' AND h.deadline <= :now
  ORDER BY h.deadline LIMIT :limit
  FOR UPDATE OF j SKIP LOCKED FOR UPDATE OF h SKIP LOCKED
)
SELECT coalesce(json_agg(json_build_object('id', id, 'job_id', job_id, 'reason', reason, 'state', state,
  'subject_hash', subject_hash, 'deadline', deadline, 'on_expiry', on_expiry) ORDER BY deadline)::text, '[]')
FROM late;

-- name: hold_decide
UPDATE hold SET state = r.state, decided_at = :now, decided_by = r.decided_by, note = r.note, answer = r.answer
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS state, value ->> 2 AS decided_by, value ->> 3 AS note,
    value ->> 4 AS answer
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE hold.id = ANY (ARRAY[r.id]) AND hold.state || '' = 'open';

-- name: hold_extend
UPDATE hold SET deadline = :deadline WHERE id = :id AND state || '' = 'open';

-- name: hold_withdraw
UPDATE hold SET state = 'withdrawn', decided_at = :now
WHERE state = 'open' AND job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: hold_outdate
-- A reopened job starts its questions anew: what was decided before counts no more.
UPDATE hold SET current = 0 WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);
