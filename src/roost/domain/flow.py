"""What jobs mean to each other: who waits for whom, and what an end means for those who wait. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from roost.domain.records import AfterFailure, Flag, FlowWish, JobOptions, JobRow, Shape
from roost.domain.states import TERMINAL, Event, State
from roost.errors import DependencyCycle, InvalidRequest

WAITS_FOR_JOBS = "dependency"
"""The reason of a waiting job that waits for other jobs' ends."""
WAITS_FOR_SIGNAL = "event"
EARLY_EXIT = "early_exit"
QUARANTINE = "quarantine"

Counted = Literal["succeeded", "failed", "cancelled", "expired", "skipped", "quarantined"]
COUNTERS: tuple[Counted, ...] = ("succeeded", "failed", "cancelled", "expired", "skipped", "quarantined")
"""How a batch counts its members that it does not wait for (any more)."""

_ENDS: dict[State, Counted] = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.EXPIRED: "expired",
}

CallbackEvent = Literal["complete", "success", "failure"]
_options = msgspec.json.Decoder(JobOptions)


class Wanted(msgspec.Struct, frozen=True):
    """What a job of a request says of others: its own ref, and what it waits for."""

    ref: str | None
    after: list[int | str] | None


def resolve(jobs: Sequence[Wanted], path: str) -> list[tuple[list[int], list[int]]]:
    """For each job the ids and the places (in ``jobs``) it waits for.

    Raises `InvalidRequest` for a ref that is twice there or not at all, `DependencyCycle` naming the refs in a circle.
    """
    places: dict[str, int] = {}
    for place, job in enumerate(jobs):
        if job.ref is None:
            continue
        if job.ref in places:
            raise InvalidRequest(
                f"two jobs have the ref {job.ref!r}", path=f"{path}[{place}].ref", help="a ref names one job"
            )
        places[job.ref] = place
    found: list[tuple[list[int], list[int]]] = []
    for place, job in enumerate(jobs):
        ids, refs = list[int](), list[int]()
        for index, need in enumerate(job.after or ()):
            if isinstance(need, int):
                ids.append(need)
            elif need in places:
                refs.append(places[need])
            else:
                raise InvalidRequest(
                    f"no job of this request has the ref {need!r}",
                    path=f"{path}[{place}].after[{index}]",
                    help="give the ref to a job of the same request, or name a stored job by its id",
                )
        found.append((list(dict.fromkeys(ids)), list(dict.fromkeys(refs))))
    _refuse_circles([refs for _, refs in found], jobs, path)
    return found


def _refuse_circles(needs: list[list[int]], jobs: Sequence[Wanted], path: str) -> None:
    """Walks each edge once; what is on the way when it is met again is the circle."""
    done: set[int] = set()
    for start in range(len(needs)):
        trail: list[int] = []
        on_trail: dict[int, int] = {}
        stack = [(start, 0)]
        while stack:
            place, index = stack.pop()
            if index == 0:
                if place in done:
                    continue
                on_trail[place] = len(trail)
                trail.append(place)
            if index < len(needs[place]):
                stack.append((place, index + 1))
                need = needs[place][index]
                if need in on_trail:
                    circle = [jobs[each].ref or "" for each in trail[on_trail[need] :]]
                    raise DependencyCycle(
                        "the jobs wait for each other: " + " after ".join([*circle, circle[0]]),
                        path=f"{path}[{need}].after",
                        help="one of them must be able to start",
                    )
                stack.append((need, 0))
            else:
                done.add(place)
                trail.pop()
                del on_trail[place]


def circle(start: int, wanted: Iterable[int], waits: Mapping[int, Sequence[int]]) -> list[int] | None:
    """The jobs in the circle that ``start`` closes by waiting for ``wanted``, itself first; None: there is none.

    ``waits`` says of jobs that wait for whom they do; each edge is looked at once.
    """
    before: dict[int, int] = {}
    line = [start]
    for job in line:
        for need in wanted if job == start else waits.get(job, ()):
            if need == start:
                found = [job]
                while found[-1] != start:
                    found.append(before[found[-1]])
                return found[::-1]
            if need not in before:
                before[need] = job
                line.append(need)
    return None


def last_of(start: int, waits: Mapping[int, Sequence[int]]) -> int | None:
    """The first job behind ``start`` that waits for none of ``waits``; None: all of them wait for each other."""
    line, seen = [start], {start}
    for job in line:
        if job not in waits:
            return job
        new = [need for need in waits[job] if need not in seen]
        line += new
        seen.update(new)
    return None


def endless(found: list[int]) -> DependencyCycle:
    """The refusal of a wait that closes the circle ``found``."""
    line = " waits for ".join(f"job {id}" for id in [*found, found[0]])
    return DependencyCycle(
        f"the jobs would wait for each other for ever: {line}",
        path="wait.jobs",
        help="one of them must go on first; a wait with a timeout goes on by itself",
    )


def enter(row: JobRow, wish: FlowWish) -> None:
    """Give ``row``, admitted otherwise, what it has to do with others."""
    row.flow = wish
    if wish.batch is not None:
        row.shape = msgspec.structs.replace(row.shape, flags=row.shape.flags | Flag.FLOW)
    if wish.after or wish.places:
        wait_first(row)


def wait_first(row: JobRow) -> None:
    """Make ``row`` wait for other jobs before anything else it asked for: its time, its hold."""
    shape, wish = row.shape, row.flow
    if wish is not None:
        row.flow = msgspec.structs.replace(wish, run_at=shape.run_at)
    row.shape = msgspec.structs.replace(
        shape, state=State.WAITING, reason=WAITS_FOR_JOBS, run_at=None, flags=shape.flags & ~Flag.HOLDS
    )
    row.hold = None


def counted(state: State, reason: str | None) -> Counted | None:
    """How its batch counts a job that is there; None while it waits for it."""
    if state is State.CANCELLED:
        return "skipped" if reason == EARLY_EXIT else "cancelled"
    if state is State.HELD and reason == QUARANTINE:
        return "quarantined"
    return _ENDS.get(state)


def as_counted(counted: Counted) -> tuple[State, str | None]:
    """The state and reason of a job that is gone, by how its batch counted it."""
    if counted == "skipped":
        return State.CANCELLED, EARLY_EXIT
    return next((state for state, name in _ENDS.items() if name == counted), State.CANCELLED), None


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a waiting dependent; ``event`` None: it is released."""

    event: Event | None
    reason: str | None = None


def dependent(unmet: int, broken: bool, policy: AfterFailure) -> Verdict | None:
    """What a need's end means for a dependent that still waits for ``unmet`` others; None: it goes on waiting.

    ``broken``: one of those that ended did not succeed.
    """
    if broken and policy != "run":
        return Verdict(Event.CANCEL if policy == "cancel" else Event.FAIL, "dependency_failed")
    return Verdict(None) if unmet <= 0 else None


def leaves_chain(state: State, reason: str | None) -> Verdict | None:
    """What a chain's job that ended means for those behind it; None: the next one goes on."""
    if state not in TERMINAL:
        return None
    if reason == EARLY_EXIT:
        return Verdict(Event.CANCEL, EARLY_EXIT)
    return None if state is State.SUCCEEDED else Verdict(Event.CANCEL, "dependency_failed")


def callbacks(counts: dict[Counted, int], total: int) -> list[CallbackEvent]:
    """Which callbacks a finished batch makes, by how its members ended; those skipped by an early exit did not fail."""
    good = counts["succeeded"] + counts["skipped"] == total
    return ["complete", "success" if good else "failure"]


def later(row: JobRow, by_ms: int) -> JobRow:
    """A callback's row as if it had been admitted ``by_ms`` later."""

    def moved(at: int | None) -> int | None:
        return None if at is None else at + by_ms

    shape: Shape = msgspec.structs.replace(
        row.shape,
        run_at=moved(row.shape.run_at),
        expires_at=moved(row.shape.expires_at),
        deadline_at=moved(row.shape.deadline_at),
    )
    unique = row.unique and msgspec.structs.replace(row.unique, until=moved(row.unique.until))
    hold = row.hold and msgspec.structs.replace(row.hold, deadline=moved(row.hold.deadline))
    return msgspec.structs.replace(row, shape=shape, unique=unique, hold=hold)


def join(row: JobRow, batch: int, *, member: bool = True) -> JobRow:
    """``row`` as a member of ``batch``, or as a job that is called back by it; ``row`` stays as it is."""
    options = JobOptions() if row.options is None else _options.decode(row.options)
    text = msgspec.json.encode(msgspec.structs.replace(options, batch=batch)).decode()
    if not member:
        return msgspec.structs.replace(row, options=text)
    return msgspec.structs.replace(
        row,
        options=text,
        shape=msgspec.structs.replace(row.shape, flags=row.shape.flags | Flag.FLOW),
        flow=msgspec.structs.replace(row.flow or FlowWish(), batch=batch),
    )
