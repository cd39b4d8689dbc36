"""When something wants attention next."""

from __future__ import annotations

from roost.engine.batch import Effects


def note_due(effects: Effects, at: int) -> None:
    """Something stored now wants attention at ``at``."""
    if effects.due_at is None or at < effects.due_at:
        effects.due_at = at
