"""A store: its writing side, its reading side and its signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from roost.engine.batch import Effects
from roost.engine.protocol import Engine
from roost.engine.reading import Reader

Role = Literal["server", "embedded"]


class StoreInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the store is and what it promises."""

    engine: Literal["sqlite", "postgresql"]
    version: str
    durability: str
    """The guarantee in force, in words for people: ``power loss: safe``."""
    location: str
    """The file, or the database's address without its password."""


class Signals(Protocol):
    """Hints between processes that share a store; correctness never needs them."""

    def start(self, heard: Callable[[Effects | None], None]) -> None:
        """Call ``heard`` (from any thread) for what others committed; None: something, look at all."""
        ...

    def announce(self, effects: Effects) -> None:
        """Tell the others; returns at once, coalesces, never raises."""
        ...

    def stop(self) -> None: ...


class Store(Protocol):
    """An open store."""

    info: StoreInfo
    reader: Reader
    signals: Signals
    concurrency: int
    """How many transactions the writing side can have in flight: 1 for SQLite."""
    spec: str
    """What `open_engine` needs to open another writing side in another process."""

    def engine(self) -> Engine:
        """A writing side; may be called ``concurrency`` times."""
        ...

    def now_offset(self) -> int:
        """Milliseconds to add to this machine's clock: the database's clock decides where nodes share one."""
        ...

    def publish_url(self, url: str) -> None:
        """Write the server's URL where those who try to open the file embedded are told it."""
        ...

    def close(self) -> None: ...
