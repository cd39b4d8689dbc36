-- name: kind_rows
SELECT name, schema, changed_at, changed_by FROM kind ORDER BY name;

-- name: kind_row
SELECT name, schema, changed_at, changed_by FROM kind WHERE name = :name;

-- name: kind_put
INSERT INTO kind (name, schema, changed_at, changed_by) VALUES (:name, :schema, :now, :actor)
ON CONFLICT (name) DO UPDATE SET schema = excluded.schema, changed_at = excluded.changed_at,
  changed_by = excluded.changed_by;

-- name: kind_delete
DELETE FROM kind WHERE name = :name;
