"""The outbox table in a user's database: its schema, and what programs and relays do with it.

A row is a job that waits to be handed over. A relay gives the next rows a batch's number before it sends them, so that
whoever sends them again sends the same batch; the number of the last batch stands in ``roost_outbox_relay``, with the
outbox's own name, by which the server knows which batches it has.
"""

from __future__ import annotations

import hashlib
from uuid import uuid4

import msgspec

from roost.errors import ConfigurationError, NotFound
from roost.outboxes.links import Link
from roost.wire.codec import decode
from roost.wire.jobs import NewJob
from roost.wire.problems import Problem

CHANNEL = "roost_outbox"
"""What relays listen on in PostgreSQL."""

_POSTGRES = (
    """CREATE TABLE IF NOT EXISTS roost_outbox (
      position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, job text NOT NULL,
      created_at bigint NOT NULL, batch bigint, alone integer NOT NULL DEFAULT 0,
      job_id bigint, delivered_at bigint, error text)""",
    """CREATE INDEX IF NOT EXISTS roost_outbox_waiting ON roost_outbox (position)
      WHERE delivered_at IS NULL AND error IS NULL""",
    "CREATE INDEX IF NOT EXISTS roost_outbox_delivered ON roost_outbox (delivered_at) WHERE delivered_at IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS roost_outbox_relay (
      one integer PRIMARY KEY CHECK (one = 1), outbox text NOT NULL, number bigint NOT NULL,
      relay text, until bigint)""",
)
_SQLITE = (
    """CREATE TABLE IF NOT EXISTS roost_outbox (
      position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL,
      created_at INTEGER NOT NULL, batch INTEGER, alone INTEGER NOT NULL DEFAULT 0,
      job_id INTEGER, delivered_at INTEGER, error TEXT)""",
    _POSTGRES[1],
    _POSTGRES[2],
    """CREATE TABLE IF NOT EXISTS roost_outbox_relay (
      one INTEGER PRIMARY KEY CHECK (one = 1), outbox TEXT NOT NULL, number INTEGER NOT NULL, relay TEXT, until INTEGER)
    """,
)
_FIRST_STATE = """INSERT INTO roost_outbox_relay (one, outbox, number) VALUES (1, :outbox, 0)
  ON CONFLICT (one) DO NOTHING"""
_EXISTS = {
    "postgresql": "SELECT 1 WHERE to_regclass('roost_outbox') IS NOT NULL",
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'roost_outbox'",
}
_PUT = {
    "postgresql": """INSERT INTO roost_outbox (id, job, created_at)
      SELECT value ->> 0, value ->> 1, (value ->> 2)::bigint
      FROM json_array_elements(:rows::json) WITH ORDINALITY AS e (value, place) ORDER BY place""",
    "sqlite": """INSERT INTO roost_outbox (id, job, created_at)
      SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
      FROM json_each(:rows) ORDER BY key""",
}
_WAITING = "delivered_at IS NULL AND error IS NULL"
_NEXT = f"""SELECT position, id, job, created_at, alone FROM roost_outbox
  WHERE {_WAITING} AND batch IS NULL ORDER BY position LIMIT :limit"""  # noqa: S608 - constants
_IN_BATCH = f"""SELECT position, id, job, created_at, alone FROM roost_outbox
  WHERE {_WAITING} AND batch = :number ORDER BY position"""  # noqa: S608 - constants
_STATE = {
    "postgresql": "SELECT outbox, number, relay, until FROM roost_outbox_relay WHERE one = 1 FOR UPDATE",
    "sqlite": "SELECT outbox, number, relay, until FROM roost_outbox_relay WHERE one = 1",
}
_IDS = {
    "postgresql": "(SELECT json_array_elements_text(:ids::json))",
    "sqlite": "(SELECT value FROM json_each(:ids))",
}


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A job in the outbox."""

    position: int
    id: str
    job: str
    """`roost.wire.jobs.NewJob` as JSON."""
    created_at: int
    alone: int = 0
    """1: it goes in a batch of its own, because one it was in was refused as a whole."""

    def new_job(self) -> NewJob:
        """The job as it was enqueued."""
        return decode(self.job, NewJob)


class Batch(msgspec.Struct, frozen=True):
    """Rows that go out together, now and if need be again."""

    outbox: str
    number: int
    rows: list[Row]

    @property
    def contents(self) -> str:
        """A name for exactly these rows."""
        return hashlib.sha256("\n".join(row.id for row in self.rows).encode()).hexdigest()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A row as people see it."""

    id: str
    kind: str
    created_at: int
    state: str
    """waiting, sending, delivered, refused"""
    job_id: int | None = None
    error: Problem | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """An outbox as a whole."""

    outbox: str
    waiting: int
    oldest_at: int | None
    """When the oldest waiting row was written, in milliseconds."""
    delivered: int
    refused: int
    batches: int
    relay: str | None
    """Which relay was at work last."""


def create(link: Link) -> None:
    """Make the tables where they are not there yet; in the transaction the connection is in."""
    for statement in _POSTGRES if link.dialect == "postgresql" else _SQLITE:
        link.run(statement, {})
    link.run(_FIRST_STATE, {"outbox": uuid4().hex})


def drop(link: Link) -> None:
    """Take the tables away, with what is in them."""
    link.run("DROP TABLE IF EXISTS roost_outbox", {})
    link.run("DROP TABLE IF EXISTS roost_outbox_relay", {})


def exists(link: Link) -> bool:
    """Whether the outbox table is there."""
    return bool(link.rows(_EXISTS[link.dialect], {}))


def require(link: Link) -> None:
    """Raises `ConfigurationError` where there is no outbox table."""
    if not exists(link):
        raise ConfigurationError(
            "the database has no outbox table, and it is not the one Roost keeps its jobs in",
            help="make it with roost outbox install URL, roost.outbox.create_table(connection) or Django's migrate",
        )


def put(link: Link, jobs: list[tuple[str, str]], now: int) -> None:
    """Add jobs, each with its name, in order; relays are woken by the commit."""
    rows = [(id, job, now) for id, job in jobs]
    link.run(_PUT[link.dialect], {"rows": msgspec.json.encode(rows).decode()})
    if link.dialect == "postgresql":
        link.rows("SELECT pg_notify('roost_outbox', '')", {})


def has_work(link: Link) -> bool:
    """Whether a row waits."""
    return bool(link.rows(f"SELECT 1 FROM roost_outbox WHERE {_WAITING} LIMIT 1", {}))  # noqa: S608 - constants


def compose(link: Link, relay: str, now: int, *, lease_ms: int, limit: int, size: int) -> Batch | None:
    """The batch to send: the one that was begun and not acknowledged, or the next; None where there is none to send.

    To be committed before anything is sent. ``relay`` has the outbox to itself for ``lease_ms``: that spares work, and
    nothing depends on it.
    """
    state = link.rows(_STATE[link.dialect], {})
    if not state:
        raise ConfigurationError("the outbox has lost its state", help="roost outbox install URL makes it again")
    outbox, number, holder, until = state[0]
    if holder not in (None, relay) and until is not None and now < until <= now + lease_ms:
        return None
    rows = _rows(link, _IN_BATCH, number=number)
    if not rows:
        rows = _cut(_rows(link, _NEXT, limit=limit), size)
        if not rows:
            return None
        number += 1
        link.run(
            f"UPDATE roost_outbox SET batch = :number WHERE id IN {_IDS[link.dialect]}",  # noqa: S608 - constants
            {"number": number, "ids": _ids(rows)},
        )
    link.run(
        "UPDATE roost_outbox_relay SET number = :number, relay = :relay, until = :until WHERE one = 1",
        {"number": number, "relay": relay, "until": now + lease_ms},
    )
    return Batch(outbox, number, rows)


def _rows(link: Link, sql: str, **parameters: object) -> list[Row]:
    return [Row(*row) for row in link.rows(sql, parameters)]


def _cut(rows: list[Row], size: int) -> list[Row]:
    """The first of ``rows`` that go out together: up to ``size`` bytes; one that goes alone goes alone."""
    taken: list[Row] = []
    total = 0
    for row in rows:
        total += len(row.job.encode())
        if taken and (row.alone or taken[0].alone or total > size):
            break
        taken.append(row)
    return taken


def _ids(rows: list[Row]) -> str:
    return msgspec.json.encode([row.id for row in rows]).decode()


def acknowledge(link: Link, batch: Batch, delivered: dict[str, int], now: int, keep: bool) -> None:
    """The batch's rows ``delivered`` (id to job) are done: deleted, or marked where they are to be kept."""
    ids = msgspec.json.encode([*delivered]).decode()
    among = f"batch = :number AND {_WAITING} AND id IN {_IDS[link.dialect]}"
    if not keep:
        link.run(f"DELETE FROM roost_outbox WHERE {among}", {"number": batch.number, "ids": ids})  # noqa: S608
        return
    jobs = {
        "postgresql": "(SELECT value::bigint FROM json_each_text(:jobs::json) WHERE key = roost_outbox.id)",
        "sqlite": "(SELECT value FROM json_each(:jobs) WHERE key = roost_outbox.id)",
    }[link.dialect]
    link.run(
        f"UPDATE roost_outbox SET delivered_at = :now, job_id = {jobs} WHERE {among}",  # noqa: S608 - constants
        {"number": batch.number, "ids": ids, "now": now, "jobs": msgspec.json.encode(delivered).decode()},
    )


def set_aside(link: Link, batch: Batch, refused: dict[str, Problem]) -> None:
    """The batch's rows ``refused`` (id to why) wait for a person, and stand in nobody's way."""
    for id, problem in refused.items():
        link.run(
            f"UPDATE roost_outbox SET error = :error, batch = NULL WHERE batch = :number AND {_WAITING} AND id = :id",  # noqa: S608
            {"number": batch.number, "id": id, "error": msgspec.json.encode(problem).decode()},
        )


def send_singly(link: Link, batch: Batch) -> None:
    """The batch will never be stored: its rows go out again, each in a batch of its own."""
    link.run(
        f"UPDATE roost_outbox SET alone = 1, batch = NULL WHERE batch = :number AND {_WAITING}",  # noqa: S608
        {"number": batch.number},
    )


def rename(link: Link, batch: Batch) -> bool:
    """Give the outbox a new name, because the server knows later batches of the old one; False where nothing is wrong.

    So it is where this database is an older state, or a copy, of the one those batches came from; and not where another
    relay has meanwhile done this batch.
    """
    return bool(
        link.run(
            """UPDATE roost_outbox_relay SET outbox = :name WHERE one = 1 AND outbox = :outbox AND number = :number
              AND EXISTS (SELECT 1 FROM roost_outbox
                WHERE batch = :number AND delivered_at IS NULL AND error IS NULL)""",
            {"name": uuid4().hex, "outbox": batch.outbox, "number": batch.number},
        )
    )


def release(link: Link, relay: str) -> None:
    """``relay`` stops: another may work at once."""
    link.run("UPDATE roost_outbox_relay SET until = NULL WHERE relay = :relay", {"relay": relay})


def forget(link: Link, before: int) -> int:
    """Delete rows that were delivered before ``before``; how many."""
    return link.run("DELETE FROM roost_outbox WHERE delivered_at < :before", {"before": before})


def retry(link: Link, ids: list[str]) -> int:
    """Send refused rows (none named: all) again; how many."""
    where, parameters = _refused(link, ids)
    changed = link.run(f"UPDATE roost_outbox SET error = NULL, alone = 1 WHERE {where}", parameters)  # noqa: S608
    if changed and link.dialect == "postgresql":
        link.rows("SELECT pg_notify('roost_outbox', '')", {})
    return changed


def discard(link: Link, ids: list[str]) -> int:
    """Delete refused rows; how many."""
    where, parameters = _refused(link, ids)
    return link.run(f"DELETE FROM roost_outbox WHERE {where}", parameters)  # noqa: S608 - constants


def _refused(link: Link, ids: list[str]) -> tuple[str, dict[str, object]]:
    if not ids:
        return "error IS NOT NULL", {}
    return f"error IS NOT NULL AND id IN {_IDS[link.dialect]}", {"ids": msgspec.json.encode(ids).decode()}


def status(link: Link) -> Status:
    """How much is in it."""
    ((outbox, number, relay),) = link.rows("SELECT outbox, number, relay FROM roost_outbox_relay WHERE one = 1", {})
    ((waiting, oldest),) = link.rows(f"SELECT count(*), min(created_at) FROM roost_outbox WHERE {_WAITING}", {})  # noqa: S608
    ((delivered, refused),) = link.rows("SELECT count(delivered_at), count(error) FROM roost_outbox", {})
    return Status(
        outbox=outbox,
        waiting=waiting,
        oldest_at=oldest,
        delivered=delivered,
        refused=refused,
        batches=number,
        relay=relay,
    )


def entries(link: Link, *, refused: bool, limit: int) -> list[Entry]:
    """Rows in order; with ``refused`` only those that were set aside."""
    where = "error IS NOT NULL" if refused else "1 = 1"
    rows = link.rows(
        f"""SELECT id, job, created_at, batch, delivered_at, job_id, error FROM roost_outbox WHERE {where}
          ORDER BY position LIMIT :limit""",  # noqa: S608 - constants
        {"limit": limit},
    )
    return [_entry(*row) for row in rows]


def entry(link: Link, id: str) -> Entry:
    """One row; raises `NotFound`."""
    rows = link.rows(
        "SELECT id, job, created_at, batch, delivered_at, job_id, error FROM roost_outbox WHERE id = :id", {"id": id}
    )
    if not rows:
        raise NotFound(f"the outbox has no row {id[:64]!r}", path="id", help="delivered rows are kept only for a while")
    return _entry(*rows[0])


def job_of(link: Link, id: str) -> NewJob:
    """The job of a row; raises `NotFound`."""
    rows = link.rows("SELECT job FROM roost_outbox WHERE id = :id", {"id": id})
    if not rows:
        raise NotFound(f"the outbox has no row {id[:64]!r}", path="id", help="delivered rows are kept only for a while")
    return decode(rows[0][0], NewJob)


class _Named(msgspec.Struct):
    kind: str = ""


def _entry(
    id: str, job: str, created_at: int, batch: int | None, delivered: int | None, job_id: int | None, error: str | None
) -> Entry:
    if error is not None:
        state = "refused"
    elif delivered is not None:
        state = "delivered"
    else:
        state = "waiting" if batch is None else "sending"
    try:
        kind = msgspec.json.decode(job, type=_Named).kind
    except msgspec.DecodeError:
        kind = ""
    problem = None if error is None else msgspec.json.decode(error, type=Problem)
    return Entry(id=id, kind=kind, created_at=created_at, state=state, job_id=job_id, error=problem)
