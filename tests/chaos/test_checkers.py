"""Every checker finds what it is there for: a history that violates its rule is told, a sound one is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checkers import (
    Found,
    Ran,
    enqueues,
    event_path,
    fencing,
    fires,
    recorded_steps,
    same_results,
    steps_once,
    unique_keys,
)
from tests.chaos.history import Entry

EVENTS: list[tuple[int, str, dict[str, Any]]] = [
    (1, "created", {}),
    (2, "started", {"attempt": 1}),
    (3, "attempt_ended", {"attempt": 1, "outcome": "failed"}),
    (4, "started", {"attempt": 2}),
    (5, "step", {"attempt": 2}),
    (6, "attempt_ended", {"attempt": 2, "outcome": "succeeded"}),
    (7, "succeeded", {}),
]


def job(id: int = 1, **words: Any) -> Found:
    facts: dict[str, Any] = {
        "state": "succeeded", "input": {"operation": "a", "index": 0}, "result": {"token": "t"}, "attempt": 2,
        "events": EVENTS, "steps": {"one": '"x"'},
    }  # fmt: skip
    return Found(id=id, **{**facts, **words})


def entry(call: str, outcome: Any = "ok", answer: Any = None, **asked: Any) -> Entry:
    return Entry(number=0, client="c", call=call, asked=asked, began=0.0, ended=1.0, outcome=outcome, answer=answer)


def enqueue(outcome: Any = "ok", answer: Any = (1,), count: int = 1) -> Entry:
    return entry("enqueue", outcome, list(answer) if outcome == "ok" else "unavailable", operation="a", count=count)


@pytest.mark.parametrize(
    ("entries", "jobs", "violation"),
    [
        ([enqueue()], [], "stored is []"),
        ([enqueue()], [job(), job(2)], "stored is [1, 2]"),
        ([enqueue(), enqueue(answer=[2])], [job()], "was answered [[1], [2]]"),
        ([enqueue("info", count=2)], [job()], "of 2 jobs stored [1]"),
        ([enqueue()], [job(state="running")], "is running after the drain"),
        ([], [job()], "nobody asked"),
    ],
)
def test_lost_and_doubled_jobs_are_found(entries: list[Entry], jobs: list[Found], violation: str) -> None:
    assert violation in enqueues(entries, {one.id: one for one in jobs})[0]


def test_sound_enqueues() -> None:
    assert enqueues([enqueue("info"), enqueue(), enqueue()], {1: job()}) == []
    assert enqueues([enqueue("info", count=2)], {}) == []


def unique(answer: Any = 1, outcome: Any = "ok", conflict: bool = False) -> Entry:
    return entry("enqueue unique", outcome, answer, operation="o", key="k", conflict=conflict)


@pytest.mark.parametrize(
    ("entries", "stored"),
    [
        ([unique(1), unique(2)], [1]),
        ([unique(1)], [1, 2]),
        ([unique(1)], []),
        ([unique(1), unique(1, conflict=True)], [1]),
        ([unique(1), unique("not_found", "fail", conflict=True)], [1]),
        ([unique(1), unique("unique_conflict", "fail")], [1]),
    ],
)
def test_keys_that_are_not_unique_are_found(entries: list[Entry], stored: list[int]) -> None:
    assert unique_keys(entries, {id: job(id, input={"key": "k"}) for id in stored})


def test_sound_keys() -> None:
    entries = [unique(1), unique("unique_conflict", "fail", conflict=True), unique("unavailable", "info"), unique(1)]
    assert unique_keys(entries, {1: job(input={"key": "k"})}) == []


def settle(token: str = "t", refused: str | None = None, stale: bool = False, kind: str = "succeed") -> Entry:  # noqa: S107
    answer = {"state": "succeeded", "refused": refused}
    return entry("settle", "ok", answer, id=1, token=token, kind=kind, stale=stale)


@pytest.mark.parametrize(
    ("entries", "found", "violation"),
    [
        ([settle(), settle("old", stale=True)], job(), "stale outcome was accepted"),
        ([settle(), settle("u")], job(), "2 attempts were told"),
        ([settle(), settle(refused="lease_lost")], job(), "refused when it was repeated"),
        ([settle()], job(result={"token": "u"}), "a success was accepted"),
        ([settle()], job(state="failed"), "a success was accepted"),
        ([settle("u", "lease_lost")], job(), "nobody sent its result"),
    ],
)
def test_what_the_fence_let_through_is_found(entries: list[Entry], found: Found, violation: str) -> None:
    assert violation in " ".join(fencing(entries, {1: found}))


def test_a_sound_fence() -> None:
    unknown = entry("settle", "info", "unavailable", id=1, token="t", kind="succeed", stale=False)
    entries = [unknown, settle(), settle(), settle("old", "lease_lost", stale=True), settle("u", kind="release")]
    assert fencing(entries, {1: job()}) == []


def test_a_step_that_is_gone_or_changed_is_found() -> None:
    acknowledged = entry("step", "ok", {"output": '"x"'}, id=1, token="t", name="one")
    assert recorded_steps([acknowledged], {1: job()}) == []
    assert recorded_steps([acknowledged], {1: job(steps={})})
    assert recorded_steps([acknowledged], {1: job(steps={"one": '"y"'})})


def without(number: int) -> list[tuple[int, str, dict[str, Any]]]:
    """The sound path without one of its events, numbered again."""
    rest = [event for event in EVENTS if event[0] != number]
    return [(position, type, data) for position, (_, type, data) in enumerate(rest, 1)]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 7])
def test_a_missing_event_is_found(number: int) -> None:
    assert event_path(job(events=without(number)))


@pytest.mark.parametrize(
    "events",
    [
        [*EVENTS[:-1], (8, "succeeded", {})],
        [*EVENTS, (8, "started", {"attempt": 3})],
        [*EVENTS[:-1], (7, "failed", {})],
        [*EVENTS, (8, "attempt_ended", {"attempt": 2, "outcome": "succeeded"})],
    ],
)
def test_an_impossible_path_is_found(events: list[tuple[int, str, dict[str, Any]]]) -> None:
    assert event_path(job(events=events))


def test_a_sound_path() -> None:
    assert event_path(job()) == []
    assert event_path(replace(job(), state="failed"))
    assert event_path(replace(job(), attempt=3))


@pytest.mark.parametrize(
    ("ran", "violation"),
    [
        ([Ran(1, "a", 1), Ran(1, "a", 2)], "although attempt 1 had recorded it"),
        ([Ran(1, "a", 1), Ran(1, "a", 1)], "it ran in [1, 1]"),
        ([], "it ran in []"),
        ([Ran(1, "a", 1), Ran(2, "b", 1)], "never recorded"),
    ],
)
def test_a_step_that_ran_again_is_found(ran: list[Ran], violation: str) -> None:
    assert violation in " ".join(steps_once(ran, {(1, "a"): 1}, allowed=9))


def test_repetitions_need_kills() -> None:
    ran = [Ran(1, "a", 1), Ran(1, "a", 2)]
    assert steps_once(ran, {(1, "a"): 2}, allowed=1) == []
    assert steps_once(ran, {(1, "a"): 2}, allowed=0) == ["1 more repetitions than kills can explain"]


def test_another_result_is_found() -> None:
    assert same_results({1: b"x"}, {1: b"x"}) == []
    assert same_results({1: b"y"}, {1: b"x"})
    assert same_results({}, {1: b"x"})
    assert same_results({1: None}, {1: None})


@pytest.mark.parametrize(
    ("instants", "jobs"), [([0, 2], [1, 2]), ([0, 1, 1], [1, 2, 3]), ([0, 1], [1, 1]), ([0, 1], [1, None])]
)
def test_a_fire_too_many_or_too_few_is_found(instants: list[int], jobs: list[int | None]) -> None:
    assert fires(instants, 1, jobs)


def test_sound_fires() -> None:
    assert fires([2, 0, 1], 1, [3, 1, 2]) == []
