"""A campaign's outcome as one line and one JSON file."""

from __future__ import annotations

import faulthandler
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import apsw

from roost import __version__

ROOT = Path(__file__).resolve().parents[2]


def told(main: Callable[[], int]) -> int:
    """Run a campaign's ``main``, which then ends with a word whatever ends it: a signal, a crash of the interpreter.

    Only SIGKILL leaves nothing but the line it began with; what it started dies with it, see `tests.support.processes`.
    """
    faulthandler.enable()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ended)
    print(f"{' '.join(sys.argv)}: begins as process {os.getpid()}", flush=True)
    return main()


def _ended(number: int, frame: FrameType | None) -> None:
    print(f"ended by {signal.Signals(number).name}", file=sys.stderr, flush=True)
    # An exception, so that servers are stopped and their folders removed.
    raise SystemExit(128 + number)


class Report:
    """Counts and violations of one campaign; what it found is true of the commit it names."""

    def __init__(self, campaign: str, seed: int, **settings: Any) -> None:
        self.counts: dict[str, Any] = {}
        self.violations: list[str] = []
        self._campaign = campaign
        self._seed = seed
        self._settings = settings
        self._started = time.monotonic()

    def finish(self, output: Path | None) -> int:
        """Print the verdict, write the file; the exit code: 0 where nothing was violated."""
        seconds = round(time.monotonic() - self._started, 1)
        told = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in self.counts.items())
        verdict = "ok" if not self.violations else f"VIOLATED {len(self.violations)} times"
        print(f"{self._campaign}: {verdict}: {told}; seed {self._seed}, {seconds} s", flush=True)
        for violation in self.violations[:20]:
            print(f"  {violation}", flush=True)
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(self._content(seconds), indent=2) + "\n")
        return 1 if self.violations else 0

    def _content(self, seconds: float) -> dict[str, Any]:
        return {
            "campaign": self._campaign,
            "commit": _git("rev-parse", "HEAD"),
            "dirty": bool(_git("status", "--porcelain", "--", "src")),
            "versions": {
                "roost": __version__,
                "python": platform.python_version(),
                "sqlite": apsw.sqlite_lib_version(),
            },
            "machine": {"processors": os.cpu_count(), "system": platform.platform()},
            "seed": self._seed,
            "settings": self._settings,
            "counts": self.counts,
            "violations": self.violations,
            "seconds": seconds,
        }


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
