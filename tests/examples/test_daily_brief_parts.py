"""The parts of the daily brief that take in: settings and mail from files, folders and IMAP."""

from __future__ import annotations

import json
import mailbox
import random
import re
import socketserver
import ssl
import subprocess
from datetime import timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from examples.daily_brief import sample
from examples.daily_brief.inbox import Inbox, InboxError, read
from examples.daily_brief.message import html_to_text, parse
from examples.daily_brief.settings import Imap, Mailbox, Model, Settings, Smtp, load
from roost.errors import ConfigurationError
from tests.examples.conftest import NOW, Serve

BASE = {"BRIEF_USERS": "ana@example.com,ben@example.com", "BRIEF_MAILBOX": "/var/mail/{user}"}


def mail(subject: str, ago: timedelta, body: str = "Some words in a mail.") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Lena Vogt <lena@example.org>"
    message["To"] = "ana@example.com"
    message["Subject"] = subject
    message["Date"] = format_datetime(NOW - ago)
    message["Message-ID"] = f"<{subject.replace(' ', '-')}@example.org>"
    message.set_content(body)
    return message


class TestSettings:
    def test_defaults(self) -> None:
        assert load(BASE) == Settings(
            users=["ana@example.com", "ben@example.com"],
            zone="Europe/Rome",
            hours=24,
            source=Mailbox("/var/mail/{user}"),
            model=None,
            smtp=None,
            outbox=Path("daily_brief.mbox"),
            journal=None,
        )

    def test_everything_configured(self) -> None:
        settings = load(
            {
                "BRIEF_USERS": "ana@example.com",
                "BRIEF_ZONE": "Asia/Kolkata",
                "BRIEF_IMAP_HOST": "imap.example.com",
                "BRIEF_IMAP_USER": "{user}*master",
                "BRIEF_IMAP_PASSWORD": "secret",
                "BRIEF_MODEL_URL": "https://models.example.com/v1/",
                "BRIEF_MODEL": "small",
                "BRIEF_SMTP_HOST": "smtp.example.com",
                "BRIEF_SMTP_FROM": "brief@example.com",
            }
        )
        assert settings.source == Imap("imap.example.com", 993, "{user}*master", "secret", "INBOX", "tls")
        assert settings.model == Model("https://models.example.com/v1", "small", "", 60)
        assert settings.smtp == Smtp("smtp.example.com", 587, "brief@example.com", "", "", "starttls")
        assert "secret" not in repr(settings)

    @pytest.mark.parametrize(
        ("change", "path", "words"),
        [
            ({"BRIEF_USERS": " , "}, "BRIEF_USERS", "nobody"),
            ({"BRIEF_USERS": "ana"}, "BRIEF_USERS", "'ana' is not a mail address"),
            ({"BRIEF_USERS": "../ana@example.com"}, "BRIEF_USERS", "not a mail address"),
            ({"BRIEF_USERS": "a@example.com,a@example.com"}, "BRIEF_USERS", "twice"),
            ({"BRIEF_ZONE": "Europe/Roma"}, "BRIEF_ZONE", "'Europe/Roma'"),
            ({"BRIEF_ZONE": "../../etc/passwd"}, "BRIEF_ZONE", "time zone"),
            ({"BRIEF_HOURS": "0"}, "BRIEF_HOURS", "from 1 to 744"),
            ({"BRIEF_HOURS": "1.5"}, "BRIEF_HOURS", "whole number"),
            ({"BRIEF_MAILBOX": ""}, "BRIEF_MAILBOX", "no inbox"),
            ({"BRIEF_MAILBOX": "/var/mail/ana"}, "BRIEF_MAILBOX", "same inbox"),
            ({"BRIEF_IMAP_HOST": "imap.example.com"}, "BRIEF_MAILBOX", "two inboxes"),
            ({"BRIEF_MAILBOX": "", "BRIEF_IMAP_HOST": "h", "BRIEF_IMAP_TLS": "off"}, "BRIEF_IMAP_TLS", "unencrypted"),
            ({"BRIEF_MAILBOX": "", "BRIEF_IMAP_HOST": "h"}, "BRIEF_IMAP_USER", "login"),
            ({"BRIEF_MODEL_URL": "ftp://x"}, "BRIEF_MODEL_URL", "HTTP"),
            ({"BRIEF_MODEL_URL": "http://x"}, "BRIEF_MODEL", "name of a model"),
            ({"BRIEF_MODEL_URL": "http://x", "BRIEF_MODEL_KEY": "a\nb"}, "BRIEF_MODEL_KEY", "header"),
            ({"BRIEF_SMTP_HOST": "h"}, "BRIEF_SMTP_FROM", "sender"),
            ({"BRIEF_SMTP_HOST": "h", "BRIEF_SMTP_FROM": "a@b\nBcc: c@d"}, "BRIEF_SMTP_FROM", "address"),
            ({"BRIEF_SMTP_HOST": "h", "BRIEF_SMTP_TLS": "ssl"}, "BRIEF_SMTP_TLS", "'ssl'"),
            (
                {"BRIEF_SMTP_HOST": "h", "BRIEF_SMTP_FROM": "a@example.com", "BRIEF_SMTP_PORT": "65536"},
                "BRIEF_SMTP_PORT",
                "65535",
            ),
        ],
    )
    def test_a_wrong_setting_is_named(self, change: dict[str, str], path: str, words: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            load(BASE | change)
        assert caught.value.path == path
        assert words in caught.value.message
        assert caught.value.help

    def test_an_unknown_setting_suggests_the_known_one(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            load(BASE | {"BRIEF_SMTP_HOTS": "h"})
        assert caught.value.help == "did you mean BRIEF_SMTP_HOST?"


class TestInbox:
    def test_sample_is_read_in_order_and_without_what_is_older(self, sampled: dict[str, Inbox]) -> None:
        assert {user: len(inbox.messages) for user, inbox in sampled.items()} == {
            "ana@example.com": 7,
            "ben@example.com": 7,
        }
        for inbox in sampled.values():
            assert inbox.since == "2026-03-28T06:30:05Z"
            times = [message.sent_at for message in inbox.messages]
            assert times == sorted(times)
            assert inbox.since < times[0] <= times[-1] <= inbox.until
        assert "Photos from the offsite" not in {m.subject for m in sampled["ana@example.com"].messages}

    def test_headers_bodies_threads_and_attachments(self, sampled: dict[str, Inbox]) -> None:
        ana = {message.id: message for message in sampled["ana@example.com"].messages}
        ben = {message.id: message for message in sampled["ben@example.com"].messages}
        contract = ana["<bluewave-1@example.org>"]
        assert (contract.sender, contract.sender_name) == ("marta.rossi@example.org", "Rossi, Marta")
        assert contract.subject == "Contratto Bluewave \N{EN DASH} renewal terms"
        assert "€18,720" in contract.text
        assert {ana[f"<bluewave-{n}"].thread for n in ("2@example.com>", "3@example.org>")} == {contract.id}
        assert ana["<bluewave-3@example.org>"].text.startswith("Thanks Ben, that helps.")
        letter = ana["<issue-212@fieldnotes.example>"]
        assert letter.bulk
        assert "café in Trieste" in letter.text
        assert "track" not in letter.text
        assert "serif" not in letter.text
        invoice = ana["<invoice-1187@stadtwerke.example>"]
        assert invoice.attachments == ["Rechnung 2024-1187 für Ana.pdf"]
        assert invoice.text.count("412.60") == 1
        assert "%PDF" not in invoice.text
        assert "perch\ufffd la compressione" in ben["<backup-lento@example.org>"].text
        assert ben["<backup-lento@example.org>"].subject == "Perché il backup è lento"
        assert ben["<holiday-plan@example.com>"].subject == "Holiday plan for next year"
        assert ben["<talk-draft-2@example.com>"].thread == "<talk-draft-1@example.org>"

    def test_maildir(self, tmp_path: Path) -> None:
        box = mailbox.Maildir(tmp_path / "ana@example.com")
        box.add(mail("second", timedelta(hours=1)))
        seen = mailbox.MaildirMessage(mail("first", timedelta(hours=2)))
        seen.set_subdir("cur")
        box.add(seen)
        box.add(mail("too old", timedelta(hours=24)))
        undated = mail("undated", timedelta())
        del undated["Date"]
        undated_key = box.add(undated)
        arrived = int((NOW - timedelta(minutes=5)).timestamp())
        folder = tmp_path / "ana@example.com" / "new"
        (folder / undated_key).rename(folder / f"{arrived}.1.host")
        before = sorted(path.name for path in (tmp_path / "ana@example.com").rglob("*"))
        found = read(Mailbox(f"{tmp_path}/{{user}}"), "ana@example.com", now=NOW, hours=24)
        assert [message.subject for message in found.messages] == ["first", "second", "undated"]
        assert before == sorted(path.name for path in (tmp_path / "ana@example.com").rglob("*"))

    def test_the_newest_are_kept_where_there_are_too_many(self, tmp_path: Path) -> None:
        box = mailbox.mbox(tmp_path / "box")
        for number in range(203):
            box.add(mail(f"mail {number}", timedelta(minutes=number)))
        box.close()
        found = read(Mailbox(str(tmp_path / "box")), "ana@example.com", now=NOW, hours=24)
        assert found.omitted == 3
        assert len(found.messages) == 200
        assert found.messages[-1].subject == "mail 0"
        assert found.messages[0].subject == "mail 199"

    def test_a_missing_mailbox_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InboxError, match=re.escape(str(tmp_path / "nothing"))):
            read(Mailbox(str(tmp_path / "nothing")), "ana@example.com", now=NOW, hours=24)

    def test_no_mail_however_broken_stops_the_brief(self, tmp_path: Path) -> None:
        source = Path(sample.write(tmp_path, NOW)).parent
        originals = b"".join(path.read_bytes() for path in sorted(source.glob("*.mbox"))).split(b"\nFrom ")
        rng = random.Random(1)
        poison = [b"<![foo[", b"=?", b"=?utf-8?b?a?=", b"\n\n", b"\0", b"&#xD800;", b"--talk", b"charset=utf-7", b"<"]
        for original in originals:
            for _ in range(40):
                data = bytearray(original)
                for _ in range(rng.randint(1, 30)):
                    place = rng.randrange(len(data))
                    data[place : place + rng.randint(0, 9)] = rng.choice([*poison, rng.randbytes(3)])
                message = parse(bytes(data), NOW)
                stored = json.dumps([message.subject, message.sender_name, message.text, message.attachments])
                assert "\\u0000" not in stored
                message.text.encode()

    def test_html_becomes_lines_of_text(self) -> None:
        html = "<head><title>no</title></head><p>One &amp; two<br>three</p>\n<ul><li>four\n five</ul><![if x]>six<![y]>"
        assert html_to_text(html) == "One & two\nthree\n\nfour five\nsix"


class ImapHandler(socketserver.StreamRequestHandler):
    """As much of RFC 3501 as the example uses, over the mails in ``server.mails``."""

    server: ImapServer

    def handle(self) -> None:
        self.say("* OK ready")
        while line := self.rfile.readline():
            tag, _, command = line.decode().rstrip("\r\n").partition(" ")
            self.server.commands.append(command)
            words = command.split()
            verb = words[0].upper()
            if verb == "CAPABILITY":
                self.say("* CAPABILITY IMAP4rev1")
            elif verb == "LOGIN" and not command.endswith(' "pass word"'):
                self.say(f"{tag} NO wrong password")
                continue
            elif verb == "EXAMINE" and "INBOX" not in command:
                self.say(f"{tag} NO no such folder")
                continue
            elif verb == "EXAMINE":
                self.say(f"* {len(self.server.mails)} EXISTS")
            elif command.startswith("UID SEARCH"):
                self.say("* SEARCH " + " ".join(str(number + 1) for number in range(len(self.server.mails))))
            elif command.startswith("UID FETCH"):
                self.fetch(int(words[2]))
            self.say(f"{tag} OK done")

    def fetch(self, number: int) -> None:
        data = self.server.mails[number - 1]
        self.say(f'* {number} FETCH (UID {number} INTERNALDATE "29-Mar-2026 08:00:00 +0200" BODY[]<0> {{{len(data)}}}')
        self.wfile.write(data)
        self.say(")")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


class ImapServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    mails: list[bytes]
    commands: list[str]


class TestImap:
    @pytest.fixture
    def server(self, serve: Serve) -> ImapServer:
        server = ImapServer(("127.0.0.1", 0), ImapHandler)
        undated = mail("undated", timedelta())
        del undated["Date"]
        server.mails = [
            bytes(message)
            for message in (mail("new", timedelta(hours=1)), mail("day before", timedelta(hours=30)), undated)
        ]
        server.commands = []
        serve(server)
        return server

    def account(self, server: ImapServer, **change: Any) -> Imap:
        values = {"user": "{user}", "password": "pass word", "folder": "INBOX", "tls": "off"} | change
        return Imap("127.0.0.1", server.server_address[1], **values)

    def test_reads_the_period_and_changes_nothing(self, server: ImapServer) -> None:
        found = read(self.account(server), "ana@example.com", now=NOW, hours=24)
        assert [(message.subject, message.sent_at) for message in found.messages] == [
            ("new", "2026-03-29T05:30:05Z"),
            ("undated", "2026-03-29T06:00:00Z"),
        ]
        assert 'LOGIN ana@example.com "pass word"' in server.commands
        assert "UID SEARCH SINCE 27-Mar-2026" in server.commands
        assert not [command for command in server.commands if command.startswith(("SELECT", "STORE", "UID STORE"))]
        assert all("BODY.PEEK[]" in command for command in server.commands if "FETCH" in command)

    def test_a_refusal_names_the_account_and_the_reason(self, server: ImapServer) -> None:
        with pytest.raises(InboxError, match=r"ana@example.com on 127\.0\.0\.1:\d+ .*wrong password"):
            read(self.account(server, password="guess"), "ana@example.com", now=NOW, hours=24)

    def test_an_unknown_folder_is_refused(self, server: ImapServer) -> None:
        with pytest.raises(InboxError, match="folder Archiv: no such folder"):
            read(self.account(server, folder="Archiv"), "ana@example.com", now=NOW, hours=24)

    def test_a_certificate_nobody_vouches_for_ends_the_conversation_before_the_password(
        self, tmp_path: Path, server: ImapServer
    ) -> None:
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with pytest.raises(InboxError, match="CERTIFICATE_VERIFY_FAILED"):
            read(self.account(server, tls="tls"), "ana@example.com", now=NOW, hours=24)
        assert server.commands == []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(certificate))
            found = read(self.account(server, tls="tls"), "ana@example.com", now=NOW, hours=24)
        assert [message.subject for message in found.messages] == ["new", "undated"]
