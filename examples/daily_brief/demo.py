"""The acts of the demonstration, in order; see ``__main__``."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import shlex
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from examples.daily_brief import sample
from examples.daily_brief.journal import entries, hold_file
from examples.daily_brief.processes import ROOT, Child, DemoFailed, roost_command, run, until
from examples.daily_brief.send import Receipt, rendered
from examples.daily_brief.settings import Settings, load
from examples.daily_brief.sink import SmtpSink

LEASE = "3s"
START_SECONDS = 20.0
RECOVERY_SECONDS = 30.0
APPROVAL_SECONDS = 2 * 3600.0
API_PAGE = "/docs"
MAIL_LINES = 12


class Screen:
    """Lines for a person; colour where the output is a terminal and nobody objects."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._colour = output.isatty() and "NO_COLOR" not in os.environ
        self._began = time.monotonic()

    def act(self, title: str) -> None:
        seconds = time.monotonic() - self._began
        self._line(f"\n{self._paint('1;36', f'▸ {title}')}  {self._paint('2', f'{seconds:.1f} s')}")

    def say(self, text: str) -> None:
        self._line(f"  {text}")

    def command(self, text: str) -> None:
        self._line(f"    {self._paint('1', '$ ' + text)}")

    def checked(self, claim: str) -> None:
        self._line(f"  {self._paint('32', '✓')} {claim}")

    def quoted(self, text: str) -> None:
        for line in text.splitlines():
            self._line(self._paint("2", "    │ ") + line)

    def failed(self, text: str) -> None:
        self._line(f"\n{self._paint('1;31', '✗ failed:')} {text}")

    def _line(self, text: str) -> None:
        print(text, file=self._output, flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text


class Demo:
    """One performance in `folder`; `environ` says what is configured, `now` dates the sample."""

    def __init__(self, screen: Screen, folder: Path, environ: Mapping[str, str], *, now: datetime) -> None:
        self.screen = screen
        self.folder = folder
        self.journal = folder / "journal.jsonl"
        self.environ = dict(environ)
        self.now = now
        self.url = ""
        self.children: list[Child] = []

    async def perform(self, *, yes: bool) -> None:
        """All acts; raises DemoFailed at the first claim that does not hold. No process is left behind either way."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._stop_children)
            sink = await self._configure(stack)
            settings = load(self.environ)
            server = await self._start_server()
            handles = await self._enqueue(settings)
            await self._die_in_the_middle(settings, server)
            worker = await self._resume(settings, server)
            holds = await self._previews(handles, [server, worker])
            await self._approve(holds, yes=yes)
            approved = {user: hold["subject"]["text"] for user, hold in holds.items()}
            receipts = await self._results(settings, handles, yes=yes)
            self._sent(receipts, approved, sink)
            await self._where_to_look(handles)
        self.screen.checked("server and worker ended when asked to")

    async def _configure(self, stack: contextlib.AsyncExitStack) -> SmtpSink | None:
        self.screen.act("Inbox and mail server")
        self.environ |= {"BRIEF_JOURNAL": str(self.journal), "PYTHONPATH": self._python_path(), "PYTHONUNBUFFERED": "1"}
        if not (self.environ.get("BRIEF_MAILBOX") or self.environ.get("BRIEF_IMAP_HOST")):
            self.environ["BRIEF_MAILBOX"] = sample.write(self.folder / "mail", self.now)
            self.environ["BRIEF_USERS"] = ",".join(sample.users())
            self.screen.say(f"no inbox configured: sample mail of the last 24 hours in {self.folder / 'mail'}")
        if self.environ.get("BRIEF_SMTP_HOST"):
            self.screen.say(f"briefs go to {self.environ['BRIEF_SMTP_HOST']}")
            return None
        sink = await stack.enter_async_context(SmtpSink(self.folder / "outbox.mbox"))
        self.environ |= {
            "BRIEF_SMTP_HOST": sink.host, "BRIEF_SMTP_PORT": str(sink.port), "BRIEF_SMTP_TLS": "off",
            "BRIEF_SMTP_FROM": "daily-brief@example.com",
        }  # fmt: skip
        self.screen.say(f"no SMTP server configured: a local sink listens on {sink.host}:{sink.port}")
        return sink

    def _python_path(self) -> str:
        given = self.environ.get("PYTHONPATH")
        return f"{ROOT}{os.pathsep}{given}" if given else str(ROOT)

    async def _start_server(self) -> Child:
        self.screen.act("Server on SQLite")
        address = self.folder / "url"
        store = f"sqlite:///{self.folder / 'roost.db'}"
        command = roost_command("server", "--store", store, "--port", "0", "--port-file", str(address))
        self.screen.command(self._shown(command))
        server = await self._start("server", command)

        def written() -> str | None:
            return address.read_text().strip() or None if address.exists() else None

        self.url = await until("the server's address", written, START_SECONDS, [server])
        self.environ["ROOST_URL"] = self.url
        self.screen.checked(f"listening on {self.url} (pid {server.pid})")
        return server

    async def _enqueue(self, settings: Settings) -> dict[str, Any]:
        self.screen.act("The brief, now instead of at 08:00")
        # The module reads the environment when it is imported, as in every worker; only now is it complete.
        os.environ.update(self.environ)
        jobs = importlib.import_module("examples.daily_brief.jobs")
        handles = {}
        for user in settings.users:
            handles[user] = await jobs.daily_brief.enqueue(user)
            self.screen.say(f"job {handles[user].id} for {user}")
        return handles

    async def _die_in_the_middle(self, settings: Settings, server: Child) -> None:
        self.screen.act("A worker that dies in the middle of a step")
        hold = hold_file(self.journal, "summarise")
        hold.touch()
        worker = await self._start_worker("worker-1")
        users = len(settings.users)
        await until(
            "every job in its step summarise",
            lambda: self._count()["started", "summarise"] == users,
            START_SECONDS,
            [worker, server],
        )
        self._expect({("started", "read"): 1, ("finished", "read"): 1, ("started", "summarise"): 1}, settings)
        self.screen.checked("inboxes read and recorded; summarise has begun and has not ended")
        self.screen.command(f"kill -9 {worker.pid}")
        await worker.kill()
        self.children.remove(worker)
        hold.unlink()
        self._expect({("started", "read"): 1, ("finished", "read"): 1, ("started", "summarise"): 1}, settings)

    async def _resume(self, settings: Settings, server: Child) -> Child:
        self.screen.act("A new worker goes on where the dead one stopped")
        worker = await self._start_worker("worker-2")
        self.screen.say(f"waiting for the dead worker's lease to run out ({LEASE}) …")
        users = len(settings.users)
        await until(
            "every brief written",
            lambda: self._count()["finished", "summarise"] == users,
            RECOVERY_SECONDS,
            [worker, server],
        )
        self._expect(
            {
                ("started", "read"): 1, ("finished", "read"): 1,
                ("started", "summarise"): 2, ("finished", "summarise"): 1,
            },
            settings,
        )  # fmt: skip
        self.screen.checked("read ran once per user: what was recorded was not done again")
        self.screen.checked("summarise began twice and ended once: only the step in flight was repeated")
        return worker

    async def _previews(self, handles: dict[str, Any], watched: list[Child]) -> dict[str, dict[str, Any]]:
        self.screen.act("Nothing is sent before somebody has seen it")
        wanted = {str(handle.id): user for user, handle in handles.items()}
        holds: dict[str, dict[str, Any]] = {}
        patience = time.monotonic() + START_SECONDS
        while len(holds) < len(wanted):
            listed = await run(roost_command("approvals", "list", "-o", "jsonl"), self.environ)
            found = [json.loads(line) for line in listed.splitlines() if line.strip()]
            holds = {wanted[str(hold["job"])]: hold for hold in found if str(hold["job"]) in wanted}
            if time.monotonic() > patience:
                logs = "\n".join(f"--- {child.name}\n{child.tail()}" for child in watched)
                raise DemoFailed(f"approval asked for {len(holds)} of {len(wanted)} briefs\n{logs}")
        if any(event == "started" and step == "send" for event, step in self._count()):
            raise DemoFailed("a brief was sent before it was approved")
        for user, hold in sorted(holds.items()):
            self.screen.say(f"preview for {user}: {hold['subject']['subject']}")
            self.screen.quoted(hold["subject"]["text"])
        return holds

    async def _approve(self, holds: dict[str, dict[str, Any]], *, yes: bool) -> None:
        self.screen.act("Approval")
        self.screen.say("run this:" if yes else "run this in another terminal (Ctrl-C ends everything):")
        for _, hold in sorted(holds.items()):
            command = roost_command("approvals", "approve", str(hold["id"]))
            self.screen.command(f"ROOST_URL={self.url} {self._shown(command)}")
            if yes:
                self.screen.quoted(await run(command, self.environ))
        if not yes:
            some = roost_command("jobs", "inspect", str(next(iter(holds.values()))["job"]))
            self.screen.say(f"meanwhile, look around: {self.url}{API_PAGE}, or")
            self.screen.command(f"ROOST_URL={self.url} {self._shown(some)}")

    async def _results(self, settings: Settings, handles: dict[str, Any], *, yes: bool) -> dict[str, Receipt]:
        patience = RECOVERY_SECONDS if yes else APPROVAL_SECONDS
        receipts = {user: await handle.result(timeout=patience) for user, handle in handles.items()}
        self.screen.act("Sent")
        self._expect(
            {
                ("started", "read"): 1, ("finished", "read"): 1,
                ("started", "summarise"): 2, ("finished", "summarise"): 1,
                ("started", "send"): 1, ("finished", "send"): 1,
            },
            settings,
        )  # fmt: skip
        self.screen.checked("each step of each job ran to its end exactly once")
        return receipts

    def _sent(self, receipts: dict[str, Receipt], approved: dict[str, str], sink: SmtpSink | None) -> None:
        for user, receipt in receipts.items():
            if sink is None:
                self.screen.checked(f"{receipt.accepted_by} accepted {receipt.message_id} for {user}")
                continue
            own = [mail for mail in sink.received if mail.recipients == [user]]
            if [mail.parsed()["Message-ID"] for mail in own] != [receipt.message_id]:
                raise DemoFailed(f"{user} got {len(own)} mails instead of the one with {receipt.message_id}")
            headers, _, text = rendered(own[0]).partition("\n\n")
            if text.splitlines() != approved[user].rstrip().splitlines():
                raise DemoFailed(f"{user} got another text than the approved one:\n{text}")
            lines = text.splitlines()
            self.screen.quoted("\n".join([headers, "", *lines[:MAIL_LINES]]))
            if len(lines) > MAIL_LINES:
                self.screen.quoted(f"… {len(lines) - MAIL_LINES} more lines")
            self.screen.checked(f"{user} got this one mail; its text is the approved one, word for word")
        if sink is not None and len(sink.received) != len(receipts):
            raise DemoFailed(f"{len(sink.received)} mails arrived instead of {len(receipts)}")

    async def _where_to_look(self, handles: dict[str, Any]) -> None:
        self.screen.act("Where to look")
        page = self.url + API_PAGE
        with await asyncio.to_thread(urllib.request.urlopen, page, timeout=10) as reply:
            if reply.status != 200:
                raise DemoFailed(f"{page} answers {reply.status}")
        self.screen.say(f"API page, while a server runs: {page}")
        handle = next(iter(handles.values()))
        command = roost_command("jobs", "inspect", str(handle.id))
        self.screen.command(f"ROOST_URL={self.url} {self._shown(command)}")
        self.screen.quoted(await run(command, self.environ))

    async def _start_worker(self, name: str) -> Child:
        command = roost_command("worker", "examples.daily_brief.jobs:app", "--lease", LEASE)
        self.screen.command(self._shown(command))
        return await self._start(name, command)

    async def _start(self, name: str, command: list[str]) -> Child:
        child = await Child.start(name, command, self.environ, self.folder)
        self.children.append(child)
        return child

    async def _stop_children(self) -> None:
        stubborn = [child.name for child in reversed(self.children) if not await child.stop()]
        if stubborn:
            raise DemoFailed(f"had to be killed because SIGTERM did not end it: {', '.join(stubborn)}")

    def _count(self) -> Counter[tuple[str, str]]:
        return Counter((entry.event, entry.step) for entry in entries(self.journal))

    def _expect(self, counts: dict[tuple[str, str], int], settings: Settings) -> None:
        """Raise DemoFailed unless the journal says exactly `counts` for each user."""
        noted: dict[str, Counter[tuple[str, str]]] = {user: Counter() for user in settings.users}
        for entry in entries(self.journal):
            noted.setdefault(entry.user, Counter())[entry.event, entry.step] += 1
        for user, found in noted.items():
            if found != Counter(counts):
                raise DemoFailed(f"{user}: expected {counts} in the journal, found {dict(found)}")

    @staticmethod
    def _shown(command: list[str]) -> str:
        """The command as it can be pasted into a shell in this folder."""
        program = Path(command[0])
        with contextlib.suppress(ValueError):
            program = program.relative_to(Path.cwd())
        return shlex.join([str(program), *command[1:]])
