-- name: job_limit_uses
-- What a job takes of each limit, whether it waits for it, how full it is, and the first few that hold it.
SELECT w.key, w.cost, w.parked IS NOT NULL, l.concurrency, l.used, l.rate, l.next_at,
  (SELECT json_group_array(job_id) FROM (SELECT s.job_id FROM slot s WHERE s.key = w.key ORDER BY s.job_id LIMIT 5))
FROM job_limit w JOIN limiter l ON l.key = w.key WHERE w.job_id = :id ORDER BY w.key;
