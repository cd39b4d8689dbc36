"""Jobs enqueued in a program's own transaction: beside Roost's tables, or over an outbox table and a relay."""
