"""Hints between the nodes of one database: LISTEN and NOTIFY, each on a connection of its own and in its own thread.

NOTIFY takes a lock of the whole server at its commit, so it stays out of the transactions that do the work; hints of a
moment go out as one. Behind a pooler nobody hears: the loops' own timers are
what is left.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable

import msgspec
import psycopg
from psycopg import sql

from roost.engine.batch import Effects
from roost.engine.postgres.address import Address
from roost.engine.postgres.connection import Connection, connect
from roost.errors import RoostError

CHANNEL = "roost"
PAYLOAD_LIMIT = 7900
"""Bytes; the server refuses 8000."""
ENDED_LIMIT = 500
PAUSE_SECONDS = 0.02
"""Between two hints: at most 50 a second."""
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0

log = logging.getLogger("roost.postgres")
Heard = Callable[[Effects | None], None]


class Hint(msgspec.Struct, array_like=True):
    """``effects`` is None where there is too much to tell: look at all."""

    node: str
    effects: Effects | None


_hint = msgspec.json.Decoder(Hint)


class PostgresSignals:
    """See `roost.engine.store.Signals`; ``node`` tells own hints from others'."""

    def __init__(self, address: Address, node: str, pooled: bool) -> None:
        self._listener = None if pooled else Listener(address, node)
        self._announcer = Announcer(address, node)

    def start(self, heard: Heard) -> None:
        """Begin to listen; where the database does not answer, as soon as it does."""
        self._announcer.start()
        if self._listener is not None:
            self._listener.start(heard)

    def announce(self, effects: Effects) -> None:
        """Tell the others soon; returns at once."""
        self._announcer.put(effects)

    def stop(self) -> None:
        """End both threads; twice does no harm."""
        self._announcer.stop()
        if self._listener is not None:
            self._listener.stop()


class Listener:
    """Waits on the socket itself: an idle node asks nothing of the database and never wakes up."""

    def __init__(self, address: Address, node: str) -> None:
        self._address = address
        self._node = node
        self._waker, self._wake = socket.socketpair()
        self._threads: list[threading.Thread] = []

    def start(self, heard: Heard) -> None:
        """Listen in a thread until `stop`; each hearer has a thread of its own."""
        thread = threading.Thread(target=self._run, args=(heard,), name="roost-listen", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End the threads; the listener cannot be started again."""
        if self._wake.fileno() >= 0:
            self._wake.close()
            for thread in self._threads:
                thread.join()
            self._waker.close()

    def _run(self, heard: Heard) -> None:
        wait = FIRST_WAIT_SECONDS
        while True:
            connection: Connection | None = None
            try:
                connection = connect(self._address)
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                wait = FIRST_WAIT_SECONDS
                # What was told before this moment was missed.
                heard(None)
                if self._listen(connection, heard):
                    return
            except (psycopg.Error, RoostError) as error:
                log.warning("hints of other nodes are not heard, trying again: %s", error)
            finally:
                if connection is not None:
                    connection.close()
            if select.select([self._waker], [], [], wait)[0]:
                return
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _listen(self, connection: Connection, heard: Heard) -> bool:
        """True when told to stop; raises where the connection is lost."""
        lines = connection.pgconn
        while True:
            while (notification := lines.notifies()) is not None:
                self._tell(notification.extra, heard)
            heard_at = lines.socket
            if heard_at < 0:
                raise psycopg.OperationalError("the connection is lost")
            readable, _, _ = select.select([heard_at, self._waker.fileno()], [], [])
            if self._waker.fileno() in readable:
                return True
            lines.consume_input()

    def _tell(self, payload: bytes, heard: Heard) -> None:
        try:
            hint = _hint.decode(payload)
        except msgspec.DecodeError:
            # Another version's, or not ours: something happened.
            heard(None)
            return
        if hint.node != self._node:
            heard(hint.effects)


class Announcer:
    """Gathers what is to be told while the last hint is sent."""

    def __init__(self, address: Address, node: str) -> None:
        self._address = address
        self._node = node
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._stopped = threading.Event()
        self._pending: Effects | None = None
        self._overflow = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Send in a thread until `stop`."""
        self._thread = threading.Thread(target=self._run, name="roost-announce", daemon=True)
        self._thread.start()

    def put(self, effects: Effects) -> None:
        """Add to what is told next."""
        told = effects.fed or effects.ready or effects.ended or effects.schedules or effects.rules
        if not told and effects.due_at is None:
            return
        with self._lock:
            if self._pending is None:
                self._pending = Effects()
            merge(self._pending, effects)
            if len(self._pending.ended) > ENDED_LIMIT:
                self._pending.ended.clear()
                self._overflow = True
        self._some.set()

    def stop(self) -> None:
        """Send what is left, if the database takes it, and end the thread."""
        self._stopped.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _take(self) -> Hint | None:
        with self._lock:
            effects, overflow = self._pending, self._overflow
            self._pending, self._overflow = None, False
        if effects is None:
            return None
        return Hint(self._node, None if overflow else effects)

    def _run(self) -> None:
        connection: Connection | None = None
        wait = PAUSE_SECONDS
        while True:
            self._some.wait()
            self._some.clear()
            hint = self._take()
            if hint is not None:
                try:
                    if connection is None:
                        connection = connect(self._address)
                        # One statement at a time, so that a pooler does not matter.
                        connection.prepare_threshold = None
                    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, encode(hint)))
                    wait = PAUSE_SECONDS
                except (psycopg.Error, RoostError) as error:
                    log.warning("other nodes were not told, they look by themselves: %s", error)
                    if connection is not None:
                        connection.close()
                        connection = None
                    wait = min(max(wait * 2, FIRST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
            if self._stopped.wait(wait) and not self._some.is_set():
                break
        if connection is not None:
            connection.close()


def merge(into: Effects, more: Effects) -> None:
    """Add ``more`` to ``into``."""
    for queue, count in more.ready.items():
        into.ready[queue] = into.ready.get(queue, 0) + count
    into.ended.extend(more.ended)
    if more.due_at is not None and (into.due_at is None or more.due_at < into.due_at):
        into.due_at = more.due_at
    into.schedules = into.schedules or more.schedules
    into.fed = into.fed or more.fed
    into.rules = into.rules or more.rules


def encode(hint: Hint) -> str:
    """A payload the server takes; what is too long becomes "look at all"."""
    text = msgspec.json.encode(hint)
    if len(text) > PAYLOAD_LIMIT:
        text = msgspec.json.encode(Hint(hint.node, None))
    return text.decode()
