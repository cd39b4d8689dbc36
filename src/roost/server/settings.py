"""The server's settings: flags, then ``ROOST_*`` variables, then a file, then defaults."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from roost.domain.admission import INPUT_LIMIT, PAYLOAD_LIMIT_MAX
from roost.domain.duration import parse_duration
from roost.domain.targets import Allowed
from roost.errors import ConfigurationError, InvalidRequest
from roost.sdk.configuration import anchored, nearest_table
from roost.server.guard import Limits
from roost.server.hosts import is_loopback
from roost.wire.codec import convert

_STORES = ("sqlite:", "postgresql:", "postgres:")
_LISTS = frozenset({"allowed_hosts", "webhook_allow"})
"""Separated by commas in the environment."""
_OTHERS = frozenset({"ROOST_URL", "ROOST_ACTOR"})
"""Variables of other parts of Roost."""


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How one server runs. Durations are text such as ``10s``."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 7667
    """0 takes a free one."""
    store: str = "sqlite:///./roost.db"
    """``sqlite:///file`` or ``postgresql://user@host/database``; else ROOST_URL or ``url``, where they are one."""
    writer: Literal["thread", "process"] = "thread"
    """Where transactions run: in a thread of the server, or in a process of their own."""
    insecure_no_auth: bool = False
    """Allows a host that others can reach although nobody has to prove who they are."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in Host headers that are taken beside loopback's and the bound one."""
    payload_limit: int = INPUT_LIMIT
    """Bytes an input, a result or a chunk of one may have, up to 8 MiB; a queue's rule may set less."""
    retention: str = "7d"
    """How long succeeded, cancelled and expired jobs are kept where their queue says nothing."""
    retention_failed: str = "30d"
    """The same for failed jobs."""
    feed_retention: str = "3d"
    """How long events can be read again."""
    webhook_allow: tuple[str, ...] = ()
    """Internal targets that webhooks may be sent to: ``10.0.0.0/8``, ``127.0.0.1``, ``host:port`` or a name."""
    webhook_timeout: str = "10s"
    """How long a receiver of webhooks may take to answer."""
    grace: str = "10s"
    """How long a stop waits for requests in work."""
    port_file: str | None = None
    """Where the server's URL is written once it answers."""
    limits: Limits = Limits()


def load(flags: Mapping[str, Any], environ: Mapping[str, str], folder: Path) -> Settings:
    """The settings in force; flags that are None do not count. Raises `ConfigurationError`, which names the source."""
    merged: dict[str, Any] = {}
    for source, values in (
        ("roost.toml", _from_files(folder)),
        ("environment", _from_environment(environ)),
        ("command line", {name: value for name, value in flags.items() if value is not None}),
    ):
        _refuse_unknown(values, Settings.__struct_fields__, source, "")
        _refuse_unknown(values.get("limits", {}), Limits.__struct_fields__, source, "limits.")
        limits = {**merged.get("limits", {}), **values.get("limits", {})}
        merged.update(values)
        if limits:
            merged["limits"] = limits
    try:
        settings = convert(merged, Settings)
        for name in ("retention", "retention_failed", "feed_retention", "webhook_timeout", "grace"):
            parse_duration(getattr(settings, name), path=name)
    except InvalidRequest as error:
        raise ConfigurationError(error.message, path=error.path, help=error.help) from None
    Allowed(settings.webhook_allow)
    if not 1 <= settings.payload_limit <= PAYLOAD_LIMIT_MAX:
        raise ConfigurationError(
            f"{settings.payload_limit:,} bytes is no limit", path="payload_limit", help=f"1 to {PAYLOAD_LIMIT_MAX}"
        )
    if not 0 <= settings.port <= 65535:
        raise ConfigurationError(f"{settings.port} is no port", path="port", help="0 to 65535; 0 takes a free one")
    return settings


def check_exposure(settings: Settings) -> None:
    """Raise `ConfigurationError` where others could reach a server that asks nobody who they are."""
    if not settings.insecure_no_auth and not is_loopback(settings.host):
        raise ConfigurationError(
            f"{settings.host} can be reached by others, and this server has no keys yet",
            path="host",
            help="bind to 127.0.0.1, or say --insecure-no-auth where the network itself keeps strangers out",
        )


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {f"ROOST_{name.upper()}": name for name in Settings.__struct_fields__ if name != "limits"}
    limits = {f"ROOST_LIMITS_{name.upper()}": name for name in Limits.__struct_fields__}
    found: dict[str, Any] = {}
    url = environ.get("ROOST_URL", "")
    if url.startswith(_STORES):
        found["store"] = url
    for variable, value in environ.items():
        if variable in names:
            name = names[variable]
            found[name] = [part for part in value.split(",") if part] if name in _LISTS else value
        elif variable in limits:
            found.setdefault("limits", {})[limits[variable]] = value
        elif variable.startswith("ROOST_") and variable not in _OTHERS:
            close = difflib.get_close_matches(variable, [*names, *limits], 1, 0.85)
            if close:
                raise ConfigurationError(f"{variable} is no setting", path=variable, help=f"did you mean {close[0]}?")
    return found


def _from_files(folder: Path) -> dict[str, Any]:
    """``url`` (where it is a store) and the table ``server`` of the nearest file that has either."""
    table, place = nearest_table(folder, {"url", "server"})
    found: dict[str, Any] = dict(table.get("server", {}))
    url = table.get("url", "")
    if "store" not in found and url.startswith(_STORES):
        found["store"] = url
    if isinstance(store := found.get("store"), str):
        found["store"] = anchored(store, place)
    return found


def _refuse_unknown(values: Mapping[str, Any], known: Iterable[str], source: str, prefix: str) -> None:
    known = list(known)
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"known settings: {', '.join(known)}"
            raise ConfigurationError(f"{source}: {prefix}{name} is no setting", path=prefix + name, help=hint)
