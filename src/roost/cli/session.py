"""What a command runs with: the target it talks to, the output format, and who is asking."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from roost.cli import choosing
from roost.cli.output import FORMATS, Csv, Format

if TYPE_CHECKING:
    from roost.sdk._sync.client import Client
    from roost.wire.codec import Wire
    from roost.wire.contract import Operation

P = ParamSpec("P")
R = TypeVar("R")
Q = TypeVar("Q", bound="Wire")
A = TypeVar("A", bound="Wire")


class Session:
    """One call of the command line; the target is opened when the first operation is sent."""

    def __init__(self) -> None:
        self.url: str | None = None
        """As given on the command line; the environment and the configuration follow."""
        self.format: Format = "table"
        self.actor: str | None = None
        self.may_create = False
        """Whether a SQLite file that is not there may be made."""
        self.csv = Csv()
        """Where rows go that come one after the other; they have one heading."""
        self._client: Client | None = None

    def send(self, operation: Operation[Q, A], request: Q) -> A:
        """Perform an operation of the API; raises `RoostError`."""
        if self._client is None:
            from roost.cli.target import connect

            self._client = connect(self.url, may_create=self.may_create)
        return self._client.call(operation, request)

    @property
    def client(self) -> Client:
        """The client of the target; opens it."""
        if self._client is None:
            from roost.cli.target import connect

            self._client = connect(self.url, may_create=self.may_create)
        return self._client

    def start_loops(self) -> None:
        """See to it that somebody carries on what was started: where the store is in this process, its own loops."""
        transport = self._client.transport if self._client is not None else None
        start = getattr(transport, "start_loops", None)
        if start is not None:
            start()

    def who(self) -> str:
        """Who decides, for the record: as given, else the account this process runs as."""
        if self.actor:
            return self.actor
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return ""

    def close(self) -> None:
        """Give the target back."""
        if self._client is not None:
            self._client.close()
            self._client = None


pass_session = click.make_pass_decorator(Session, ensure=True)


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> Any:
        if value is not None:
            setattr(ctx.ensure_object(Session), name, value)
        return value

    return callback


def url_option(command: Callable[P, R]) -> Callable[P, R]:
    """``--url``: which server or store."""
    return click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=_keep("url"),
        help="Server (http://…) or store (sqlite:///file, postgresql://…); else ROOST_URL, configuration, ./roost.db.",
    )(command)


def format_option(command: Callable[P, R]) -> Callable[P, R]:
    """``-o``: how data is printed."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        expose_value=False,
        is_eager=True,
        callback=_keep("format"),
        help="How data is printed; table where not given.",
    )(command)


def actor_option(command: Callable[P, R]) -> Callable[P, R]:
    """``--actor``: the name that goes on record."""
    return click.option(
        "--actor",
        metavar="NAME",
        envvar="ROOST_ACTOR",
        expose_value=False,
        callback=_keep("actor"),
        help="Who does this, for the record; else ROOST_ACTOR or the account's name.",
    )(command)


def reading(command: Callable[P, R]) -> Callable[P, R]:
    """The options of a command that looks."""
    return format_option(url_option(command))


def listing(command: Callable[P, R]) -> Callable[P, R]:
    """The options of a command that lists."""
    return choosing.option(reading(command))


def writing(command: Callable[P, R]) -> Callable[P, R]:
    """The options of a command that changes something."""
    return actor_option(reading(command))


def paged(
    ask: Callable[[str | None, int], tuple[list[R], str | None]], limit: int, everything: bool
) -> Iterator[list[R]]:
    """Pages of a list until ``limit`` rows (or all of them); ``ask(cursor, size)`` gets one page."""
    cursor: str | None = None
    left = limit
    while True:
        rows, cursor = ask(cursor, 500 if everything else min(left, 500))
        yield rows
        left -= len(rows)
        if cursor is None or (left <= 0 and not everything):
            return
