"""What handlers get: steps recorded once, sleeps and questions that occupy no worker, notes that arrive."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools

import pytest

import roost
from roost.wire.jobs import ErrorInfo
from tests.sdk.harness import Bench


@dataclasses.dataclass
class Receipt:
    number: int
    lines: tuple[str, ...]


def error_of(info: ErrorInfo | None) -> ErrorInfo:
    assert info is not None
    return info


@pytest.mark.feature("steps")
async def test_recorded_steps_are_not_repeated_and_come_back_typed_and_byte_equal(bench: Bench) -> None:
    calls: list[str] = []
    seen: list[Receipt] = []

    async def pay(amount: int) -> Receipt:
        calls.append("pay")
        return Receipt(amount, ("a", "b"))

    def ship(receipt: Receipt) -> float:
        calls.append("ship")
        return 0.1 + receipt.number

    @bench.app.job(retries=3, retry_base="1ms")
    async def order(amount: int, ctx: roost.Context) -> float:
        receipt = await ctx.step("pay", pay, amount)
        seen.append(receipt)
        if len(seen) < 3:
            raise RuntimeError("falls over after the first step")
        return await ctx.step("ship", ship, receipt)

    job = await bench.enqueue(order, 7)
    async with bench.running():
        ended = await bench.ended(job)
    assert (ended.state, bytes(ended.result or b""), ended.failures) == ("succeeded", b"7.1", 2)
    assert calls == ["pay", "ship"]
    assert seen == [Receipt(7, ("a", "b"))] * 3
    steps = await bench.client.jobs.steps(job)
    assert [(step.name, bytes(step.output), step.attempt) for step in steps] == [
        ("pay", b'{"number":7,"lines":["a","b"]}', 1),
        ("ship", b"7.1", 3),
    ]


async def test_another_input_for_a_recorded_step_is_fatal(bench: Bench) -> None:
    numbers = itertools.count()

    @bench.app.job(retries=5, retry_base="1ms")
    async def unsteady(ctx: roost.Context) -> None:
        await ctx.step("draw", str, next(numbers))
        raise RuntimeError("once more")

    job = await bench.enqueue(unsteady)
    async with bench.running():
        ended = await bench.ended(job)
    assert (ended.state, ended.reason, ended.failures) == ("failed", "fatal", 2)
    assert error_of(ended.error).type == "roost.errors.StepChanged"
    assert [bytes(step.output) for step in await bench.client.jobs.steps(job)] == [b'"0"']


@pytest.mark.feature("steps")
async def test_map_records_each_item_and_keeps_the_order(bench: Bench) -> None:
    calls: list[int] = []

    async def double(number: int) -> int:
        calls.append(number)
        await asyncio.sleep(0.001 * (5 - number))
        if number == 3 and calls.count(3) == 1:
            raise ValueError("not yet")
        return number * 2

    @bench.app.job(retries=1, retry_base="1ms")
    async def all_of(ctx: roost.Context) -> list[int]:
        return await ctx.map("double", double, range(5), concurrency=2)

    job = await bench.enqueue(all_of)
    async with bench.running():
        ended = await bench.ended(job)
    assert bytes(ended.result or b"") == b"[0,2,4,6,8]"
    names = {step.name for step in await bench.client.jobs.steps(job)}
    assert names == {f"double[{index}]" for index in range(5)}
    recorded = [step.name for step in await bench.client.jobs.steps(job) if step.attempt == 1]
    assert {"double[0]", "double[1]"} <= set(recorded)
    assert calls.count(0) == calls.count(1) == 1


@pytest.mark.feature("steps")
async def test_steps_that_cost_are_recorded_although_one_beside_them_fails(bench: Bench) -> None:
    calls: list[int] = []
    failed = asyncio.Event()

    async def ask(number: int) -> int:
        calls.append(number)
        if number == 0:
            await failed.wait()
            await asyncio.sleep(0)
        if number == 1 and calls.count(1) == 1:
            failed.set()
            raise ValueError("not yet")
        return number

    @bench.app.job(retries=1, retry_base="1ms")
    async def all_of(ctx: roost.Context) -> list[int]:
        return await ctx.map("ask", ask, range(4), concurrency=2, kind="llm")

    job = await bench.enqueue(all_of)
    async with bench.running():
        ended = await bench.ended(job)
    assert bytes(ended.result or b"") == b"[0,1,2,3]"
    assert sorted(calls) == [0, 1, 1, 2, 3]
    told = await bench.client.jobs.all_steps(job)
    assert {step.name: step.attempt for step in told.steps} == {"ask[0]": 1, "ask[1]": 2, "ask[2]": 2, "ask[3]": 2}
    # The counter is the calls that were made, whatever became of them.
    assert (told.live, [(mark.name, mark.ended) for mark in told.unrecorded]) == (
        {"llm": len(calls)},
        [("ask[1]", "failed")],
    )


async def test_sync_handlers_have_the_same_context(bench: Bench) -> None:
    calls: list[str] = []

    def read(name: str) -> dict[str, int]:
        calls.append(name)
        return {name: len(name)}

    @bench.app.job(retries=1, retry_base="1ms")
    def collect(ctx: roost.SyncContext) -> list[dict[str, int]]:
        first = ctx.step("first", read, "one")
        rest = ctx.map("rest", read, ["three", "seven"], concurrency=2)
        ctx.save({"seen": len(rest)})
        if ctx.failures == 0:
            raise RuntimeError("again")
        assert ctx.saved(dict) == {"seen": 2}
        return [first, *rest]

    job = await bench.enqueue(collect)
    async with bench.running():
        ended = await bench.ended(job)
    assert bytes(ended.result or b"") == b'[{"one":3},{"three":5},{"seven":5}]'
    assert sorted(calls) == ["one", "seven", "three"]


@pytest.mark.feature("steps")
async def test_a_sleep_occupies_no_worker_and_is_slept_once(bench: Bench) -> None:
    attempts: list[int] = []

    @bench.app.job
    async def nap(ctx: roost.Context) -> str:
        attempts.append(ctx.attempt)
        try:
            await ctx.sleep("2h")
            await ctx.sleep("1h", name="second")
        except Exception as error:  # must not see how the attempt ends
            raise AssertionError("the signal was swallowed") from error
        return "awake"

    job = await bench.enqueue(nap)
    async with bench.running() as worker:
        first = await bench.until(job, "waiting")
        assert (first.reason, worker.running) == ("sleeping", 0)
        bench.clock.advance(7200)
        async with asyncio.timeout(20):
            while len(attempts) < 2 or (await bench.job(job)).state != "waiting":
                await asyncio.sleep(0.01)
        bench.clock.advance(3600)
        ended = await bench.ended(job)
    assert (ended.state, ended.failures, attempts) == ("succeeded", 0, [1, 2, 3])
    assert [attempt.outcome for attempt in ended.attempts] == ["sleeping", "sleeping", "succeeded"]


async def test_an_approval_holds_the_job_and_goes_on_with_who_approved(bench: Bench) -> None:
    @bench.app.job
    async def send(text: str, ctx: roost.Context) -> list[str | None]:
        decision = await ctx.approve("Send", show={"text": text}, expires="2h")
        return [decision.approved_by, decision.note]

    job = await bench.enqueue(send, "hello")
    async with bench.running() as worker:
        await bench.until(job, "held")
        hold = await bench.hold(job)
        assert (hold.title, bytes(hold.subject), worker.running) == ("Send", b'{"text":"hello"}', 0)
        await bench.client.holds.approve(hold.id, hold.subject_hash, actor="ada", note="fine")
        ended = await bench.ended(job)
    assert bytes(ended.result or b"") == b'["ada","fine"]'
    assert ended.failures == 0


async def test_a_denied_approval_fails_the_job(bench: Bench) -> None:
    @bench.app.job
    async def send(ctx: roost.Context) -> None:
        await ctx.approve("Send")
        raise AssertionError("nobody approved")

    job = await bench.enqueue(send)
    async with bench.running():
        await bench.until(job, "held")
        hold = await bench.hold(job)
        await bench.client.holds.deny(hold.id, hold.subject_hash, actor="ada")
        ended = await bench.ended(job)
    assert (ended.state, ended.reason) == ("failed", "hold_denied")


@pytest.mark.parametrize(("on_expiry", "state"), [("deny", "failed"), ("approve", "succeeded")])
async def test_an_expired_approval_ends_as_declared(bench: Bench, on_expiry: str, state: str) -> None:
    @bench.app.job
    async def send(ctx: roost.Context) -> None:
        await ctx.approve("Send", expires="2h", on_expiry=on_expiry)  # type: ignore[arg-type]  # both values are tried

    job = await bench.enqueue(send)
    async with bench.running():
        await bench.until(job, "held")
        bench.clock.advance(7201)
        assert (await bench.ended(job)).state == state


async def test_another_subject_than_the_approved_one_is_asked_anew(bench: Bench) -> None:
    drafts = iter(["draft one", "draft two", "draft two"])

    @bench.app.job
    async def send(ctx: roost.Context) -> str:
        draft = next(drafts)
        await ctx.approve("Send", show=draft)
        return draft

    job = await bench.enqueue(send)
    async with bench.running():
        for expected in (b'"draft one"', b'"draft two"'):
            await bench.until(job, "held")
            hold = await bench.hold(job)
            assert bytes(hold.subject) == expected
            await bench.client.holds.approve(hold.id, hold.subject_hash)
        ended = await bench.ended(job)
    assert bytes(ended.result or b"") == b'"draft two"'


async def test_a_question_is_answered_with_a_typed_value(bench: Bench) -> None:
    @bench.app.job
    def choose(ctx: roost.SyncContext) -> int:
        receipt = ctx.ask("Which receipt?", show=[1, 2], type=Receipt)
        assert isinstance(receipt, Receipt)
        return receipt.number

    job = await bench.enqueue(choose)
    async with bench.running():
        await bench.until(job, "held")
        hold = await bench.hold(job)
        await bench.client.holds.answer(hold.id, hold.subject_hash, {"number": 4, "lines": []})
        ended = await bench.ended(job)
    assert bytes(ended.result or b"") == b"4"


async def test_notes_arrive_before_the_job_ends(bench: Bench) -> None:
    @bench.app.job
    async def talk(ctx: roost.Context) -> None:
        for number in range(2500):
            ctx.log(f"line {number}\0\ud800" if number == 0 else f"line {number}", "warning")
        ctx.progress(3, 4, "nearly")
        ctx.save({"at": 3})

    job = await bench.enqueue(talk)
    async with bench.running():
        ended = await bench.ended(job)
    assert ended.progress is not None
    assert (ended.progress.current, ended.progress.total, ended.progress.message) == (3, 4, "nearly")
    assert bytes(ended.saved or b"") == b'{"at":3}'
    lines = (await bench.client.jobs.logs(job, limit=1000)).lines
    assert [line.message for line in lines] == ["line 0\N{SYMBOL FOR NULL}?", *(f"line {n}" for n in range(1, 1000))]
    assert lines[0].level == "warning"


async def test_notes_of_a_long_job_arrive_while_it_runs(bench: Bench) -> None:
    go_on = asyncio.Event()

    @bench.app.job
    async def talk(ctx: roost.Context) -> None:
        ctx.progress(1, 2)
        await go_on.wait()

    job = await bench.enqueue(talk)
    async with bench.running():
        async with asyncio.timeout(10):
            while (await bench.job(job)).progress is None:
                await asyncio.sleep(0.01)
        go_on.set()
        await bench.ended(job)


async def test_a_handler_may_end_its_attempt_by_exception(bench: Bench) -> None:
    @bench.app.job(retries=5)
    async def end(how: str, ctx: roost.Context) -> str:
        if ctx.attempt > 1:
            return "later"
        match how:
            case "snooze":
                raise roost.Snooze("1ms")
            case "retry":
                raise roost.Retry("no luck", after="1ms")
            case "cancel":
                raise roost.Cancel("not wanted")
            case _:
                raise roost.Fatal("never")

    jobs = {how: await bench.enqueue(end, how) for how in ("snooze", "retry", "cancel", "fatal")}
    async with bench.running():
        ended = {how: await bench.ended(id) for how, id in jobs.items()}
    assert {how: (job.state, job.failures, job.attempt) for how, job in ended.items()} == {
        "snooze": ("succeeded", 0, 2),
        "retry": ("succeeded", 1, 2),
        "cancel": ("cancelled", 0, 1),
        "fatal": ("failed", 1, 1),
    }
    assert error_of(ended["fatal"].error).message == "never"


async def test_errors_carry_their_chain_and_stay_small(bench: Bench) -> None:
    @bench.app.job(retries=0)
    async def fall() -> None:
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise RuntimeError("x" * 50_000) from error

    @bench.app.job(retries=3)
    async def unsayable() -> object:
        return {"when": {1j}}

    first, second = await bench.enqueue(fall), await bench.enqueue(unsayable)
    await bench.drain()
    error = error_of((await bench.job(first)).error)
    assert (error.type, len(error.message)) == ("RuntimeError", 10_000)
    assert "the cause" in error.traceback
    assert "src/roost/sdk" not in error.traceback
    refused = await bench.job(second)
    assert (refused.state, refused.reason, refused.failures) == ("failed", "fatal", 1)
    assert "result.when" in error_of(refused.error).message
