-- name: job_delete
DELETE FROM job WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND state <> 'running';

-- name: input_delete
DELETE FROM job_input WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: result_delete
DELETE FROM job_result WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: progress_delete
DELETE FROM job_progress WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: log_delete
DELETE FROM job_log WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: attempt_delete
DELETE FROM attempt WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: step_delete
DELETE FROM step WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: step_started_delete
DELETE FROM step_started WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: hold_delete
DELETE FROM hold WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: event_delete
DELETE FROM event WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: unique_delete
-- Those with a period keep their word; `unique_prune` forgets them afterwards.
DELETE FROM unique_key WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND until IS NULL;
