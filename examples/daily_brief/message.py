"""One mail, as the brief sees it: decoded, plain, JSON-able. Nothing a sender writes can make this fail."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import Header, decode_header
from email.message import Message as Parsed
from email.utils import parseaddr, parsedate_to_datetime
from html.parser import HTMLParser

MOST_CHARACTERS = 20_000
"""Longer texts are cut: a brief needs no more, and a recorded step should stay small."""


@dataclass(frozen=True, slots=True)
class Message:
    """A mail with decoded headers and plain text; ``sent_at`` is RFC 3339 in UTC."""

    id: str
    thread: str
    """The id of the mail that began the conversation."""
    sent_at: str
    sender: str
    sender_name: str
    subject: str
    text: str
    attachments: list[str]
    bulk: bool
    """Sent to a list: a newsletter or a notice rather than a letter."""


def sent_at(raw: bytes, arrived: datetime | None) -> datetime | None:
    """When the mail was sent, read from its headers alone; `arrived` where they do not say."""
    header, _, _ = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
    try:
        when = parsedate_to_datetime(str(message_from_bytes(header)["Date"]))
        return when.replace(tzinfo=when.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return arrived


def parse(raw: bytes, when: datetime) -> Message:
    """The mail in `raw`, however broken; bytes that mean nothing become replacement characters."""
    mail = message_from_bytes(raw)
    # Taken apart before it is decoded: an encoded name may hold a comma, which would part it from its address.
    name, address = parseaddr(str(mail.get("From", "")))
    name, address = _decoded(name), _decoded(address)
    identity = _first_id(_header(mail, "Message-ID")) or f"<{hashlib.sha256(raw).hexdigest()[:32]}@no-message-id>"
    text, attachments = _content(mail)
    return Message(
        id=identity,
        thread=_first_id(_header(mail, "References")) or _first_id(_header(mail, "In-Reply-To")) or identity,
        sent_at=when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        sender=address or "unknown",
        sender_name=name or address or "unknown sender",
        subject=_header(mail, "Subject") or "(no subject)",
        text=text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " […]",
        attachments=attachments,
        bulk="List-Id" in mail
        or "List-Unsubscribe" in mail
        or _header(mail, "Precedence").lower() in ("bulk", "list", "junk"),
    )


def _header(mail: Parsed, name: str) -> str:
    return _decoded(mail.get(name, ""))


def _decoded(value: str | Header) -> str:
    """A header's value on one line, its encoded words decoded."""
    try:
        parts = decode_header(value)
    except (HeaderParseError, ValueError):
        parts = [(str(value), None)]
    # An encoded word carries its bytes and charset; what stands between is text already, or ASCII bytes.
    text = "".join(part if isinstance(part, str) else decode(part, charset) for part, charset in parts)
    return _storable(" ".join(text.split()))


def decode(data: bytes, charset: str | None) -> str:
    """`data` as text: in its declared charset, else in UTF-8, else with replacement characters."""
    for candidate in (charset, "utf-8"):
        try:
            return data.decode(candidate or "ascii")
        except (LookupError, ValueError):
            continue
    return data.decode("utf-8", errors="replace")


def _storable(text: str) -> str:
    # NUL and lone surrogates are legal in a Python string and in no JSON store.
    return text.replace("\0", "").encode("utf-8", errors="replace").decode("utf-8")


def _first_id(text: str) -> str:
    found = re.search(r"<[^<>\s]+>", text)
    return found.group() if found else ""


def _content(mail: Parsed) -> tuple[str, list[str]]:
    """The text of a mail, plain parts before HTML ones, and the names of what is attached."""
    plain: list[str] = []
    html: list[str] = []
    attachments: list[str] = []
    for part in mail.walk():
        if part.is_multipart():
            continue
        name = _file_name(part)
        kind = part.get_content_type()
        if name or part.get_content_disposition() == "attachment" or kind not in ("text/plain", "text/html"):
            attachments.append(name or f"unnamed {kind}")
        elif kind == "text/html":
            html.append(html_to_text(_body(part)))
        else:
            plain.append(_body(part))
    text = "\n".join(filter(str.strip, plain)) or "\n".join(html)
    return _storable(_tidy(text)), attachments


def _file_name(part: Parsed) -> str:
    try:
        return _decoded(part.get_filename() or "")
    except (ValueError, LookupError, TypeError):
        return "unreadable name"


def _body(part: Parsed) -> str:
    payload = part.get_payload(decode=True)
    return decode(payload, part.get_content_charset()) if isinstance(payload, bytes) else ""


def _tidy(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _TextOfHtml(HTMLParser):
    SILENT = frozenset({"script", "style", "head", "template", "title"})
    BREAKS = frozenset(
        {"p", "br", "div", "tr", "li", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "hr"}
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.SILENT:
            self._silent.append(tag)
        elif tag == "body":
            self._silent.clear()  # a head that was never closed must not swallow the letter
        if tag in self.BREAKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag in self.BREAKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            # Line ends in the source are only spaces; the tags say where lines end.
            self.pieces.append(re.sub(r"\s+", " ", data))


def html_to_text(html: str) -> str:
    """The words of an HTML mail, a line per block, without scripts and styles."""
    parser = _TextOfHtml()
    # Conditional sections ("<![if mso]>") are no HTML, and the parser gives up on those it does not know.
    parser.feed(re.sub(r"<!\[[^>]*>?", "", html))
    parser.close()
    return _tidy("".join(parser.pieces))
