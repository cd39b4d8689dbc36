"""What an application puts around its handlers: middleware, and values that live as long as its workers."""

from __future__ import annotations

from roost.sdk.around import Around
from roost.sdk.depends import AppScope


class Surroundings:
    """Shared by all handlers of an application, in each process of its own."""

    __slots__ = ("middleware", "scope")

    def __init__(self) -> None:
        self.middleware: list[Around] = []
        """The first one is the outermost."""
        self.scope = AppScope()
