"""What a handler tells while it runs: progress, log lines and saved state, kept until a heartbeat carries them away."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from roost.wire.attempts import NewLogLine
from roost.wire.jobs import Progress

LINES_PER_BEAT = 1000
LINES_KEPT = 10_000
MESSAGE_LENGTH = 4096
PROGRESS_MESSAGE_LENGTH = 1000


class Told(msgspec.Struct):
    """What one heartbeat (or step record) carries away."""

    progress: Progress | None = None
    saved: msgspec.Raw | None = None
    logs: list[NewLogLine] = []


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
        self._sending = False

    @property
    def pending(self) -> bool:
        """Whether anything waits to be sent, or is on its way."""
        with self._lock:
            return self._sending or self._any()

    @property
    def sending(self) -> bool:
        """Whether a heartbeat is carrying something of this attempt right now."""
        return self._sending

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
        """What waits, marked as on its way; None when nothing does. `sent` or `give_back` must follow."""
        with self._lock:
            if self._sending or not self._any():
                return None
            self._sending = True
            if self._dropped and len(self._logs) < LINES_KEPT:
                self._logs.append(NewLogLine(message=f"{self._dropped} log lines were dropped", level="warning"))
                self._dropped = 0
            told = Told(self._progress, self._saved, self._logs[:LINES_PER_BEAT])
            del self._logs[:LINES_PER_BEAT]
            self._progress = self._saved = None
            return told

    def sent(self) -> None:
        """What was taken has arrived, or was refused for good."""
        with self._lock:
            self._sending = False

    def give_back(self, told: Told) -> None:
        """What was taken did not arrive; newer progress and state win over it."""
        with self._lock:
            self._sending = False
            self._logs[:0] = told.logs
            self._progress = self._progress or told.progress
            self._saved = self._saved or told.saved

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
