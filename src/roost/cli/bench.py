"""``roost bench``: wired here, measured in `roost.bench`."""

from __future__ import annotations

from roost.bench.main import command

__all__ = ["command"]
