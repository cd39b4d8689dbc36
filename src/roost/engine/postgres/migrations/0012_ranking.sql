-- A queue whose order was changed has its jobs ranked anew in sets: up to which id that was done (null: all stand in order).
-- Fair places given since then begin where the last of the old ones ended.
ALTER TABLE queue ADD COLUMN ranking bigint;
ALTER TABLE fair_band ADD COLUMN base bigint NOT NULL DEFAULT 0;

-- How often a job of several limits had its turn at this one and found no room at another.
ALTER TABLE job_limit ADD COLUMN lost integer NOT NULL DEFAULT 0;
