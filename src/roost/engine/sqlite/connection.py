"""How Roost opens an SQLite file: durable, checksummed, and by a version it trusts."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import apsw
import apsw.sqlite_extra

from roost.errors import StoreError, StoreUnsupported

OLDEST = (3, 51, 3)
"""Older ones can corrupt a WAL that is reset while it is read."""
CHECKSUM_VFS = "cksmvfs"
CHECKSUM_BYTES = 8
BUSY_MS = 10_000
CHECKPOINT_PAGES = 10_000
"""40 MB of WAL: a page that changes often is written back once, not each time; a fifth more jobs a second."""
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs"}
)


@cache
def register_checksums() -> None:
    """Load the checksumming VFS into this process; raises `StoreUnsupported` for an SQLite known to corrupt files."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < OLDEST:
        raise StoreUnsupported(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt its WAL", help="install apsw 3.51.3 or newer"
        )
    connection = apsw.Connection(":memory:")
    apsw.sqlite_extra.load(connection, "cksumvfs")
    connection.close()


def open_writer(path: str, *, vfs: str = CHECKSUM_VFS, durable: bool = True, verify: bool = True) -> apsw.Connection:
    """The one connection of this process that writes to the file at ``path`` (or to ``:memory:``).

    Without ``verify`` it takes pages whose checksums do not fit; it writes right ones all the same.
    """
    register_checksums()
    memory = path == ":memory:"
    connection = apsw.Connection(path) if memory else apsw.Connection(path, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    if not verify:
        connection.pragma("checksum_verification", "OFF")
    if not memory:
        if connection.pragma("page_count") == 0:
            connection.reserve_bytes(None, CHECKSUM_BYTES)
        else:
            refuse_foreign(connection, path)
        connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "FULL" if durable else "OFF")
    connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
    connection.pragma("journal_size_limit", 64 * 1024 * 1024)
    connection.pragma("cache_size", -64 * 1024)
    connection.pragma("temp_store", "memory")
    _harden(connection)
    return connection


def refuse_foreign(connection: apsw.Connection, path: str) -> None:
    """Raises `StoreError` for the database of another program, which expects nobody to write its pages so."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if tables and "roost_migration" not in tables:
        raise StoreError(
            f"{path} is another program's database",
            help="give Roost a file of its own; roost.outbox enqueues beside it",
        )


def open_reader(path: str, *, vfs: str = CHECKSUM_VFS, verify: bool = True) -> apsw.Connection:
    """A connection that cannot write, and never checkpoints; see `open_writer` for ``verify``."""
    register_checksums()
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    if not verify:
        connection.pragma("checksum_verification", "OFF")
    connection.pragma("query_only", True)
    connection.pragma("cache_size", -16 * 1024)
    _harden(connection)
    return connection


def _harden(connection: apsw.Connection) -> None:
    connection.pragma("mmap_size", 0)
    connection.pragma("trusted_schema", False)
    connection.pragma("cell_size_check", True)
    connection.pragma("foreign_keys", True)


def refuse_network_filesystem(path: Path) -> None:
    """Raises `StoreUnsupported` on a network filesystem: its locks and syncs cannot be trusted."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return
    best, kind = "", ""
    folder = str(path.resolve().parent) + "/"
    for line in mounts:
        left, _, right = line.partition(" - ")
        point = left.split()[4].rstrip("/") + "/"
        if folder.startswith(point) and len(point) > len(best):
            best, kind = point, right.split()[0]
    if kind in NETWORK_FILESYSTEMS:
        raise StoreUnsupported(
            f"{path} is on a network filesystem ({kind})", help="put the file on a local disk, or use PostgreSQL"
        )
