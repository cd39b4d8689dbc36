"""What an isolated handler prints: read all the time, kept as log lines, bounded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from roost.sdk.notes import MESSAGE_LENGTH, clean

BYTES_KEPT = 1_000_000
"""Of one job; what follows is read and thrown away, so that the handler never blocks on a full pipe."""
_CHUNK = 65_536


class Output:
    """A pipe whose lines go to whoever follows; one job at a time does."""

    def __init__(self) -> None:
        self._reading, self.descriptor = os.pipe()
        os.set_blocking(self._reading, False)
        self._line: Callable[[str], None] | None = None
        self._rest = b""
        self._kept = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def opened(self) -> None:
        """The process has its end: read ours from now on."""
        os.close(self.descriptor)
        if self._reading >= 0:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._reading, self._read)

    def follow(self, line: Callable[[str], None]) -> None:
        """Lines go to ``line`` from now on."""
        self._line, self._rest, self._kept = line, b"", 0

    def leave(self) -> None:
        """The job has ended: what it printed before that is read now."""
        while self._read() == _CHUNK and self._kept <= BYTES_KEPT:
            pass
        if self._rest:
            self._emit(self._rest)
        self._line, self._rest = None, b""

    def close(self) -> None:
        if self._reading >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self._reading)
            os.close(self._reading)
            self._reading = -1

    def _read(self) -> int:
        if self._reading < 0:
            return 0
        try:
            data = os.read(self._reading, _CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            self.close()
            return 0
        if self._line is None or self._kept > BYTES_KEPT:
            return len(data)
        self._kept += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._emit(line)
        if len(self._rest) > MESSAGE_LENGTH * 4:
            self._emit(self._rest)
            self._rest = b""
        if self._kept > BYTES_KEPT:
            self._line(f"more than {BYTES_KEPT} bytes of output: the rest is not kept")
            self._rest = b""
        return len(data)

    def _emit(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        if self._line is not None and text:
            self._line(clean(text, MESSAGE_LENGTH))
