"""What must hold of a history: pure functions that give the violations they find, in words."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from roost.domain.states import TERMINAL, TRANSITIONS, Event, State
from tests.chaos.history import Entry


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found after a power cut."""

    acknowledged: int
    """Commits that were acknowledged before the cut."""
    integrity: str
    """SQLite's own verdict on the file; why it did not open, where it did not."""
    found: list[int]
    """The commits after which the store's content was exactly this; commits that changed nothing share a content."""
    repeats: list[tuple[str, object, object]]
    """(call, its answer before the cut, its answer after) of calls that were repeated."""


def power_cut(recovery: Recovery) -> list[str]:
    """The file is sound, holds a prefix of the commits that lacks no acknowledged one, and calls can be repeated."""
    if recovery.integrity != "ok":
        return [f"damaged: {recovery.integrity}"]
    if not recovery.found:
        return ["no prefix: the content is that after no commit"]
    violations = []
    if max(recovery.found) < recovery.acknowledged:
        violations.append(f"lost: {recovery.acknowledged - max(recovery.found)} acknowledged commits")
    elif min(recovery.found) > recovery.acknowledged + 1:
        violations.append("no prefix: there is more than the commit under way")
    violations += [
        f"repeated {call}: answered {before!r} before and {after!r} after"
        for call, before, after in recovery.repeats
        if before != after
    ]
    return violations


@dataclass(frozen=True, slots=True)
class Found:
    """A job as the API tells of it at the end."""

    id: int
    state: str
    input: dict[str, Any]
    result: Any
    attempt: int
    events: list[tuple[int, str, dict[str, Any]]]
    """(number, type, data)"""
    steps: dict[str, str]
    """Name to output, as text."""


Jobs = Mapping[int, Found]


def enqueues(entries: Iterable[Entry], jobs: Jobs) -> list[str]:
    """Every acknowledged enqueue exists once, ended once; an unknown one exists wholly or not at all."""
    asked: dict[str, int] = {}
    answers: dict[str, list[list[int]]] = defaultdict(list)
    for entry in entries:
        if entry.call == "enqueue":
            asked[entry.asked["operation"]] = entry.asked["count"]
            if entry.outcome == "ok":
                answers[entry.asked["operation"]].append(entry.answer)
    stored: dict[str, list[int]] = defaultdict(list)
    violations = []
    for job in sorted(jobs.values(), key=lambda job: job.id):
        if job.state not in TERMINAL:
            violations.append(f"job {job.id} is {job.state} after the drain")
        if "operation" in job.input:
            stored[job.input["operation"]].append(job.id)
    for operation, count in asked.items():
        told, found = answers[operation], stored[operation]
        if any(answer != told[0] for answer in told):
            violations.append(f"operation {operation} was answered {told}")
        if told and sorted(told[0]) != found:
            violations.append(f"operation {operation} was answered {told[0]}, stored is {found}")
        if not told and len(found) not in (0, count):
            violations.append(f"operation {operation} of {count} jobs stored {found}")
    violations += [f"nobody asked for operation {operation}" for operation in stored.keys() - asked.keys()]
    return violations


def unique_keys(entries: Iterable[Entry], jobs: Jobs) -> list[str]:
    """One job per key, told to everybody who asked; another input with the key is refused."""
    violations = []
    told: dict[str, set[int]] = defaultdict(set)
    for entry in entries:
        if entry.call != "enqueue unique":
            continue
        key = entry.asked["key"]
        if entry.asked["conflict"]:
            if entry.outcome == "ok" or (entry.outcome == "fail" and entry.answer != "unique_conflict"):
                violations.append(f"key {key} with another input was answered {entry.answer!r}")
        elif entry.outcome == "ok":
            told[key].add(entry.answer)
        elif entry.outcome == "fail":
            violations.append(f"key {key} was refused: {entry.answer}")
    stored: dict[str, list[int]] = defaultdict(list)
    for job in jobs.values():
        if "key" in job.input:
            stored[job.input["key"]].append(job.id)
    return violations + [
        f"key {key}: told {sorted(told[key])}, stored {stored[key]}"
        for key in told.keys() | stored.keys()
        if len(stored[key]) != 1 or told[key] - set(stored[key])
    ]


def fencing(entries: Iterable[Entry], jobs: Jobs) -> list[str]:
    """No stale outcome is accepted, at most one success per job, repeated it is accepted again, its result stays."""
    violations = []
    accepted: dict[int, set[str]] = defaultdict(set)
    tried: dict[int, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.call != "settle":
            continue
        id, token = entry.asked["id"], entry.asked["token"]
        good = entry.outcome == "ok" and entry.answer["refused"] is None
        if entry.asked["stale"]:
            if good:
                violations.append(f"job {id}: a stale outcome was accepted: {entry.answer}")
            continue
        if entry.asked["kind"] != "succeed":
            continue
        tried[id].add(token)
        if good:
            accepted[id].add(token)
        elif entry.outcome == "ok" and token in accepted[id]:
            violations.append(f"job {id}: the accepted outcome was refused when it was repeated")
    for id, job in jobs.items():
        winner = job.result.get("token") if isinstance(job.result, dict) else None
        if len(accepted[id]) > 1:
            violations.append(f"job {id}: {len(accepted[id])} attempts were told that they succeeded")
        if accepted[id] and (job.state != State.SUCCEEDED or {winner} != accepted[id]):
            violations.append(f"job {id}: a success was accepted, it is {job.state} with the result {job.result}")
        if job.state == State.SUCCEEDED and winner not in tried[id]:
            violations.append(f"job {id}: nobody sent its result {job.result}")
    return violations


def recorded_steps(entries: Iterable[Entry], jobs: Jobs) -> list[str]:
    """Every acknowledged step is there, byte for byte."""
    return [
        f"job {entry.asked['id']}: step {entry.asked['name']} was acknowledged and is not there"
        for entry in entries
        if entry.call == "step" and entry.outcome == "ok"
        if jobs[entry.asked["id"]].steps.get(entry.asked["name"]) != entry.answer["output"]
    ]


_BY_OUTCOME = {
    "succeeded": (Event.SUCCEED,),
    "failed": (Event.RETRY, Event.FAIL),
    "timed_out": (Event.RETRY, Event.FAIL),
    "lost": (Event.RELEASE, Event.RETRY, Event.FAIL),
    "released": (Event.RELEASE,),
    "snoozed": (Event.POSTPONE,),
    "sleeping": (Event.POSTPONE,),
    "held": (Event.HOLD,),
    "cancelled": (Event.CANCEL,),
}


def event_path(job: Found) -> list[str]:
    """A job's events are a path through the table of the state machine, with no gap and nothing after its end."""
    states: set[State] = set()
    attempt = 0
    for position, (number, type, data) in enumerate(job.events, 1):
        before = states
        if number != position:
            return [f"job {job.id}: event {position} is numbered {number}"]
        if type == "created":
            states = {State.READY, State.WAITING, State.HELD} if position == 1 else set()
        elif type == "started":
            states = (
                _after(states | _after(states, Event.DUE), Event.CLAIM) if data["attempt"] == attempt + 1 else set()
            )
            attempt = data["attempt"]
        elif type == "attempt_ended":
            follows = _BY_OUTCOME[data["outcome"]] if data["attempt"] == attempt else ()
            states = set().union(*(_after(states, event) for event in follows))
        elif type == "step":
            states = states & {State.RUNNING}
        elif type in TERMINAL:
            states = states & {State(type)}
        if not states:
            told = ", ".join(sorted(before)) or "no state"
            return [f"job {job.id}: event {number} ({type} {data}) cannot follow {told}"]
    ended = job.state not in TERMINAL or (bool(job.events) and job.events[-1][1] == job.state)
    if not ended or State(job.state) not in states or attempt != job.attempt:
        return [f"job {job.id} is {job.state} in attempt {job.attempt}; its events end in {sorted(states)}, {attempt}"]
    return []


def _after(states: set[State], event: Event) -> set[State]:
    return {TRANSITIONS[state, event] for state in states if (state, event) in TRANSITIONS}


@dataclass(frozen=True, slots=True)
class Ran:
    """A step function that really ran."""

    job: int
    step: str
    attempt: int


def steps_once(ran: Iterable[Ran], recorded: Mapping[tuple[int, str], int], allowed: int) -> list[str]:
    """No step ran after it was recorded; ``recorded`` is the attempt that did, ``allowed`` the repetitions by kills."""
    violations = []
    attempts: dict[tuple[int, str], list[int]] = defaultdict(list)
    for one in ran:
        attempts[one.job, one.step].append(one.attempt)
    for (job, step), attempt in recorded.items():
        done = attempts.pop((job, step), [])
        if done.count(attempt) != 1:
            violations.append(f"job {job}: step {step} was recorded by attempt {attempt}, it ran in {done}")
        if any(one > attempt for one in done):
            violations.append(f"job {job}: step {step} ran in {done} although attempt {attempt} had recorded it")
        if len(set(done)) != len(done):
            violations.append(f"job {job}: step {step} ran twice in one attempt: {done}")
        allowed -= len(done) - 1
    violations += [f"job {job}: step {step} ran and was never recorded" for job, step in attempts]
    if allowed < 0:
        violations.append(f"{-allowed} more repetitions than kills can explain")
    return violations


def same_results(disturbed: Mapping[int, bytes | None], undisturbed: Mapping[int, bytes | None]) -> list[str]:
    """Every job succeeded with the very bytes of the run that nobody disturbed."""
    return [
        f"number {number}: {disturbed.get(number)!r} instead of {expected!r}"
        for number, expected in undisturbed.items()
        if expected is None or disturbed.get(number) != expected
    ]


def fires(instants: Iterable[int], every_ms: int, jobs: Iterable[int | None]) -> list[str]:
    """The runs of an interval schedule are its instants, each once, and each has a job of its own."""
    ordered = sorted(instants)
    made = list(jobs)
    violations = [
        f"after {before} comes {after}: {'twice' if after == before else 'not one interval later'}"
        for before, after in itertools.pairwise(ordered)
        if after - before != every_ms
    ]
    if None in made or len(set(made)) != len(ordered):
        violations.append(f"{len(ordered)} fires made {len(set(made) - {None})} jobs")
    return violations
