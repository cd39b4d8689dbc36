"""``roost batches``: jobs that belong together, and chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from roost.cli import inputs, output, text, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, paged, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.batches import Batch

BATCH = click.argument("id", type=click.IntRange(min=0))
LIMIT = click.option("--limit", type=click.IntRange(min=1), default=50, help="How many; 50 where not given.")
ALL = click.option("--all", "everything", is_flag=True, help="All of them.")
NOTE = click.option("--note", default="", help="Why, for the jobs' history.")
COUNTS = ("total", "pending", "succeeded", "failed", "cancelled", "expired", "skipped", "quarantined")


@click.group("batches", cls=Group)
def command() -> None:
    """Create, look at, seal and cancel batches and chains."""


COLUMNS: tuple[Column[Batch], ...] = (
    Column("ID", lambda batch: batch.id, right=True),
    Column("STATE", lambda batch: batch.state),
    Column("NAME", lambda batch: batch.name, elastic=True),
    Column("SORT", lambda batch: "chain" if batch.chain else "batch"),
    Column("TOTAL", lambda batch: batch.total, right=True),
    Column("PENDING", lambda batch: batch.pending, right=True),
    Column("SUCCEEDED", lambda batch: batch.succeeded, right=True),
    Column("FAILED", lambda batch: batch.failed, right=True),
    Column("WHEN", lambda batch: times.short(batch.finished_at or batch.created_at)),
)


@command.command("list")
@click.option("--state", type=click.Choice(("open", "sealed", "finished")), help="Only in this state.")
@LIMIT
@ALL
@listing
@pass_session
def list_command(
    session: Session, state: Literal["open", "sealed", "finished"] | None, limit: int, everything: bool
) -> None:
    """List batches, newest first."""
    from roost.wire.batches import ListBatches
    from roost.wire.contract import LIST_BATCHES

    def ask(cursor: str | None, size: int) -> tuple[list[Batch], str | None]:
        page = session.send(LIST_BATCHES, ListBatches(state=state, limit=size, cursor=cursor))
        return page.batches, page.cursor

    output.emit_pages(paged(ask, limit, everything), session.format, COLUMNS, lambda batch: batch.id, "no batches yet")


@command.command("show")
@BATCH
@reading
@pass_session
def show_command(session: Session, id: int) -> None:
    """Show a batch: how many of its jobs ended how, and the jobs that were called back."""
    from roost.wire.batches import BatchRef
    from roost.wire.contract import GET_BATCH

    _show(session, session.send(GET_BATCH, BatchRef(id=id)))


@command.command(
    "create",
    epilog="Example: roost batches create "
    '\'{"jobs": [{"kind": "resize", "input": 1}], "on_complete": {"kind": "report"}}\' --name photos',
)
@click.argument("batch", type=inputs.JSON, metavar="JSON|@FILE|-")
@click.option("--name", help="What to call it.")
@click.option("--chain", is_flag=True, default=None, help="Run its jobs one after the other.")
@click.option("--open", "opened", is_flag=True, help="Leave it open: jobs join it until it is sealed.")
@writing
@pass_session
def create_command(session: Session, batch: bytes, name: str | None, chain: bool | None, opened: bool) -> None:
    """Create a batch of the JSON's jobs, all or none; its callbacks are on_complete, on_success and on_failure."""
    import msgspec

    from roost.wire.batches import NewBatch
    from roost.wire.codec import decode
    from roost.wire.contract import CREATE_BATCH

    request = decode(batch, NewBatch)
    changes: dict[str, Any] = inputs.given(name=name, chain=chain, seal=False if opened else None)
    session.may_create = True
    _show(session, session.send(CREATE_BATCH, msgspec.structs.replace(request, **changes)))


@command.command("seal")
@BATCH
@writing
@pass_session
def seal_command(session: Session, id: int) -> None:
    """Let no more jobs join; a batch finishes when its last job has ended."""
    from roost.wire.batches import BatchRef
    from roost.wire.contract import SEAL_BATCH

    _show(session, session.send(SEAL_BATCH, BatchRef(id=id)))


@command.command("cancel")
@BATCH
@NOTE
@writing
@pass_session
def cancel_command(session: Session, id: int, note: str) -> None:
    """Seal it and cancel all its jobs that have not ended; running ones are asked to stop."""
    from roost.wire.batches import CancelBatch
    from roost.wire.contract import CANCEL_BATCH

    _show(session, session.send(CANCEL_BATCH, CancelBatch(id=id, note=note, actor=session.who())))


def _show(session: Session, batch: Batch) -> None:
    def show() -> None:
        sort = "chain" if batch.chain else "batch"
        output.say(output.strong(f"{sort} {batch.id}  {text.line(batch.name)}  ") + output.paint(batch.state))
        output.fields(
            [
                *((count, getattr(batch, count) or None) for count in COUNTS),
                ("created", times.full(batch.created_at)),
                ("sealed", times.full(batch.sealed_at)),
                ("finished", times.full(batch.finished_at)),
                ("callbacks", ", ".join(map(str, batch.callbacks))),
                ("jobs", ", ".join(map(str, batch.jobs))),
            ]
        )

    output.emit_one(batch, session.format, show, lambda: batch.id)
