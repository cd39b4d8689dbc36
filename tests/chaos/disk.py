"""A disk that loses power: what was not synced may be gone, kept, or torn; seen through an SQLite VFS.

The VFS lies *under* the checksumming one, so that what it sees is what a disk would get.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import apsw

SECTOR = 512
KEEP = 0.5
TEAR = 0.3
BASE = "unix"

Mode = Literal["random", "none", "all"]
"""What becomes of writes that no sync has followed: each by chance, none kept, all kept."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes on their way to the disk."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A new size on its way to the disk."""

    size: int


@dataclass
class Content:
    """A file: what the disk surely has, and what came after the last sync, in order."""

    durable: bytes = b""
    pending: list[Write | Truncate] = field(default_factory=list)
    deleted: bool = False
    """Removed, but the folder was not synced since: it may come back."""

    def sync(self) -> None:
        image = bytearray(self.durable)
        for change in self.pending:
            put(image, change)
        self.durable = bytes(image)
        self.pending.clear()


@dataclass(frozen=True, slots=True)
class Cut:
    """The moment the power went: all the disk had, and all that was under way."""

    tick: int
    acknowledged: int
    files: dict[str, tuple[bytes, list[Write | Truncate], bool]]

    def image(self, mode: Mode, rng: random.Random) -> dict[str, bytes]:
        """What may be found on the disk afterwards, by file name."""
        found = {}
        for name, (durable, pending, deleted) in self.files.items():
            if deleted and not (mode == "none" or (mode == "random" and rng.random() < KEEP)):
                continue
            image = bytearray(durable)
            for change in pending:
                if mode == "all" or (mode == "random" and rng.random() < KEEP):
                    put(image, change, rng if mode == "random" and rng.random() < TEAR else None)
            found[name] = bytes(image)
        return found


def put(image: bytearray, change: Write | Truncate, torn: random.Random | None = None) -> None:
    """Change ``image``; where ``torn``, only a random part of the sectors arrives."""
    if isinstance(change, Truncate):
        if change.size < len(image):
            del image[change.size :]
        else:
            image.extend(bytes(change.size - len(image)))
        return
    for start in range(0, len(change.data), SECTOR) if torn else [0]:
        part = change.data[start : start + SECTOR] if torn else change.data
        if torn and torn.random() < KEEP:
            continue
        at = change.offset + start
        if at > len(image):
            image.extend(bytes(at - len(image)))
        image[at : at + len(part)] = part


class Disk:
    """The files of one folder; every write, truncation, sync and removal of them is a tick."""

    def __init__(self, folder: Path, on_tick: Callable[[int], None] = lambda tick: None) -> None:
        self.folder = folder
        self.on_tick = on_tick
        self.ticks = 0
        self.files = {path.name: Content(path.read_bytes()) for path in folder.iterdir() if path.suffix != ".db-shm"}

    def holds(self, path: str) -> bool:
        return path.startswith(f"{self.folder}/")

    def tick(self) -> None:
        """Something is about to reach the disk: here the power may go."""
        self.ticks += 1
        self.on_tick(self.ticks)

    def cut(self, acknowledged: int) -> Cut:
        """This moment, to be looked at later."""
        files = {name: (file.durable, list(file.pending), file.deleted) for name, file in self.files.items()}
        return Cut(self.ticks, acknowledged, files)

    def opened(self, path: str) -> Content:
        """The file at ``path``, made where it is not there."""
        name = Path(path).name
        if name not in self.files or self.files[name].deleted:
            self.files[name] = Content()
        return self.files[name]

    def removed(self, path: str, *, synced: bool) -> None:
        """The file's name is gone, for sure only after a sync of the folder."""
        name = Path(path).name
        if name in self.files:
            self.files[name].deleted = True
        if synced:
            self.sync_folder()

    def sync_folder(self) -> None:
        """Which names there are is on the disk."""
        self.files = {name: file for name, file in self.files.items() if not file.deleted}


class DiskFile(apsw.VFSFile):
    """A file on the real disk whose changes a `Disk` notes."""

    def __init__(self, disk: Disk, content: Content, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__(BASE, name, flags)
        self._disk = disk
        self._content = content
        # As SQLite's own: the first sync of a new log or journal syncs the folder too.
        self._folder_too = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and not flags[0] & apsw.SQLITE_OPEN_MAIN_DB)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.tick()
        self._content.pending.append(Write(offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.tick()
        self._content.pending.append(Truncate(newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        # The real disk need not: the campaign's truth is `Disk`, and the machine stays up.
        self._disk.tick()
        self._content.sync()
        if self._folder_too:
            self._folder_too = False
            self._disk.sync_folder()


class PlainFile(apsw.VFSFile):
    """A file outside the disk; the machine stays up, so syncing it would only take time."""

    def xSync(self, flags: int) -> None:
        """Nothing to wait for."""


class DiskVFS(apsw.VFS):
    """SQLite's way to the files of ``disk``; other files pass through."""

    def __init__(self, name: str = "chaos_disk") -> None:
        self.disk: Disk | None = None
        super().__init__(name, BASE, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        disk = self.disk
        kinds = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
        if disk is None or path is None or name is None or not disk.holds(path) or not flags[0] & kinds:
            return PlainFile(BASE, name, flags)
        return DiskFile(disk, disk.opened(path), name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if self.disk is not None and self.disk.holds(filename):
            self.disk.tick()
            self.disk.removed(filename, synced=syncdir)
        super().xDelete(filename, syncdir)
