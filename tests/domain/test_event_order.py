"""A job's events stand in the order they happened, also where one millisecond holds several."""

from __future__ import annotations

import itertools
import random
from typing import Any

from roost.domain.explain import PastEvent, compose


def event(type: str, at: int, **data: Any) -> PastEvent:
    return PastEvent(at=at, type=type, data=data)


def test_attempts_follow_each_other_within_a_millisecond() -> None:
    right = [
        event("created", 1),
        event("started", 1, attempt=1),
        event("step", 1, attempt=1),
        event("attempt_ended", 1, attempt=1),
        event("started", 1, attempt=2),
        event("step", 1, attempt=2),
        event("held", 2),
        event("attempt_ended", 2, attempt=2),
        event("decided", 2),
        event("started", 2, attempt=3),
        event("attempt_ended", 3, attempt=3),
        event("succeeded", 3),
    ]
    for seed in range(50):
        mixed = random.Random(seed).sample(right, len(right))
        ordered = compose(mixed)
        assert [(each.type, each.data) for each in ordered] == [(each.type, each.data) for each in right]
        assert [each.number for each in ordered] == list(itertools.islice(itertools.count(1), len(right)))


def test_attempts_keep_their_order_where_clocks_do_not() -> None:
    right = [
        event("created", 5),
        event("started", 4, attempt=1),
        event("attempt_ended", 9, attempt=1),
        event("started", 8, attempt=2),
        event("step", 10, attempt=2),
        event("attempt_ended", 11, attempt=2),
        event("failed", 11),
    ]
    for seed in range(50):
        ordered = compose(random.Random(seed).sample(right, len(right)))
        assert [(each.type, each.data) for each in ordered] == [(each.type, each.data) for each in right]
