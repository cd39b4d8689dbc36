"""A child process seen from outside: how it ended, and how much memory it took."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Spawned:
    """One process in a session of its own, collected by a thread that learns what it used."""

    def __init__(self, command: Sequence[str], *, output: int, keep: Sequence[int]) -> None:
        """Its standard output and error go to the descriptor ``output``; it inherits the descriptors ``keep``.

        To be made on the event loop that waits for it.
        """
        self._loop = asyncio.get_running_loop()
        self._process = subprocess.Popen(  # noqa: S603  # this interpreter, with a module of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=keep,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.returncode: int | None = None
        """As of `subprocess.Popen`; None while it runs."""
        self.peak_bytes = 0
        """The most memory that was seen in use."""
        self._strays: dict[int, str] = {}
        """What it started in sessions of their own, and when; known while somebody looked."""
        self._ended = asyncio.Event()
        threading.Thread(target=self._collect, name=f"roost-child-{self.pid}", daemon=True).start()

    async def wait(self) -> int:
        """How it ended, once it has."""
        await self._ended.wait()
        return self.returncode or 0

    def signal(self, number: signal.Signals, *, strays: bool = False) -> None:
        """To the process and all that it started in its session; nothing where they are gone.

        ``strays``: also to what left the session. It is found while its parents live; a later signal reaches it too.
        """
        if strays:
            self._note_strays(_tree(self.pid))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        for pid, began in self._strays.items() if strays else ():
            # Under another beginning the number is somebody else's by now.
            if _began(pid) == began:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)

    def measure(self) -> int:
        """Bytes of memory that the process and its descendants use now; 0 where the system does not tell."""
        tree = _tree(self.pid)
        self._note_strays(tree)
        used = sum(_resident(pid) for pid in tree)
        self.peak_bytes = max(self.peak_bytes, used, _high_water(self.pid))
        return used

    def _note_strays(self, tree: list[int]) -> None:
        for pid in tree[1:]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if pid not in self._strays and os.getpgid(pid) != self.pid and (began := _began(pid)) is not None:
                    self._strays[pid] = began

    def _collect(self) -> None:
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        # The kernel starts a child's account with what its parent had when it was started: only more than that is its.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = usage.ru_maxrss * _MAXRSS_UNIT if usage.ru_maxrss > own else 0
        # Popen shall not wait for a number that may be another process's by now.
        self._process.returncode = code
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end, code, peak)

    def _end(self, code: int, peak: int) -> None:
        self.returncode = code
        self.peak_bytes = max(self.peak_bytes, peak)
        self._ended.set()


def can_measure() -> bool:
    """Whether this system tells how much memory a process uses."""
    return Path("/proc/self/statm").exists()


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _high_water(pid: int) -> int:
    """What the process used at most since it was started, by its own account."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    return 0


def _began(pid: int) -> str | None:
    """When a process was started, in the system's own measure; None where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _tree(pid: int) -> list[int]:
    found, index = [pid], 0
    while index < len(found):
        for children in Path(f"/proc/{found[index]}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except (OSError, ValueError):
                continue
        index += 1
    return found
