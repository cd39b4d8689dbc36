"""A worker uses all the handlers it may run, however its jobs arrive."""

from __future__ import annotations

import asyncio
from typing import Any

import roost
from tests.e2e.stand import ended, eventually, working

HERE: Any = roost.injected()


async def test_jobs_that_come_one_by_one_run_beside_each_other(app: roost.App, queue: str) -> None:
    running = 0
    may_end = asyncio.Event()

    @app.job(name=f"slow.{queue}", queue=queue)
    async def slow() -> None:
        nonlocal running
        running += 1
        await may_end.wait()

    async with working(app, queue, concurrency=3):
        ids = []
        for number in range(1, 4):
            ids.append((await app.client.jobs.enqueue(slow.new_job())).id)

            async def started(number: int = number) -> bool:
                return running == number

            await eventually(started, f"{number} run at once")
        # The fourth has to wait: nobody claims it who could not start it.
        last = (await app.client.jobs.enqueue(slow.new_job())).id
        await asyncio.sleep(0.2)
        assert (running, (await app.client.jobs.get(last)).state) == (3, "ready")
        may_end.set()
        for id in (*ids, last):
            assert (await ended(app, id)).state == "succeeded"


async def test_text_that_no_store_keeps_harms_neither_its_job_nor_others(app: roost.App, queue: str) -> None:
    @app.job(name=f"noisy.{queue}", queue=queue, retries=0)
    async def noisy(how: str, ctx: roost.Context = HERE) -> str:
        ctx.log("log \0 \ud800 line")
        ctx.progress(1, 2, "half \0 \udfff way")
        if how == "raise":
            raise ValueError("went \0 wrong \ud800")
        if how == "step":
            return await ctx.step("read", lambda: "a\0b")
        return {"nul": "a\0b", "surrogate": "a\ud800b"}.get(how, how)

    async with working(app, queue):
        hows = ["fine", "raise", "nul", "fine", "surrogate", "step", "fine"]
        answers = await app.client.jobs.enqueue_many([noisy.new_job(how) for how in hows])
        jobs = [await ended(app, answer.id) for answer in answers]
        assert [job.state for job in jobs] == ["succeeded" if how == "fine" else "failed" for how in hows]
        for how, job in zip(hows, jobs, strict=True):
            lines = (await app.client.jobs.logs(job.id)).lines
            assert [line.message.startswith("log ") for line in lines] == [True]
            if how != "fine":
                assert job.error is not None
                assert "\0" not in job.error.message
        assert jobs[1].error is not None
        assert jobs[1].error.message.startswith("went ")
