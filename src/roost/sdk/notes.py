"""What a handler tells while it runs: progress, log lines and saved state, kept until a heartbeat carries them away."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from roost.wire.attempts import NewLogLine
from roost.wire.jobs import Progress

LINES_PER_BEAT = 1000
CHARACTERS_PER_BEAT = 200_000
"""Of log lines in one heartbeat of a job: a call stays far below what a server takes at once."""
LINES_KEPT = 10_000
MESSAGE_LENGTH = 4096
PROGRESS_MESSAGE_LENGTH = 1000


class Told(msgspec.Struct):
    """What one heartbeat (or step record) carries away."""

    progress: Progress | None = None
    saved: msgspec.Raw | None = None
    logs: list[NewLogLine] = []

    @property
    def length(self) -> int:
        """In characters, about."""
        return sum(len(line.message) for line in self.logs) + (0 if self.saved is None else len(bytes(self.saved)))

    def parts(self) -> list[Told]:
        """The same in two, where it is more than one thing: what is refused as a whole may be taken in parts."""
        if self.logs and (self.progress is not None or self.saved is not None):
            return [Told(logs=self.logs), Told(self.progress, self.saved)]
        if len(self.logs) > 1:
            half = len(self.logs) // 2
            return [Told(logs=self.logs[:half]), Told(logs=self.logs[half:])]
        if self.progress is not None and self.saved is not None:
            return [Told(self.progress), Told(saved=self.saved)]
        return [self]


class Notes:
    """The buffer of one attempt; every method may be called from any thread."""

    __slots__ = ("_dropped", "_lock", "_logs", "_nudge", "_progress", "_saved", "_sending")

    def __init__(self, nudge: Callable[[], None]) -> None:
        """``nudge`` is called when there is something to carry away and nothing was before."""
        self._lock = threading.Lock()
        self._nudge = nudge
        self._logs: list[NewLogLine] = []
        self._dropped = 0
        self._progress: Progress | None = None
        self._saved: msgspec.Raw | None = None
        self._sending = 0

    @property
    def pending(self) -> bool:
        """Whether anything waits to be sent, or is on its way."""
        with self._lock:
            return self._sending > 0 or self._any()

    @property
    def waiting(self) -> bool:
        """Whether anything could leave now: nothing overtakes what is on its way."""
        with self._lock:
            return self._sending == 0 and self._any()

    @property
    def sending(self) -> bool:
        """Whether a heartbeat is carrying something of this attempt right now."""
        return self._sending > 0

    def log(self, line: NewLogLine) -> None:
        """Keep a line; beyond `LINES_KEPT` unsent ones the newest are counted instead."""
        with self._lock:
            first = not self._any()
            if len(self._logs) >= LINES_KEPT:
                self._dropped += 1
            else:
                self._logs.append(line)
        if first:
            self._nudge()

    def progress(self, progress: Progress) -> None:
        """Replace what is known of the progress."""
        with self._lock:
            first = not self._any()
            self._progress = progress
        if first:
            self._nudge()

    def save(self, state: msgspec.Raw) -> None:
        """Replace the state blob."""
        with self._lock:
            first = not self._any()
            self._saved = state
        if first:
            self._nudge()

    def take(self) -> Told | None:
        """What waits, marked as on its way until `sent`; None when nothing does, or something is on its way."""
        with self._lock:
            if self._sending or not self._any():
                return None
            self._sending = 1
            if self._dropped and len(self._logs) < LINES_KEPT:
                self._logs.append(NewLogLine(message=f"{self._dropped} log lines were dropped", level="warning"))
                self._dropped = 0
            count = size = 0
            for line in self._logs[:LINES_PER_BEAT]:
                size += len(line.message)
                if count and size > CHARACTERS_PER_BEAT:
                    break
                count += 1
            told = Told(self._progress, self._saved, self._logs[:count])
            del self._logs[:count]
            self._progress = self._saved = None
            return told

    def divided(self, parts: int) -> None:
        """What is on its way goes on in so many parts, each with a `sent` of its own."""
        with self._lock:
            self._sending += parts - 1

    def sent(self) -> None:
        """What was taken, or a part of it, has arrived, was refused for good, or has nobody any more to tell."""
        with self._lock:
            self._sending -= 1

    def take_state(self) -> tuple[Progress | None, msgspec.Raw | None]:
        """Progress and state blob for a step record, which carries them in the same write."""
        with self._lock:
            progress, saved = self._progress, self._saved
            self._progress = self._saved = None
            return progress, saved

    def _any(self) -> bool:
        return bool(self._logs) or self._progress is not None or self._saved is not None or self._dropped > 0


def clean(text: str, limit: int) -> str:
    """``text`` as the strict JSON edge takes it: no NUL, no lone surrogates, at most ``limit`` characters."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()
