"""Positions in the feed, and facts over sets of jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.domain.feed import EventType, Fact, Position, expand, packed, parse_position, unpacked
from roost.domain.states import State
from roost.engine.work.texts import pack
from roost.errors import InvalidCursor

pytestmark = pytest.mark.feature("events")


@given(
    st.sets(st.integers(1, 2**53), max_size=50) | st.integers(1, 2**40).map(lambda first: {*range(first, first + 9)})
)
def test_a_set_of_ids_comes_back(ids: set[int]) -> None:
    assert sorted(unpacked(packed(sorted(ids)))) == sorted(ids)
    assert [*unpacked(packed([7, 5, 6]))] == [5, 6, 7]


def test_a_set_without_holes_is_two_numbers() -> None:
    assert packed(list(range(10, 1010))) == [(10, 1009)]
    assert packed([1, 2, 4]) == [1, 2, 4]
    assert packed([3]) == [3]


@given(st.integers(0, 10**17), st.none() | st.integers(0, 10**8))
def test_a_position_is_its_text(seq: int, index: int | None) -> None:
    position = Position(seq) if index is None else Position(seq, index)
    assert parse_position(str(position)) == position
    assert position > Position(seq - 1)
    assert position <= Position(seq)


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1.", ".1", "1.2.3", "1 ", " 1", "1.x", "9" * 19, "1." + "9" * 10, "²", "1\n", "\u0661"]
)
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(InvalidCursor):
        parse_position(text)


def test_a_row_is_expanded_behind_any_position() -> None:
    facts = [
        Fact(EventType.CREATED, packed([4, 5, 6]), {"state": "waiting", "reason": "scheduled"}),
        Fact(EventType.QUEUE_PAUSED, [], {"queue": "mail", "actor": "ana"}),
        Fact(EventType.STARTED, packed([9, 2])),
    ]
    whole = list(expand(7, 1000, pack(facts), Position(6)))
    assert [(event.type, event.job) for event in whole] == [
        ("created", 4),
        ("created", 5),
        ("created", 6),
        ("queue_paused", None),
        ("started", 9),
        ("started", 2),
    ]
    assert [event.position for event in whole] == [Position(7, index) for index in range(6)]
    assert (whole[0].state, whole[0].data) == (State.WAITING, {"reason": "scheduled"})
    assert (whole[3].actor, whole[3].data, whole[3].state) == ("ana", {"queue": "mail"}, None)
    assert whole[4].state is State.RUNNING
    for place, event in enumerate(whole):
        assert list(expand(7, 1000, pack(facts), event.position)) == whole[place + 1 :]
    assert list(expand(7, 1000, pack(facts), Position(7))) == []
