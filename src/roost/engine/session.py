"""The seam between the reading side and its two databases: named statements on one consistent view."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from roost.engine.searching.dialects import Dialect


class Session(Protocol):
    """One consistent view of what is committed."""

    def one(self, statement: str, **parameters: object) -> Any: ...
    def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]: ...
    def query(self, sql: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        """A statement composed by `roost.engine.listing` or `roost.engine.searching`."""
        ...

    @property
    def dialect(self) -> Dialect: ...
    def bounded(self) -> AbstractContextManager[None]:
        """What runs inside is ended after about two seconds: `Unavailable`."""
        ...
