"""Who has an SQLite file open: one server alone, or any number of embedded processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from roost.engine.store import Role
from roost.errors import StoreError, StoreOwned


class Note(msgspec.Struct):
    """What the owner's file says."""

    pid: int
    url: str = ""


class Owner:
    """A lock on ``<file>-owner``, released by the system with the process that holds it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, role: Role) -> Owner:
        """Take the file for ``role``; raises `StoreOwned` with the server's URL, or naming what has it open.

        Raises `StoreError` where nothing can be written beside it.
        """
        note = path.with_name(path.name + "-owner")
        try:
            descriptor = os.open(note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"{note} cannot be written: {error.strerror}", help="look at the folder and its permissions"
            ) from None
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if role == "server" else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            said = _read(descriptor)
            os.close(descriptor)
            raise _refusal(path, said) from None
        owner = cls(descriptor)
        if role == "server":
            owner._write(Note(os.getpid()))
        elif _read(descriptor) is not None:
            # What a server that is gone left behind.
            os.ftruncate(descriptor, 0)
        return owner

    def publish(self, url: str) -> None:
        """Write the server's URL where the refused can read it."""
        self._write(Note(os.getpid(), url))

    def release(self) -> None:
        """Let others have the file; twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, note: Note) -> None:
        text = msgspec.json.encode(note)
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))


def _read(descriptor: int) -> Note | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Note)
    except (msgspec.DecodeError, OSError):
        return None


def _refusal(path: Path, said: Note | None) -> StoreOwned:
    if said is None:
        return StoreOwned(f"{path} is open in other processes", help="stop them before a server takes the file")
    if said.url:
        help = f'connect to the server instead: ROOST_URL={said.url}, roost.App("{said.url}") or roost --url {said.url}'
        return StoreOwned(f"{path} belongs to the server at {said.url}", help=help)
    return StoreOwned(f"{path} belongs to a server that is starting (pid {said.pid})", help="try again in a moment")
