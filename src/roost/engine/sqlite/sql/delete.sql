-- name: job_delete
DELETE FROM job WHERE id IN (SELECT value FROM json_each(:ids)) AND state <> 'running';

-- name: input_delete
DELETE FROM job_input WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: result_delete
DELETE FROM job_result WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: progress_delete
DELETE FROM job_progress WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: log_delete
DELETE FROM job_log WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: attempt_delete
DELETE FROM attempt WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: step_delete
DELETE FROM step WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: step_started_delete
DELETE FROM step_started WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: hold_delete
DELETE FROM hold WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: event_delete
DELETE FROM event WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: unique_delete
-- Those with a period keep their word; `unique_prune` forgets them afterwards.
DELETE FROM unique_key WHERE job_id IN (SELECT value FROM json_each(:ids)) AND until IS NULL;
