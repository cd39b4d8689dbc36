"""Noticing that source files have changed, by looking: it works on every file system and needs no other package."""

from __future__ import annotations

import os
from pathlib import Path

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_SUFFIXES = (".py", ".toml")


class SourceFiles:
    """The Python and TOML files under some folders."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._seen = self._look()

    def changed(self) -> list[str]:
        """Files that were added, changed or removed since the last call, in order."""
        now = self._look()
        changed = sorted(path for path in now.keys() | self._seen.keys() if now.get(path) != self._seen.get(path))
        self._seen = now
        return changed

    def _look(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        waiting = [str(folder) for folder in self._folders]
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        if entry.name.startswith(".") or entry.name in _SKIPPED:
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif entry.name.endswith(_SUFFIXES):
                            facts = entry.stat()
                            found[entry.path] = (facts.st_mtime_ns, facts.st_size)
            except OSError:
                # Removed while it was looked at: the next look sees what became of it.
                continue
        return found
