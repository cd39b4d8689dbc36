-- name: job_limit_uses
-- What a job takes of each limit, its queue's own last, whether it waits for it, how full it is, and the first few that
-- hold it.
SELECT l.key, w.cost, w.parked, l.concurrency, l.used, l.rate, l.spacing, l.burst, l.tat,
  (SELECT json_group_array(job_id) FROM (SELECT s.job_id FROM slot s WHERE s.key = l.key ORDER BY s.job_id LIMIT 5))
FROM (
  SELECT key, cost, parked IS NOT NULL AS parked FROM job_limit WHERE job_id = :id
  UNION ALL SELECT 'queue:' || queue, 1, 0 FROM job WHERE id = :id
) w JOIN limiter l ON l.key = w.key
ORDER BY CASE WHEN l.key LIKE 'queue:%' THEN 1 ELSE 0 END, l.key;
