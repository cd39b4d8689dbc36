"""Hand a brief over by SMTP, under a Message-ID that is the same however often the same job sends it."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

from examples.daily_brief.settings import Smtp
from examples.daily_brief.sink import Received, running_sink
from examples.daily_brief.summarise import Brief

TIMEOUT_SECONDS = 30
SINK_SENDER = "daily-brief@localhost"


class SendError(Exception):
    """The brief was not accepted for delivery; ``permanent`` when sending it again cannot help."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Receipt:
    """Who accepted the brief, and the Message-ID by which it can be found."""

    to: str
    message_id: str
    accepted_by: str


def deliver(brief: Brief, smtp: Smtp, *, job_id: str, now: datetime) -> Receipt:
    """Hand `brief` to the server in `smtp`; raises SendError with the server's own words.

    A worker that dies after the server accepted the mail and before the step was recorded sends it once more: no
    protocol can rule that out. The Message-ID is then the same, so that the repetition can be recognised.
    """
    mail = compose(brief, smtp.sender, job_id=job_id, now=now)
    where = f"{smtp.host}:{smtp.port}"
    try:
        with _connect(smtp) as server:
            if smtp.user:
                server.login(smtp.user, smtp.password)
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = error.recipients.get(brief.user, (550, b""))
        raise SendError(f"{where} refused {brief.user}: {code} {_words(said)}", permanent=code >= 500) from error
    except smtplib.SMTPResponseException as error:
        answer = f"{error.smtp_code} {_words(error.smtp_error)}"
        raise SendError(f"{where} refused: {answer}", permanent=error.smtp_code >= 500) from error
    except smtplib.SMTPNotSupportedError as error:
        raise SendError(f"{where} cannot do what is configured: {error}", permanent=True) from error
    except OSError as error:  # smtplib's other errors are OSErrors too
        raise SendError(f"{where} cannot be reached: {error}", permanent=False) from error
    return Receipt(brief.user, str(mail["Message-ID"]), where)


def deliver_to_sink(brief: Brief, outbox: Path, *, job_id: str, now: datetime) -> Receipt:
    """Where no server is configured: the same conversation with a sink of our own, which prints and stores the mail."""
    with running_sink(outbox, show) as sink:
        local = Smtp(sink.host, sink.port, SINK_SENDER, "", "", "off")
        receipt = deliver(brief, local, job_id=job_id, now=now)
    return Receipt(receipt.to, receipt.message_id, str(outbox))


def compose(brief: Brief, sender: str, *, job_id: str, now: datetime) -> EmailMessage:
    """The mail itself; its Message-ID depends on the job and the recipient alone."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = brief.user
    mail["Subject"] = " ".join(brief.subject.split())
    mail["Date"] = format_datetime(now.astimezone(UTC))
    mail["Message-ID"] = message_id(job_id, brief.user, sender)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(brief.text + "\n", cte="quoted-printable")
    return mail


def message_id(job_id: str, user: str, sender: str) -> str:
    digest = hashlib.sha256(f"{job_id}\n{user}".encode()).hexdigest()[:32]
    return f"<brief.{digest}@{sender.rpartition('@')[2]}>"


def show(mail: Received) -> None:
    """Print a mail as it was received, decoded."""
    print(rendered(mail), flush=True)


def rendered(mail: Received) -> str:
    """A mail as a person reads it: the headers that matter, a blank line, the text."""
    parsed = mail.parsed()
    headers = [f"{name}: {parsed[name]}" for name in ("From", "To", "Subject", "Date", "Message-ID") if parsed[name]]
    payload = parsed.get_payload(decode=True)
    text = payload.decode("utf-8", errors="replace") if isinstance(payload, bytes) else ""
    return "\n".join([*headers, "", text.rstrip()])


def _connect(smtp: Smtp) -> smtplib.SMTP:
    if smtp.tls == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS)
    if smtp.tls == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
    return server


def _words(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said
