"""Which server or store a command talks to, and the client for it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from roost.errors import NotFound
from roost.sdk._sync.client import Client
from roost.sdk.configuration import find_url
from roost.sdk.patience import Patience

_SECONDS = 3.0
"""How long a command repeats a call that cannot be answered now: somebody is watching."""


def resolve(url: str | None) -> str:
    """The URL on the command line, else of the environment, of a configuration file, else ./roost.db."""
    return url if url is not None else find_url(os.environ, Path.cwd())


def sqlite_file(url: str) -> Path | None:
    """The file of a ``sqlite:`` URL; None for another one, and for a store in memory. Raises `ConfigurationError`."""
    if not url.startswith("sqlite:"):
        return None
    from roost.engine.sqlite.store import MEMORY, path_of

    path = path_of(url)
    return None if path == MEMORY else Path(path)


def existing(file: Path) -> Path:
    """The file itself; raises `NotFound` where it is not there."""
    if not file.exists():
        raise NotFound(
            f"there is no store {file}",
            path="url",
            help="give --url or set ROOST_URL; roost server and the first enqueue make a store",
        )
    return file


def connect(url: str | None, *, may_create: bool) -> Client:
    """A client of the target; raises `NotFound` for a file that is not there, unless it may be made."""
    place = resolve(url)
    file = sqlite_file(place)
    if file is not None and not may_create:
        existing(file)
    return Client.connect(place, patience=Patience(seconds=_SECONDS))


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    password = urlsplit(url).password if "@" in url else None
    return url.replace(f":{password}@", ":…@", 1) if password else url
