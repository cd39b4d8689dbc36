"""How an attempt leaves its handler early: raised through user code, so nothing here is an `Exception`.

A handler's ``except Exception`` is for its own failures; it must not swallow the end of the attempt.
"""

from __future__ import annotations

from roost.wire.attempts import NewHold, NewWait


class AttemptSignal(BaseException):
    """The base of what the context raises to end the attempt."""


class Asleep(AttemptSignal):
    """The job sleeps for ``after_ms`` and goes on in a new attempt."""

    def __init__(self, after_ms: int) -> None:
        super().__init__(f"asleep for {after_ms} ms")
        self.after_ms = after_ms


class Held(AttemptSignal):
    """A person must answer ``hold`` first; the job goes on in a new attempt."""

    def __init__(self, hold: NewHold) -> None:
        super().__init__(f"held for {hold.title!r}")
        self.hold = hold


class Waits(AttemptSignal):
    """The job waits for other jobs or for a signal, and goes on in a new attempt."""

    def __init__(self, wait: NewWait) -> None:
        super().__init__(f"waits for {wait.signal!r}" if wait.signal else f"waits for {len(wait.jobs or ())} jobs")
        self.wait = wait


class Stopped(AttemptSignal):
    """The attempt is over (lease lost, time limit, shutdown) and the handler, in its thread, has not noticed yet."""
