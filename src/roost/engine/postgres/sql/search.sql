-- Errors by fingerprint, declared paths of inputs, saved views.

-- name: error_put
INSERT INTO job_error (job_id, fingerprint, type, message, at)
SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2, value ->> 3, :now
FROM json_array_elements(:rows::json) ORDER BY 1
ON CONFLICT (job_id) DO UPDATE SET fingerprint = excluded.fingerprint, type = excluded.type, message = excluded.message,
  at = excluded.at;

-- name: error_group_put
-- What was resolved and comes back is open again; what is muted stays muted. In order, so that two transactions with the
-- same groups wait for each other one way.
INSERT INTO error_group (fingerprint, type, message, frame, first_seen, last_seen, last_job, count)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, :now, :now, (value ->> 4)::bigint, (value ->> 5)::bigint
FROM json_array_elements(:rows::json) ORDER BY (value ->> 0) COLLATE "C"
ON CONFLICT (fingerprint) DO UPDATE SET message = excluded.message, last_seen = greatest(error_group.last_seen, :now),
  last_job = excluded.last_job, count = error_group.count + excluded.count,
  state = CASE error_group.state WHEN 'resolved' THEN 'open' ELSE error_group.state END;

-- name: error_delete
DELETE FROM job_error WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: error_group_state
UPDATE error_group SET state = :state, changed_at = :now, changed_by = :actor WHERE fingerprint = :fingerprint;

-- name: error_group_prune
DELETE FROM error_group
WHERE last_seen < :before AND state <> 'muted'
  AND NOT EXISTS (SELECT 1 FROM job_error e WHERE e.fingerprint = error_group.fingerprint);

-- name: error_groups
SELECT fingerprint, type, message, frame, state, count, first_seen, last_seen, last_job, changed_at, changed_by
FROM error_group
WHERE (:state::text = '' OR state = :state::text) AND last_seen <= :before
  AND (last_seen < :before OR fingerprint < :before_fingerprint)
ORDER BY last_seen DESC, fingerprint DESC LIMIT :limit;

-- name: error_group_row
SELECT fingerprint, type, message, frame, state, count, first_seen, last_seen, last_job, changed_at, changed_by
FROM error_group WHERE fingerprint = :fingerprint;

-- name: error_jobs
-- The newest jobs of a group, no more than anybody wants to count.
SELECT j.queue, j.kind, j.state, count(*) FROM (
  SELECT job_id FROM job_error WHERE fingerprint = :fingerprint ORDER BY job_id DESC LIMIT :limit
) e JOIN job j ON j.id = e.job_id GROUP BY j.queue, j.kind, j.state;

-- name: index_paths
SELECT path, kind, state, declared_at, declared_by, filled_to FROM index_path ORDER BY path, kind;

-- name: index_declare
INSERT INTO index_path (path, kind, state, declared_at, declared_by) VALUES (:path, :kind, 'filling', :now, :actor)
ON CONFLICT (path, kind) DO NOTHING;

-- name: index_state
UPDATE index_path SET state = :state, filled_to = :filled_to WHERE path = :path AND kind = :kind;

-- name: index_advance
-- N nodes fill the same index; the one whose expectation still holds goes on.
UPDATE index_path SET filled_to = :filled_to, state = :state
WHERE path = :path AND kind = :kind AND filled_to IS NOT DISTINCT FROM :expected::bigint AND state = :was;

-- name: index_forget
DELETE FROM index_path WHERE path = :path AND kind = :kind AND state = 'removing';

-- name: index_last_job
SELECT coalesce(max(id), 0) FROM job;

-- name: index_inputs
SELECT coalesce(json_agg(json_build_array(id, kind, input))::text, '[]') FROM (
  SELECT j.id, j.kind, i.input FROM job j JOIN job_input i ON i.job_id = j.id
  WHERE j.id <= :below ORDER BY j.id DESC LIMIT :limit
) x;

-- name: index_put
INSERT INTO job_index (path, value, job_id)
SELECT value ->> 0, value ->> 1, (value ->> 2)::bigint FROM json_array_elements(:rows::json) ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING;

-- name: index_delete
DELETE FROM job_index WHERE job_id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: index_clear
DELETE FROM job_index WHERE (path, value, job_id) IN (
  SELECT x.path, x.value, x.job_id FROM job_index x LEFT JOIN job j ON j.id = x.job_id
  WHERE x.path = :path AND (:kind::text = '' OR j.kind = :kind::text) LIMIT :limit
);

-- name: view_rows
SELECT name, query, sort, columns, owner, shared, created_at, changed_at FROM saved_view ORDER BY name;

-- name: view_row
SELECT name, query, sort, columns, owner, shared, created_at, changed_at FROM saved_view WHERE name = :name;

-- name: view_put
INSERT INTO saved_view (name, query, sort, columns, owner, shared, created_at, changed_at)
VALUES (:name, :query, :sort, :columns, :owner, :shared, :now, :now)
ON CONFLICT (name) DO UPDATE SET query = excluded.query, sort = excluded.sort, columns = excluded.columns,
  shared = excluded.shared, changed_at = excluded.changed_at;

-- name: view_delete
DELETE FROM saved_view WHERE name = :name;
