"""What a due schedule does: on time, late, very late, and while the last job still runs."""

from __future__ import annotations

import time
from datetime import datetime
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.domain.schedule import (
    MOST_MISSED,
    MOST_ON_TIME,
    OverlapPolicy,
    Plan,
    ScheduleRule,
    awaits_completion,
    decide_overlap,
    fires_between,
    jittered,
    next_fire,
    plan,
    preview,
)

pytestmark = pytest.mark.feature("schedule-policies")

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NOON = ms("2026-03-02T12:00Z")


@pytest.mark.parametrize("missed", ["latest", "all", "none"])
@pytest.mark.parametrize("late_ms", [0, 1, 30_000, MINUTE])
def test_a_fire_within_grace_is_on_time_under_every_policy(missed: str, late_ms: int) -> None:
    rule = ScheduleRule(cron="0 * * * *", missed=missed)  # type: ignore[arg-type]
    assert plan(rule, NOON, NOON + late_ms, 0) == Plan(fires=[NOON], missed=0, next_fire=NOON + HOUR)


def test_latest_catches_up_once() -> None:
    rule = ScheduleRule(cron="0 * * * *")
    now = NOON + 5 * HOUR + 30 * MINUTE
    assert plan(rule, NOON, now, 0) == Plan(fires=[NOON + 5 * HOUR], missed=5, next_fire=NOON + 6 * HOUR)


def test_all_catches_up_with_the_newest_oldest_first() -> None:
    rule = ScheduleRule(cron="0 * * * *", missed="all", missed_limit=3)
    now = NOON + 5 * HOUR + 30 * MINUTE
    late = [NOON + hours * HOUR for hours in (3, 4, 5)]
    assert plan(rule, NOON, now, 0) == Plan(fires=late, missed=3, next_fire=NOON + 6 * HOUR)
    everything = ScheduleRule(cron="0 * * * *", missed="all")
    assert plan(everything, NOON, now, 0).fires == [NOON + hours * HOUR for hours in range(6)]


def test_none_drops_what_is_late_and_keeps_what_is_on_time() -> None:
    rule = ScheduleRule(cron="0 * * * *", missed="none")
    late = plan(rule, NOON, NOON + 5 * HOUR + 30 * MINUTE, 0)
    assert late == Plan(fires=[], missed=6, next_fire=NOON + 6 * HOUR)
    just_in_time = plan(rule, NOON, NOON + 5 * HOUR + 30_000, 0)
    assert just_in_time == Plan(fires=[NOON + 5 * HOUR], missed=5, next_fire=NOON + 6 * HOUR)


def test_one_millisecond_past_grace_is_missed() -> None:
    rule = ScheduleRule(cron="0 * * * *", missed="none", grace="10s")
    assert plan(rule, NOON, NOON + 10_000, 0).fires == [NOON]
    assert plan(rule, NOON, NOON + 10_001, 0) == Plan(fires=[], missed=1, next_fire=NOON + HOUR)


def test_a_catch_up_and_a_fire_on_time_both_happen() -> None:
    now = NOON + 5 * HOUR + 30_000
    assert plan(ScheduleRule(cron="0 * * * *"), NOON, now, 0).fires == [NOON + 4 * HOUR, NOON + 5 * HOUR]


def test_a_schedule_that_is_not_due_does_nothing() -> None:
    assert plan(ScheduleRule(cron="0 * * * *"), NOON, NOON - 1, 0) == Plan(fires=[], missed=0, next_fire=NOON)


@pytest.mark.parametrize("missed", ["latest", "all", "none"])
@pytest.mark.parametrize("rule", [{"cron": "* * * * * *", "zone": "America/New_York"}, {"every": "1s"}])
def test_decades_of_missed_seconds_are_counted_without_being_walked(missed: str, rule: dict[str, str]) -> None:
    due, now = ms("1990-01-01T00:00Z"), ms("2026-01-01T00:00Z")
    started = time.process_time()
    found = plan(ScheduleRule(missed=missed, grace="0s", **rule), due, now, due)  # type: ignore[arg-type]
    assert time.process_time() - started < 5, "walking a thousand million seconds takes a quarter of an hour"
    seconds = (now - due) // 1000 + 1
    assert len(found.fires) + found.missed == seconds
    assert found.fires[-1:] == [now]
    assert len(found.fires) == {"latest": 2, "all": 101, "none": 1}[missed]
    assert found.next_fire == now + 1000


def test_more_on_time_fires_than_one_plan_takes_are_left_due() -> None:
    rule = ScheduleRule(cron="* * * * * *", grace="1h")
    due, now, collected = NOON, NOON + 2500 * 1000, []
    for expected in (MOST_ON_TIME, MOST_ON_TIME, 501):
        found = plan(rule, due, now, 0)
        assert (len(found.fires), found.missed) == (expected, 0)
        assert found.next_fire is not None
        collected += found.fires
        due = found.next_fire
    assert collected == list(range(NOON, now + 1, 1000))
    assert due == now + 1000


@settings(max_examples=150, deadline=None)
@given(
    rule=st.sampled_from(
        [
            {"cron": "*/20 * * * *", "zone": "America/New_York"},
            {"cron": "30 1,2 * * *", "zone": "America/New_York", "fold": "both"},
            {"cron": "15 2 * * *", "zone": "Australia/Lord_Howe", "gap": "skip"},
            {"cron": "0 9 * * MON-FRI", "zone": "Pacific/Apia"},
            {"every": "17m"},
            {"cron": "0 */6 * * *", "ends_at": "2026-03-09T00:00:00Z"},
        ]
    ),
    start=st.sampled_from([ms("2026-03-06T00:00Z"), ms("2026-10-30T00:00Z"), ms("2026-04-03T00:00Z")]),
    offset=st.integers(0, 2 * DAY),
    down=st.integers(0, 4 * DAY),
    missed=st.sampled_from(["latest", "all", "none"]),
    limit=st.integers(1, 12),
    grace=st.sampled_from(["1s", "1m", "1h", "1d"]),
)
def test_every_instant_is_fired_or_counted(
    rule: dict[str, str], start: int, offset: int, down: int, missed: str, limit: int, grace: str
) -> None:
    """Compared with walking all instants and sorting them into on time and late one by one."""
    policy = ScheduleRule(missed=missed, missed_limit=limit, grace=grace, **rule)  # type: ignore[arg-type]
    due = next_fire(policy, start + offset, start)
    if due is None:
        return
    now = due + down
    grace_ms = {"1s": 1000, "1m": MINUTE, "1h": HOUR, "1d": DAY}[grace]
    instants = fires_between(policy, due - 1, now, start, 10_000)
    late = [at for at in instants if now - at > grace_ms]
    kept = late[-{"latest": 1, "all": limit, "none": 0}[missed] :] if missed != "none" else []
    assert plan(policy, due, now, start) == Plan(
        fires=kept + [at for at in instants if now - at <= grace_ms],
        missed=len(late) - len(kept),
        next_fire=next_fire(policy, now, start),
    )


def test_a_stored_instant_counts_even_if_the_rule_no_longer_names_it() -> None:
    rule = ScheduleRule(cron="0 * * * *")
    odd = NOON + 7 * MINUTE
    assert plan(rule, odd, odd + 1000, 0).fires == [odd]
    assert plan(rule, odd, odd + 10 * MINUTE, 0) == Plan(fires=[odd], missed=0, next_fire=NOON + HOUR)


def test_a_one_shot_fires_once_however_late_and_then_ends() -> None:
    rule = ScheduleRule(at="2026-03-02T12:00:00Z")
    assert next_fire(rule, 0, 0) == NOON
    assert plan(rule, NOON, NOON, 0) == Plan(fires=[NOON], missed=0, next_fire=None)
    assert plan(rule, NOON, NOON + 400 * DAY, 0) == Plan(fires=[NOON], missed=0, next_fire=None)
    dropped = ScheduleRule(at="2026-03-02T12:00:00Z", missed="none")
    assert plan(dropped, NOON, NOON + DAY, 0) == Plan(fires=[], missed=1, next_fire=None)


def test_anchored_intervals_do_not_drift() -> None:
    rule = ScheduleRule(every="10m")
    anchor = NOON + 12_345
    due = next_fire(rule, anchor, anchor)
    for _ in range(50):
        assert due is not None
        due = plan(rule, due, due + 900, anchor).next_fire
    assert due == anchor + 51 * 10 * MINUTE


def test_an_interval_can_start_at_a_given_time() -> None:
    rule = ScheduleRule(every="10m", starts_at="2026-03-02T12:00:00Z", ends_at="2026-03-02T12:25:00Z")
    assert preview(rule, NOON - DAY, NOON - DAY, 10) == [NOON, NOON + 10 * MINUTE, NOON + 20 * MINUTE]
    assert preview(rule, NOON + 1, NOON - DAY + 77, 1) == [NOON + 10 * MINUTE]


def test_after_completion_counts_from_the_end_of_the_last_job() -> None:
    rule = ScheduleRule(every="10m", interval="after_completion")
    assert awaits_completion(rule)
    assert not awaits_completion(ScheduleRule(every="10m"))
    due = next_fire(rule, NOON, NOON)
    assert due == NOON + 10 * MINUTE
    assert plan(rule, due, due + 5, NOON) == Plan(fires=[due], missed=0, next_fire=None)
    assert plan(rule, due, due + DAY, NOON) == Plan(fires=[due], missed=0, next_fire=None)
    ended = due + 7 * MINUTE + 3
    assert next_fire(rule, ended, NOON) == ended + 10 * MINUTE


def test_after_completion_does_not_stop_when_a_late_fire_is_dropped() -> None:
    rule = ScheduleRule(every="10m", interval="after_completion", missed="none")
    assert plan(rule, NOON, NOON + HOUR, 0) == Plan(fires=[], missed=1, next_fire=NOON + HOUR + 10 * MINUTE)


def test_bounds_hold_for_fires_and_for_catch_ups() -> None:
    rule = ScheduleRule(
        cron="0 * * * *", starts_at="2026-03-02T12:00:00Z", ends_at="2026-03-02T14:00:00Z", missed="all"
    )
    assert preview(rule, 0, 0, 10) == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    found = plan(rule, NOON, NOON + 30 * DAY, 0)
    assert found == Plan(fires=[NOON, NOON + HOUR, NOON + 2 * HOUR], missed=0, next_fire=None)


def test_limits_of_fires_between() -> None:
    rule = ScheduleRule(cron="* * * * *")
    assert fires_between(rule, NOON, NOON + 3 * MINUTE, 0, 2) == [NOON + MINUTE, NOON + 2 * MINUTE]
    assert fires_between(rule, NOON, NOON + 2 * MINUTE, 0, 9) == [NOON + MINUTE, NOON + 2 * MINUTE]
    assert fires_between(rule, NOON, NOON, 0, 9) == []


def test_jitter_only_delays_and_stays_below_its_bound() -> None:
    rule = ScheduleRule(cron="0 * * * *", jitter="30s")
    assert [jittered(rule, NOON, value) for value in (0.0, 0.5)] == [NOON, NOON + 15_000]
    assert NOON + 29_000 < jittered(rule, NOON, 0.99999) < NOON + 30_000
    assert jittered(ScheduleRule(cron="0 * * * *"), NOON, 0.9) == NOON


@pytest.mark.parametrize("policy", get_args(OverlapPolicy))
def test_nothing_unfinished_means_fire(policy: OverlapPolicy) -> None:
    assert decide_overlap(policy, previous_unfinished=False, already_queued=False) == "fire"


@pytest.mark.parametrize(
    ("policy", "queued", "decision"),
    [
        ("allow", False, "fire"),
        ("allow", True, "fire"),
        ("skip", False, "skip"),
        ("skip", True, "skip"),
        ("queue", False, "queue"),
        ("queue", True, "skip"),
        ("replace", False, "replace"),
        ("replace", True, "replace"),
    ],
)
def test_an_unfinished_job_meets_the_overlap_policy(policy: OverlapPolicy, queued: bool, decision: str) -> None:
    assert decide_overlap(policy, previous_unfinished=True, already_queued=queued) == decision


def test_the_largest_catch_up_is_bounded() -> None:
    rule = ScheduleRule(every="1s", missed="all", missed_limit=MOST_MISSED, grace="0s")
    found = plan(rule, NOON, NOON + DAY, NOON)
    assert len(found.fires) == MOST_MISSED + 1
    assert found.missed == DAY // 1000 - MOST_MISSED
