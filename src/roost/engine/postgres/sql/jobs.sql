-- What people do to jobs, in sets. `state || ''` hides a condition from the planner: rows are found by their ids, never
-- through a partial index that holds every row of that state.

-- name: job_place
-- Another place in line: guarded by the state the rules saw.
UPDATE job SET queue = r.queue, priority = r.priority, run_at = r.run_at, expires_at = r.expires_at,
  rank = 9 - r.priority
FROM (
  SELECT (value ->> 0)::bigint AS id, value ->> 1 AS seen, value ->> 2 AS queue, (value ->> 3)::smallint AS priority,
    (value ->> 4)::bigint AS run_at, (value ->> 5)::bigint AS expires_at
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE job.id = ANY (ARRAY[r.id]) AND job.state || '' = r.seen;

-- name: job_inputs
SELECT coalesce(json_agg(json_build_array(job_id, input))::text, '[]') FROM job_input
WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: job_edit_input
UPDATE job_input SET input = r.input
FROM (SELECT (value ->> 0)::bigint AS id, value ->> 1 AS input FROM json_array_elements(:rows::json) ORDER BY 1) r
WHERE job_input.job_id = ANY (ARRAY[r.id]);

-- name: job_edit_options
UPDATE job_input SET options = r.options
FROM (SELECT (value ->> 0)::bigint AS id, value ->> 1 AS options FROM json_array_elements(:rows::json) ORDER BY 1) r
WHERE job_input.job_id = ANY (ARRAY[r.id]);

-- name: attempts_keep
-- A plain success has no row of its own; the next life would write over what the job's row tells of it.
INSERT INTO attempt (job_id, number, token, worker, started_at, ended_at, outcome)
SELECT id, attempt, token, worker, started_at, finished_at, 'succeeded' FROM job
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]) AND attempt > 0
ON CONFLICT (job_id, number) DO NOTHING;

-- name: reopen_clear
-- What the last life left in the row; attempt numbers go on, and so does no lease.
UPDATE job SET token = NULL, worker = NULL, run_at = NULL, expires_at = NULL, deadline_at = NULL, deaths = 0
WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: job_times
-- The expiry and the deadline of a new life.
UPDATE job SET expires_at = r.expires_at, deadline_at = r.deadline_at
FROM (
  SELECT (value ->> 0)::bigint AS id, (value ->> 1)::bigint AS expires_at, (value ->> 2)::bigint AS deadline_at
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE job.id = ANY (ARRAY[r.id]);

-- name: tag_put
INSERT INTO job_tag (key, value, job_id)
SELECT value ->> 0, value ->> 1, (value ->> 2)::bigint FROM json_array_elements(:rows::json);

-- name: tag_delete
DELETE FROM job_tag WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: metadata_put
INSERT INTO job_metadata (job_id, metadata)
SELECT (value ->> 0)::bigint, value ->> 1 FROM json_array_elements(:rows::json) ORDER BY 1
ON CONFLICT (job_id) DO UPDATE SET metadata = excluded.metadata;

-- name: metadata_delete
DELETE FROM job_metadata WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: summary_put
INSERT INTO job_summary (job_id, summary)
SELECT (value ->> 0)::bigint, value ->> 1 FROM json_array_elements(:rows::json) ORDER BY 1
ON CONFLICT (job_id) DO UPDATE SET summary = excluded.summary;

-- name: summary_delete
DELETE FROM job_summary WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: chunk_counts
SELECT coalesce(json_agg(json_build_array(job_id, n))::text, '[]') FROM (
  SELECT job_id, max(number) AS n FROM job_chunk WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]) GROUP BY job_id
) found;

-- name: chunk_put
INSERT INTO job_chunk (job_id, number, at, attempt, chunk)
SELECT r.job_id, r.number, :now, j.attempt, r.chunk
FROM (
  SELECT (value ->> 0)::bigint AS job_id, (value ->> 1)::integer AS number, value ->> 2 AS chunk
  FROM json_array_elements(:rows::json)
) r JOIN job j ON j.id = ANY (ARRAY[r.job_id]);

-- name: chunk_delete
DELETE FROM job_chunk WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

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
  started_at = greatest(:now, created_at)
WHERE id = :id AND state || '' = 'ready';

-- name: lease_renew
UPDATE job SET lease_until = :lease_until WHERE id = :id AND token = :token AND state || '' = 'running';

-- name: queue_paused
SELECT count(*) FROM queue WHERE name = :name AND paused_at IS NOT NULL;
