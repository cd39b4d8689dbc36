"""The daily brief as Roost runs it: ``roost worker examples.daily_brief.jobs:app`` (settings: ``BRIEF_*``)."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

import roost
from examples.daily_brief import inbox as mail
from examples.daily_brief import send as post
from examples.daily_brief import summarise as words
from examples.daily_brief.journal import Journal
from examples.daily_brief.settings import load

settings = load(os.environ)
journal = Journal(settings.journal)
app = roost.App()


async def read_inbox(user: str) -> mail.Inbox:
    async with journal.noted("read", user):
        return await asyncio.to_thread(mail.read, settings.source, user, now=datetime.now(UTC), hours=settings.hours)


async def summarise(inbox: mail.Inbox) -> words.Brief:
    async with journal.noted("summarise", inbox.user):
        try:
            return await asyncio.to_thread(words.write, inbox, settings.model, settings.zone)
        except words.ModelError as error:
            if error.permanent:
                raise roost.Fatal(str(error)) from error
            raise


async def send(brief: words.Brief, job_id: str) -> post.Receipt:
    async with journal.noted("send", brief.user):
        now = datetime.now(UTC)
        try:
            if settings.smtp is None:
                return await asyncio.to_thread(post.deliver_to_sink, brief, settings.outbox, job_id=job_id, now=now)
            return await asyncio.to_thread(post.deliver, brief, settings.smtp, job_id=job_id, now=now)
        except post.SendError as error:
            if error.permanent:
                raise roost.Fatal(str(error)) from error
            raise


@app.job(name="daily_brief", retries=5, timeout="5m", unique=roost.Unique("user", on_conflict="return"))
async def daily_brief(user: str, ctx: roost.Context = roost.injected()) -> post.Receipt:
    """Read, summarise, ask, send; whatever was done before a crash is not done again."""
    inbox = await ctx.step("read", read_inbox, user)
    brief = await ctx.step("summarise", summarise, inbox)
    await ctx.approve("SendBrief", show=brief, expires="2h")
    return await ctx.step("send", send, brief, str(ctx.job_id))


@app.schedule("0 8 * * *", tz=settings.zone)
async def every_morning() -> None:
    """At 08:00 in the zone of the settings, one brief per user."""
    await daily_brief.enqueue_many([(user,) for user in settings.users])
