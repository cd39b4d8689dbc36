"""Webhook receivers as observers of the feed's campaign: every event comes, under one id, in order for each job."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from roost.domain.feed import Position, parse_position
from roost.domain.signatures import verify
from roost.sdk._sync.client import Client
from roost.service.dispatcher import NOISE
from roost.wire.events import FeedEvent
from tests.support.receiver import Answer, Message, Receiver, receiving

ALLOW = "ROOST_WEBHOOK_ALLOW"


class ReceiverThread:
    """A receiver on a loop of its own, told of everything; a ``flaky`` one refuses some messages the first time."""

    def __init__(self, name: str, *, flaky: bool = False) -> None:
        self.name = name
        self._flaky = flaky
        self._client: Client | None = None
        self._secret = ""
        self._refused: set[str] = set()
        self.accepted: list[str] = []
        """The ids of the events, as often and in the order they were accepted."""
        self.wrong: list[str] = []
        self._ready = threading.Event()
        self._end = threading.Event()
        self._receiver: Receiver | None = None
        self._messages: dict[str, str] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=name, daemon=True)

    def begin(self, client: Client) -> None:
        """Listen, and have the server tell of everything from now on."""
        self._thread.start()
        assert self._ready.wait(20)
        assert self._receiver is not None
        self._client = client
        made = client.webhooks.put(self.name, self._receiver.url)
        assert made.secret is not None
        self._secret = made.secret

    def end(self) -> None:
        """Listen no more."""
        self._end.set()
        if self._thread.ident is not None:  # what failed before it began is what shall be told
            self._thread.join(20)

    async def _run(self) -> None:
        async with receiving(self._answer) as self._receiver:
            self._ready.set()
            while not self._end.is_set():
                await asyncio.sleep(0.05)
                # What was looked at is not needed any more; 200,000 messages are.
                self._receiver.messages.clear()

    def _answer(self, message: Message) -> Answer:
        id = message.event["id"]
        if self._secret:
            try:
                verify("standard", [self._secret], message.headers, message.body, int(time.time() * 1000))
            except Exception as error:
                self.wrong.append(f"{id}: {error}")
        if self._messages.setdefault(id, message.id) != message.id:
            self.wrong.append(f"{id} came as {message.id} and as {self._messages[id]}")
        if self._flaky and id not in self._refused and zlib.crc32(message.id.encode()) % 50 == 0:
            self._refused.add(id)
            return "503 Not now"
        self.accepted.append(id)
        return "204 OK"

    # --- as the campaign asks -----------------------------------------------------------------------------------------

    def finished(self, last: str) -> bool:
        """Whether it has heard of all events up to the one with id ``last``."""
        assert self._client is not None
        return last in self.accepted[-10_000:] and self._client.webhooks.get(self.name).pending == 0

    def violations(self, stored: list[FeedEvent]) -> list[str]:
        """What is missing, strange, badly signed, or out of order for its job."""
        found = [f"{self.name}: {each}" for each in self.wrong[:5]]
        accepted = set(self.accepted)
        # The first one accepted need not be the first one told: that may have been refused, and come later.
        heard = accepted | self._refused
        begun = next((place for place, event in enumerate(stored) if event.id in heard), 0)
        wanted = {event.id: event for event in stored[begun:] if event.type not in NOISE}
        missing, strange = wanted.keys() - accepted, accepted - wanted.keys()
        if missing or strange:
            found.append(f"{self.name}: {len(missing)} missing {sorted(missing)[:5]}, {len(strange)} not stored")
        if not self._flaky:
            found += self._disorder(wanted)
        return found

    def _disorder(self, wanted: dict[str, FeedEvent]) -> Iterator[str]:
        latest: dict[int, Position] = {}
        for id in dict.fromkeys(self.accepted):
            job = wanted[id].job if id in wanted else None
            if job is not None:
                position = parse_position(id)
                if position < latest.get(job, position):
                    yield f"{self.name}: event {id} of job {job} came after {latest[job]}"
                latest[job] = position


@contextmanager
def receivers() -> Iterator[list[ReceiverThread]]:
    """A steady receiver and one that refuses some messages at first; servers started meanwhile may reach them."""
    before = os.environ.get(ALLOW)
    os.environ[ALLOW] = "127.0.0.1"
    found = [ReceiverThread("steady"), ReceiverThread("flaky", flaky=True)]
    try:
        yield found
    finally:
        for receiver in found:
            receiver.end()
        if before is None:
            del os.environ[ALLOW]
        else:
            os.environ[ALLOW] = before


def observing(found: Sequence[ReceiverThread], client: Client) -> Sequence[ReceiverThread]:
    """Let the receivers be told, before anything happens."""
    for receiver in found:
        receiver.begin(client)
    return found
