-- name: outbox_last
SELECT number, contents, reply FROM outbox_delivery WHERE outbox = :outbox;

-- name: outbox_touch
-- A repeated answer writes before it is given, so that it waits for what the first answer waited for.
UPDATE outbox_delivery SET at = :now WHERE outbox = :outbox;

-- name: outbox_put
INSERT INTO outbox_delivery (outbox, number, contents, reply, at) VALUES (:outbox, :number, :contents, :reply, :now)
ON CONFLICT (outbox) DO UPDATE SET number = excluded.number, contents = excluded.contents, reply = excluded.reply,
  at = excluded.at
WHERE outbox_delivery.number < excluded.number;
