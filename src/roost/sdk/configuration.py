"""Where an application's jobs are, when nobody says so in the code: environment, then files, then a file here.

One file serves programs and servers alike: ``url`` says where jobs are, the table ``server`` is
`roost.server.settings`'s.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roost.errors import ConfigurationError

DEFAULT_URL = "sqlite:///./roost.db"
FILES = ("roost.toml", "pyproject.toml")
KEYS = ("url", "server")


def find_url(environ: Mapping[str, str], folder: Path) -> str:
    """``ROOST_URL``, else ``url`` of the nearest ``roost.toml`` or ``[tool.roost]`` upwards of ``folder``, else a file.

    A relative SQLite path in a file counts from that file's folder. Raises `ConfigurationError`.
    """
    if url := environ.get("ROOST_URL"):
        return url
    table, place = nearest_table(folder, {"url"})
    return anchored(table["url"], place) if table else DEFAULT_URL


def nearest_table(folder: Path, keys: set[str]) -> tuple[dict[str, Any], Path]:
    """What the nearest file upwards of ``folder`` says that has one of ``keys``, and the folder it is in.

    Empty where there is none. Raises `ConfigurationError` for a file that cannot be read, or says what is no setting.
    """
    for place in (folder.absolute(), *folder.absolute().parents):
        for name in FILES:
            table = _table(place / name)
            if table is not None and keys & table.keys():
                return table, place
    return {}, folder


def anchored(url: str, folder: Path) -> str:
    """``url``, its SQLite path counted from ``folder`` where it is relative."""
    prefix = "sqlite:///"
    if not url.startswith(prefix):
        return url
    return prefix + str(folder / url.removeprefix(prefix))


def _table(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}", path=str(path), help="mend the file") from None
    table = content.get("tool", {}).get("roost") if path.name == "pyproject.toml" else content
    if table is None:
        return None
    if not isinstance(table, dict):
        raise ConfigurationError("tool.roost is no table", path=str(path), help="write [tool.roost]")
    for key in table:
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {close[0]}?" if close else f"known settings: {', '.join(KEYS)}"
            raise ConfigurationError(f"{key!r} is no setting", path=f"{path}: {key}", help=hint)
    if not isinstance(table.get("url", ""), str):
        raise ConfigurationError("url is no text", path=f"{path}: url", help=f'write url = "{DEFAULT_URL}"')
    server = table.get("server", {})
    if not isinstance(server, dict) or not isinstance(server.get("limits", {}), dict):
        raise ConfigurationError("server is no table", path=f"{path}: server", help="write [server]")
    return table
