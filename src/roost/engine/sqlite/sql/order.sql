-- The order of queues that have one of their own.

-- name: order_rules
SELECT name, rules, ranking FROM queue WHERE name IN (SELECT value FROM json_each(:queues)) ORDER BY name;

-- name: order_facts
-- What ranks of stored jobs are made of, but for the values that only fair queues ask for.
SELECT json_group_array(json_array(j.id, j.queue, j.priority, coalesce(j.run_at, j.created_at),
  j.state IN ('ready', 'running') OR j.reason IS 'throttled'))
FROM json_each(:ids) r JOIN job j ON j.id = r.value;

-- name: order_subjects
SELECT json_group_array(json_array(j.id, j.kind, j.queue, i.input, i.options ->> 'owner', json(i.options -> 'tags')))
FROM json_each(:ids) r JOIN job j ON j.id = r.value JOIN job_input i ON i.job_id = j.id;

-- name: order_next
-- Jobs of a queue that may still start, a page after the other.
SELECT json_group_array(id) FROM (
  SELECT id FROM (
  SELECT id FROM job WHERE state = 'ready' AND queue = :queue
  UNION ALL SELECT id FROM job WHERE state = 'waiting' AND queue = :queue
  UNION ALL SELECT id FROM job WHERE state = 'held' AND queue = :queue
  UNION ALL SELECT id FROM job WHERE state = 'running' AND queue = :queue
  ) live WHERE id > :after ORDER BY id LIMIT :limit
);

-- name: fair_lock
-- Who places jobs of these priorities goes one after the other.
INSERT INTO fair_band (queue, band, latest)
SELECT value ->> 0, value ->> 1, 0 FROM json_each(:bands) WHERE true
ON CONFLICT (queue, band) DO UPDATE SET latest = fair_band.latest;

-- name: fair_bands
-- Where each priority's first ready job starts (none: null) and where its last one ended.
SELECT json_group_array(json_array(b.queue, b.band, b.latest,
  (SELECT j.rank FROM job j WHERE j.state = 'ready' AND j.queue = b.queue AND j.rank >= b.band + b.base
   AND j.rank < b.band + :width - 1 ORDER BY j.rank LIMIT 1)))
FROM json_each(:bands) r JOIN fair_band b ON b.queue = r.value ->> 0 AND b.band = r.value ->> 1;

-- name: fair_keys
SELECT json_group_array(json_array(f.queue, f.band, f.key, f.ends))
FROM json_each(:keys) r
JOIN fair_key f ON f.queue = r.value ->> 0 AND f.band = r.value ->> 1 AND f.key = r.value ->> 2;

-- name: fair_put
INSERT INTO fair_key (queue, band, key, ends, touched_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, :now FROM json_each(:keys) WHERE true
ON CONFLICT (queue, band, key) DO UPDATE SET ends = excluded.ends, touched_at = excluded.touched_at;

-- name: fair_advance
UPDATE fair_band SET latest = r.value ->> 2
FROM json_each(:bands) r
WHERE fair_band.queue = r.value ->> 0 AND fair_band.band = r.value ->> 1;

-- name: fair_clear
DELETE FROM fair_key WHERE queue = :queue;

-- name: fair_forget
DELETE FROM fair_band WHERE queue = :queue;

-- name: fair_prune
-- A key whose last job was placed long ago starts at its queue's virtual time anyway, unless jobs still wait before it.
DELETE FROM fair_key
WHERE touched_at < :before AND NOT EXISTS (SELECT 1 FROM job j WHERE j.state = 'ready' AND j.queue = fair_key.queue);

-- name: rank_unplace
UPDATE job SET rank = (9 - priority) * :width + :width - 1 WHERE id IN (SELECT value FROM json_each(:ids));

-- name: rank_put
UPDATE job SET rank = r.value ->> 1, flags = (job.flags | :fair) - CASE WHEN r.value ->> 2 THEN 0 ELSE :fair END
FROM json_each(:rows) r
WHERE job.id = r.value ->> 0;

-- name: rank_parked
-- Jobs that wait for a limit do so in the order of their ranks.
UPDATE job_limit SET parked = (SELECT j.rank FROM job j WHERE j.id = job_limit.job_id)
WHERE job_id IN (SELECT value FROM json_each(:ids)) AND parked IS NOT NULL;

-- name: fair_rebase
-- Places of the old order tell nothing of the virtual time any more.
UPDATE fair_band SET base = latest WHERE queue = :queue;

-- name: ranking_begin
UPDATE queue SET ranking = 0 WHERE name = :queue;

-- name: ranking_advance
-- Whoever comes second with a set finds that the first one was there.
UPDATE queue SET ranking = :upto WHERE name = :queue AND ranking = :seen;

-- name: ranking_end
UPDATE queue SET ranking = NULL WHERE name = :queue;

-- name: rankings
SELECT name, ranking FROM queue WHERE ranking IS NOT NULL ORDER BY name;

-- name: order_unplaced
-- Ready jobs of a fair queue that came while it was ranked anew.
SELECT json_group_array(id) FROM (
  SELECT j.id FROM json_each(:ranks) r JOIN job j ON j.state = 'ready' AND j.queue = :queue AND j.rank = r.value LIMIT :limit
);
