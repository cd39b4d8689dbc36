"""A file in which each step notes that it began and that it ended, so that what ran can be counted from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LONGEST_HOLD_SECONDS = 60.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Entry:
    event: Literal["started", "finished"]
    step: str
    user: str
    pid: int


@dataclass(frozen=True, slots=True)
class Journal:
    """Entries appended to `path`, one JSON object a line; nothing is noted where `path` is None."""

    path: Path | None

    @contextlib.asynccontextmanager
    async def noted(self, step: str, user: str) -> AsyncIterator[None]:
        """Note the start, run the block, note the end if it did not fail."""
        self._append("started", step, user)
        await self._held(step)
        yield
        self._append("finished", step, user)

    def _append(self, event: Literal["started", "finished"], step: str, user: str) -> None:
        if self.path is None:
            return
        line = json.dumps({"event": event, "step": step, "user": user, "pid": os.getpid()}) + "\n"
        # One write to a file opened for appending: entries of several processes never mix, kill -9 loses none.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    async def _held(self, step: str) -> None:
        """Stay in the step while its hold file is there: whoever wants to kill a worker amid a step lays one."""
        if self.path is None:
            return
        hold = hold_file(self.path, step)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_HOLD_SECONDS):
                while hold.exists():
                    await asyncio.sleep(_LOOK_SECONDS)


def hold_file(journal: Path, step: str) -> Path:
    return journal.with_name(f"{journal.name}.hold-{step}")


def entries(journal: Path) -> list[Entry]:
    """Everything noted so far, in order."""
    if not journal.exists():
        return []
    # A line without its end is one that is being written at this moment.
    whole = journal.read_bytes().rpartition(b"\n")[0]
    return [Entry(**json.loads(line)) for line in whole.splitlines()]
