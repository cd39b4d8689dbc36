"""The seam between the one engine and its two databases: run a named statement inside a transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from roost.domain.feed import Fact
from roost.engine.searching.dialects import Dialect

T = TypeVar("T")


class Retry(Exception):
    """The transaction met another one; it was rolled back whole and may be run again."""


class Answer(Protocol):
    """What `Transaction.ask` is told."""

    def row(self) -> tuple[Any, ...]:
        """The only row. Inside the transaction this waits for it; after the commit it is here."""
        ...


class Here:
    """An answer that did not have to be waited for."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        self._row = row

    def row(self) -> tuple[Any, ...]:
        """See `Answer`."""
        return self._row


class Transaction(Protocol):
    """Named statements of the catalogue; sets travel as JSON texts, and large answers come back as one.

    All are carried out in the order they are called. What is `send` or `ask`ed may travel with a later statement, or
    with the commit, so that a transaction waits for the database less often; its failure shows there.
    """

    facts: list[Fact]
    """What happened so far, for the feed; the engine empties it when a transaction begins."""

    def run(self, statement: str, **parameters: object) -> int:
        """Change rows; how many."""
        ...

    def send(self, statement: str, **parameters: object) -> None:
        """Change rows; nobody asks how many."""
        ...

    def ask(self, statement: str, **parameters: object) -> Answer:
        """The only row, when somebody looks at it."""
        ...

    def one(self, statement: str, **parameters: object) -> Any:
        """The first column of the only row; None where there is no row."""
        ...

    def row(self, statement: str, **parameters: object) -> tuple[Any, ...]:
        """The only row."""
        ...

    def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """All rows."""
        ...

    def query(self, sql: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        """All rows of a statement that `roost.engine.searching` composed."""
        ...

    @property
    def dialect(self) -> Dialect: ...
    def expect(self, count: int) -> None:
        """About ``count`` ids will be allocated: they may be fetched with the next statement."""
        ...

    def allocate(self, count: int) -> list[int]:
        """``count`` new job ids in the order they will be told apart by."""
        ...


class Driver(Protocol):
    """A database the engine can work on."""

    def transaction(self, work: Callable[[Transaction], T]) -> T:
        """``work`` in one durable transaction, repeated where it raises `Retry`; commits before it returns."""
        ...

    def close(self) -> None: ...
