"""SQLite files that other programs wrote to: looked through, and given their checksums again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from roost.engine import migrate
from roost.engine.sqlite.connection import CHECKSUM_BYTES, open_reader, open_writer, refuse_network_filesystem
from roost.engine.sqlite.driver import refusal
from roost.engine.sqlite.owner import Owner
from roost.engine.sqlite.store import unreadable
from roost.errors import NotFound, StoreError

_TRANSIENT = (apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.ReadOnlyError)


class Adoption(msgspec.Struct):
    """What `adopt` found in a file, and whether it wrote the file anew."""

    file: str
    pages: int
    without_checksum: int
    """Pages whose checksum does not fit, or that have none."""
    changed: bool = False


def adopt(path: Path) -> Adoption:
    """Write every page anew, with its checksum, where one lacks it; a sound file is left as it is.

    It vouches for the content as it is: SQLite's integrity check sees a spoilt structure, never a spoilt value. Raises
    `NotFound`, `StoreOwned` while others have the file open, `StoreError` where the check finds something or the file
    is no store, `Unavailable`; the content is then what it was.
    """
    refuse_missing(path)
    owner = Owner.take(path, "server")
    try:
        with told(path):
            found = examine(open_reader(str(path), verify=False), path)
            if not found.without_checksum:
                return found
            _rewrite(path)
            # Through a writer, as the last to close leaves no log behind.
            if examine(open_writer(str(path)), path).without_checksum:
                raise StoreError(f"{path} did not take its checksums", help="restore a backup; look at the disk")
            found.changed = True
            return found
    finally:
        owner.release()


def examine(connection: apsw.Connection, path: Path) -> Adoption:
    """Look through the store at ``path``, and close the connection.

    Raises `StoreError` where its structure is spoilt or it is none of Roost's, `apsw.Error` where the connection
    verifies checksums and one does not fit.
    """
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise StoreError(f"{path} is damaged: {'; '.join(found)}", help="restore a backup; look at the disk")
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'roost_migration'").fetchone():
            raise StoreError(f"{path} is a database, but not a store of Roost's", help="give another path")
        rows = connection.execute("SELECT version, checksum FROM roost_migration").fetchall()
        migrate.pending(migrate.load("roost.engine.sqlite"), {int(str(row[0])): str(row[1]) for row in rows})
        pages = connection.pragma("page_count")
        return Adoption(str(path), pages, _without_checksum(connection, pages))
    finally:
        connection.close()


def _without_checksum(connection: apsw.Connection, pages: int) -> int:
    if connection.reserve_bytes("main", -1) != CHECKSUM_BYTES:
        return pages
    # Page by page past SQLite's cache: its own check does not read what is free.
    size = connection.pragma("page_size")
    contents = (connection.read("main", 0, page * size, size)[1] for page in range(pages))
    return sum(connection.execute("SELECT verify_checksum(?)", (content,)).get != 1 for content in contents)


def _rewrite(path: Path) -> None:
    connection = open_writer(str(path), verify=False)
    try:
        connection.reserve_bytes("main", CHECKSUM_BYTES)
        # A file may be larger than the memory.
        connection.pragma("temp_store", "file")
        connection.execute("VACUUM")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()


def refuse_missing(path: Path) -> None:
    """Raise `NotFound` where there is no file, `StoreUnsupported` where its locks cannot be trusted."""
    if not path.is_file():
        raise NotFound(f"there is no store {path}", path="store", help="give --store sqlite:///file")
    refuse_network_filesystem(path)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Raise what an SQLite error within means as a `RoostError`."""
    try:
        yield
    except apsw.Error as error:
        raise refusal(error) if isinstance(error, _TRANSIENT) else unreadable(str(path), error) from error
