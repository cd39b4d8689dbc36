"""Recorded steps: a function's name and input, and the output that stands for it from then on."""

from __future__ import annotations

import functools
import hashlib
import inspect
import time
import typing
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from roost.domain.records import STARTED_KINDS, Flag
from roost.errors import InvalidRequest, StepChanged
from roost.sdk.adapters import Adapter, adapter, encode
from roost.sdk.ports import LoadSteps, Port, Record, Start
from roost.wire.attempts import RecordedStep, Step, Steps
from roost.wire.codec import decode

_NAME_LENGTH = 200


class Recorder:
    """The steps of one attempt's job: loaded once, when first asked for."""

    __slots__ = ("_flags", "_port", "_running", "_steps")

    def __init__(self, port: Port, flags: int) -> None:
        self._port = port
        self._flags = flags
        self._steps: dict[str, Step] | None = None
        self._running: set[str] = set()

    async def find(self, name: str, input_hash: str) -> Step | None:
        """The recorded step; raises `StepChanged` where it was recorded with another input."""
        step = await self.look(name)
        return None if step is None else _same(step, input_hash)

    async def look(self, name: str) -> Step | None:
        """The recorded step, whatever its input was."""
        if not 0 < len(name) <= _NAME_LENGTH:
            raise InvalidRequest("a step's name has 1 to 200 characters", path="name", help="name it by what it does")
        if self._steps is None:
            loaded = decode(await self._port.ask(LoadSteps()), Steps).steps if self._flags & Flag.STEPS else []
            # Another step of the same handler may have loaded, and recorded, in the meantime.
            if self._steps is None:
                self._steps = {step.name: step for step in loaded}
        return self._steps.get(name)

    async def record(self, name: str, kind: str, input_hash: str, output: bytes, started_at: int) -> Step:
        """Make the step durable; where it was recorded in the meantime, that one stands. Raises as `find`."""
        answer = await self._port.ask(Record(name, kind, input_hash, msgspec.Raw(output), started_at))
        step = _same(decode(answer, RecordedStep).step, input_hash)
        if self._steps is not None:
            self._steps[name] = step
        return step

    async def start(self, name: str, kind: str, input_hash: str, started_at: int) -> None:
        """Tell that the step runs now, if its kind is one that is told; raises `LeaseLost` where it must not run."""
        if kind in STARTED_KINDS:
            await self._port.ask(Start(name, kind, input_hash, started_at))

    def begin(self, name: str) -> None:
        """Raises `InvalidRequest` where a step of that name runs at this moment: only one could be recorded."""
        if name in self._running:
            raise InvalidRequest(
                f"step {name!r} runs already", path="name", help="give each concurrent step its own name"
            )
        self._running.add(name)

    def done(self, name: str) -> None:
        self._running.discard(name)


def input_hash(args: object, kwargs: object) -> str:
    """SHA-256 in hex of a call's arguments as canonical JSON; raises `InvalidRequest` where they are no JSON."""
    return hashlib.sha256(encode([args, kwargs], "args", canonical=True)).hexdigest()


def wall_ms() -> int:
    """This machine's clock, in milliseconds since the epoch: for people to read; nothing is decided by it."""
    return time.time_ns() // 1_000_000


def returns(function: Callable[..., Any]) -> Adapter[Any]:
    """How a recorded output becomes the function's value again: by its return annotation, else plain JSON."""
    try:
        return _returns(function)
    except TypeError:  # a callable that cannot be hashed
        return _returns.__wrapped__(function)


@functools.lru_cache(maxsize=1024)
def _returns(function: Callable[..., Any]) -> Adapter[Any]:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        return adapter(function)
    function = inspect.unwrap(function)
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        hint = typing.get_type_hints(function, include_extras=True).get("return", Any)
    except (NameError, TypeError):
        # A name that exists for type checkers only: the value is plain JSON then, live and resumed alike.
        hint = Any
    origin = typing.get_origin(hint)
    if inspect.isclass(origin) and issubclass(origin, Awaitable):
        hint = typing.get_args(hint)[-1]
    return adapter(hint)


def _same(step: Step, input_hash: str) -> Step:
    if step.input_hash != input_hash:
        raise StepChanged(
            f"step {step.name!r} was recorded with another input",
            help="the handler is not deterministic up to here: record what varies (time, random) as a step too; "
            "where the job's own input was edited, clone the job: a clone starts without steps",
        )
    return step
