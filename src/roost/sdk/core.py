"""What a context does, written once: `roost.sdk.context` gives it an async and a sync face."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, Literal

import msgspec

from roost.domain.admission import SAVED_LIMIT, check_size
from roost.domain.duration import to_milliseconds
from roost.domain.holds import subject_hash
from roost.domain.records import STARTED_KINDS, Flag
from roost.errors import InvalidRequest
from roost.sdk.adapters import adapter, encode
from roost.sdk.attempt import Cancellation
from roost.sdk.notes import MESSAGE_LENGTH, PROGRESS_MESSAGE_LENGTH, clean
from roost.sdk.outcome import DurationLike, duration_text
from roost.sdk.ports import Append, CountChunks, LoadHolds, LoadSaved, Port, ServerTime, Tell
from roost.sdk.related import Related
from roost.sdk.signals import Asleep, Held
from roost.sdk.steps import Recorder, input_hash, returns, wall_ms
from roost.sdk.styles import Style
from roost.wire.attempts import Lease, NewHold, NewLogLine
from roost.wire.codec import decode, milliseconds, timestamp
from roost.wire.holds import Hold, HoldPage
from roost.wire.jobs import Progress

Level = Literal["debug", "info", "warning", "error"]

SHORTEST_SLEEP_MS = 1000
"""Below this a sleep just waits: giving the job back and claiming it again would cost more."""
_TITLE_LENGTH = 200
SUMMARY_LENGTH = 4000

job_logger = logging.getLogger("roost.job")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A person's approval."""

    approved_by: str | None
    """Who approved; None where the deadline did."""
    note: str = ""
    answer: Any = None
    """What they sent along to revise the subject, as plain JSON."""
    hold_id: int


class Core:
    """The one implementation behind both contexts."""

    def __init__(
        self, lease: Lease, port: Port, style: Style, tell: Callable[[Tell], None], cancellation: Cancellation
    ) -> None:
        self.lease = lease
        self.cancellation = cancellation
        self.style = style
        self._port = port
        self._tell = tell
        self._recorder = Recorder(port, lease.flags)
        self._holds: list[Hold] | None = None
        self._saved: bytes | None = None
        self._sleeps = 0
        self.related = Related(lease.id, port, self._recorder)
        self.summary: str | None = None
        self._appended = 0
        self._stored: int | None = None

    async def step(
        self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], kind: str
    ) -> Any:
        digest = input_hash(args, kwargs)
        step = await self._recorder.find(name, digest)
        if step is None:
            self._recorder.begin(name)
            try:
                started_at = wall_ms()
                await self._recorder.start(name, kind, digest, started_at)
                output = encode(await self.style.call(function, args, kwargs), name)
                step = await self._recorder.record(name, kind, digest, output, started_at)
            finally:
                self._recorder.done(name)
        # Live and resumed take the same way back from JSON: the handler cannot see a difference.
        return returns(function).decode(step.output, name)

    async def map(
        self, name: str, function: Callable[..., Any], items: Iterable[Any], concurrency: int, kind: str
    ) -> list[Any]:
        if concurrency < 1:
            raise InvalidRequest("concurrency is at least 1", path="concurrency")
        works = [
            partial(self.step, f"{name}[{index}]", function, (item,), {}, kind) for index, item in enumerate(items)
        ]
        return await self.style.all(works, concurrency, costly=kind in STARTED_KINDS)

    async def sleep(self, duration: DurationLike, name: str | None) -> None:
        length = to_milliseconds(duration, path="duration")
        if length < SHORTEST_SLEEP_MS:
            await self.style.pause(length / 1000)
            return
        self._sleeps += 1
        name = name or f"sleep-{self._sleeps}"
        digest = input_hash([length], {})
        step = await self._recorder.find(name, digest)
        now = await self._server_time()
        if step is None:
            wake = encode(timestamp(now + length))
            step = await self._recorder.record(name, "sleep", digest, wake, wall_ms())
        left = milliseconds(decode(bytes(step.output), datetime), name) - now
        if left >= SHORTEST_SLEEP_MS:
            raise Asleep(left)
        if left > 0:
            await self.style.pause(left / 1000)

    async def _server_time(self) -> int:
        """Milliseconds by the clock that wakes the job: this machine's may differ."""
        return milliseconds(decode(await self._port.ask(ServerTime()), datetime), "now")

    async def approve(
        self, title: str, show: object, expires: DurationLike | None, on_expiry: Literal["deny", "approve"]
    ) -> Decision:
        hold = await self._decided("approval", title, encode(show, "show", canonical=True), expires, on_expiry)
        answer = None if hold.answer is None else adapter(Any).decode(hold.answer, "answer")
        return Decision(approved_by=hold.decided_by, note=hold.note or "", answer=answer, hold_id=hold.id)

    async def ask(self, question: str, show: object, expires: DurationLike | None, kind: Any) -> Any:
        subject: dict[str, object] = {"question": question}
        if show is not None:
            subject["show"] = show
        text = encode(subject, "show", canonical=True)
        title = question if len(question) <= _TITLE_LENGTH else question[: _TITLE_LENGTH - 1] + "…"
        hold = await self._decided("question", title, text, expires, "deny")
        return adapter(kind).decode(hold.answer or b"null", "answer")

    async def _decided(
        self,
        reason: Literal["approval", "question"],
        title: str,
        subject: bytes,
        expires: DurationLike | None,
        on_expiry: Literal["deny", "approve"],
    ) -> Hold:
        """The favourable decision on exactly this subject; where there is none, the attempt ends to ask for it."""
        quoted = subject_hash(subject.decode())
        for hold in await self._known_holds():
            asked = (hold.reason, hold.title, hold.subject_hash) == (reason, title, quoted)
            if asked and hold.current and _favourable(hold):
                return hold
        raise Held(
            NewHold(
                reason=reason,
                title=title,
                subject=msgspec.Raw(subject),
                expires=None if expires is None else duration_text(expires, "expires"),
                on_expiry=on_expiry,
            )
        )

    async def _known_holds(self) -> list[Hold]:
        if self._holds is None:
            held = self.lease.flags & Flag.HOLDS
            self._holds = decode(await self._port.ask(LoadHolds()), HoldPage).holds if held else []
        return self._holds

    def progress(self, current: float | None, total: float | None, message: str) -> None:
        text = clean(message, PROGRESS_MESSAGE_LENGTH)
        self._tell(Tell(progress=Progress(current=current, total=total, message=text)))

    async def append(self, chunks: Iterable[object]) -> None:
        """The job's nth chunk is the nth one appended: what an earlier attempt stored is not stored again."""
        if self._stored is None:
            resumed = self.lease.attempt > 1
            self._stored = decode(await self._port.ask(CountChunks()), int) if resumed else 0
        fresh: list[msgspec.Raw] = []
        for chunk in chunks:
            self._appended += 1
            if self._appended > self._stored:
                fresh.append(msgspec.Raw(encode(chunk, "chunk")))
        if fresh:
            await self._port.ask(Append(fresh))

    def sum_up(self, text: str) -> None:
        self.summary = clean(text, SUMMARY_LENGTH)

    def log(self, message: str, level: Level) -> None:
        extra = {"job_id": self.lease.id, "attempt": self.lease.attempt, "kind": self.lease.kind}
        job_logger.log(logging.getLevelNamesMapping()[level.upper()], "%s", message, extra=extra)
        line = NewLogLine(message=clean(str(message), MESSAGE_LENGTH), level=level, at=wall_ms())
        self._tell(Tell(log=line))

    def save(self, state: object) -> None:
        saved = encode(state, "state")
        # Told in the background, where no handler could hear a refusal.
        check_size(saved, SAVED_LIMIT, "state")
        self._saved = saved
        self._tell(Tell(saved=msgspec.Raw(self._saved)))

    async def saved(self, kind: Any) -> Any:
        if self._saved is None:
            self._saved = await self._port.ask(LoadSaved()) if self.lease.flags & Flag.SAVED else b"null"
        return None if self._saved == b"null" else adapter(kind).decode(self._saved, "saved")


def _favourable(hold: Hold) -> bool:
    approved = ("approved", "answered") if hold.reason == "approval" else ("answered",)
    return hold.state in approved or (hold.state == "expired" and hold.on_expiry == "approve")
