-- name: hold_facts
SELECT json_object('id', id, 'job_id', job_id, 'reason', reason, 'state', state, 'subject_hash', subject_hash,
  'deadline', deadline, 'on_expiry', on_expiry, 'answer', answer)
FROM hold WHERE id = :id;

-- name: hold_expired
SELECT json_group_array(json_object('id', id, 'job_id', job_id, 'reason', reason, 'state', state,
  'subject_hash', subject_hash, 'deadline', deadline, 'on_expiry', on_expiry))
FROM (SELECT * FROM hold WHERE state = 'open' AND deadline <= :now ORDER BY deadline LIMIT :limit);

-- name: hold_decide
UPDATE hold SET state = r.value ->> 1, decided_at = :now, decided_by = r.value ->> 2, note = r.value ->> 3,
  answer = r.value ->> 4
FROM json_each(:rows) r
WHERE hold.id = r.value ->> 0 AND hold.state = 'open';

-- name: hold_extend
UPDATE hold SET deadline = :deadline WHERE id = :id AND state = 'open';

-- name: hold_withdraw
UPDATE hold SET state = 'withdrawn', decided_at = :now
WHERE state = 'open' AND job_id IN (SELECT value FROM json_each(:ids));

-- name: hold_outdate
-- A reopened job starts its questions anew: what was decided before counts no more.
UPDATE hold SET current = 0 WHERE job_id IN (SELECT value FROM json_each(:ids));
