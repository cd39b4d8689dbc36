"""What a held job does, and does not: no way around a person, no worker occupied, no restart noticed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import roost
from roost.errors import Conflict, HoldDecided, SubjectChanged
from roost.wire.holds import Hold
from roost.wire.jobs import NewJob
from tests.e2e.stand import ended, eventually, open_hold, serving, until, working

HERE: Any = roost.injected()


@dataclass
class Address:
    street: str
    number: int


async def approve(app: roost.App, hold: Hold, actor: str = "ann") -> None:
    await app.client.holds.approve(hold.id, hold.subject_hash, actor=actor)


@pytest.mark.parametrize("ending", ["denied", "succeeded", "cancelled", "expired"])
@pytest.mark.parametrize("place", ["before", "within"])
async def test_a_job_that_is_run_again_is_asked_again(app: roost.App, queue: str, place: str, ending: str) -> None:
    effects: list[str | None] = []

    @app.job(name=f"send.{queue}", queue=queue, hold=roost.HoldRule(title="Send?") if place == "before" else None)
    async def send(ctx: roost.Context = HERE) -> None:
        if place == "within":
            decision = await ctx.approve("Send?", show={"to": "ann"}, expires="100ms" if not effects else None)
            effects.append(decision.approved_by)
        else:
            effects.append("started")

    rule = roost.HoldRule(title="Send?", expires="200ms")
    async with working(app, queue):
        new = send.new_job()
        if place == "before" and ending == "expired":
            new.hold = rule
        job = await app.client.jobs.enqueue(new)
        if ending == "expired":
            await until(app, job.id, "failed")
            (first,) = (await app.client.holds.list(job=job.id, all=True)).holds
        else:
            first = await open_hold(app, job.id)
        if ending == "denied":
            await app.client.holds.deny(first.id, first.subject_hash)
        elif ending == "cancelled":
            await app.client.jobs.cancel(job.id)
        elif ending == "succeeded":
            await approve(app, first)
        before = await ended(app, job.id)
        assert before.reason == {"cancelled": "requested", "succeeded": None}.get(ending, "hold_denied")
        ran = len(effects)
        assert ran == (ending == "succeeded")
        await app.client.jobs.reopen(job.id, actor="bob")
        second = await open_hold(app, job.id)
        assert second.id != first.id
        assert len(effects) == ran
        # The earlier decision is kept for the history, but it is nobody's permission any more.
        kept = await app.client.holds.get(first.id)
        assert (kept.current, second.current) == (False, True)
        with pytest.raises((Conflict, HoldDecided)):
            await (app.client.holds.deny if ending == "succeeded" else app.client.holds.approve)(
                first.id, first.subject_hash
            )
        if place == "before" and ending == "expired":
            # its deadline is counted anew
            await until(app, job.id, "failed")
            assert effects == []
            return
        await approve(app, second, "eve")
        assert (await ended(app, job.id)).state == "succeeded"
        assert len(effects) == ran + 1
        events = [event.type for event in await app.client.jobs.events(job.id)]
        assert events.count("held") == 2
        assert events.count("reopened") == 1


async def test_a_subject_that_changes_after_its_approval_is_asked_again(app: roost.App, queue: str) -> None:
    drafts = iter(["first", "second", "second"])
    sent: list[tuple[str, str | None]] = []

    @app.job(name=f"mail.{queue}", queue=queue)
    async def mail(ctx: roost.Context = HERE) -> None:
        text = next(drafts)
        decision = await ctx.approve("Send?", show={"text": text})
        sent.append((text, decision.approved_by))

    async with working(app, queue):
        job = await app.client.jobs.enqueue(mail.new_job())
        first = await open_hold(app, job.id)
        await approve(app, first)

        async def asked_again() -> Hold | None:
            holds = (await app.client.holds.list(job=job.id)).holds
            return holds[0] if holds and holds[0].id != first.id else None

        second = await eventually(asked_again, "the changed subject is asked about")
        assert msgspec.json.decode(second.subject) == {"text": "second"}
        assert sent == []
        # What was approved was the other text, and its hash is no key to this one.
        with pytest.raises(SubjectChanged):
            await app.client.holds.approve(second.id, first.subject_hash)
        await approve(app, second, "bob")
        assert (await ended(app, job.id)).state == "succeeded"
        assert sent == [("second", "bob")]


async def test_a_held_job_occupies_no_worker(app: roost.App, queue: str) -> None:
    ran: list[int] = []

    @app.job(name=f"ask.{queue}", queue=queue)
    async def ask(ctx: roost.Context = HERE) -> None:
        await ctx.approve("Go on?")

    @app.job(name=f"work.{queue}", queue=queue)
    async def work(number: int) -> None:
        ran.append(number)

    async with working(app, queue, concurrency=1):
        held = [(await app.client.jobs.enqueue(ask.new_job())).id for _ in range(3)]
        holds = [await open_hold(app, id) for id in held]
        others = await app.client.jobs.enqueue_many([work.new_job(number) for number in range(5)])
        for other in others:
            assert (await ended(app, other.id)).state == "succeeded"
        assert ran == [0, 1, 2, 3, 4]
        counts = await app.client.queues.get(queue)
        assert (counts.held, counts.running, counts.succeeded) == (3, 0, 5)
        for id, hold in zip(held, holds, strict=True):
            await approve(app, hold)
            job = await ended(app, id)
            # Two attempts: one that asked and one that went on; neither is a failure.
            assert (job.state, job.attempt, job.failures) == ("succeeded", 2, 0)


async def test_a_held_job_survives_a_restart(store_url: str, transport: str, engine: str) -> None:
    calls: list[str] = []

    def draft() -> str:
        calls.append("draft")
        return "the text"

    def program(url: str) -> tuple[roost.App, Any]:
        app = roost.App(url)

        @app.job(name="mail", queue="mail")
        async def mail(ctx: roost.Context = HERE) -> str | None:
            text = await ctx.step("draft", draft)
            return (await ctx.approve("Send?", show=text, expires="1h")).approved_by

        return app, mail

    with serving(store_url, transport, engine) as stand:
        app, mail = program(stand.url)
        async with working(app, "mail"):
            within = (await app.client.jobs.enqueue(mail.new_job())).id
            before = (await app.client.jobs.enqueue(NewJob(kind="mail", queue="mail", hold=roost.HoldRule()))).id
            holds = [await open_hold(app, within), await open_hold(app, before)]
        await app.aclose()
    with serving(store_url, transport, engine) as stand:
        app, _ = program(stand.url)
        async with working(app, "mail"):
            assert [await open_hold(app, within), await open_hold(app, before)] == holds
            await approve(app, holds[0])
            job = await ended(app, within)
            assert (bytes(job.result or b""), job.attempt, calls) == (b'"ann"', 2, ["draft"])
            await app.client.holds.deny(holds[1].id, holds[1].subject_hash)
            assert (await ended(app, before)).reason == "hold_denied"
        await app.aclose()


async def test_an_answer_reaches_the_handler_as_its_type(app: roost.App, queue: str) -> None:
    @app.job(name=f"ship.{queue}", queue=queue)
    async def ship(ctx: roost.Context = HERE) -> str:
        address = await ctx.ask("Where to?", type=Address, show={"order": 7})
        return f"{address.street} {address.number}"

    async with working(app, queue):
        job = await app.client.jobs.enqueue(ship.new_job())
        hold = await open_hold(app, job.id)
        assert hold.reason == "question"
        assert msgspec.json.decode(hold.subject) == {"question": "Where to?", "show": {"order": 7}}
        with pytest.raises(Conflict):
            await app.client.holds.approve(hold.id, hold.subject_hash)
        answer = {"street": "Elm Street", "number": 5}
        done = await app.client.holds.answer(hold.id, hold.subject_hash, answer, actor="ann")
        assert (done.state, done.decided_by) == ("answered", "ann")
        # The same answer again is the same decision, another one is another.
        assert await app.client.holds.answer(hold.id, hold.subject_hash, answer) == done
        with pytest.raises(HoldDecided):
            await app.client.holds.answer(hold.id, hold.subject_hash, {"street": "Oak Street", "number": 1})
        assert bytes((await ended(app, job.id)).result or b"") == b'"Elm Street 5"'


async def test_an_answer_of_the_wrong_type_fails_the_handler_with_the_place(app: roost.App, queue: str) -> None:
    @app.job(name=f"ship.{queue}", queue=queue, retries=0)
    async def ship(ctx: roost.Context = HERE) -> str:
        return (await ctx.ask("Where to?", type=Address)).street

    async with working(app, queue):
        job = await app.client.jobs.enqueue(ship.new_job())
        hold = await open_hold(app, job.id)
        await app.client.holds.answer(hold.id, hold.subject_hash, {"street": "Elm", "number": "five"})
        failed = await ended(app, job.id)
        assert failed.state == "failed"
        assert failed.error is not None
        assert "number" in failed.error.message


async def test_fifty_decisions_and_a_running_worker_have_one_effect(app: roost.App, queue: str) -> None:
    sent: list[str | None] = []

    @app.job(name=f"mail.{queue}", queue=queue)
    async def mail(ctx: roost.Context = HERE) -> None:
        decision = await ctx.approve("Send?", show="text")
        sent.append(decision.approved_by)

    async with working(app, queue):
        job = await app.client.jobs.enqueue(mail.new_job())
        hold = await open_hold(app, job.id)
        calls = [app.client.holds.approve, app.client.holds.deny, app.client.jobs.cancel]

        async def act(number: int) -> None:
            call: Any = calls[number % 3]
            arguments = (job.id,) if number % 3 == 2 else (hold.id, hold.subject_hash)
            await call(*arguments, actor=f"person-{number}")

        await asyncio.gather(*(act(number) for number in range(50)), return_exceptions=True)
        final = await ended(app, job.id)
        decided = await app.client.holds.get(hold.id)
        if final.state == "succeeded":
            assert sent == [decided.decided_by]
            assert decided.state == "approved"
        else:
            # An approval may win the question and a cancel still the job, before or while it goes on.
            assert (final.state, final.reason) in {("failed", "hold_denied"), ("cancelled", "requested")}
            assert len(sent) == 0 or final.state == "cancelled"
            assert (decided.state == "denied") == (final.state == "failed")
