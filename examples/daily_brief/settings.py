"""What the brief needs to know, read once from ``BRIEF_*`` environment variables and refused early when wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from roost.errors import ConfigurationError

Tls = Literal["tls", "starttls", "off"]

KNOWN = (
    "BRIEF_USERS", "BRIEF_ZONE", "BRIEF_HOURS", "BRIEF_JOURNAL", "BRIEF_OUTBOX",
    "BRIEF_MAILBOX",
    "BRIEF_IMAP_HOST", "BRIEF_IMAP_PORT", "BRIEF_IMAP_USER", "BRIEF_IMAP_PASSWORD", "BRIEF_IMAP_FOLDER",
    "BRIEF_IMAP_TLS",
    "BRIEF_MODEL_URL", "BRIEF_MODEL_KEY", "BRIEF_MODEL", "BRIEF_MODEL_TIMEOUT",
    "BRIEF_SMTP_HOST", "BRIEF_SMTP_PORT", "BRIEF_SMTP_FROM", "BRIEF_SMTP_USER", "BRIEF_SMTP_PASSWORD",
    "BRIEF_SMTP_TLS",
)  # fmt: skip

# Deliberately narrower than RFC 5321: what passes can stand in a header, in a path and in an envelope as it is.
_ADDRESS = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_DEFAULT_PORT: dict[str, dict[Tls, int]] = {
    "IMAP": {"tls": 993, "starttls": 143, "off": 143},
    "SMTP": {"tls": 465, "starttls": 587, "off": 25},
}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An mbox file or a Maildir folder; ``{user}`` in the path stands for the user's address."""

    path: str

    def of(self, user: str) -> Path:
        return Path(self.path.replace("{user}", user)).expanduser()


@dataclass(frozen=True, slots=True)
class Imap:
    """An IMAP account; ``{user}`` in the login name stands for the user's address."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    folder: str
    tls: Tls


@dataclass(frozen=True, slots=True)
class Model:
    """An OpenAI-compatible endpoint: ``url`` is what stands before ``/chat/completions``."""

    url: str
    name: str
    key: str = field(repr=False)
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Smtp:
    """Where the brief is handed over for delivery."""

    host: str
    port: int
    sender: str
    user: str
    password: str = field(repr=False)
    tls: Tls


@dataclass(frozen=True, slots=True)
class Settings:
    users: list[str]
    zone: str
    hours: int
    source: Mailbox | Imap
    model: Model | None
    """None: the brief is extracted from the mails themselves."""
    smtp: Smtp | None
    """None: the brief goes to a local sink, which prints it and stores it in ``outbox``."""
    outbox: Path
    journal: Path | None
    """Where each step notes that it began and ended; None: nowhere."""


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from the environment; raises ConfigurationError whose ``path`` is the variable to correct."""
    _refuse_unknown(environ)
    users = _users(environ)
    smtp = _smtp(environ)
    journal = environ.get("BRIEF_JOURNAL", "")
    return Settings(
        users=users,
        zone=_zone(environ.get("BRIEF_ZONE") or "Europe/Rome"),
        hours=_whole(environ, "BRIEF_HOURS", default=24, least=1, most=24 * 31),
        source=_source(environ, users),
        model=_model(environ),
        smtp=smtp,
        outbox=Path(environ.get("BRIEF_OUTBOX") or "daily_brief.mbox").expanduser(),
        journal=Path(journal).expanduser() if journal else None,
    )


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith("BRIEF_") and name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, n=1)
            raise ConfigurationError(
                "there is no such setting",
                path=name,
                help=f"did you mean {near[0]}?" if near else f"known are {', '.join(KNOWN)}",
            )


def _users(environ: Mapping[str, str]) -> list[str]:
    users = [part.strip() for part in environ.get("BRIEF_USERS", "").split(",") if part.strip()]
    if not users:
        raise ConfigurationError(
            "nobody to write a brief for",
            path="BRIEF_USERS",
            help="set it to addresses: ana@example.com,ben@example.com",
        )
    for user in users:
        _address("BRIEF_USERS", user)
    if len(set(users)) != len(users):
        raise ConfigurationError("an address is named twice", path="BRIEF_USERS", help="name each user once")
    return users


def _source(environ: Mapping[str, str], users: list[str]) -> Mailbox | Imap:
    path, host = environ.get("BRIEF_MAILBOX", ""), environ.get("BRIEF_IMAP_HOST", "")
    if bool(path) == bool(host):
        raise ConfigurationError(
            "two inboxes are configured" if path else "no inbox is configured",
            path="BRIEF_MAILBOX",
            help="set either BRIEF_MAILBOX (an mbox file or a Maildir) or BRIEF_IMAP_HOST; for a sample: "
            "python -m examples.daily_brief.sample FOLDER",
        )
    if path:
        _refuse_sharing("BRIEF_MAILBOX", path, users)
        return Mailbox(path)
    tls = _tls(environ, "IMAP", host, default="tls")
    login = _required(environ, "BRIEF_IMAP_USER", "an IMAP host needs a login name")
    _refuse_sharing("BRIEF_IMAP_USER", login, users)
    return Imap(
        host=host,
        port=_whole(environ, "BRIEF_IMAP_PORT", default=_DEFAULT_PORT["IMAP"][tls], least=1, most=65535),
        user=login,
        password=_required(environ, "BRIEF_IMAP_PASSWORD", "an IMAP host needs a password"),
        folder=environ.get("BRIEF_IMAP_FOLDER") or "INBOX",
        tls=tls,
    )


def _refuse_sharing(name: str, value: str, users: list[str]) -> None:
    # One inbox for several users would mail the letters of one to all others.
    if len(users) > 1 and "{user}" not in value:
        raise ConfigurationError(
            "several users would read the same inbox", path=name, help="put {user} where the address belongs"
        )


def _model(environ: Mapping[str, str]) -> Model | None:
    url = environ.get("BRIEF_MODEL_URL", "").rstrip("/")
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{url!r} is not the base of an HTTP API",
            path="BRIEF_MODEL_URL",
            help="for example https://host.example/v1",
        )
    key = environ.get("BRIEF_MODEL_KEY", "")
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            "the key cannot stand in a header", path="BRIEF_MODEL_KEY", help="printable ASCII only"
        )
    return Model(
        url=url,
        name=_required(environ, "BRIEF_MODEL", "an endpoint needs the name of a model"),
        key=key,
        timeout_seconds=_whole(environ, "BRIEF_MODEL_TIMEOUT", default=60, least=1, most=600),
    )


def _smtp(environ: Mapping[str, str]) -> Smtp | None:
    host = environ.get("BRIEF_SMTP_HOST", "")
    if not host:
        return None
    tls = _tls(environ, "SMTP", host, default="off" if host in _LOOPBACK else "starttls")
    sender = _required(environ, "BRIEF_SMTP_FROM", "an SMTP host needs a sender")
    _address("BRIEF_SMTP_FROM", sender)
    return Smtp(
        host=host,
        port=_whole(environ, "BRIEF_SMTP_PORT", default=_DEFAULT_PORT["SMTP"][tls], least=1, most=65535),
        sender=sender,
        user=environ.get("BRIEF_SMTP_USER", ""),
        password=environ.get("BRIEF_SMTP_PASSWORD", ""),
        tls=tls,
    )


def _tls(environ: Mapping[str, str], protocol: str, host: str, default: Tls) -> Tls:
    name = f"BRIEF_{protocol}_TLS"
    ways: dict[str, Tls] = {"tls": "tls", "starttls": "starttls", "off": "off"}
    text = environ.get(name) or default
    tls = ways.get(text)
    if tls is None:
        raise ConfigurationError(f"{text!r} is not a way to encrypt", path=name, help="tls, starttls or off")
    if tls == "off" and host not in _LOOPBACK:
        raise ConfigurationError(
            f"mail and passwords would reach {host} unencrypted", path=name, help="off is for this machine alone"
        )
    return tls


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"{name!r} is not a time zone this machine knows",
            path="BRIEF_ZONE",
            help="an IANA name such as Europe/Rome",
        ) from None
    return name


def _address(variable: str, address: str) -> None:
    if not _ADDRESS.fullmatch(address):
        raise ConfigurationError(
            f"{address!r} is not a mail address", path=variable, help="write it as ana@example.com"
        )


def _required(environ: Mapping[str, str], name: str, message: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigurationError(message, path=name, help=f"set {name}")
    return value


def _whole(environ: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = environ.get(name) or str(default)
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= value <= most:
        raise ConfigurationError(
            f"{text!r} is not a whole number from {least} to {most}", path=name, help="digits only"
        )
    return value
