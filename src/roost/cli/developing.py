"""The processes behind ``roost dev``: started, watched, started again, and never left behind."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from roost.cli import exit_codes
from roost.cli.child import Child
from roost.cli.output import note, say
from roost.cli.watch import SourceFiles
from roost.errors import Unavailable

_LOOK_SECONDS = 0.3
_STOP_SECONDS = 12.0
_START_SECONDS = 30.0


def develop(server: Sequence[str], worker: Sequence[str], folders: Sequence[str] | None) -> int:
    """Run both until Ctrl-C, SIGTERM or the server's end; raises `Unavailable` where the server does not start."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    children: list[Child] = []
    try:
        with tempfile.TemporaryDirectory(prefix="roost-dev-") as folder:
            port_file = Path(folder) / "url"
            children.append(Child([*server, "--port-file", str(port_file), "--log-level", "warning"]))
            url = _url(children[0], port_file, stop)
        if url is None:
            return exit_codes.OK
        say(f"API      {url}/api/v1")
        say(f"API page {url}/docs")
        say(f"look at  roost jobs list --url {url}")
        children.append(_start(worker, url))
        return _watch(children, worker, url, folders, stop)
    finally:
        # The worker first: what it still has to settle needs the server.
        for child in reversed(children):
            child.stop(_STOP_SECONDS)


def _url(child: Child, port_file: Path, stop: threading.Event) -> str | None:
    for _ in range(round(_START_SECONDS / 0.05)):
        if port_file.exists():
            return port_file.read_text().strip()
        if child.ended() is not None:
            raise Unavailable("the server did not start", help="it says why above")
        if stop.wait(0.05):
            return None
    raise Unavailable(f"the server did not start within {_START_SECONDS:g} s", help="run roost server by itself")


def _start(worker: Sequence[str], url: str) -> Child:
    return Child([*worker, "--url", url])


def _watch(
    children: list[Child], worker: Sequence[str], url: str, folders: Sequence[str] | None, stop: threading.Event
) -> int:
    source = SourceFiles([Path(folder) for folder in folders or ()])
    told = False
    while not stop.wait(_LOOK_SECONDS):
        code = children[0].ended()
        if code is not None:
            note(f"the server ended with exit code {code}")
            return exit_codes.FAILED
        changed = source.changed()
        if changed:
            names = ", ".join(str(Path(path)) for path in changed[:3])
            note(f"{names}{' and more' if len(changed) > 3 else ''} changed: the worker starts again")
            children.pop().stop(_STOP_SECONDS)
            children.append(_start(worker, url))
            told = False
        elif children[1].ended() is not None and not told:
            if folders is None:
                return exit_codes.FAILED
            note(f"the worker ended with exit code {children[1].ended()}; it starts again when a file changes")
            told = True
    return exit_codes.OK
