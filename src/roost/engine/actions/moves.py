"""Where `roost.engine.work.moves` used to be."""

from roost.engine.work.moves import Move, apply, record

__all__ = ["Move", "apply", "record"]
