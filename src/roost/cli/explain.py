"""``roost explain``: why a job is where it is, from its first event on."""

from __future__ import annotations

from roost.cli.jobs import explain_command as command

__all__ = ["command"]
