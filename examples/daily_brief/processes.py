"""Child processes of the demonstration: started with a log file each, watched, stopped by their id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.03
ROOT = Path(__file__).resolve().parents[2]

T = TypeVar("T")


class DemoFailed(Exception):
    """Something the demonstration promises did not happen."""


def roost_command(*arguments: str) -> list[str]:
    """The ``roost`` beside this interpreter; the module itself where it is not installed as a command."""
    script = Path(sys.executable).with_name("roost")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "roost.cli.main"]
    return [*program, *arguments]


class Child:
    """A running program whose output goes to ``log``."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(cls, name: str, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Child:
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            # A session of its own: Ctrl-C reaches the demonstration alone, which then stops its children in order.
            process = await asyncio.create_subprocess_exec(
                *command, stdout=output, stderr=output, stdin=asyncio.subprocess.DEVNULL,
                env=dict(environ), cwd=ROOT, start_new_session=True,
            )  # fmt: skip
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def kill(self) -> None:
        """``kill -9``, and nothing else: no handler runs, no file is flushed, no lease is given back."""
        os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> bool:
        """Ask it to end; False when it had to be killed."""
        if self.exit_code is not None:
            return True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
            return False
        return True


async def run(command: Sequence[str], environ: Mapping[str, str], seconds: float = 20.0) -> str:
    """What a command prints; raises DemoFailed with its error output when it fails or takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
        env=dict(environ), cwd=ROOT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            raise DemoFailed(f"{' '.join(command)} did not end within {seconds:g} s") from error
        raise
    if process.returncode != 0:
        raise DemoFailed(f"{' '.join(command)} ended with {process.returncode}:\n{errors.decode(errors='replace')}")
    return output.decode(errors="replace")


async def until(what: str, look: Callable[[], T | None], seconds: float, watched: Sequence[Child]) -> T:
    """The first answer of `look` but None and False; raises DemoFailed when the time is up or a child died."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = look()
                if answer is not None and answer is not False:
                    return answer
                for child in watched:
                    if child.exit_code is not None:
                        raise DemoFailed(f"the {child.name} ended with {child.exit_code}:\n{child.tail()}")
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        logs = "\n".join(f"--- {child.name}\n{child.tail()}" for child in watched)
        raise DemoFailed(f"{what}: not within {seconds:g} s\n{logs}") from error
