"""Nothing that a handler started outlives its worker: a small process ends it when the worker is gone, however it went.

The processes of handlers die with their worker by themselves; what those had started in turn is nobody's then.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys

logger = logging.getLogger("roost.worker")

# Runs without this package, and without site-packages: it starts in ten milliseconds and takes ten megabytes.
_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    number = int(line[1:])
    groups.add(number) if line[0] == "+" else groups.discard(number)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Warden:
    """Knows the process groups of one worker's handlers; started with the first one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """Kill this process group when the worker is gone."""
        if self._process is None:
            command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
            # In a session of its own: a Ctrl-C in the terminal is not meant for it.
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter, with the program above
                command, stdin=subprocess.PIPE, start_new_session=True
            )
        self._say("+", group)

    def forget(self, group: int) -> None:
        """It has ended, and all that it started."""
        self._say("-", group)

    def close(self) -> None:
        """End it; there is nothing left to watch."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.wait()

    def _say(self, word: str, group: int) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(f"{word}{group}\n".encode())
            self._process.stdin.flush()
        except OSError as error:
            logger.warning("the process that ends what handlers leave behind is gone: %s", error)
            self._process = None
