"""One tree of errors, one code per error.

Every refusal Roost makes is a `RoostError`: a stable ``code`` for programs, a message for people, the ``path`` of the
offending field (``"jobs[3].input.user"``; empty when no field is to blame) and ``help``: what to do about it. The HTTP
status is part of the class, so that a refusal means the same on every path; the SDK turns a reply back into the class.
"""

from __future__ import annotations

from typing import ClassVar


class RoostError(Exception):
    """Anything Roost refuses or fails to do; ``code`` tells which."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, path: str = "", help: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.help = help
        self.retry_after = retry_after
        """Seconds after which the same call may succeed; set where waiting helps."""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        hint = f" ({self.help})" if self.help else ""
        return f"{where}{self.message}{hint}"


# --- the caller's words are wrong: 4xx, nothing stored ----------------------------------------------------------------


class InvalidRequest(RoostError):
    """A field is missing, unknown, of the wrong type or outside its bounds."""

    code = "invalid_request"
    status = 422


class InvalidJson(RoostError):
    """The body is not the strict JSON Roost stores: bad syntax, depth, duplicate keys, NaN, NUL, lone surrogates."""

    code = "invalid_json"
    status = 400


class InvalidDuration(InvalidRequest):
    """A duration is not of the form ``90s``, ``5m``, ``1h30m``."""

    code = "invalid_duration"


class InvalidCron(InvalidRequest):
    """A cron expression cannot be read, or never fires."""

    code = "invalid_cron"


class InvalidZone(InvalidRequest):
    """A time zone is not an IANA name this machine knows."""

    code = "invalid_zone"


class SchemaMismatch(InvalidRequest):
    """An input does not fit the schema of its kind; the path leads to the place inside the input."""

    code = "schema_mismatch"


class InvalidCursor(InvalidRequest):
    """A page cursor was not made by this server for this list."""

    code = "invalid_cursor"


class CursorTooOld(RoostError):
    """Events after this position are kept no more; reading goes on from the oldest or the newest that there is."""

    code = "cursor_too_old"
    status = 410


class InvalidQuery(InvalidRequest):
    """A search text cannot be read; ``position`` is the character, counted from 0."""

    code = "invalid_query"

    def __init__(
        self,
        message: str,
        *,
        path: str = "query",
        help: str = "",
        retry_after: float | None = None,
        position: int = 0,
    ) -> None:
        super().__init__(message, path=path, help=help, retry_after=retry_after)
        self.position = position


class DependencyCycle(InvalidRequest):
    """Jobs wait, or would wait, for each other in a circle."""

    code = "dependency_cycle"


class TooLarge(RoostError):
    """A body, input, result or batch is over its limit."""

    code = "too_large"
    status = 413


class RequestTimeout(RoostError):
    """The client sent its request too slowly."""

    code = "request_timeout"
    status = 408


class HeadersTooLarge(RoostError):
    """The request line and headers are over their limit."""

    code = "headers_too_large"
    status = 431


class UnsupportedMediaType(RoostError):
    """The body is not ``application/json``, or it is compressed."""

    code = "unsupported_media_type"
    status = 415


class InvalidSignature(RoostError):
    """A webhook's signature is missing, does not fit, or is of another time; nothing was stored."""

    code = "invalid_signature"
    status = 401


class NotFound(RoostError):
    """There is no such job, queue, schedule, hold, worker or route."""

    code = "not_found"
    status = 404


class MethodNotAllowed(RoostError):
    """The route exists, the method does not."""

    code = "method_not_allowed"
    status = 405


class ForeignHost(RoostError):
    """The Host or Origin header names somebody else: a rebinding page, or a proxy that is not on the list."""

    code = "foreign_host"
    status = 421


# --- the caller lost a race or a right: 409 ---------------------------------------------------------------------------


class Conflict(RoostError):
    """What is asked cannot be done in the state the thing is in."""

    code = "conflict"
    status = 409


class LeaseLost(Conflict):
    """The lease token is not the current one: another worker has the job, or it ended."""

    code = "lease_lost"


class UniqueConflict(Conflict):
    """The unique key belongs to a job with another input."""

    code = "unique_conflict"


class OperationMismatch(Conflict):
    """The operation id was used before, for another request."""

    code = "operation_mismatch"


class StepChanged(Conflict):
    """A recorded step was asked for with another input: the handler is not deterministic."""

    code = "step_changed"


class HoldDecided(Conflict):
    """The hold was decided already, another way."""

    code = "hold_decided"


class HoldExpired(Conflict):
    """The hold's deadline has passed; its declared outcome stands."""

    code = "hold_expired"


class SubjectChanged(Conflict):
    """The decision quotes another subject than the one that is held."""

    code = "subject_changed"


# --- the store or the server cannot now: try again --------------------------------------------------------------------


class Overloaded(RoostError):
    """Too much is waiting; try again after ``retry_after`` seconds."""

    code = "overloaded"
    status = 429


class Unavailable(RoostError):
    """The store cannot be reached or the server is shutting down; nothing was done."""

    code = "unavailable"
    status = 503


class Contended(Unavailable):
    """A transaction that is still open holds what this call needs, such as its unique key; nothing was done."""

    code = "contended"


class OutcomeUnknown(RoostError):
    """The commit's fate is not known; repeat the call with the same operation id."""

    code = "outcome_unknown"
    status = 503


# --- the store itself -------------------------------------------------------------------------------------------------


class StoreError(RoostError):
    """The store cannot be opened or trusted."""

    code = "store_error"
    status = 503


class StoreOwned(StoreError):
    """Another process owns the SQLite file; the message names it, and the URL where it is a server."""

    code = "store_owned"


class StoreTooNew(StoreError):
    """The store's schema is newer than this Roost."""

    code = "store_too_new"


class StoreUnsupported(StoreError):
    """The database's version or settings break a promise Roost makes."""

    code = "store_unsupported"


# --- the client's own -------------------------------------------------------------------------------------------------


class ConfigurationError(RoostError):
    """A setting, URL, module or handler name cannot be used."""

    code = "configuration"
    status = 400


class JobFailed(RoostError):
    """`handle.result()` of a job that did not succeed; the message carries its state, reason and last error."""

    code = "job_failed"
    status = 409


class ResultTimeout(RoostError):
    """`handle.result()` waited as long as it was told to; the job goes on."""

    code = "result_timeout"
    status = 408


def _tree(cls: type[RoostError]) -> dict[str, type[RoostError]]:
    found = {cls.code: cls}
    for child in cls.__subclasses__():
        found.update(_tree(child))
    return found


BY_CODE: dict[str, type[RoostError]] = _tree(RoostError)
"""Code to class, so that a client can raise what the server refused with."""
