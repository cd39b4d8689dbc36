"""``python -m examples.daily_brief [--yes]``: the daily brief end to end, with a worker that dies in the middle.

Whatever the environment configures (``BRIEF_*``) is used; for the rest there are a sample inbox and a local SMTP sink.
Every claim printed with a tick was checked a moment before; the exit code is 1 when one of them did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from examples.daily_brief.demo import Demo, Screen
from examples.daily_brief.processes import DemoFailed
from roost.errors import RoostError

LONGEST_WITH_YES_SECONDS = 58.0


async def perform(screen: Screen, folder: Path, *, yes: bool) -> None:
    """The whole demonstration; raises DemoFailed or RoostError when something does not hold."""
    _cancel_once_on_signal()
    try:
        async with asyncio.timeout(LONGEST_WITH_YES_SECONDS if yes else None):
            await Demo(screen, folder, os.environ, now=datetime.now(UTC)).perform(yes=yes)
    except TimeoutError as error:
        raise DemoFailed(f"the whole did not end within {LONGEST_WITH_YES_SECONDS:g} s") from error


def _cancel_once_on_signal() -> None:
    """Ctrl-C and a polite kill end the performance; a second one must not disturb the stopping of the children."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM)

    def cancel() -> None:
        for number in signals:
            loop.add_signal_handler(number, lambda: None)
        if task is not None:
            task.cancel()

    for number in signals:
        loop.add_signal_handler(number, cancel)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.daily_brief", description="The daily brief, end to end.")
    parser.add_argument("--yes", action="store_true", help="approve by running the shown command, then end")
    arguments = parser.parse_args()
    screen = Screen(sys.stdout)
    folder = Path(tempfile.mkdtemp(prefix="daily-brief-"))
    try:
        asyncio.run(perform(screen, folder, yes=arguments.yes))
    except asyncio.CancelledError:
        screen.say("stopped; nothing is left running")
        shutil.rmtree(folder)
        return 130
    except (DemoFailed, RoostError, OSError) as error:
        screen.failed(f"{error}\n\nlogs and database: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
