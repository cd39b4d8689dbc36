-- name: schedule_put
-- With the rule as it was, the next fire is this row's: the caller read it before others may have fired it.
INSERT INTO schedule (name, rule, job, paused, remove_after_last, next_fire, created_at, changed_at)
VALUES (:name, :rule, :job, coalesce(:paused, 0), :remove_after_last, :next_fire, :now, :now)
ON CONFLICT (name) DO UPDATE SET rule = excluded.rule, job = excluded.job, paused = coalesce(:paused, schedule.paused),
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
UPDATE schedule SET next_fire = r.value ->> 3, last_fire = coalesce(r.value ->> 4, last_fire), queued = r.value ->> 5,
  runs = runs + (r.value ->> 6)
FROM json_each(:rows) r
WHERE name = r.value ->> 0 AND paused = 0 AND next_fire IS (r.value ->> 1) AND queued = r.value ->> 2
RETURNING name;

-- name: schedule_last_job
UPDATE schedule SET last_job = r.value ->> 1 FROM json_each(:rows) r WHERE name = r.value ->> 0;

-- name: schedule_exists
SELECT count(*) FROM schedule WHERE name = :name;

-- name: fire_put
INSERT INTO fire (schedule, fire_at, fired_at, outcome, job_id)
SELECT value ->> 0, value ->> 1, :now, value ->> 2, value ->> 3 FROM json_each(:rows) WHERE true
ON CONFLICT (schedule, fire_at) DO UPDATE SET outcome = excluded.outcome, job_id = excluded.job_id,
  fired_at = excluded.fired_at
WHERE fire.job_id IS NULL;

-- name: fires_made
-- Instants in this range that have a job already.
SELECT json_group_array(fire_at) FROM fire
WHERE schedule = :schedule AND job_id IS NOT NULL AND fire_at BETWEEN :first AND :last;

-- name: alarm_put
INSERT INTO alarm (schedule, fire_at, job_id, expected, due_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:rows) ORDER BY key;

-- name: alarms_due
-- When the job was first started and ended, if it is there.
SELECT json_group_array(json_array(id, schedule, fire_at, job_id, expected, due_at, state, started_at, finished_at)) FROM (
  SELECT a.id, a.schedule, a.fire_at, a.job_id, a.expected, a.due_at, j.state, j.finished_at,
    coalesce((SELECT min(t.started_at) FROM attempt t WHERE t.job_id = j.id), j.started_at) AS started_at
  FROM alarm a LEFT JOIN job j ON j.id = a.job_id
  WHERE a.due_at <= :now ORDER BY a.due_at, a.id LIMIT :limit
);

-- name: alarm_delete
DELETE FROM alarm WHERE id IN (SELECT value FROM json_each(:ids));
