"""Statements that travel together: sent without waiting, answered in one round trip."""

from __future__ import annotations

import select
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors, pq
from psycopg.adapt import PyFormat, Transformer

from roost.engine.postgres.connection import Connection, lost
from roost.engine.postgres.statements import Numbered

LARGE_BYTES = 16 * 1024
"""A statement of this size is sent at once: the server works on it while the next one is made."""
_DONE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)


class Reply:
    """What the server answers to one statement; it is here once `Pipeline.wait` has returned."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        self.result: pq.abc.PGresult | None = None

    @property
    def tag(self) -> bytes:
        """The command's tag, such as ``COMMIT``."""
        return (self.result and self.result.command_status) or b""

    @property
    def count(self) -> int:
        """How many rows it changed or found."""
        return (self.result and self.result.command_tuples) or 0


class Pipeline:
    """One connection in libpq's pipeline mode: nothing else may be executed on it.

    Every `wait` ends with a Sync. Where a statement fails, the server passes over all that follow up to it: what was
    sent behind the failure, a COMMIT too, was not carried out. With ``prepare`` every statement is prepared once.
    """

    def __init__(self, connection: Connection, *, prepare: bool) -> None:
        self._connection = connection
        self._lines = connection.pgconn
        self._lines.enter_pipeline_mode()
        self._adapting = Transformer(connection)
        self._prepare = prepare
        self._prepared: dict[tuple[bytes, Sequence[int]], bytes] = {}
        self._preparing: list[tuple[Reply, tuple[bytes, Sequence[int]]]] = []
        self._waiting: list[Reply] = []
        self._poll = select.poll()
        self._names = 0
        self._broken = False
        self.round_trips = 0
        """How often it was waited for the server."""

    @property
    def lost(self) -> bool:
        """Whether nothing can be sent any more: the connection is gone, or nobody knows what is still to be read."""
        return self._broken or lost(self._connection)

    @property
    def unanswered(self) -> bool:
        """Whether something was sent that nobody has waited for."""
        return bool(self._waiting)

    def command(self, text: bytes) -> Reply:
        """Send a command without parameters."""
        self._lines.send_query_params(text, None)
        return self._expect()

    def send(self, statement: Numbered, parameters: Mapping[str, object], *, composed: bool = False) -> Reply:
        """Send a statement; a ``composed`` one is not worth preparing."""
        values = [parameters[name] for name in statement.names]
        adapting = self._adapting
        dumped = adapting.dump_sequence(values, [PyFormat.AUTO] * len(values))
        types, formats = adapting.types or (), adapting.formats
        if self._prepare and not composed:
            name = self._prepared.get((statement.sql, types))
            if name is None:
                name = self._prepare_now(statement.sql, types)
            self._lines.send_query_prepared(name, dumped, formats)
        else:
            self._lines.send_query_params(statement.sql, dumped, types, formats)
        reply = self._expect()
        if sum(len(value) for value in dumped if value is not None) >= LARGE_BYTES:
            self._lines.flush()
        return reply

    def wait(self) -> None:
        """Everything that was sent has been answered; raises what the first that failed was answered."""
        waiting, preparing = self._waiting, self._preparing
        self._waiting, self._preparing = [], []
        self.round_trips += 1
        # Until the Sync is answered: whatever ends the exchange before, a Ctrl-C too, leaves it open what was done.
        self._broken = True
        try:
            self._exchange(waiting)
            self._broken = False
        except psycopg.OperationalError:
            # What the server said before it closed the connection says more.
            _raise_first(reply for reply in waiting if reply.result is not None)
            raise
        finally:
            for reply, key in preparing:
                if reply.result is None or reply.result.status != pq.ExecStatus.COMMAND_OK:
                    del self._prepared[key]
        _raise_first(waiting)

    def commit(self) -> Reply:
        """Send COMMIT and wait; where this raises and the pipeline is `lost`, it may have been carried out."""
        self._broken = True
        reply = self.command(b"COMMIT")
        self.wait()
        return reply

    def rows(self, reply: Reply) -> list[tuple[Any, ...]]:
        """The rows of an answer that is here."""
        found = reply.result
        if found is None:
            raise psycopg.ProgrammingError("the statement was not waited for")
        self._adapting.set_pgresult(found)
        return self._adapting.load_rows(0, found.ntuples, tuple)

    def _expect(self) -> Reply:
        reply = Reply()
        self._waiting.append(reply)
        return reply

    def _prepare_now(self, sql: bytes, types: Sequence[int]) -> bytes:
        # A number is used once: after a failure nobody has to know how far the server came.
        self._names += 1
        name = b"roost_%d" % self._names
        self._lines.send_prepare(name, sql, types)
        self._prepared[sql, types] = name
        self._preparing.append((self._expect(), (sql, types)))
        return name

    def _exchange(self, waiting: list[Reply]) -> None:
        """Send all and read until the Sync is answered. libpq's own waiting would keep the interpreter's lock."""
        lines, poll = self._lines, self._poll
        lines.pipeline_sync()
        place, events = 0, 0
        while True:
            wanted = select.POLLIN | select.POLLOUT if lines.flush() else select.POLLIN
            if wanted != events:
                if (socket := lines.socket) < 0:
                    raise psycopg.OperationalError("the connection is lost")
                poll.register(socket, wanted)
                events = wanted
            poll.poll()
            lines.consume_input()
            ended = False
            while not lines.is_busy():
                result = lines.get_result()
                if result is None:
                    # One after each answer; two in a row: there is no more.
                    if ended:
                        break
                    ended = True
                    continue
                ended = False
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return
                waiting[place].result = result
                place += 1


def _raise_first(replies: Iterable[Reply]) -> None:
    for reply in replies:
        if reply.result is None or reply.result.status not in _DONE:
            if reply.result is None:
                raise psycopg.OperationalError("a statement was not answered")
            raise errors.error_from_result(reply.result)
