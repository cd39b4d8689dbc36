"""The outbox table, in every PostgreSQL and SQLite database that is migrated."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from roost.outboxes import table
from roost.outboxes.links import DjangoLink


def create(apps: Any, editor: Any) -> None:
    """Make the table, in the migration's own transaction."""
    if editor.connection.vendor in ("postgresql", "sqlite"):
        table.create(DjangoLink(editor.connection))


def drop(apps: Any, editor: Any) -> None:
    """Take the table away, with what waits in it."""
    if editor.connection.vendor in ("postgresql", "sqlite"):
        table.drop(DjangoLink(editor.connection))


class Migration(migrations.Migration):
    """See this module."""

    operations = [migrations.RunPython(create, drop)]
