"""The parts of a result that come one after the other, as a handler adds them."""

from __future__ import annotations

from collections.abc import Iterable

from roost.sdk.core import Core
from roost.sdk.styles import drive


class Results:
    """``ctx.results``: the parts of a result that come one after the other, for whoever reads along."""

    __slots__ = ("_core",)

    def __init__(self, core: Core) -> None:
        self._core = core

    async def append(self, chunk: object) -> None:
        """Add a chunk, durable when this returns: the handler's nth one is stored once, however often it is run.

        Raises `InvalidRequest` for what is not JSON, `LeaseLost`.
        """
        await self._core.append([chunk])

    async def extend(self, chunks: Iterable[object]) -> None:
        """Add chunks (1000 at most) in one write; see `append`."""
        await self._core.append(chunks)


class SyncResults:
    """See `Results`."""

    __slots__ = ("_core",)

    def __init__(self, core: Core) -> None:
        self._core = core

    def append(self, chunk: object) -> None:
        """See `Results.append`."""
        drive(self._core.append([chunk]))

    def extend(self, chunks: Iterable[object]) -> None:
        """See `Results.extend`."""
        drive(self._core.append(chunks))
