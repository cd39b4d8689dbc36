-- The order of queues that have one of their own.

-- name: order_rules
-- Shared: who edits a queue's rules waits for those who rank jobs by them, and the other way round.
SELECT name, rules, ranking FROM queue WHERE name = ANY (ARRAY (SELECT json_array_elements_text(:queues::json)))
ORDER BY name FOR SHARE;

-- name: order_facts
-- What ranks of stored jobs are made of, but for the values that only fair queues ask for.
SELECT coalesce(json_agg(json_build_array(j.id, j.queue, j.priority, coalesce(j.run_at, j.created_at),
  CASE WHEN j.state IN ('ready', 'running') OR j.reason = 'throttled' THEN 1 ELSE 0 END))::text, '[]')
FROM job j WHERE j.id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: order_subjects
SELECT coalesce(json_agg(json_build_array(j.id, j.kind, j.queue, i.input, i.options::json ->> 'owner',
  i.options::json -> 'tags'))::text, '[]')
FROM job j
JOIN job_input i ON i.job_id = ANY (ARRAY[j.id])
WHERE j.id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: order_next
-- Jobs of a queue that may still start, a page after the other.
SELECT coalesce(json_agg(id ORDER BY id)::text, '[]') FROM (
  SELECT id FROM (
  SELECT id FROM job WHERE state = 'ready' AND queue = :queue
  UNION ALL SELECT id FROM job WHERE state = 'waiting' AND queue = :queue
  UNION ALL SELECT id FROM job WHERE state = 'held' AND queue = :queue
  UNION ALL SELECT id FROM job WHERE state = 'running' AND queue = :queue
  ) live WHERE id > :after ORDER BY id LIMIT :limit
) found;

-- name: fair_lock
-- Who places jobs of these priorities goes one after the other.
INSERT INTO fair_band (queue, band, latest)
SELECT value ->> 0, (value ->> 1)::bigint, 0 FROM json_array_elements(:bands::json) WITH ORDINALITY AS e (value, place)
ORDER BY place
ON CONFLICT (queue, band) DO UPDATE SET latest = fair_band.latest;

-- name: fair_bands
-- Where each priority's first ready job starts (none: null) and where its last one ended.
SELECT coalesce(json_agg(json_build_array(b.queue, b.band, b.latest,
  (SELECT j.rank FROM job j WHERE j.state = 'ready' AND j.queue = b.queue AND j.rank >= b.band + b.base
   AND j.rank < b.band + :width - 1 ORDER BY j.rank LIMIT 1)))::text, '[]')
FROM json_array_elements(:bands::json) r
JOIN fair_band b ON b.queue = r.value ->> 0 AND b.band = (r.value ->> 1)::bigint;

-- name: fair_keys
SELECT coalesce(json_agg(json_build_array(f.queue, f.band, f.key, f.ends))::text, '[]')
FROM json_array_elements(:keys::json) r
JOIN fair_key f ON f.queue = r.value ->> 0 AND f.band = (r.value ->> 1)::bigint AND f.key = r.value ->> 2;

-- name: fair_put
INSERT INTO fair_key (queue, band, key, ends, touched_at)
SELECT value ->> 0, (value ->> 1)::bigint, value ->> 2, (value ->> 3)::bigint, :now FROM json_array_elements(:keys::json)
ON CONFLICT (queue, band, key) DO UPDATE SET ends = excluded.ends, touched_at = excluded.touched_at;

-- name: fair_advance
UPDATE fair_band SET latest = (r.value ->> 2)::bigint
FROM json_array_elements(:bands::json) r
WHERE fair_band.queue = r.value ->> 0 AND fair_band.band = (r.value ->> 1)::bigint;

-- name: fair_clear
DELETE FROM fair_key WHERE queue = :queue;

-- name: fair_forget
DELETE FROM fair_band WHERE queue = :queue;

-- name: fair_prune
-- A key whose last job was placed long ago starts at its queue's virtual time anyway, unless jobs still wait before it.
DELETE FROM fair_key
WHERE touched_at < :before AND NOT EXISTS (SELECT 1 FROM job j WHERE j.state = 'ready' AND j.queue = fair_key.queue);

-- name: rank_unplace
UPDATE job SET rank = (9 - priority) * :width + :width - 1 WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]);

-- name: rank_put
UPDATE job SET rank = r.rank, flags = (job.flags | :fair::integer) - CASE WHEN r.fair THEN 0 ELSE :fair::integer END
FROM (
  SELECT (value ->> 0)::bigint AS id, (value ->> 1)::bigint AS rank, (value ->> 2)::boolean AS fair
  FROM json_array_elements(:rows::json) ORDER BY 1
) r
WHERE job.id = ANY (ARRAY[r.id]);

-- name: rank_parked
-- Jobs that wait for a limit do so in the order of their ranks.
UPDATE job_limit SET parked = j.rank
FROM job j
WHERE j.id = ANY (ARRAY[job_limit.job_id]) AND job_limit.job_id = ANY (translate(:ids, '[]', '{}')::bigint[])
  AND job_limit.parked IS NOT NULL;

-- name: fair_rebase
-- Places of the old order tell nothing of the virtual time any more.
UPDATE fair_band SET base = latest WHERE queue = :queue;

-- name: ranking_begin
UPDATE queue SET ranking = 0 WHERE name = :queue;

-- name: ranking_advance
-- Whoever comes second with a set finds that the first one was there.
UPDATE queue SET ranking = :upto::bigint WHERE name = :queue AND ranking = :seen;

-- name: ranking_end
UPDATE queue SET ranking = NULL WHERE name = :queue;

-- name: rankings
SELECT name, ranking FROM queue WHERE ranking IS NOT NULL ORDER BY name;

-- name: order_unplaced
-- Ready jobs of a fair queue that came while it was ranked anew.
SELECT coalesce(json_agg(id)::text, '[]') FROM (
  SELECT j.id FROM json_array_elements_text(:ranks::json) AS r (rank)
  JOIN job j ON j.state = 'ready' AND j.queue = :queue AND j.rank = r.rank::bigint
  LIMIT :limit
) found;
