"""When a failed delivery is tried again, and when an endpoint is given up."""

from __future__ import annotations

from typing import Any

import pytest

from roost.domain.deliveries import (
    FEWEST_FAILURES,
    JITTER,
    LONGEST_RETRY_AFTER_MS,
    RETRY_MS,
    Health,
    Try,
    WebhookRule,
    judge,
    retry_after_ms,
)

NOW = 1_795_000_000_000
DAY = 86_400_000
RULE = WebhookRule(disable_after_ms=5 * DAY)

pytestmark = pytest.mark.feature("webhooks-out")


def tried(status: int | None = 500, at: int = NOW, **more: Any) -> Try:
    accepted = status is not None and 200 <= status < 300
    return Try(1, "token", at, 5, status, None if accepted else "no", "", **more)


def test_ten_tries_over_three_days() -> None:
    at, times = NOW, []
    for failures in range(len(RETRY_MS)):
        verdict = judge(tried(), failures, at, 0.0)
        assert verdict.next_at is not None
        times.append(verdict.next_at - at)
        at = verdict.next_at
    assert times == list(RETRY_MS)
    assert times == sorted(times)
    assert 3 * DAY < at - NOW < 4 * DAY
    assert judge(tried(), len(RETRY_MS), at, 0.0).state == "failed"


def test_what_failed_together_comes_back_apart() -> None:
    first, last = (judge(tried(), 1, NOW, chance).next_at for chance in (0.0, 0.999))
    assert first is not None
    assert last is not None
    assert first == NOW + RETRY_MS[1]
    assert first < last <= NOW + RETRY_MS[1] * (1 + JITTER)


def test_a_receiver_may_ask_for_more_time_but_not_for_less() -> None:
    assert judge(tried(429, retry_after_ms=60_000), 0, NOW, 0.0).next_at == NOW + 60_000
    assert judge(tried(429, retry_after_ms=1), 0, NOW, 0.0).next_at == NOW + RETRY_MS[0]
    assert judge(tried(503, retry_after_ms=10**15), 0, NOW, 0.0).next_at == NOW + LONGEST_RETRY_AFTER_MS


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("120", 120_000),
        (" 0 ", 0),
        ("Wed, 18 Nov 2026 07:07:40 GMT", 1_794_985_660_000 - NOW + 0),
        ("Wed, 18 Nov 2026 11:07:40 GMT", 1_795_000_060_000 - NOW),
        (None, None),
        ("soon", None),
        ("-5", None),
        ("9" * 30, None),
        ("1e3", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, wanted: int | None) -> None:
    assert retry_after_ms(header, NOW) == (wanted if wanted is None else max(0, wanted))


def test_an_endpoint_is_given_up_after_days_of_nothing_else() -> None:
    health = Health(0, None)
    for failure in range(1, 40):
        at = NOW + failure * DAY // 4
        health = health.after(tried(at=at))
        since = NOW + DAY // 4
        assert health.given_up(RULE, at) == (failure >= FEWEST_FAILURES and at - since >= 5 * DAY)
    assert health.given_up(RULE, NOW + 10 * DAY)
    assert health.after(tried(204)) == Health(0, None)


def test_an_endpoint_that_is_seldom_asked_is_not_given_up_for_one_failure() -> None:
    health = Health(0, None).after(tried(at=NOW)).after(tried(at=NOW + 30 * DAY))
    assert not health.given_up(RULE, NOW + 30 * DAY)


def test_filters() -> None:
    rule = WebhookRule(events=["failed", "webhook_*"], queues=["mail.*"], kinds=None, disable_after_ms=1)
    assert rule.wants("failed", "mail.out", "any")
    assert not rule.wants("succeeded", "mail.out", "any")
    assert not rule.wants("failed", "mail", "any")
    assert not rule.wants("webhook_disabled", None, None)
    assert WebhookRule(events=["webhook_*"], disable_after_ms=1).wants("webhook_disabled", None, None)
    assert WebhookRule(disable_after_ms=1).wants("created", None, None)
