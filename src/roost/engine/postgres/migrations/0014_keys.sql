-- Unique keys with a period outlive their jobs and are forgotten when it is over.

CREATE INDEX unique_key_until ON unique_key (until) WHERE until IS NOT NULL;

-- Endpoints that sign with ed25519 too, and whose secrets can be replaced again before the last ones have ended: old_keys
-- is a JSON list of [secret, until].

ALTER TABLE webhook ADD COLUMN signing_key text;
ALTER TABLE webhook ADD COLUMN old_keys text NOT NULL DEFAULT '[]';
UPDATE webhook SET old_keys = json_build_array(json_build_array(old_secret, old_secret_until))::text
WHERE old_secret IS NOT NULL;
ALTER TABLE webhook DROP COLUMN old_secret;
ALTER TABLE webhook DROP COLUMN old_secret_until;
