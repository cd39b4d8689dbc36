-- What people do to jobs, in sets.

-- name: job_place
-- Another place in line: guarded by the state the rules saw.
UPDATE job SET queue = r.value ->> 2, priority = r.value ->> 3, run_at = r.value ->> 4, expires_at = r.value ->> 5,
  rank = 9 - (r.value ->> 3)
FROM json_each(:rows) r
WHERE job.id = r.value ->> 0 AND job.state = r.value ->> 1;

-- name: job_inputs
SELECT json_group_array(json_array(job_id, input)) FROM job_input WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: job_edit_input
UPDATE job_input SET input = r.value ->> 1
FROM json_each(:rows) r
WHERE job_input.job_id = r.value ->> 0;

-- name: job_edit_options
UPDATE job_input SET options = r.value ->> 1
FROM json_each(:rows) r
WHERE job_input.job_id = r.value ->> 0;

-- name: attempts_keep
-- A plain success has no row of its own; the next life would write over what the job's row tells of it.
INSERT INTO attempt (job_id, number, token, worker, started_at, ended_at, outcome)
SELECT id, attempt, token, worker, started_at, finished_at, 'succeeded' FROM job
WHERE id IN (SELECT value FROM json_each(:ids)) AND attempt > 0
ON CONFLICT (job_id, number) DO NOTHING;

-- name: reopen_clear
-- What the last life left in the row; attempt numbers go on, and so does no lease.
UPDATE job SET token = NULL, worker = NULL, run_at = NULL, expires_at = NULL, deadline_at = NULL, deaths = 0
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: job_times
-- The expiry and the deadline of a new life.
UPDATE job SET expires_at = r.value ->> 1, deadline_at = r.value ->> 2
FROM json_each(:rows) r
WHERE job.id = r.value ->> 0;

-- name: tag_put
INSERT INTO job_tag (key, value, job_id)
SELECT r.value ->> 0, r.value ->> 1, r.value ->> 2 FROM json_each(:rows) r;

-- name: tag_delete
DELETE FROM job_tag WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: metadata_put
INSERT INTO job_metadata (job_id, metadata)
SELECT r.value ->> 0, r.value ->> 1 FROM json_each(:rows) r WHERE true
ON CONFLICT (job_id) DO UPDATE SET metadata = excluded.metadata;

-- name: metadata_delete
DELETE FROM job_metadata WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: summary_put
INSERT INTO job_summary (job_id, summary)
SELECT r.value ->> 0, r.value ->> 1 FROM json_each(:rows) r WHERE true
ON CONFLICT (job_id) DO UPDATE SET summary = excluded.summary;

-- name: summary_delete
DELETE FROM job_summary WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: chunk_counts
SELECT json_group_array(json_array(job_id, n)) FROM (
  SELECT job_id, max(number) AS n FROM job_chunk WHERE job_id IN (SELECT value FROM json_each(:ids)) GROUP BY job_id
);

-- name: chunk_put
INSERT INTO job_chunk (job_id, number, at, attempt, chunk)
SELECT r.value ->> 0, r.value ->> 1, :now, j.attempt, r.value ->> 2
FROM json_each(:rows) r JOIN job j ON j.id = r.value ->> 0;

-- name: chunk_delete
DELETE FROM job_chunk WHERE job_id IN (SELECT value FROM json_each(:ids));

-- name: job_chunks
-- As many as fit into so many bytes, and at least one; measured by their lengths before any of them is read.
SELECT c.number, c.at, c.attempt, c.chunk
FROM (
  SELECT number, sum(size) OVER (ORDER BY number) - size AS before
  FROM (
    SELECT number, octet_length(chunk) AS size FROM job_chunk
    WHERE job_id = :id AND number > :after ORDER BY number LIMIT :limit
  ) sized
) page
JOIN job_chunk c ON c.job_id = :id AND c.number = page.number
WHERE page.before < :bytes
ORDER BY c.number;

-- name: job_chunks_last
SELECT coalesce(max(number), 0) FROM job_chunk WHERE job_id = :id;

-- name: job_more
SELECT
  (SELECT metadata FROM job_metadata WHERE job_id = :id),
  (SELECT summary FROM job_summary WHERE job_id = :id),
  coalesce((SELECT max(number) FROM job_chunk WHERE job_id = :id), 0);

-- name: take
-- A job somebody names takes the same step as one that is claimed; a lease that never ends has no time.
UPDATE job SET state = 'running', attempt = attempt + 1, token = :token, worker = :worker, lease_until = :lease_until,
  started_at = max(:now, created_at)
WHERE id = :id AND state = 'ready';

-- name: lease_renew
UPDATE job SET lease_until = :lease_until WHERE id = :id AND token = :token AND state = 'running';

-- name: queue_paused
SELECT count(*) FROM queue WHERE name = :name AND paused_at IS NOT NULL;
