"""Endpoints and deliveries in the store: made once, taken by one, tried again, given up, sent again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from roost.domain.deliveries import RETRY_MS, Try, WebhookRule
from roost.domain.signatures import new_signing_key, public_key
from roost.engine.batch import Operation
from roost.engine.calls import Acted
from roost.engine.hooks import (
    AdvanceWebhook,
    DeleteSource,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    NewDelivery,
    PingWebhook,
    PruneDeliveries,
    PutSource,
    PutWebhook,
    ReplayDeliveries,
    ReplayDelivery,
    RotateWebhook,
    Work,
    WorkDeliveries,
)
from roost.errors import NotFound
from roost.wire.codec import timestamp
from roost.wire.webhooks import DeliverySummary, ListDeliveries, Source, Webhook
from tests.conformance.bench import Bench

pytestmark = pytest.mark.feature("webhooks-out")

DAY = 86_400_000
LOCK = 30_000
FIRST = "t1"


def put(bench: Bench, name: str = "main", *, signing_key: str | None = None, **more: Any) -> Webhook:
    rule = WebhookRule(disable_after_ms=more.pop("disable_after_ms", 5 * DAY), **more)
    action = PutWebhook(
        name=name,
        url="https://a.example/x",
        rule=rule,
        secret=f"whsec_{name}",
        signing_key=signing_key,
        position="0",
    )
    return msgspec.json.decode(bench.act(action).reply, type=Webhook)


def advance(bench: Bench, *jobs: int | None, name: str = "main", expected: str = "0", position: str = "1") -> Acted:
    deliveries = [NewDelivery(f"msg_{position}_{n}", "failed", job, f'{{"n":{n}}}') for n, job in enumerate(jobs)]
    return bench.act(AdvanceWebhook(name=name, expected=expected, position=position, deliveries=deliveries))


def take(bench: Bench, token: str = FIRST, limit: int = 10, name: str = "main", tries: list[Try] | None = None) -> Work:
    action = WorkDeliveries(name=name, token=token, tries=tries or [], take=limit, lock_ms=LOCK)
    return msgspec.json.decode(bench.act(action).reply, type=Work)


def tried(bench: Bench, id: int, token: str = FIRST, status: int | None = 500, **more: Any) -> Try:
    accepted = status is not None and 200 <= status < 300
    error = None if accepted else more.pop("error", f"answered {status}")
    return Try(id, token, bench.now, 12, status, error, more.pop("response", "no"), **more)


def ids(work: Work) -> list[int]:
    return [taken.id for taken in work.deliveries]


def state(bench: Bench, id: int) -> str:
    return bench.reader.delivery(id).state


def feed(bench: Bench) -> list[str]:
    return [event.type for event in bench.reader.feed(None, 1000).events]


def test_of_nodes_that_read_the_same_events_one_makes_the_deliveries(bench: Bench) -> None:
    put(bench)
    assert advance(bench, 1, 2).count == 1
    assert advance(bench, 1, 2).count == 0
    assert advance(bench, 3, expected="1", position="2").count == 1
    assert len(bench.reader.deliveries(ListDeliveries(name="main")).deliveries) == 3
    assert bench.reader.webhook_cursors()[0].position == "2"


def test_what_one_has_taken_no_other_gets_until_its_time_is_over(bench: Bench) -> None:
    put(bench)
    advance(bench, 1, 2, 3)
    first = take(bench, limit=2)
    assert [taken.message for taken in first.deliveries] == ["msg_1_0", "msg_1_1"]
    assert [taken.body for taken in first.deliveries] == ['{"n":0}', '{"n":1}']
    assert ids(take(bench, "t2")) == [ids(first)[0] + 2]
    assert ids(take(bench, "t3")) == []
    bench.tick(LOCK)
    assert ids(take(bench, "t4")) == [*ids(first), ids(first)[0] + 2]


def test_a_late_failure_of_one_who_lost_it_decides_nothing_and_a_late_success_counts(bench: Bench) -> None:
    put(bench)
    advance(bench, 1, 2)
    one, two = ids(take(bench))
    bench.tick(LOCK + 1)
    assert ids(take(bench, "t2")) == [one, two]
    take(bench, limit=0, tries=[tried(bench, one), tried(bench, two, status=204)])
    before, after = bench.reader.delivery(one), bench.reader.delivery(two)
    assert (before.state, before.attempts) == ("pending", 1)
    assert (after.state, after.attempts) == ("succeeded", 1)
    assert ids(take(bench, "t3")) == []
    take(bench, limit=0, tries=[tried(bench, one, "t2", 200), tried(bench, two, "t2")])
    assert (state(bench, one), state(bench, two)) == ("succeeded", "succeeded")
    assert [attempt.number for attempt in bench.reader.delivery(two).tries] == [1, 2]


def test_deliveries_of_one_job_go_one_after_the_other(bench: Bench) -> None:
    put(bench)
    put(bench, "other")
    advance(bench, 7, 7, 8, None, None)
    first, second, third, *rest = range(1, 6)
    got = take(bench)
    base = ids(got)[0] - first
    assert [id - base for id in ids(got)] == [first, third, *rest]
    assert ids(take(bench, "t2")) == []
    advance(bench, 7, name="other")
    assert len(ids(take(bench, name="other"))) == 1
    assert ids(take(bench, tries=[tried(bench, base + first, status=200)])) == [base + second]


def test_while_an_earlier_one_waits_for_its_retry_the_next_goes(bench: Bench) -> None:
    put(bench)
    advance(bench, 7, 7)
    (first,) = ids(take(bench))
    assert ids(take(bench, tries=[tried(bench, first)])) == [first + 1]
    bench.tick(RETRY_MS[0] * 2)
    assert ids(take(bench, "t3")) == []  # the second is being sent
    assert ids(take(bench, "t3", tries=[tried(bench, first + 1, "t1", 200)])) == [first]


def test_tries_are_spread_over_days_and_end(bench: Bench) -> None:
    put(bench, disable_after_ms=30 * DAY)
    advance(bench, 1)
    began = bench.now
    for number in range(1, len(RETRY_MS) + 2):
        (id,) = ids(take(bench))
        assert ids(take(bench, limit=5, tries=[tried(bench, id, response=f"try {number}")])) == []
        found = bench.reader.delivery(id)
        assert (found.attempts, found.status, found.error) == (number, 500, "answered 500")
        if number <= len(RETRY_MS):
            assert found.state == "pending"
            bench.tick(round(RETRY_MS[number - 1] * 1.2) + 1)
    assert state(bench, id) == "failed"
    assert 3 * DAY < bench.now - began < 4.5 * DAY
    whole = bench.reader.delivery(id)
    assert [(attempt.number, attempt.response) for attempt in whole.tries] == [(n, f"try {n}") for n in range(1, 11)]
    webhook = bench.reader.webhook("main")
    assert (webhook.failed, webhook.succeeded, webhook.failures, webhook.pending) == (1, 0, 10, 0)


def test_retry_after(bench: Bench) -> None:
    put(bench)
    advance(bench, 1)
    (id,) = ids(take(bench))
    take(bench, tries=[tried(bench, id, status=429, retry_after_ms=3_600_000)])
    bench.tick(3_500_000)
    assert ids(take(bench)) == []
    bench.tick(100_001)
    assert ids(take(bench)) == [id]


def test_gone_disables_at_once_and_tells(bench: Bench) -> None:
    put(bench)
    advance(bench, 1, 2)
    first, second = ids(take(bench))
    assert take(bench, tries=[tried(bench, first, status=410), tried(bench, second)]).deliveries == []
    webhook = bench.reader.webhook("main")
    assert (webhook.enabled, webhook.disabled_reason, webhook.pending) == (False, "gone", 2)
    assert bench.reader.webhook_cursors() == []
    assert feed(bench).count("webhook_disabled") == 1
    bench.tick(DAY)
    assert ids(take(bench, "t2")) == []
    assert advance(bench, 3, expected="1", position="2").count == 0
    bench.act(EnableWebhook(name="main"))
    assert bench.reader.webhook_cursors()[0].position == "1"
    assert sorted(ids(take(bench, "t2"))) == [first, second]


def test_an_endpoint_that_fails_for_days_is_disabled(bench: Bench) -> None:
    put(bench, disable_after_ms=DAY)
    advance(bench, *range(1, 40))
    failed = 0
    for id in ids(take(bench, limit=11)):
        bench.tick(DAY // 10 - 1)
        take(bench, limit=0, tries=[tried(bench, id)])
        failed += 1
        if not bench.reader.webhook("main").enabled:
            break
    assert failed == 11  # ten failures are not a day yet
    assert bench.reader.webhook("main").disabled_reason == "failing"
    assert "webhook_disabled" in feed(bench)


def test_one_success_ends_a_bad_time(bench: Bench) -> None:
    put(bench, disable_after_ms=DAY)
    advance(bench, *range(1, 40))
    for number, id in enumerate(ids(take(bench, limit=30))):
        bench.tick(DAY // 5)
        take(bench, limit=0, tries=[tried(bench, id, status=200 if number % 4 == 3 else 500)])
    webhook = bench.reader.webhook("main")
    assert webhook.enabled
    assert webhook.succeeded == 7


def test_secrets_are_told_once_and_both_sign_during_a_rotation(bench: Bench) -> None:
    assert put(bench).secret == "whsec_main"
    again = put(bench, events=["failed"])
    assert (again.secret, again.events) == (None, ["failed"])
    advance(bench, 1, 2)
    assert take(bench, limit=1).secrets == ["whsec_main"]
    assert rotate(bench, "whsec_new", 60_000).secret == "whsec_new"
    assert bench.reader.webhook("main").secret is None
    assert take(bench, "t2").secrets == ["whsec_new", "whsec_main"]
    bench.tick(60_001)
    assert take(bench, "t3").secrets == ["whsec_new"]


def rotate(bench: Bench, secret: str, overlap_ms: int) -> Webhook:
    action = RotateWebhook(name="main", secret=secret, signing_key=new_signing_key(bytes(32)), overlap_ms=overlap_ms)
    return msgspec.json.decode(bench.act(action).reply, type=Webhook)


def test_a_second_rotation_keeps_its_word_to_the_first_and_one_without_overlap_ends_all(bench: Bench) -> None:
    put(bench)
    rotate(bench, "whsec_1", 60_000)
    bench.tick(30_000)
    assert rotate(bench, "whsec_2", 90_000).old_secret_until == timestamp(bench.now + 90_000)
    assert take(bench, "t1").secrets == ["whsec_2", "whsec_1", "whsec_main"]
    bench.tick(30_001)
    assert take(bench, "t2").secrets == ["whsec_2", "whsec_1"]
    # A secret that leaked must not sign for a moment longer, whatever was promised to it.
    assert rotate(bench, "whsec_3", 0).old_secret_until is None
    assert take(bench, "t3").secrets == ["whsec_3"]


def test_a_key_beside_the_secret_comes_stays_changes_and_goes(bench: Bench) -> None:
    assert put(bench).public_key is None
    first, other = new_signing_key(bytes(range(32))), new_signing_key(bytes(range(1, 33)))
    assert put(bench, signing_key=first).public_key == public_key(first)
    assert put(bench, signing_key=other).public_key == public_key(first)
    assert bench.reader.webhook("main").public_key == public_key(first)
    assert take(bench).secrets == ["whsec_main", first]
    second = new_signing_key(bytes(32))
    assert rotate(bench, "whsec_new", 60_000).public_key == public_key(second)
    assert take(bench, "t2").secrets == ["whsec_new", second, "whsec_main", first]
    assert put(bench).public_key is None
    assert "whsk_" not in bench.act(EnableWebhook(name="main")).reply
    bench.tick(60_001)
    assert take(bench, "t3").secrets == ["whsec_new"]


def test_a_stored_answer_holds_no_secret_and_tells_it_while_it_is_used(bench: Bench) -> None:
    rule = WebhookRule(disable_after_ms=DAY)
    making = PutWebhook(name="main", url="https://a.example/x", rule=rule, secret="whsec_hidden", position="0")
    source = PutSource(name="shop", queue="q", kind="k", scheme="standard", secrets=None, generated="whsec_concealed")
    rotating = RotateWebhook(name="main", secret="whsec_covered", signing_key="", overlap_ms=60_000)
    operations = [Operation(f"op-{place}", "f") for place in range(3)]
    secrets = ["whsec_hidden", "whsec_concealed", "whsec_covered"]
    actions: list[Any] = [making, source, rotating]

    def told(action: Any, operation: Operation) -> str | None:
        secret: str | None = msgspec.json.decode(bench.act(action, operation=operation).reply).get("secret")
        return secret

    for _ in range(2):
        # Told again to whoever missed the answer: the old secret too, while it signs.
        assert [told(*pair) for pair in zip(actions, operations, strict=True)] == secrets
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        kept = session.query("SELECT answer FROM operation", {})
    assert len(kept) == 3
    assert not [answer for (answer,) in kept if any(secret in answer for secret in secrets)]
    rotate(bench, "whsec_new", 0)
    bench.act(DeleteSource(name="shop"))
    assert [told(*pair) for pair in zip(actions, operations, strict=True)] == [None, None, None]
    bench.act(DeleteWebhook(name="main"))
    assert told(making, operations[0]) is None


def test_replay(bench: Bench) -> None:
    put(bench, disable_after_ms=100 * DAY)
    advance(bench, 1)
    since = bench.now + 1
    advance(bench, 2, 3, expected="1", position="2")
    one, two, three = ids(take(bench))
    gone = [tried(bench, one, status=200), tried(bench, two, status=200)]
    take(bench, limit=0, tries=gone)
    take(bench, limit=0, tries=[tried(bench, three)])
    for number in range(9):
        bench.tick(2 * DAY)
        assert ids(take(bench, f"r{number}")) == [three]
        take(bench, limit=0, tries=[tried(bench, three, f"r{number}")])
    assert state(bench, three) == "failed"
    message = bench.reader.delivery(three).message

    bench.act(EnableWebhook(name="main"))
    reply = bench.act(ReplayDeliveries(name="main", since=0, all=False, limit=100)).reply
    assert msgspec.json.decode(reply) == {"count": 1}
    got = take(bench, "x")
    assert [(taken.id, taken.message) for taken in got.deliveries] == [(three, message)]
    take(bench, limit=0, tries=[tried(bench, three, "x", 200)])
    assert bench.reader.delivery(three).attempts == 11

    assert bench.act(ReplayDeliveries(name="main", since=since, all=True, limit=100)).count == 2
    assert ids(take(bench, "y")) == [two, three]
    told = bench.act(ReplayDelivery(id=one))
    assert msgspec.json.decode(told.reply, type=DeliverySummary).state == "pending"
    assert ids(take(bench, "z")) == [one]
    assert bench.act(ReplayDeliveries(name="main", since=0, all=True, limit=1)).count == 0  # all are pending


def test_ping(bench: Bench) -> None:
    put(bench, events=["failed"])
    ping = PingWebhook(name="main", delivery=NewDelivery("msg_ping_1", "ping", None, "{}"))
    assert msgspec.json.decode(bench.act(ping).reply, type=DeliverySummary).message == "msg_ping_1"
    assert [taken.message for taken in take(bench).deliveries] == ["msg_ping_1"]
    bench.act(DisableWebhook(name="main"))
    assert bench.act(ping).problem is not None


def test_delete_and_prune(bench: Bench) -> None:
    put(bench)
    put(bench, "other")
    advance(bench, 1, 2)
    advance(bench, 1, name="other")
    one, two = ids(take(bench))
    take(bench, limit=0, tries=[tried(bench, one, status=200), tried(bench, two)])
    bench.tick(DAY)
    assert bench.act(PruneDeliveries(before=bench.now - DAY // 2)).count == 1
    with pytest.raises(NotFound):
        bench.reader.delivery(one)
    assert state(bench, two) == "pending"
    bench.act(DeleteWebhook(name="main"))
    with pytest.raises(NotFound):
        bench.reader.delivery(two)
    for name in ("main", "never"):
        assert take(bench, name=name).deliveries == []
        for action in (
            DeleteWebhook(name=name), EnableWebhook(name=name), DisableWebhook(name=name),
            RotateWebhook(name=name, secret="whsec_x", signing_key="", overlap_ms=0),
            ReplayDeliveries(name=name, since=0, all=True, limit=1),
        ):  # fmt: skip
            problem = bench.act(action).problem
            assert problem is not None
            assert problem.code == "not_found"
        with pytest.raises(NotFound):
            bench.reader.webhook(name)
        with pytest.raises(NotFound):
            bench.reader.deliveries(ListDeliveries(name=name))
    assert len(bench.reader.deliveries(ListDeliveries(name="other")).deliveries) == 1


def test_lists_go_on_by_their_cursor(bench: Bench) -> None:
    put(bench)
    advance(bench, *range(1, 8))
    taken = ids(take(bench, limit=2))
    take(bench, limit=0, tries=[tried(bench, id, status=200) for id in taken])
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = bench.reader.deliveries(ListDeliveries(name="main", limit=3, cursor=cursor))
        seen += [delivery.id for delivery in page.deliveries]
        if (cursor := page.cursor) is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 7
    done = bench.reader.deliveries(ListDeliveries(name="main", state="succeeded")).deliveries
    assert [delivery.id for delivery in done] == taken[::-1]


@pytest.mark.feature("webhooks-in")
def test_sources(bench: Bench) -> None:
    def source(**fields: Any) -> Acted:
        given = {"name": "gh", "queue": "q", "kind": "k", "scheme": "github", "secrets": None, "generated": None}
        return bench.act(PutSource(**{**given, **fields}))

    assert source().problem is not None
    told = msgspec.json.decode(source(secrets=["one secret", "two secret"]).reply, type=Source)
    assert (told.secrets, told.secret) == (2, None)
    assert source(queue="p").problem is None
    assert bench.reader.source_facts("gh").secrets == ["one secret", "two secret"]
    assert source(scheme="stripe").problem is not None
    assert bench.reader.source("gh").scheme == "github"
    made = source(name="std", scheme="standard", generated="whsec_made")
    assert msgspec.json.decode(made.reply, type=Source).secret == "whsec_made"
    again = source(name="std", scheme="standard", generated="whsec_other")
    assert msgspec.json.decode(again.reply, type=Source).secret is None
    assert bench.reader.source_facts("std").secrets == ["whsec_made"]
    source(name="std", scheme="none")
    assert bench.reader.source_facts("std").secrets == []
    assert [found.name for found in bench.reader.sources_of("p")] == ["gh"]
    assert [found.name for found in bench.reader.sources()] == ["gh", "std"]
    bench.act(DeleteSource(name="gh"))
    assert bench.act(DeleteSource(name="gh")).problem is not None
