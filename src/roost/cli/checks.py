"""What ``roost doctor`` looks at: this machine, and a SQLite file; each check is one line and changes nothing."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]

_LOW_BYTES = 512 * 1024 * 1024
_EMPTY_BYTES = 64 * 1024 * 1024
_SKEW_WARN_MS = 1_000
_SKEW_FAIL_MS = 10_000


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    check: str
    verdict: Verdict
    found: str
    help: str = ""


def machine() -> Iterator[Check]:
    """Python and SQLite of this process."""
    version = platform.python_version()
    yield Check("python", "ok" if sys.version_info >= (3, 11) else "fail", f"{version} at {sys.executable}")
    import apsw

    from roost.engine.sqlite.connection import OLDEST

    found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    options = {option.partition("=")[0]: option.partition("=")[2] for option in apsw.compile_options}
    if found < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield Check("sqlite", "fail", f"{apsw.sqlite_lib_version()}: its WAL can be corrupted", f"{oldest} or newer")
    else:
        yield Check("sqlite", "ok", f"{apsw.sqlite_lib_version()}, apsw {apsw.apsw_version()}")
    threads = options.get("THREADSAFE", "?")
    known = [f"{name}={options[name]}" for name in ("THREADSAFE", "DEFAULT_SYNCHRONOUS") if name in options]
    verdict: Verdict = "fail" if threads == "0" else "ok"
    yield Check("sqlite options", verdict, ", ".join(known) or "as usual", "a thread-safe SQLite" * (verdict == "fail"))


def clock(what: str, other_ms: int, before_ms: int, after_ms: int) -> Check:
    """How far this machine's clock is from another one that was read between two moments of it."""
    # The other clock was read somewhere in between: only what lies outside is certainly a difference.
    skew = max(0, before_ms - other_ms, other_ms - after_ms)
    verdict: Verdict = "ok" if skew < _SKEW_WARN_MS else "warn" if skew < _SKEW_FAIL_MS else "fail"
    found = f"{what} agrees with this machine's" if skew < _SKEW_WARN_MS else f"{skew / 1000:.1f} s from {what}"
    return Check("clock", verdict, found, "" if verdict == "ok" else "synchronise the clocks (NTP)")


def file(path: Path) -> Iterator[Check]:
    """A SQLite file's place: its file system, owner, rights and room."""
    from roost.engine.sqlite.connection import refuse_network_filesystem
    from roost.errors import StoreUnsupported

    try:
        refuse_network_filesystem(path)
        yield Check("file system", "ok", "a local one")
    except StoreUnsupported as error:
        yield Check("file system", "fail", error.message, error.help)
    yield _room(path)
    if not path.exists():
        writable = os.access(path.resolve().parent, os.W_OK)
        help = "" if writable else "create the folder, or give its rights to this account"
        yield Check("file", "ok" if writable else "fail", f"{path} is not there yet", help)
        return
    yield from _owner(path)


def _room(path: Path) -> Check:
    folder = next(place for place in path.resolve().parents if place.exists())
    free = shutil.disk_usage(folder).free
    verdict: Verdict = "fail" if free < _EMPTY_BYTES else "warn" if free < _LOW_BYTES else "ok"
    return Check("disk space", verdict, f"{free / 2**30:.1f} GiB free", "" if verdict == "ok" else "free some space")


def _owner(path: Path) -> Iterator[Check]:
    facts = path.stat()
    try:
        name = pwd.getpwuid(facts.st_uid).pw_name
    except KeyError:
        name = str(facts.st_uid)
    size = f"{path}, {facts.st_size / 2**20:.1f} MiB, owned by {name}"
    if not os.access(path, os.R_OK | os.W_OK):
        yield Check("file", "fail", f"{size}: not for this account to write", "run as its owner")
    elif facts.st_uid != os.geteuid():
        # What this account creates beside it (the write-ahead log) would lock the owner out.
        yield Check("file", "warn", f"{size}, and this is another account", f"run Roost as {name}")
    elif facts.st_mode & (stat.S_IWOTH | stat.S_IROTH):
        yield Check("file", "warn", f"{size}: every account may look into it", f"chmod o-rwx {path}")
    else:
        yield Check("file", "ok", size)


def schema(applied: dict[int, str], package: str) -> Check:
    """The store's schema beside what this Roost knows."""
    from roost.engine.migrate import load, pending
    from roost.errors import StoreError

    known = load(package)
    try:
        missing = pending(known, applied)
    except StoreError as error:
        return Check("schema", "fail", error.message, error.help)
    if missing:
        found = f"version {max(applied, default=0)} of {known[-1].version}"
        return Check("schema", "warn", found, "roost db migrate, or just start: migrations are applied then")
    return Check("schema", "ok", f"version {known[-1].version}, up to date")
