"""What a handler's return or exception says about its attempt: the one mapping, for all executors."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from roost.domain.duration import format_duration
from roost.errors import ConfigurationError, RoostError, StepChanged
from roost.sdk.notes import clean
from roost.sdk.outcome import Cancel, Exit, Fatal, Retry, Snooze
from roost.sdk.registry import Handler, type_name
from roost.sdk.signals import Asleep, Held, Waits
from roost.wire.attempts import Outcome
from roost.wire.jobs import ErrorInfo

_TYPE_LENGTH = 200
_MOST_BASES = 32
_EVERY = (Exception, BaseException, object)
"""Bases that say nothing of an error."""
_MESSAGE_LENGTH = 10_000
_TRACEBACK_LENGTH = 60_000
_HERE = str(Path(__file__).parent)


def returned(id: int, token: str, handler: Handler[Any], value: object) -> Outcome:
    """Success with the value as JSON; a value that is no JSON fails the job for good: it would be the same again."""
    leaves = isinstance(value, Exit)
    if isinstance(value, Exit):
        value = value.result
    if value is None:
        return Outcome(id=id, token=token, exit=leaves)
    try:
        return Outcome(id=id, token=token, result=msgspec.Raw(handler.encode_result(value)), exit=leaves)
    except RoostError as error:
        info = ErrorInfo(
            type="UnserialisableResult",
            message=clean(f"{handler.kind} returned what is not JSON: {error}", _MESSAGE_LENGTH),
        )
        return Outcome(id=id, token=token, outcome="fail", error=info, fatal=True)


def raised(id: int, token: str, error: BaseException, handler: Handler[Any] | None = None) -> Outcome:
    """What the handler raised: a word about the job, a signal of its context, or a failure."""
    if isinstance(error, Exit) and handler is not None:
        return returned(id, token, handler, error)
    outcome = Outcome(id=id, token=token, outcome="fail")
    match error:
        case Waits():
            outcome.outcome, outcome.wait = "wait", error.wait
        case Asleep():
            outcome.outcome, outcome.after = "sleep", format_duration(error.after_ms)
        case Held():
            outcome.outcome, outcome.hold = "hold", error.hold
        case Snooze():
            outcome.outcome, outcome.after = "snooze", error.after
        case Cancel():
            outcome.outcome = "cancel"
            outcome.error = ErrorInfo(type="Cancel", message=clean(error.why, _MESSAGE_LENGTH)) if error.why else None
        case Retry():
            outcome.after, outcome.error = error.after, error_info(error)
        case Fatal() | StepChanged() | ConfigurationError():
            outcome.fatal, outcome.error = True, error_info(error)
        case _:
            outcome.error = error_info(error)
    return outcome


def failed(id: int, token: str, kind: str, message: str, *, fatal: bool = False) -> Outcome:
    """A failure that no exception tells of."""
    info = ErrorInfo(type=kind, message=clean(message, _MESSAGE_LENGTH))
    return Outcome(id=id, token=token, outcome="fail", error=info, fatal=fatal)


def error_info(error: BaseException) -> ErrorInfo:
    """Type, message and traceback (chained causes included, Roost's own frames left out), bounded in size."""
    kind = type(error)
    try:
        message = str(error)
    except BaseException as broken:  # the handler's class decides what str() does
        message = f"(its message cannot be read: {type(broken).__name__})"
    return ErrorInfo(
        type=clean(type_name(kind), _TYPE_LENGTH),
        message=clean(message, _MESSAGE_LENGTH),
        traceback=_middle_out(_formatted(error), _TRACEBACK_LENGTH),
        bases=[clean(type_name(base), _TYPE_LENGTH) for base in kind.__mro__[1:] if base not in _EVERY][:_MOST_BASES],
    )


def _formatted(error: BaseException) -> str:
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_HERE):
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except BaseException as broken:  # as above
        return f"(its traceback cannot be written: {type(broken).__name__})"


def _middle_out(text: str, limit: int) -> str:
    """The beginning and the end: what was called, and what went wrong."""
    if len(text) > limit:
        half = limit // 2 - 20
        text = f"{text[:half]}\n… left out …\n{text[-half:]}"
    return clean(text, limit)
