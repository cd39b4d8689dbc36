"""A copy of an SQLite file while others use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from roost.engine.sqlite.connection import CHECKSUM_BYTES, CHECKSUM_VFS, open_reader, open_writer
from roost.engine.sqlite.driver import WAYS_OUT
from roost.engine.sqlite.maintenance import examine, refuse_missing, told
from roost.errors import ConfigurationError, Conflict, StoreError

_MIB = 1 << 20


def back_up(path: Path, copy: Path, advance: Callable[[int], None]) -> int:
    """Copy one moment of a file that others may use, verified as read and as written, and on disk; its bytes.

    ``advance`` is called with how many more MiB are written. Raises `NotFound`, `Conflict` where ``copy`` is there
    already, `ConfigurationError`, `StoreError`, `Unavailable`; nothing is left behind then.
    """
    refuse_missing(path)
    if copy.exists():
        raise _taken(copy)
    if not copy.resolve().parent.is_dir():
        raise ConfigurationError(f"there is no folder {copy.resolve().parent}", help="make it, or give another path")
    part = copy.with_name(f"{copy.name}.{os.getpid()}-part")
    try:
        _reserve(part)
        with told(path):
            _copy(path, part, advance)
            # Through a writer, as the last to close leaves no log behind.
            if examine(open_writer(str(part)), path).without_checksum:
                raise StoreError(f"{path} has no checksums", help=WAYS_OUT.format(store=f"sqlite:///{path}"))
        _sync(part)
        try:
            # Takes the name if it is free; a rename alone would overwrite.
            _reserve(copy)
        except FileExistsError:
            raise _taken(copy) from None
        part.rename(copy)
        _sync(copy.resolve().parent)
    except OSError as error:
        raise ConfigurationError(f"{copy} cannot be written: {error.strerror}", help="give another path") from None
    finally:
        part.unlink(missing_ok=True)
    return copy.stat().st_size


def _copy(path: Path, part: Path, advance: Callable[[int], None]) -> None:
    source = open_reader(str(path))
    target = apsw.Connection(str(part), vfs=CHECKSUM_VFS)
    try:
        # A transaction keeps the moment, else every commit of others would start the copy again.
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_schema").fetchall()
        target.pragma("journal_mode", "off")
        target.pragma("synchronous", "OFF")
        # The extension adds checksums once it has seen a first page that has room for them; pages that the cache gave
        # up before that one would have none, as they do in a VACUUM INTO.
        target.reserve_bytes(None, CHECKSUM_BYTES)
        target.pragma("user_version", 1)
        step = _MIB // source.pragma("page_size")
        with target.backup("main", source, "main") as backup:
            while not backup.step(step):
                advance(1)
    finally:
        target.close()
        source.close()


def _reserve(path: Path) -> None:
    """An empty file of the caller's alone; raises `FileExistsError`."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _taken(copy: Path) -> Conflict:
    return Conflict(f"{copy} is there already", help="give another path; nothing is overwritten")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
