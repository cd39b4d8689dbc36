"""Calls of jobs that are not stored yet: what batches, chains and graphs are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from roost.errors import InvalidRequest, RoostError
from roost.sdk.reference import JobReference
from roost.sdk.registry import Handler
from roost.wire.jobs import NewJob

R = TypeVar("R")

_NO_REFS: Mapping[JobCall[Any], str] = MappingProxyType({})


class JobCall(Generic[R]):
    """One call of a job under its options, checked and not enqueued; made by ``job.call(...)``."""

    __slots__ = ("_after", "_job", "handler")

    def __init__(self, job: NewJob, handler: Handler[R], after: Sequence[JobReference | JobCall[Any] | int]) -> None:
        self._job = job
        self._after = after
        self.handler = handler

    def new_job(self, refs: Mapping[JobCall[Any], str] = _NO_REFS) -> NewJob:
        """What is sent for it; ``refs`` names the calls that are enqueued together with it.

        Raises `InvalidRequest` where it comes after a call that is not among them.
        """
        changes: dict[str, Any] = {}
        if self._after:
            changes["after"] = [_target(one, refs) for one in self._after]
        if self in refs:
            changes["ref"] = refs[self]
        return msgspec.structs.replace(self._job, **changes) if changes else self._job

    def __repr__(self) -> str:
        return f"<call of {self._job.kind}>"


def new_jobs(calls: Iterable[JobCall[Any]], path: str = "jobs") -> list[NewJob]:
    """What is sent for calls that are enqueued together, each of which may come after others of them.

    Raises `InvalidRequest` with the call's index in the path.
    """
    listed = list(calls)
    refs = {call: f"call-{index}" for index, call in enumerate(listed)}
    if len(refs) != len(listed):
        raise InvalidRequest("a call is there twice", path=path, help="make a call of its own for each job")
    wanted = {one for call in listed for one in call._after if isinstance(one, JobCall)}
    # A name costs every job its bytes on the wire; only those that others come after need one.
    named = {call: ref for call, ref in refs.items() if call in wanted}
    made: list[NewJob] = []
    for call in listed:
        try:
            made.append(call.new_job(named))
        except RoostError as error:
            error.path = f"{path}[{len(made)}].{error.path}"
            raise
    return made


def after_ids(after: Sequence[JobReference | JobCall[Any] | int]) -> list[int | str]:
    """The jobs that a job enqueued by itself comes after; raises `InvalidRequest` for one that is not enqueued."""
    return [_target(one, _NO_REFS) for one in after]


def _target(one: JobReference | JobCall[Any] | int, refs: Mapping[JobCall[Any], str]) -> int | str:
    if isinstance(one, JobCall):
        if one not in refs:
            raise InvalidRequest(
                f"{one!r} is not enqueued", path="after", help="enqueue it first, or both together: app.enqueue_all"
            )
        return refs[one]
    return one if isinstance(one, int) else one.id
