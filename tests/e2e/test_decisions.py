"""Decisions: made once, in time, on what was seen, and told to whoever asks later."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime

import msgspec
import pytest

import roost
from roost.domain.holds import subject_hash
from roost.errors import Conflict, HoldDecided, HoldExpired, NotFound, RoostError, SubjectChanged
from roost.wire.holds import Hold
from roost.wire.jobs import NewJob
from tests.e2e.stand import clocked, ended, eventually, open_hold, until
from tests.service.virtual_clock import VirtualClock


async def held(
    app: roost.App, queue: str, *, expires: str | None = None, on_expiry: str = "deny", input: bytes = b'{"to":"ann"}'
) -> Hold:
    """The hold of a new job that may not start before a person says so."""
    rule = roost.HoldRule(title="May it?", expires=expires, on_expiry=on_expiry)  # type: ignore[arg-type]
    job = await app.client.jobs.enqueue(NewJob(kind="mail.send", queue=queue, input=msgspec.Raw(input), hold=rule))
    return await open_hold(app, job.id)


async def test_of_fifty_decisions_at_once_one_is_made(app: roost.App, queue: str) -> None:
    hold = await held(app, queue)
    holds = app.client.holds

    async def decide(number: int) -> Hold | RoostError:
        call = holds.approve if number % 2 else holds.deny
        try:
            return await call(hold.id, hold.subject_hash, actor=f"person-{number}")
        except RoostError as error:
            return error

    answers = await asyncio.gather(*(decide(number) for number in range(50)))
    made = [answer for answer in answers if isinstance(answer, Hold)]
    refused = [answer for answer in answers if isinstance(answer, RoostError)]
    # The same decision again is the same answer, with the name of the person who made it; the other one is refused.
    assert (len(made), len(refused)) == (25, 25)
    assert len({msgspec.json.encode(answer) for answer in made}) == 1
    assert {(type(error), error.status) for error in refused} == {(HoldDecided, 409)}
    number = int((made[0].decided_by or "").removeprefix("person-"))
    assert made[0].state == ("approved" if number % 2 else "denied")
    events = await app.client.jobs.events(hold.job)
    assert Counter(event.type for event in events)["decided"] == 1
    job = await app.client.jobs.get(hold.job)
    assert (job.state, job.reason) == (("ready", None) if number % 2 else ("failed", "hold_denied"))


async def test_a_decision_must_quote_the_subject_that_is_held(app: roost.App, queue: str) -> None:
    hold = await held(app, queue)
    for decision in (app.client.holds.approve, app.client.holds.deny):
        for quoted in (subject_hash('{"to":"eve"}'), "", hold.subject_hash.upper(), hold.subject_hash[:-1]):
            with pytest.raises(SubjectChanged) as refused:
                await decision(hold.id, quoted)
            assert (refused.value.path, refused.value.status) == ("subject_hash", 409)
            assert hold.subject_hash not in f"{refused.value.message} {refused.value.help}"
    assert await app.client.holds.get(hold.id) == hold
    assert hold.subject_hash == subject_hash(bytes(hold.subject).decode())
    assert msgspec.json.decode(hold.subject) == {"kind": "mail.send", "input": {"to": "ann"}}
    with pytest.raises(NotFound):
        await app.client.holds.approve(hold.id + 10**9, hold.subject_hash)


@pytest.mark.parametrize(
    ("on_expiry", "state", "reason"), [("deny", "failed", "hold_denied"), ("approve", "ready", None)]
)
async def test_a_deadline_means_what_was_declared_with_nobody_looking(
    app: roost.App, queue: str, on_expiry: str, state: str, reason: str | None
) -> None:
    hold = await held(app, queue, expires="200ms", on_expiry=on_expiry)
    job = await until(app, hold.job, state)
    assert (job.state, job.reason) == (state, reason)
    expired = await app.client.holds.get(hold.id)
    assert (expired.state, expired.decided_by) == ("expired", None)
    assert hold.deadline is not None
    assert expired.decided_at is not None
    late = datetime.fromisoformat(expired.decided_at) - datetime.fromisoformat(hold.deadline)
    # By itself a loop looks every ten seconds.
    assert 0 <= late.total_seconds() < 8
    for decision in (app.client.holds.approve, app.client.holds.deny):
        with pytest.raises(HoldExpired):
            await decision(hold.id, hold.subject_hash)
    with pytest.raises(HoldExpired):
        await app.client.holds.extend(hold.id, "1h")
    assert (await app.client.jobs.get(hold.job)).state == state


@pytest.mark.parametrize("on_expiry", ["deny", "approve"])
async def test_a_decision_after_the_deadline_is_refused_although_no_loop_has_seen_it(
    store_url: str, transport: str, on_expiry: str
) -> None:
    clock = VirtualClock()
    async with clocked(store_url, transport, clock) as client:
        rule = roost.HoldRule(expires="1m", on_expiry=on_expiry)  # type: ignore[arg-type]
        job = await client.jobs.enqueue(NewJob(kind="k", hold=rule))
        (hold,) = (await client.holds.list(job=job.id)).holds
        await clock.advance(60_000)
        with pytest.raises(HoldExpired):
            await client.holds.approve(hold.id, hold.subject_hash)
        with pytest.raises(HoldExpired):
            await client.holds.deny(hold.id, hold.subject_hash)
        with pytest.raises(HoldExpired):
            await client.holds.answer(hold.id, hold.subject_hash, "yes")
        with pytest.raises(HoldExpired):
            await client.holds.extend(hold.id, "1h")
        # What it became is for the loop to say, not for a late hand.
        assert (await client.holds.get(hold.id)).state == "open"
        assert (await client.jobs.get(job.id)).state == "held"


async def test_an_extended_deadline_is_the_one_that_counts(app: roost.App, queue: str) -> None:
    hold = await held(app, queue, expires="3s")
    extended = await app.client.holds.extend(hold.id, "1h")
    other = await held(app, queue, expires="3s")
    assert hold.deadline is not None
    assert extended.deadline is not None
    moved = datetime.fromisoformat(extended.deadline) - datetime.fromisoformat(hold.deadline)
    assert 3500 < moved.total_seconds() < 3600
    # The other one's deadline passes: by then the first one's would have passed too.
    await until(app, other.job, "failed")
    assert (await app.client.jobs.get(hold.job)).state == "held"
    assert (await app.client.holds.approve(hold.id, hold.subject_hash)).state == "approved"
    with pytest.raises(HoldDecided):
        await app.client.holds.extend(hold.id, "1h")


async def test_cancelling_a_held_job_withdraws_its_question(app: roost.App, queue: str) -> None:
    hold = await held(app, queue, expires="300ms", on_expiry="approve")
    witness = await held(app, queue, expires="300ms")
    job = await app.client.jobs.cancel(hold.job, actor="ann", note="changed my mind")
    assert (job.state, job.reason) == ("cancelled", "requested")
    assert (await app.client.holds.get(hold.id)).state == "withdrawn"
    assert (await app.client.holds.list(job=hold.job)).holds == []
    with pytest.raises(Conflict) as refused:
        await app.client.holds.approve(hold.id, hold.subject_hash)
    assert refused.value.code == "conflict"
    # Its deadline, which would have approved it, means nothing any more.
    await until(app, witness.job, "failed")
    assert (await app.client.jobs.get(hold.job)).state == "cancelled"


async def test_deleting_a_held_job_leaves_nothing_to_approve(app: roost.App, queue: str) -> None:
    hold = await held(app, queue)
    await app.client.jobs.delete(hold.job)
    for call in (app.client.holds.approve, app.client.holds.deny):
        with pytest.raises(NotFound):
            await call(hold.id, hold.subject_hash)
    with pytest.raises(NotFound):
        await app.client.jobs.get(hold.job)
    # Enqueued again, it is another job with another question.
    again = await held(app, queue)
    assert again.id != hold.id
    assert again.subject_hash == hold.subject_hash
    assert (await app.client.jobs.get(again.job)).state == "held"


async def test_who_asked_sees_who_decided_when_and_on_what(app: roost.App, queue: str) -> None:
    hold = await held(app, queue)
    await app.client.holds.deny(hold.id, hold.subject_hash, actor="ann", note="wrong address")
    job = await ended(app, hold.job)
    assert (job.state, job.reason, job.attempt) == ("failed", "hold_denied", 0)
    events = await app.client.jobs.events(hold.job)
    assert [event.type for event in events] == ["created", "held", "decided", "failed"]
    decided = events[2]
    assert decided.actor == "ann"
    told = msgspec.json.decode(decided.data or b"")
    assert told == {
        "hold": hold.id,
        "decision": "denied",
        "subject_hash": hold.subject_hash,
        "note": "wrong address",
    }
    assert (await app.client.holds.get(hold.id)).decided_at == decided.at
    account = await app.client.jobs.explain(hold.job)
    assert any("ann" in fact.text for fact in account.facts)


async def test_a_queue_rule_holds_what_is_enqueued_and_nothing_goes_around_it(app: roost.App, queue: str) -> None:
    client = app.client
    await client.queues.edit(queue, roost.QueueRules(hold=roost.HoldRule(title="Every one")))
    job = await client.jobs.enqueue(NewJob(kind="k", queue=queue))
    hold = await open_hold(app, job.id)
    assert hold.title == "Every one"
    # The rule is lifted for jobs to come, not for those that were stopped by it.
    await client.queues.edit(queue, roost.QueueRules())
    await client.queues.pause(queue)
    await client.queues.resume(queue)
    assert (await client.jobs.get(job.id)).state == "held"
    with pytest.raises(Conflict):
        await client.jobs.reopen(job.id)
    await client.holds.deny(hold.id, hold.subject_hash)
    await client.jobs.reopen(job.id)
    assert (await open_hold(app, job.id)).id != hold.id


async def test_the_list_of_questions_is_first_to_expire_first(app: roost.App, queue: str) -> None:
    late = await held(app, queue, expires="3h")
    never = await held(app, queue)
    soon = await held(app, queue, expires="2h")
    mine = {late.id, never.id, soon.id}

    async def look() -> list[int]:
        found, cursor = [], None
        while True:
            page = await app.client.holds.list(limit=2, cursor=cursor)
            found += [hold.id for hold in page.holds if hold.id in mine]
            cursor = page.cursor
            if cursor is None:
                return found

    assert await eventually(look, "they are listed") == [soon.id, late.id, never.id]
