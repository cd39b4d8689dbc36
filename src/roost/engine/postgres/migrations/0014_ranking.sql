-- A queue whose order was changed has its jobs ranked anew in sets: up to which id that was done (null: all stand in order).
-- Fair places given since then begin where the last of the old ones ended.
ALTER TABLE queue ADD COLUMN ranking bigint;
ALTER TABLE fair_band ADD COLUMN base bigint NOT NULL DEFAULT 0;
