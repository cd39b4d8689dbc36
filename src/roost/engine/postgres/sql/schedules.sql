-- name: schedule_put
-- With the rule as it was, the next fire is this row's: the caller read it before others may have fired it.
INSERT INTO schedule (name, rule, job, paused, remove_after_last, next_fire, created_at, changed_at)
VALUES (:name, :rule, :job, coalesce(:paused::smallint, 0), :remove_after_last, :next_fire, :now, :now)
ON CONFLICT (name) DO UPDATE SET rule = excluded.rule, job = excluded.job, paused = coalesce(:paused::smallint, schedule.paused),
  remove_after_last = excluded.remove_after_last, changed_at = excluded.changed_at,
  next_fire = CASE WHEN schedule.rule = excluded.rule AND (schedule.next_fire IS NOT NULL OR schedule.queued = 1)
    THEN schedule.next_fire ELSE excluded.next_fire END,
  queued = CASE WHEN :forget_queue = 1 THEN 0 ELSE schedule.queued END;

-- name: schedule_pause
UPDATE schedule SET paused = :paused, changed_at = :now WHERE name = :name;

-- name: schedule_delete
DELETE FROM schedule WHERE name = :name;

-- name: schedule_advance
-- N nodes plan the same fire; the one whose expectation still holds makes it.
UPDATE schedule SET next_fire = r.next_fire, last_fire = coalesce(r.last_fire, schedule.last_fire), queued = r.queued,
  runs = runs + r.made
FROM (
  SELECT value ->> 0 AS name, (value ->> 1)::bigint AS expected, (value ->> 2)::smallint AS was_queued,
    (value ->> 3)::bigint AS next_fire, (value ->> 4)::bigint AS last_fire, (value ->> 5)::smallint AS queued,
    (value ->> 6)::bigint AS made
  FROM json_array_elements(:rows::json) WITH ORDINALITY AS e (value, place) ORDER BY place
) r
WHERE schedule.name = ANY (ARRAY[r.name]) AND paused = 0 AND schedule.next_fire IS NOT DISTINCT FROM r.expected
  AND schedule.queued = r.was_queued
RETURNING schedule.name;

-- name: schedule_last_job
UPDATE schedule SET last_job = r.job
FROM (SELECT value ->> 0 AS name, (value ->> 1)::bigint AS job FROM json_array_elements(:rows::json)) r
WHERE schedule.name = ANY (ARRAY[r.name]);

-- name: schedule_exists
SELECT count(*) FROM schedule WHERE name = :name;

-- name: fire_put
INSERT INTO fire (schedule, fire_at, fired_at, outcome, job_id)
SELECT value ->> 0, (value ->> 1)::bigint, :now, value ->> 2, (value ->> 3)::bigint FROM json_array_elements(:rows::json)
ON CONFLICT (schedule, fire_at) DO UPDATE SET outcome = excluded.outcome, job_id = excluded.job_id,
  fired_at = excluded.fired_at
WHERE fire.job_id IS NULL;

-- name: fires_made
-- Instants in this range that have a job already.
SELECT coalesce(json_agg(fire_at)::text, '[]') FROM fire
WHERE schedule = :schedule AND job_id IS NOT NULL AND fire_at BETWEEN :first AND :last;

-- name: alarm_put
INSERT INTO alarm (schedule, fire_at, job_id, expected, due_at)
SELECT value ->> 0, (value ->> 1)::bigint, (value ->> 2)::bigint, value ->> 3, (value ->> 4)::bigint
FROM json_array_elements(:rows::json) WITH ORDINALITY AS e (value, place) ORDER BY place;

-- name: alarms_due
-- When the job was first started and ended, if it is there. Locked, so that of many nodes one raises the alarm.
WITH late AS MATERIALIZED (
  SELECT id, schedule, fire_at, job_id, expected, due_at FROM alarm
  WHERE due_at <= :now ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
)
SELECT coalesce(json_agg(json_build_array(a.id, a.schedule, a.fire_at, a.job_id, a.expected, a.due_at, j.state,
  coalesce((SELECT min(t.started_at) FROM attempt t WHERE t.job_id = j.id), j.started_at), j.finished_at)
  ORDER BY a.due_at, a.id)::text, '[]')
FROM late a LEFT JOIN job j ON j.id = a.job_id;

-- name: alarm_delete
DELETE FROM alarm WHERE id = ANY (translate(:ids, '[]', '{}')::bigint[]);
