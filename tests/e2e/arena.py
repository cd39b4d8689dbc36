"""Four stores with the same few rows, behind two transports and two engines, to be shown bad input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import apsw
import msgspec
import psycopg
from msgspec import inspect

import roost
from roost.embedded import Embedded, LocalTransport
from roost.errors import Conflict, RoostError
from roost.wire.attempts import ClaimJobs, RecordStep
from roost.wire.codec import encode
from roost.wire.contract import CLAIM, PREFIX, RECORD_STEP
from roost.wire.jobs import NewJob
from tests.e2e.corpus import Case, build, dump
from tests.e2e.stand import http_server
from tests.server.raw import Wire, connect, request

RENEWED = ("lease_until",)
"""What a heartbeat does even where it has something else to say that is refused."""


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"


class Refusal(NamedTuple):
    """What was answered to a case; ``code`` is empty where it was accepted."""

    status: int
    code: str
    path: str
    message: str = ""
    help: str = ""


@dataclass(frozen=True)
class Facts:
    """What the rows are called, the same in every store; but each lease has a token of its own."""

    job: int
    token: str
    held: int
    hold: int
    subject_hash: str
    bulk: int


def prepare(client: roost.Client) -> Facts:
    """One running job with a step, one held job, a schedule, a queue with rules and a bulk operation that is over."""
    client.queues.edit("q", roost.QueueRules(timeout="1m"))
    client.schedules.put("s", roost.ScheduleRule(cron="0 8 1 1 *"), NewJob(kind="k"))
    client.webhooks.put("main", "https://example.com/")
    client.webhooks.disable("main")
    job = client.jobs.enqueue(NewJob(kind="k", queue="run")).id
    claimed = client.transport.send(CLAIM, ClaimJobs(worker="w", queues=["run"], lease="1h"))
    step = RecordStep(id=job, token=claimed.token, name="one", input_hash="h", output=msgspec.Raw(b"1"))
    client.transport.send(RECORD_STEP, step)
    held = client.jobs.enqueue(NewJob(kind="k", queue="q", hold=roost.HoldRule())).id
    (hold,) = client.holds.list(job=held).holds
    started = client.bulk.create("cancel", ids=[999_999]).bulk
    assert started is not None
    with contextlib.suppress(Conflict):  # its end has come already where a loop was quick
        client.bulk.abort(started.id)
    return Facts(job, claimed.token, held, hold.id, hold.subject_hash, started.id)


class Contender:
    """One store behind one transport."""

    def __init__(self, store_url: str) -> None:
        self.store_url = store_url
        self.facts: Facts

    def content(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of every table."""
        if self.store_url.startswith("sqlite"):
            # The store's own library: another one in this process would give up the file's locks when it closes it.
            file = apsw.Connection(self.store_url.removeprefix("sqlite:///"), flags=apsw.SQLITE_OPEN_READONLY)
            with contextlib.closing(file) as connection:
                return {
                    table: _rows(_columns(connection, table), list(connection.execute(f"SELECT * FROM {table}")))  # noqa: S608
                    for (table,) in list(connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
                }
        found: dict[str, list[tuple[object, ...]]] = {}
        with psycopg.connect(self.store_url) as database:
            tables = [str(table) for (table,) in database.execute(TABLES)]
            every = " UNION ALL ".join(
                f"SELECT '{table}', (to_jsonb(t) - %(renewed)s::text[])::text FROM \"{table}\" AS t"  # noqa: S608
                for table in tables
            )
            for table, row in database.execute(every.encode(), {"renewed": list(RENEWED)}):
                found.setdefault(table, []).append((row,))
        return {table: sorted(found.get(table, [])) for table in tables}


class OverHttp(Contender):
    """A server, and one connection to it."""

    def __init__(self, store_url: str, url: str) -> None:
        super().__init__(store_url)
        self._port = int(url.rpartition(":")[2])
        self._wire: Wire | None = None
        with roost.Client.connect(url) as client:
            self.facts = prepare(client)

    async def show(self, case: Case) -> Refusal:
        """Send the case as bytes; what came back."""
        if self._wire is None:
            self._wire = await connect(self._port)
        await self._wire.send(_bytes(case))
        reply = await self._wire.reply()
        if reply.headers.get("connection") == "close":
            await self.leave()
        if reply.status >= 300:
            problem = reply.problem()
            return Refusal(reply.status, problem.code, problem.path, problem.message, problem.help)
        return _of_items(msgspec.json.decode(reply.body))

    async def leave(self) -> None:
        """Hang up."""
        if self._wire is not None:
            await self._wire.close()
            self._wire = None


class InProcess(Contender):
    """A store in this process."""

    def __init__(self, store_url: str, transport: LocalTransport) -> None:
        super().__init__(store_url)
        self._transport = transport
        self.facts = prepare(roost.Client(transport))

    def show(self, case: Case) -> Refusal | None:
        """Call with the case as an object; what came back. None where no object can be that wrong."""
        try:
            asked = build(inspect.type_info(case.operation.request), case.value)
        except TypeError:
            return None
        try:
            reply = self._transport.send(case.operation, asked)
        except RoostError as error:
            return Refusal(error.status, error.code, error.path, error.message, error.help)
        return _of_items(msgspec.json.decode(encode(reply)))


@contextlib.contextmanager
def over_http(store_url: str) -> Iterator[OverHttp]:
    with http_server(store_url) as url:
        yield OverHttp(store_url, url)


@contextlib.contextmanager
def in_process(store_url: str) -> Iterator[InProcess]:
    embedded = Embedded(store_url)
    try:
        yield InProcess(store_url, embedded.transport())
    finally:
        embedded.close()


def _bytes(case: Case) -> bytes:
    operation, value = case.operation, dict(case.value)
    path = PREFIX + operation.path
    for field in operation.path_fields:
        path = path.replace(f"{{{field}}}", _quoted(value.pop(field)))
    if operation.method in ("POST", "PUT"):
        return request(operation.method, path, dump(value))
    pairs = [
        f"{name}={_quoted(one)}" for name, each in value.items() for one in (each if isinstance(each, list) else [each])
    ]
    return request(operation.method, f"{path}?{'&'.join(pairs)}" if pairs else path)


def _quoted(value: object) -> str:
    return quote(str(value).encode("utf-8", "surrogatepass"), safe="")


def _of_items(reply: Any) -> Refusal:
    """The refusal of the only item of a bulk reply."""
    items: list[Any] = next((reply[name] for name in ("results", "beats") if name in reply), [])
    error = items[-1].get("error") if items else None
    if error is None:
        return Refusal(200, "", "", str(reply)[:100])
    return Refusal(422, error["code"], error.get("path", ""), error["message"], error.get("help", ""))


def _columns(connection: apsw.Connection, table: str) -> list[str]:
    return [str(name) for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _rows(names: list[str], rows: list[Any]) -> list[tuple[object, ...]]:
    kept = [place for place, name in enumerate(names) if name not in RENEWED]
    return sorted((tuple(row[place] for place in kept) for row in rows), key=repr)
