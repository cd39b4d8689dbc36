"""The guides' programs, run as they stand there."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import roost
from roost.errors import JobFailed
from roost.testing import Harness, VirtualClock
from scripts.source_files import ROOT
from tests.docs.documents import blocks, code, guide, module, rows


@contextmanager
def program(name: str, folder: Path, clock: VirtualClock | None = None) -> Iterator[tuple[ModuleType, Harness]]:
    """A guide's program, its jobs in memory."""
    made = module(f"guide_{name}", guide(name), folder)
    with Harness(clock) as harness, harness.bound(made.app):
        yield made, harness


async def evaluated(source: str, names: dict[str, Any]) -> None:
    """Run a statement that may await."""
    compiled = compile(source, "guide", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(compiled, names)  # noqa: S307 - the statement is ours, out of a guide
    if running is not None:
        await running


def decide(app: roost.App, decision: str, **more: Any) -> None:
    """Decide the only question that is open, as a person who has seen it."""
    [hold] = app.sync_client.holds.list().holds
    getattr(app.sync_client.holds, decision)(hold.id, subject_hash=hold.subject_hash, actor="ana", **more)


async def test_the_calls_of_the_jobs_guide(tmp_path: Path) -> None:
    with program("jobs", tmp_path) as (made, harness):
        names = dict(vars(made))
        for _, cell in rows(guide("jobs"), "to"):
            if "result(" in cell:
                await harness.drain()
            await evaluated(code(cell), names)
        assert names["receipt"] == made.Receipt(7, "Welcome to acme")
        welcomes = harness.jobs(made.welcome)
        assert [bytes(job.input) for job in welcomes].count(b'{"tenant":"acme","user_id":7}') == 1
        assert len(welcomes) == 5
        [delayed] = [job for job in welcomes if job.state == "waiting"]
        assert (delayed.priority, delayed.queue, delayed.timeout) == (8, "mail", "2m")
        assert delayed.retry is not None
        assert delayed.retry.retries == 5


async def test_each_way_to_end_an_attempt(tmp_path: Path) -> None:
    tried = []
    with program("jobs", tmp_path) as (made, harness):
        for ending, fate in rows(guide("jobs"), "a handler"):
            if not ending.startswith("`raise "):
                continue

            async def handler(source: str = code(ending)) -> None:
                exec(source, {"roost": roost})  # noqa: S102 - the statement is ours, out of a guide

            handle = await made.app.job(handler, name=f"ends.{len(tried)}", retries=1).enqueue()
            await harness.drain()
            job = await handle.job()
            wanted = "waiting" if fate.startswith("the same") else code(fate)
            assert job.state == wanted, (ending, job)
            tried.append((code(ending).split("(")[0].removeprefix("raise roost."), job.failures))
    assert tried == [("Retry", 1), ("Fatal", 1), ("Snooze", 0), ("Cancel", 0)]


async def test_one_job_for_one_key_as_the_jobs_guide_says(tmp_path: Path) -> None:
    with program("jobs", tmp_path) as (made, harness):
        first = await made.rebuild.enqueue(7)
        await harness.drain()
        assert await first.result() == "rebuilt 7"
        second = await made.rebuild.enqueue(7)
        assert (second.id, second.duplicate) == (first.id, True)
        harness.clock.advance("1h")
        assert not (await made.rebuild.enqueue(7)).duplicate


async def test_recorded_steps_of_the_jobs_guide_are_not_repeated(tmp_path: Path) -> None:
    with program("jobs", tmp_path) as (made, harness):
        calls: list[str] = []
        read = made.read
        made.read = lambda user: (calls.append(user), read(user))[1]
        handle = await made.brief.enqueue("ana")
        await harness.drain()
        assert (await handle.job()).state == "waiting"
        harness.clock.advance("2h")
        await harness.drain()
        assert await handle.result() == "1 MAILS"
        assert calls == ["ana"]
        steps = [step.name for step in made.app.sync_client.jobs.steps(handle.id) if step.kind != "sleep"]
        assert steps == ["read", "summarise", "send"]


@pytest.mark.feature("events")
async def test_the_events_guide(tmp_path: Path) -> None:
    with program("events", tmp_path) as (made, harness):
        handle = await made.welcome.enqueue(user="ana")
        await harness.drain()
        place = await asyncio.wait_for(made.follow("0"), 20)
        [*_, last] = (await made.app.client.events.list(job=[handle.id])).events
        assert (last.id, last.type) == (place, "succeeded")
        reading = asyncio.create_task(made.read_log("ben"))
        await asyncio.sleep(0)
        while not reading.done():
            await harness.drain()
            await asyncio.sleep(0.01)
        assert await reading == ["writing to ben"]


async def test_the_approvals_guide(tmp_path: Path) -> None:
    with program("approvals", tmp_path) as (made, harness):
        sent = await made.campaign.enqueue("spring")
        await harness.drain()
        assert (await sent.job()).state == "held"
        decide(made.app, "approve")
        await harness.drain()
        assert await sent.result() == "sent Spring, approved by ana"

        asked = await made.survey.enqueue()
        await harness.drain()
        decide(made.app, "answer", answer=42)
        await harness.drain()
        assert await asked.result() == 42

        held = await made.dangerous.enqueue()
        await harness.drain()
        assert (await held.job()).attempt == 0
        decide(made.app, "approve")
        await harness.drain()
        assert await held.result() == "done"

        late = await made.campaign.enqueue("late")
        await harness.drain()
        harness.clock.advance("2h")
        await harness.drain()
        with pytest.raises(JobFailed, match=r"hold_expired|hold_denied"):
            await late.result()
        made.app.sync_client.jobs.reopen(late.id)
        await harness.drain()
        assert (await late.job()).state == "held"


async def test_the_schedules_guide(tmp_path: Path) -> None:
    friday = VirtualClock(datetime(2026, 3, 6, 14, tzinfo=UTC))
    with program("schedules", tmp_path, friday) as (made, harness):
        await harness.drain()
        friday.travel(datetime(2026, 3, 9, 11, 59, tzinfo=UTC))  # Monday, New York in summer time since Sunday
        await harness.drain()
        assert harness.jobs(made.weekday_morning) == []
        friday.travel(datetime(2026, 3, 9, 12, 0, tzinfo=UTC))
        await harness.drain()
        assert [job.state for job in harness.jobs(made.weekday_morning)] == ["succeeded"]
        assert harness.jobs(made.sweep)


def test_the_policies_of_the_schedules_guide_are_all_there_are() -> None:
    from typing import get_args, get_type_hints

    from roost.domain.schedule import ScheduleRule

    hints = get_type_hints(ScheduleRule)
    told = {code(name): values.replace("`", "").split(", ") for name, values, _ in rows(guide("schedules"), "policy")}
    assert {name: set(get_args(hints[name])) for name in told} == {name: set(values) for name, values in told.items()}
    assert {name: getattr(ScheduleRule(), name) for name in told} == {name: values[0] for name, values in told.items()}
    assert set(told) == {
        name for name, hint in hints.items() if len(get_args(hint)) > 1 and str in map(type, get_args(hint))
    }


def test_the_testing_guide_is_a_test_that_passes(tmp_path: Path) -> None:
    (tmp_path / "test_guide.py").write_text("\n\n".join(blocks(guide("testing"), "python")))
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_no_guide_has_a_program_that_nobody_runs() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    run_here = set(re.findall(r'\b(?:guide|program)\("([\w-]+)"', sources))
    with_programs = {
        path.stem for path in (ROOT / "docs" / "guides").glob("*.md") if blocks(path.read_text(), "python")
    }
    assert with_programs <= run_here
