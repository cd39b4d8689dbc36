"""The parts of the daily brief that give out: the digest, the model, the sending, the journal."""

from __future__ import annotations

import asyncio
import http.server
import json
import mailbox
import os
import re
import smtplib
import socket
import threading
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from examples.daily_brief import extract
from examples.daily_brief.inbox import Inbox
from examples.daily_brief.journal import Journal, entries, hold_file
from examples.daily_brief.send import SendError, compose, deliver, deliver_to_sink, message_id
from examples.daily_brief.settings import Model, Smtp
from examples.daily_brief.sink import MOST_BYTES, running_sink
from examples.daily_brief.summarise import Brief, ModelError, ask, write
from tests.examples.conftest import NOW, Serve

BRIEF = Brief("ana@example.com", "Your brief · Ana's", "Più lavoro.\n.dot first\n..two dots", "extract", 3)


class TestExtract:
    def test_what_matters_comes_first(self, sampled: dict[str, Inbox]) -> None:
        subject, text = extract.brief(sampled["ana@example.com"], "Europe/Rome")
        assert subject == "Your brief for Sunday 29 March: 7 mails, 3 deadlines, 3 questions"
        titles = re.findall(r"^[A-Z ]{5,}$", text, re.MULTILINE)
        assert titles == ["DEADLINES", "QUESTIONS TO YOU", "CONVERSATIONS", "LISTS AND NOTICES"]
        deadlines, rest = text.split("QUESTIONS TO YOU")
        assert "by tomorrow 17:00. [Rossi, Marta: Contratto Bluewave" in deadlines
        assert "no later than Friday" in deadlines
        assert "The price goes up by 4 %" not in deadlines
        questions, conversations = rest.split("CONVERSATIONS")
        assert "take the small room? [Lena Vogt: Room for the workshop]" in questions
        conversations, lists = conversations.split("LISTS AND NOTICES")
        assert (
            "Contratto Bluewave \N{EN DASH} renewal terms (Rossi, Marta; Ben Okafor; 3 mails; Sat 16:00)"
            in conversations
        )
        assert "attached: Rechnung 2024-1187 für Ana.pdf" in conversations
        assert "Field Notes" in lists
        assert "nightly build" in lists

    def test_the_zone_decides_times_and_the_day(self, sampled: dict[str, Inbox]) -> None:
        subject, text = extract.brief(sampled["ben@example.com"], "Pacific/Honolulu")
        assert subject.startswith("Your brief for Saturday 28 March")
        assert "since Fri 20:30" in text

    def test_the_same_mails_give_the_same_text(self, sampled: dict[str, Inbox]) -> None:
        first = extract.brief(sampled["ben@example.com"], "Europe/Rome")
        assert first == extract.brief(sampled["ben@example.com"], "Europe/Rome")

    def test_an_empty_inbox_says_so(self) -> None:
        inbox = Inbox("ana@example.com", "2026-03-28T06:30:05Z", "2026-03-29T06:30:05Z", [], 0)
        assert extract.brief(inbox, "Europe/Rome") == (
            "Your brief for Sunday 29 March: no new mail",
            "Nothing arrived since Sat 07:30.",
        )

    def test_quotations_and_signatures_are_not_own_words(self) -> None:
        text = "I agree with the plan.\n\nOn Monday Ben wrote:\n> what do you think\n> of it?\nLast own line.\n-- \nAna"
        assert extract.own_words(text) == "I agree with the plan.\nLast own line."


class ModelHandler(http.server.BaseHTTPRequestHandler):
    server: ModelServer

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.requests.append((self.path, dict(self.headers), json.loads(self.rfile.read(length))))
        if self.server.silent is not None:
            self.server.silent.wait(30)
            return
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class ModelServer(http.server.ThreadingHTTPServer):
    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
    silent: threading.Event | None = None
    requests: list[tuple[str, dict[str, str], Any]]


class TestModel:
    @pytest.fixture
    def server(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server = ModelServer(("127.0.0.1", 0), ModelHandler)
        server.requests = []
        serve(server)
        return server

    def model(self, server: ModelServer, timeout: float = 10) -> Model:
        return Model(f"http://127.0.0.1:{server.server_address[1]}/v1", "small", "key-1", timeout)

    def test_the_endpoint_writes_the_brief(self, server: ModelServer, sampled: dict[str, Inbox]) -> None:
        completion = {"choices": [{"message": {"role": "assistant", "content": " Più tardi: paga.\0 "}}]}
        server.answer = (200, {"Content-Type": "application/json"}, json.dumps(completion).encode())
        brief = write(sampled["ana@example.com"], self.model(server), "Europe/Rome")
        assert (brief.text, brief.method, brief.mails) == ("Più tardi: paga.", "small", 7)
        path, headers, body = server.requests[0]
        assert path == "/v1/chat/completions"
        assert headers["Authorization"] == "Bearer key-1"
        assert body["model"] == "small"
        prompt = body["messages"][1]["content"]
        mails = json.loads(prompt.partition("\n")[2])
        assert [entry["id"] for entry in mails] == [entry.id for entry in sampled["ana@example.com"].messages]

    @pytest.mark.parametrize(
        ("answer", "permanent", "words"),
        [
            ((401, {}, b'{"error": "bad key"}'), True, "answered 401: .*bad key"),
            ((429, {}, b"slow down"), False, "answered 429"),
            ((503, {}, b""), False, "answered 503"),
            ((302, {"Location": "http://127.0.0.1:1/elsewhere"}, b""), True, "answered 302"),
            ((200, {}, b"<html>"), False, "not answer with a chat completion but with '<html>'"),
            ((200, {}, b'{"choices": []}'), False, "chat completion"),
            ((200, {}, b'{"choices": [{"message": {"content": "  "}}]}'), False, "no text"),
            ((200, {}, b"x" * 1_000_001), True, "over 1000000 bytes"),
        ],
    )
    def test_a_bad_answer_is_explained(
        self, server: ModelServer, answer: tuple[int, dict[str, str], bytes], permanent: bool, words: str
    ) -> None:
        server.answer = answer
        with pytest.raises(ModelError, match=words) as caught:
            ask(self.model(server), "hello")
        assert caught.value.permanent is permanent
        assert "key-1" not in str(caught.value)

    def test_silence_ends_in_time(self, server: ModelServer) -> None:
        server.silent = threading.Event()
        try:
            with pytest.raises(ModelError, match=r"did not answer within 0\.2 s"):
                ask(self.model(server, timeout=0.2), "hello")
        finally:
            server.silent.set()

    def test_nobody_listening(self, server: ModelServer) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # taken, and not listening
            model = replace(self.model(server), url=f"http://127.0.0.1:{unused.getsockname()[1]}")
            with pytest.raises(ModelError, match="cannot be reached"):
                ask(model, "hello")


class TestSend:
    def test_round_trip_through_the_sink(self, tmp_path: Path) -> None:
        shown: list[bytes] = []
        with running_sink(tmp_path / "out.mbox", lambda received: shown.append(received.data)) as sink:
            smtp = Smtp(sink.host, sink.port, "brief@example.com", "", "", "off")
            first = deliver(BRIEF, smtp, job_id="17", now=NOW)
            second = deliver(BRIEF, smtp, job_id="17", now=NOW + timedelta(minutes=3))
            other = deliver(BRIEF, smtp, job_id="18", now=NOW)
        assert first == second
        assert first.message_id != other.message_id
        stored = list(mailbox.mbox(tmp_path / "out.mbox"))
        assert [entry["Message-ID"] for entry in stored] == [first.message_id, first.message_id, other.message_id]
        assert len(shown) == 3
        received = message_from_bytes(shown[0])
        payload = received.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert payload.decode() == BRIEF.text + "\n"
        assert sink.received[0].sender == "brief@example.com"
        assert sink.received[0].recipients == ["ana@example.com"]

    def test_without_a_server_the_sink_prints_and_stores(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        receipt = deliver_to_sink(BRIEF, tmp_path / "out.mbox", job_id="17", now=NOW)
        assert receipt.accepted_by == str(tmp_path / "out.mbox")
        assert len(list(mailbox.mbox(tmp_path / "out.mbox"))) == 1
        printed = capsys.readouterr().out
        assert f"Message-ID: {receipt.message_id}" in printed
        assert "Più lavoro." in printed

    def test_the_message_id_depends_on_job_and_user(self) -> None:
        ids = {message_id(job, user, "b@example.com") for job in ("1", "2") for user in ("a@x.org", "b@x.org")}
        assert len(ids) == 4
        assert all(re.fullmatch(r"<brief\.[0-9a-f]{32}@example\.com>", one) for one in ids)

    def test_a_subject_cannot_add_headers(self) -> None:
        brief = Brief("ana@example.com", "Hello\r\nBcc: everybody@example.com", "text", "small", 1)
        composed = compose(brief, "b@example.com", job_id="1", now=NOW)
        assert message_from_bytes(bytes(composed))["Bcc"] is None

    def test_a_refused_size_is_permanent(self, tmp_path: Path) -> None:
        brief = Brief("ana@example.com", "big", "x" * MOST_BYTES, "extract", 1)
        with running_sink(tmp_path / "out.mbox") as sink:
            smtp = Smtp(sink.host, sink.port, "b@example.com", "", "", "off")
            with pytest.raises(SendError, match="552") as caught:
                deliver(brief, smtp, job_id="1", now=NOW)
        assert caught.value.permanent
        assert not sink.received

    def test_nobody_listening_may_pass(self, tmp_path: Path) -> None:
        with running_sink(tmp_path / "out.mbox") as sink:
            smtp = Smtp(sink.host, sink.port, "b@example.com", "", "", "off")
        with pytest.raises(SendError, match="cannot be reached") as caught:
            deliver(BRIEF, smtp, job_id="1", now=NOW)
        assert not caught.value.permanent

    def test_the_sink_keeps_the_order_of_commands(self, tmp_path: Path) -> None:
        with running_sink(tmp_path / "out.mbox") as sink, smtplib.SMTP(sink.host, sink.port, timeout=10) as client:
            assert client.docmd("MAIL", "FROM:<a@example.com>")[0] == 503
            assert client.ehlo()[0] == 250
            assert client.docmd("RCPT", "TO:<a@example.com>")[0] == 503
            assert client.docmd("DATA")[0] == 503
            assert client.docmd("MAIL", "FROM:a@example.com")[0] == 501
            assert client.docmd("MAIL", "FROM:<> SIZE=99999999999")[0] == 552
            assert client.docmd("MAIL", "FROM:<>")[0] == 250
            assert client.docmd("RCPT", "TO:<>")[0] == 501
            assert client.docmd("BDAT", "3")[0] == 502
            assert client.docmd("NOOP", "x" * 10_000)[0] == 500
            assert client.rset()[0] == 250
            assert client.docmd("RCPT", "TO:<a@example.com>")[0] == 503
        assert not sink.received

    def test_a_mail_cut_off_before_its_end_is_not_kept(self, tmp_path: Path) -> None:
        with running_sink(tmp_path / "out.mbox") as sink:
            client = smtplib.SMTP(sink.host, sink.port, timeout=10)
            client.ehlo()
            client.mail("a@example.com")
            client.rcpt("b@example.com")
            client.docmd("DATA")
            client.send("Subject: half\r\n\r\nhalf a ma")
            assert client.sock is not None
            client.sock.shutdown(socket.SHUT_WR)
            assert client.sock.recv(100) == b""  # the sink has ended the conversation, without a 250
            client.close()
        assert not sink.received
        assert not (tmp_path / "out.mbox").exists()


class TestJournal:
    async def test_notes_what_began_and_what_ended(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "journal")
        async with journal.noted("read", "ana@example.com"):
            pass
        with pytest.raises(ZeroDivisionError):
            async with journal.noted("send", "ana@example.com"):
                raise ZeroDivisionError
        noted = [(entry.event, entry.step, entry.pid) for entry in entries(tmp_path / "journal")]
        own = os.getpid()
        assert noted == [("started", "read", own), ("finished", "read", own), ("started", "send", own)]

    async def test_a_held_step_goes_on_when_the_file_is_gone(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "journal")
        hold = hold_file(tmp_path / "journal", "read")
        hold.touch()
        inside = asyncio.Event()

        async def step() -> None:
            async with journal.noted("read", "ana@example.com"):
                inside.set()

        task = asyncio.create_task(step())
        while not entries(tmp_path / "journal"):
            await asyncio.sleep(0)
        assert not inside.is_set()
        hold.unlink()
        async with asyncio.timeout(10):
            await task
        assert [entry.event for entry in entries(tmp_path / "journal")] == ["started", "finished"]

    async def test_an_entry_being_written_is_left_out(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        async with Journal(path).noted("read", "ana@example.com"):
            pass
        with path.open("ab") as file:
            file.write(b'{"event": "star')
        assert len(entries(path)) == 2
