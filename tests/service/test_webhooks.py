"""From an event to a receiver: who is told what, when it is tried again, and that nobody waits for anybody."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roost.domain.deliveries import RETRY_MS
from roost.domain.signatures import verify
from roost.engine import hooks
from roost.engine.opening import open_store
from roost.engine.store import Store
from roost.errors import Conflict, InvalidRequest, NotFound
from roost.service.core import RuntimeSettings
from roost.service.runtime import Runtime
from roost.service.webhook_sending import TAKEN
from roost.wire import contract
from roost.wire.jobs import Empty, JobRef
from roost.wire.queues import PauseQueue
from roost.wire.webhooks import (
    Delivery,
    DeliveryRef,
    EnableWebhook,
    ListDeliveries,
    PutWebhook,
    RotateWebhook,
    Webhook,
    WebhookRef,
)
from tests.service.calls import claim, enqueue, ms, settle_one
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock
from tests.service.watched_store import WatchedStore
from tests.support.receiver import Message, Receiver, receiving

pytestmark = pytest.mark.feature("webhooks-out")

OPEN = RuntimeSettings(webhook_allow=("127.0.0.0/8",))
SOON = RuntimeSettings(webhook_allow=("127.0.0.0/8",), webhook_seconds=0.5)
HOUR = 3_600_000


async def put(runtime: Runtime, url: str, name: str = "main", **fields: Any) -> Webhook:
    return await runtime.handle(contract.PUT_WEBHOOK, PutWebhook(name=name, url=url, **fields))


async def get(runtime: Runtime, name: str = "main") -> Webhook:
    return await runtime.handle(contract.GET_WEBHOOK, WebhookRef(name=name))


async def deliveries(runtime: Runtime, name: str = "main") -> list[Delivery]:
    page = await runtime.handle(contract.LIST_DELIVERIES, ListDeliveries(name=name, limit=500))
    return [
        await runtime.handle(contract.GET_DELIVERY, DeliveryRef(id=found.id)) for found in reversed(page.deliveries)
    ]


async def run_one(runtime: Runtime, result: bytes | None = None) -> int:
    id = await enqueue(runtime, queue="mail.out")
    token, (taken,) = await claim(runtime, "mail.out")
    assert taken == id
    await settle_one(runtime, id, token, outcome="succeed", **({"result": result} if result else {}))
    return id


async def eventually(look: Callable[[], Any], clock: VirtualClock | None = None, seconds: float = 20) -> Any:
    """The first true answer; a virtual clock moves a little meanwhile."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < until, "this did not happen"
        if clock is not None:
            await clock.advance(25)
        await asyncio.sleep(0.005)


async def test_what_is_told(store: Store, make_runtime: MakeRuntime) -> None:
    async with receiving() as receiver:
        runtime = await make_runtime(store, host="thread", settings=OPEN)
        webhook = await put(runtime, receiver.url, queues=["mail.*"])
        id = await run_one(runtime)
        await enqueue(runtime, queue="other")
        await receiver.until(lambda messages: len(messages) >= 3)
        await asyncio.sleep(0.1)
        assert receiver.types == ["created", "started", "succeeded"]
        first, last = receiver.messages[0].event, receiver.messages[-1].event
        assert first["job"] == {"id": id, "kind": "work", "queue": "mail.out", "state": "ready"}
        assert last["job"]["state"] == "succeeded"
        assert set(last) == {"id", "type", "at", "job"}
        assert len({message.id for message in receiver.messages}) == 3
        assert webhook.secret is not None
        for message in receiver.messages:
            now = int(time.time() * 1000)
            assert verify("standard", [webhook.secret], message.headers, message.body, now).id == message.id
        found = await get(runtime)
        assert (found.secret, found.url) == (None, receiver.url)
        listed = await runtime.handle(contract.LIST_WEBHOOKS, Empty())
        assert [webhook.name for webhook in listed.webhooks] == ["main"]
        assert listed.webhooks[0].secret is None


async def test_results_are_sent_where_they_are_asked_for(store: Store, make_runtime: MakeRuntime) -> None:
    async with receiving() as thin, receiving() as thick:
        runtime = await make_runtime(store, host="thread", settings=OPEN)
        await put(runtime, thin.url, "thin", events=["succeeded"])
        await put(runtime, thick.url, "thick", events=["succeeded"], include=["result"])
        await run_one(runtime, b'{"n": 1.0}')
        await asyncio.gather(thin.until(bool), thick.until(bool))
        assert b'"result":{"n": 1.0}' in thick.messages[0].body
        assert "result" not in thin.messages[0].event["job"]


async def test_an_endpoint_is_told_of_jobs_with_its_tags_alone(store: Store, make_runtime: MakeRuntime) -> None:
    async with receiving() as receiver:
        runtime = await make_runtime(store, host="thread", settings=OPEN)
        await put(runtime, receiver.url, events=["created", "queue_*"], tags={"tenant": "acme*", "env": "prod"})
        for tags in (
            {"tenant": "acme-eu", "env": "prod", "more": "x"},
            {"tenant": "acme-eu"},
            {"tenant": "acme.eu", "env": "prod"},
            {"tenant": "other", "env": "prod"},
            None,
        ):
            await enqueue(runtime, tags=tags)
        # About no job: it has no tags.
        await runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name="default"))
        last = await enqueue(runtime, tags={"env": "prod", "tenant": "acme"})
        await receiver.until(lambda messages: messages[-1].event["job"]["id"] == last if messages else False)
        assert receiver.types == ["created", "created"]
        assert (await get(runtime)).tags == {"tenant": "acme*", "env": "prod"}


async def test_noise_is_sent_to_those_who_ask_for_it(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    from tests.service.calls import beat_one

    async with receiving() as all, receiving() as some:
        runtime = await make_runtime(memory_store, settings=OPEN)
        await put(runtime, all.url, "all", queues=["mail"])
        await put(runtime, some.url, "some", events=["progress", "succeeded"])
        id = await enqueue(runtime, queue="mail")
        token, _ = await claim(runtime, "mail")
        await beat_one(runtime, id, token, progress={"current": 1})
        await settle_one(runtime, id, token, outcome="succeed")
        for receiver in (all, some):
            await receiver.until(lambda messages: messages[-1].event["type"] == "succeeded" if messages else False)
        assert all.types == ["created", "started", "succeeded"]
        assert some.types == ["progress", "succeeded"]


async def test_a_deleted_job_and_a_paused_queue_are_told_to_those_who_watch_the_queue(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    async with receiving() as receiver:
        runtime = await make_runtime(memory_store, settings=OPEN)
        await put(runtime, receiver.url, events=["job_deleted", "queue_*"], queues=["mail"])
        for queue in ("mail", "other"):
            await runtime.handle(contract.DELETE_JOB, JobRef(id=await enqueue(runtime, queue=queue)))
            await runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name=queue))
        await receiver.until(lambda messages: len(messages) >= 2)
        await asyncio.sleep(0.1)
        assert receiver.types == ["job_deleted", "queue_paused"]
        assert receiver.messages[0].event["job"]["queue"] == "mail"


async def test_ten_tries_over_days_then_replay(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    """One delivery against a clock of the test's: the same id and body each time, the time and the signature anew."""
    async with receiving(lambda message: "500 No") as receiver:
        settings = RuntimeSettings(webhook_allow=("127.0.0.0/8",), safety_seconds=7200)
        runtime = await make_runtime(memory_store, clock=clock, settings=settings)
        webhook = await put(runtime, receiver.url, events=["created"], disable_after="30d")
        await enqueue(runtime)
        for number in range(1, len(RETRY_MS) + 2):
            await eventually(lambda number=number: len(receiver.messages) == number, clock)
            await eventually(lambda number=number: _tried(runtime, number), clock)
            if number <= len(RETRY_MS):
                (waiting,) = await deliveries(runtime)
                pause = ms(waiting.next_at) - clock.now()
                assert RETRY_MS[number - 1] - 2_000 < pause <= RETRY_MS[number - 1] * 1.2
                await clock.advance(pause - 100)
                assert len(receiver.messages) == number
                await clock.advance(100)
        (delivery,) = await deliveries(runtime)
        assert (delivery.state, delivery.attempts) == ("failed", 10)
        assert {message.id for message in receiver.messages} == {delivery.message}
        assert {message.body for message in receiver.messages} == {delivery.body.encode()}
        times = [int(message.headers["webhook-timestamp"]) for message in receiver.messages]
        assert times == sorted(set(times))
        assert [round(attempt.duration_ms) >= 0 for attempt in delivery.tries] == [True] * 10
        assert webhook.secret is not None
        last = receiver.messages[-1]
        assert verify("standard", [webhook.secret], last.headers, last.body, times[-1] * 1000)

        receiver.answer = lambda message: "200 OK"
        await runtime.handle(contract.REPLAY_DELIVERY, DeliveryRef(id=delivery.id))
        await eventually(lambda: _succeeded(runtime), clock)
        assert receiver.messages[-1].id == delivery.message
        assert (await get(runtime)).failures == 0


async def _tried(runtime: Runtime, number: int) -> bool:
    found = await deliveries(runtime)
    return len(found) == 1 and found[0].attempts == number


async def _succeeded(runtime: Runtime) -> bool:
    return [found.state for found in await deliveries(runtime)] == ["succeeded"]


async def test_a_receiver_that_is_gone_is_asked_no_more_and_others_are_told(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    async with receiving(lambda message: "410 Gone") as gone, receiving() as operator:
        runtime = await make_runtime(memory_store, settings=OPEN)
        await put(runtime, operator.url, "operator", events=["webhook_*"])
        await put(runtime, gone.url, events=["created"])
        await asyncio.gather(*(enqueue(runtime) for _ in range(60)))
        await operator.until(lambda messages: "webhook_disabled" in [message.event["type"] for message in messages])
        told = next(message.event for message in operator.messages if message.event["type"] == "webhook_disabled")
        assert told["data"] == {"webhook": "main", "reason": "gone"}
        asked = len(gone.messages)
        await enqueue(runtime)
        await asyncio.sleep(0.2)
        assert len(gone.messages) == asked <= TAKEN
        assert {found.error for found in await deliveries(runtime)} <= {"answered 410", None}
        with pytest.raises(Conflict):
            await runtime.handle(contract.TEST_WEBHOOK, WebhookRef(name="main"))

        gone.answer = lambda message: "200 OK"
        await runtime.handle(contract.ENABLE_WEBHOOK, EnableWebhook(name="main"))
        # What failed is tried again when it is due; what happened meanwhile comes at once.
        await gone.until(lambda messages: 61 in [message.event["job"]["id"] for message in messages])


async def test_a_disabled_endpoint_can_go_on_or_skip(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    async with receiving() as receiver:
        runtime = await make_runtime(memory_store, settings=OPEN)
        await put(runtime, receiver.url, events=["created"])
        await runtime.handle(contract.DISABLE_WEBHOOK, WebhookRef(name="main"))
        for skip, wanted in ((False, [1, 2]), (True, [1, 2, 4])):
            await enqueue(runtime)
            await runtime.handle(contract.ENABLE_WEBHOOK, EnableWebhook(name="main", skip=skip))
            await enqueue(runtime)
            await receiver.until(lambda messages, wanted=wanted: len(messages) >= len(wanted))
            await runtime.handle(contract.DISABLE_WEBHOOK, WebhookRef(name="main"))
            assert [message.event["job"]["id"] for message in receiver.messages] == wanted


async def test_one_that_hangs_keeps_no_other_waiting(store: Store, make_runtime: MakeRuntime) -> None:
    async with receiving(lambda message: None) as hanging, receiving() as quick:
        runtime = await make_runtime(store, host="thread", settings=SOON)
        for number in range(3):
            await put(runtime, hanging.url, f"hanging-{number}", events=["created"])
        await put(runtime, quick.url, "quick", events=["created"])
        began = time.monotonic()
        for _ in range(100):
            await enqueue(runtime)
        await quick.until(lambda messages: len(messages) >= 100)
        # Behind 300 posts of half a second each it would be later.
        assert time.monotonic() - began < 30
        (first, *_) = await eventually(lambda: _failed_tries(runtime))
        assert first.error == "no answer within 0.5 s"
        assert 400 <= first.duration_ms < 2_000


async def _failed_tries(runtime: Runtime) -> Any:
    return [attempt for found in await deliveries(runtime, "hanging-0") for attempt in found.tries]


async def test_two_nodes_send_each_event_once(postgres_store: str, make_runtime: MakeRuntime) -> None:
    """Nobody dies here, so nothing comes twice; and each job's events come in their order."""
    async with receiving() as receiver:
        stores = [open_store(postgres_store, "server", rng=lambda: 0.5) for _ in range(2)]
        runtimes = [await make_runtime(store, host="thread", settings=OPEN) for store in stores]
        await put(runtimes[0], receiver.url, queues=["mail.out"])
        count = 120

        async def work(runtime: Runtime, jobs: int) -> None:
            for _ in range(jobs):
                await enqueue(runtime, queue="mail.out")
                token, taken = await claim(runtime, "mail.out")
                for id in taken:
                    await settle_one(runtime, id, token, outcome="succeed")

        await asyncio.gather(*(work(runtime, count // 4) for runtime in runtimes for _ in range(2)))
        while (taken := await claim(runtimes[0], "mail.out", limit=50))[1]:
            for id in taken[1]:
                await settle_one(runtimes[0], id, taken[0], outcome="succeed")
        await receiver.until(lambda messages: len(messages) >= 3 * count)
        await asyncio.sleep(0.3)
        assert max(Counter(message.id for message in receiver.messages).values()) == 1
        by_job: dict[int, list[str]] = {}
        for message in receiver.messages:
            by_job.setdefault(message.event["job"]["id"], []).append(message.event["type"])
        assert len(by_job) == count
        assert set(map(tuple, by_job.values())) == {("created", "started", "succeeded")}
        for runtime in runtimes:
            await runtime.stop()
        for store in stores:
            store.close()


async def test_events_that_were_deleted_before_they_were_sent_are_told_of(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    from roost.engine.calls import PruneFeed

    async with receiving() as receiver:
        runtime = await make_runtime(memory_store, clock=clock, settings=OPEN)
        await put(runtime, receiver.url, events=["created", "webhook_events_lost"])
        await runtime.handle(contract.DISABLE_WEBHOOK, WebhookRef(name="main"))
        for _ in range(20):
            await enqueue(runtime)
        await runtime._core.act_for_itself(PruneFeed(before=clock.now() + HOUR, limit=15))
        await enqueue(runtime)
        await runtime.handle(contract.ENABLE_WEBHOOK, EnableWebhook(name="main"))
        await eventually(lambda: "webhook_events_lost" in receiver.types, clock)
        jobs = [message.event["job"]["id"] for message in receiver.messages if "job" in message.event]
        assert jobs == list(range(jobs[0], 22))
        assert jobs[0] > 1


async def test_without_endpoints_nothing_is_done(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, settings=OPEN)
    for _ in range(5):
        await enqueue(runtime)
    await asyncio.sleep(0.1)
    assert [call for call in memory_store.calls if isinstance(call.action, hooks.HookAction)] == []


async def test_a_stop_does_not_wait_for_those_who_hang(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    async with receiving(lambda message: None) as hanging:
        patient = RuntimeSettings(webhook_allow=OPEN.webhook_allow, webhook_seconds=60.0)
        runtime = await make_runtime(memory_store, settings=patient)
        await put(runtime, hanging.url)
        for _ in range(20):
            await enqueue(runtime)
        await hanging.until(bool)
        began = time.monotonic()
        await runtime.stop()
        assert time.monotonic() - began < 30


async def test_both_secrets_sign_during_a_rotation(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    async with receiving() as receiver:
        runtime = await make_runtime(memory_store, settings=OPEN)
        made = await put(runtime, receiver.url, events=["created"], ed25519=True)
        changed = await runtime.handle(contract.ROTATE_WEBHOOK, RotateWebhook(name="main"))
        keys = [made.secret, made.public_key, changed.secret, changed.public_key]
        assert len({*keys}) == 4
        assert (await get(runtime)).public_key == changed.public_key
        await runtime.handle(contract.TEST_WEBHOOK, WebhookRef(name="main"))
        await receiver.until(bool)
        (message,) = receiver.messages
        assert message.event["type"] == "ping"
        for secret in keys:
            assert secret is not None
            assert verify("standard", [secret], message.headers, message.body, int(time.time() * 1000))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://10.0.0.1/",
        "https://example.com:22/",
        "https://u:p@example.com/",
        "ftp://example.com/",
    ],
)
async def test_an_internal_target_is_refused_before_anything_is_stored(
    memory_store: WatchedStore, make_runtime: MakeRuntime, url: str
) -> None:
    runtime = await make_runtime(memory_store)
    with pytest.raises(InvalidRequest) as refused:
        await put(runtime, url)
    assert refused.value.path == "url"
    with pytest.raises(NotFound):
        await get(runtime)


async def test_a_target_that_was_allowed_before_is_asked_again_at_every_try(
    sqlite_path: Path, make_runtime: MakeRuntime
) -> None:
    async with receiving() as receiver:
        for settings in (OPEN, RuntimeSettings()):
            store = open_store(f"sqlite:///{sqlite_path}", "embedded", rng=lambda: 0.5)
            runtime = await make_runtime(store, settings=settings, loops=settings is not OPEN)
            if settings is OPEN:
                await put(runtime, receiver.url)
                await runtime.stop()
                store.close()
        await enqueue(runtime)
        (found, *_) = await eventually(lambda: _with_tries(runtime))
        await runtime.stop()
        store.close()
        assert found.error is not None
        assert "refused" in found.error
        assert receiver.messages == []


async def _with_tries(runtime: Runtime) -> list[Delivery]:
    return [found for found in await deliveries(runtime) if found.tries]


def test_a_receiver_keeps_what_it_gets() -> None:
    """The tests' own receiver, so that an empty list means something."""

    async def ask() -> list[Message]:
        async with receiving() as receiver:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(receiver.url.split(":")[2].split("/")[0]))
            writer.write(b"POST / HTTP/1.1\r\ncontent-length: 2\r\nwebhook-id: 1\r\n\r\n{}")
            assert b"204" in await reader.read(100)
            writer.close()
            return receiver.messages

    assert isinstance(Receiver().messages, list)
    assert [message.id for message in asyncio.run(ask())] == ["1"]
