"""``roost doctor``: what keeps Roost from working, or from keeping its promises, on this machine and in this store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from roost.cli import exit_codes, output, text
from roost.cli.session import Session, pass_session, reading

if TYPE_CHECKING:
    from roost.cli.checks import Check

_OUTBOX_WARN_MS = 10_000
_OUTBOX_FAIL_MS = 5 * 60_000


@click.command("doctor")
@click.option("--outbox", metavar="URL", help="Also look at the outbox table in this database (roost outbox --help).")
@reading
@pass_session
def command(session: Session, outbox: str | None) -> int:
    """Check Python, SQLite, the store or server, clocks, disk and file; exit code 1 where a check fails."""
    from itertools import chain

    from roost.cli.target import resolve

    checks = []
    for check in chain(_all(resolve(session.url)), _outbox(outbox) if outbox is not None else ()):
        checks.append(check)
        if session.format == "table":
            _show(check)
    if session.format != "table":
        output.emit_pages([[_plain(check) for check in checks]], session.format, (), lambda row: row["check"], "")
    return exit_codes.FAILED if any(check.verdict == "fail" for check in checks) else exit_codes.OK


def _plain(check: Check) -> dict[str, str]:
    from dataclasses import asdict

    return asdict(check)


def _show(check: Check) -> None:
    output.say(f"{output.paint(check.verdict, check.verdict.ljust(4))}  {check.check:<16} {text.line(check.found)}")
    if check.help and check.verdict != "ok":
        output.say(f"      {'':<16} {output.faint(text.line(check.help))}")


def _all(url: str) -> Iterator[Check]:
    from roost.cli import checks
    from roost.cli.target import sqlite_file, without_password
    from roost.errors import RoostError

    yield from checks.machine()
    yield checks.Check("target", "ok", without_password(url))
    try:
        if url.startswith(("http://", "https://")):
            yield from _server(url)
        elif url.startswith("sqlite:"):
            file = sqlite_file(url)
            if file is not None:
                yield from checks.file(file)
                if file.exists():
                    yield from _sqlite(url)
        else:
            from roost.cli.checks_postgres import database

            yield from database(url)
    except RoostError as error:
        yield checks.Check("store", "fail", f"{error.code}: {error.message}", error.help)


def _outbox(database: str) -> Iterator[Check]:
    """What waits there: a relay brings a row within a second or two."""
    from roost.cli import checks, times
    from roost.errors import RoostError
    from roost.outboxes import table
    from roost.outboxes.places import open_place

    try:
        place = open_place(database)
        try:
            with place.transaction() as link:
                table.require(link)
                status = table.status(link)
        finally:
            place.close()
    except RoostError as error:
        yield checks.Check("outbox", "fail", f"{error.code}: {error.message}", error.help)
        return
    late = 0 if status.oldest_at is None else max(0, times.now_ms() - status.oldest_at)
    verdict: checks.Verdict = "ok" if late < _OUTBOX_WARN_MS else "warn" if late < _OUTBOX_FAIL_MS else "fail"
    since = f", the oldest for {times.span(late / 1000)}" if status.waiting else ""
    last = f"the last relay was {status.relay}" if status.relay else "no relay was ever at work"
    yield checks.Check(
        "outbox", verdict, f"{status.waiting} rows wait{since}; {last}", "is a relay running? see its log"
    )
    if status.refused:
        told = "roost outbox list --refused tells why; then roost outbox retry or discard"
        yield checks.Check("outbox refusals", "warn", f"{status.refused} rows were set aside", told)


def _server(url: str) -> Iterator[Check]:
    from roost.cli import checks, times
    from roost.cli.target import connect
    from roost.errors import RoostError
    from roost.wire.contract import INFO, READY
    from roost.wire.jobs import Empty

    client = connect(url, may_create=False)
    try:
        before = times.now_ms()
        info = client.call(INFO, Empty())
        after = times.now_ms()
        yield checks.Check(
            "server", "ok", f"Roost {info.version} at {url}, node {info.node}, answers in {after - before} ms"
        )
        try:
            client.call(READY, Empty())
            yield checks.Check("store", "ok", f"{info.engine} {info.engine_version} answers")
        except RoostError as error:
            yield checks.Check("store", "fail", error.message, error.help)
        yield checks.Check("guarantee", "warn" if "lose" in info.durability else "ok", info.durability)
        now = round(times.parse(info.now).timestamp() * 1000)
        yield checks.clock("the server's clock", now, before, after)
    finally:
        client.close()


def _sqlite(url: str) -> Iterator[Check]:
    from roost.cli import checks, stores
    from roost.engine.opening import open_store
    from roost.errors import StoreOwned
    from roost.service.ids import system_rng

    schema = checks.schema(stores.applied(url), stores.SQLITE)
    yield schema
    if schema.verdict != "ok":
        # Opening the store would migrate it; a check changes nothing.
        return
    try:
        store = open_store(url, "embedded", rng=system_rng)
    except StoreOwned as error:
        yield checks.Check("store", "ok", error.message)
        return
    try:
        store.reader.ping()
        yield checks.Check("store", "ok", f"{store.info.engine} {store.info.version} answers")
        verdict: checks.Verdict = "warn" if "lose" in store.info.durability else "ok"
        yield checks.Check("guarantee", verdict, store.info.durability)
    finally:
        store.close()
