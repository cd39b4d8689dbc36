"""Read a user's recent mail from an mbox file, a Maildir or an IMAP server, without changing anything there."""

from __future__ import annotations

import imaplib
import mailbox
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from examples.daily_brief.message import Message, parse, sent_at
from examples.daily_brief.settings import Imap, Mailbox

MOST_MESSAGES = 200
MOST_BYTES = 2_000_000
"""Of one mail: the text stands in front, and a cut attachment does not hurt, because only its name is used."""
IMAP_TIMEOUT_SECONDS = 30


class InboxError(Exception):
    """The inbox cannot be read; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """What reached `user` from `since` to `until` (RFC 3339, UTC), oldest first."""

    user: str
    since: str
    until: str
    messages: list[Message]
    omitted: int
    """How many older mails of the period were left out because there were too many."""


def read(source: Mailbox | Imap, user: str, *, now: datetime, hours: int) -> Inbox:
    """The mails of the last `hours` before `now`, sorted by time; raises InboxError when the source cannot be read."""
    since = now - timedelta(hours=hours)
    raw = _from_imap(source, user, since) if isinstance(source, Imap) else _from_path(source.of(user))
    found: list[tuple[datetime, str, Message]] = []
    for data, arrived in raw:
        when = sent_at(data, arrived)
        if when is not None and since < when <= now:
            message = parse(data, when)
            found.append((when, message.id, message))
    found.sort(key=lambda item: item[:2])
    kept = found[-MOST_MESSAGES:]
    return Inbox(
        user=user,
        since=since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        until=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        messages=_joined([message for _, _, message in kept]),
        omitted=len(found) - len(kept),
    )


def _joined(messages: list[Message]) -> list[Message]:
    """The same mails with replies to replies in one thread, where a client wrote In-Reply-To but no References."""
    thread_of: dict[str, str] = {}
    joined = []
    for message in messages:
        thread = thread_of.get(message.thread, message.thread)
        thread_of[message.id] = thread
        joined.append(message if thread == message.thread else replace(message, thread=thread))
    return joined


def _from_path(path: Path) -> Iterator[tuple[bytes, datetime | None]]:
    try:
        if (path / "cur").is_dir():
            yield from _from_maildir(path)
        elif path.is_file():
            yield from _from_mbox(path)
        else:
            raise InboxError(f"{path} is neither an mbox file nor a Maildir folder")
    except OSError as error:
        raise InboxError(f"{path} cannot be read: {error.strerror or error}") from error


def _from_mbox(path: Path) -> Iterator[tuple[bytes, datetime | None]]:
    box = mailbox.mbox(path, create=False)
    try:
        for key in box.iterkeys():
            with box.get_file(key, from_=True) as file:
                envelope = file.readline()
                yield file.read(MOST_BYTES), _envelope_time(envelope)
    finally:
        box.close()


def _from_maildir(path: Path) -> Iterator[tuple[bytes, datetime | None]]:
    box = mailbox.Maildir(path, create=False)
    for key in box.iterkeys():
        try:
            file = box.get_file(key)
        except (KeyError, FileNotFoundError):
            continue  # another mail program moved or deleted it since it was listed
        with file:
            data = file.read(MOST_BYTES)
        yield data, _maildir_time(key)


def _envelope_time(line: bytes) -> datetime | None:
    """The time in ``From sender Sat Nov 22 01:06:46 2026``, which mail servers write in UTC."""
    words = line.decode("ascii", errors="replace").split()[-5:]
    try:
        return datetime.strptime(" ".join(words), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def _maildir_time(key: str) -> datetime | None:
    """The time in a Maildir file name, which begins with seconds since the epoch."""
    seconds = key.partition(".")[0]
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _from_imap(source: Imap, user: str, since: datetime) -> Iterator[tuple[bytes, datetime | None]]:
    login = source.user.replace("{user}", user)
    try:
        connection = _connect(source)
        try:
            connection.login(login, source.password)
            yield from _fetch(connection, source.folder, since)
        finally:
            connection.shutdown()
    except (imaplib.IMAP4.error, OSError) as error:
        raise InboxError(f"{login} on {source.host}:{source.port} cannot be read: {error}") from error


def _connect(source: Imap) -> imaplib.IMAP4:
    if source.tls == "tls":
        context = ssl.create_default_context()
        return imaplib.IMAP4_SSL(source.host, source.port, ssl_context=context, timeout=IMAP_TIMEOUT_SECONDS)
    connection = imaplib.IMAP4(source.host, source.port, timeout=IMAP_TIMEOUT_SECONDS)
    if source.tls == "starttls":
        try:
            connection.starttls(ssl.create_default_context())
        except BaseException:
            connection.shutdown()
            raise
    return connection


def _fetch(connection: imaplib.IMAP4, folder: str, since: datetime) -> Iterator[tuple[bytes, datetime | None]]:
    quoted = folder.replace("\\", "\\\\").replace('"', '\\"')
    _accepted(connection.select(f'"{quoted}"', readonly=True), f"folder {folder}")
    # SINCE compares dates without time or zone, so ask for a day more and sort out here.
    day = imaplib.Time2Internaldate(since - timedelta(days=1))[1:12].strip()
    found = _accepted(connection.uid("SEARCH", "SINCE", day), "the search")
    numbers = found[0].split() if found and isinstance(found[0], bytes) else []
    for number in numbers:
        wanted = f"(INTERNALDATE BODY.PEEK[]<0.{MOST_BYTES}>)"
        parts = _accepted(connection.uid("FETCH", number.decode(), wanted), "a mail")
        for part in parts:
            if isinstance(part, tuple):
                yield part[1], _internal_date(part[0])


def _accepted(answer: tuple[str, list[Any]], what: str) -> list[Any]:
    status, lines = answer
    if status != "OK":
        said = lines[0].decode(errors="replace") if lines and isinstance(lines[0], bytes) else "no reason given"
        raise InboxError(f"the IMAP server refused {what}: {said}")
    return lines


def _internal_date(envelope: bytes) -> datetime | None:
    _, _, rest = envelope.decode("ascii", errors="replace").partition('INTERNALDATE "')
    try:
        return parsedate_to_datetime(rest.partition('"')[0].strip().replace("-", " ", 2))
    except (ValueError, TypeError, IndexError):
        return None
