"""Wake-ups between processes that share a file: SQLite's change counter, looked at often and cheaply."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import apsw

from roost.engine.batch import Effects
from roost.engine.sqlite.connection import open_reader

INTERVAL = 0.04
"""Seconds between looks: a look costs microseconds and touches no disk."""

logger = logging.getLogger("roost.engine")


class Silence:
    """For a file nobody shares: there is nothing to hear."""

    def start(self, heard: Callable[[Effects | None], None]) -> None:
        """Nothing will be heard."""

    def announce(self, effects: Effects) -> None:
        """Nobody listens."""

    def stop(self) -> None:
        """There is nothing to stop."""


class Watch:
    """Hears that something was committed by anybody, within ``INTERVAL``; what, the hearer must look up."""

    def __init__(self, path: str, vfs: str) -> None:
        self._path = path
        self._vfs = vfs
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, heard: Callable[[Effects | None], None]) -> None:
        """Look from a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self._run, args=(heard,), name="roost-watch", daemon=True)
        self._thread.start()

    def announce(self, effects: Effects) -> None:
        """The commit itself is what the others see."""

    def stop(self) -> None:
        """Stop looking; twice does no harm."""
        self._stopped.set()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self, heard: Callable[[Effects | None], None]) -> None:
        connection = open_reader(self._path, vfs=self._vfs)
        try:
            seen = connection.pragma("data_version")
            while not self._stopped.wait(INTERVAL):
                version = connection.pragma("data_version")
                if version != seen:
                    seen = version
                    heard(None)
        except apsw.Error:
            logger.exception("the watch on %s ended; wake-ups come late from now on", self._path)
        finally:
            connection.close()
