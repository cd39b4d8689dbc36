"""``roost queues limits`` and ``roost queues order``: how much of a queue runs, and what of it goes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from roost.cli.queue_display import show
from roost.cli.session import Session, pass_session, writing

if TYPE_CHECKING:
    from roost.domain.records import FairRule, LimitRule, QueueRules

NAME = click.argument("name")


class Count(click.ParamType[int | str]):
    """A number from 1, or ``none``."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or ``none`` itself; fails as a usage error."""
        if value == "none":
            return "none"
        return click.IntRange(min=1).convert(value, param, ctx)


COUNT = Count()
CONCURRENCY = click.option("--concurrency", type=COUNT, help="How many jobs run at once.")
RATE = click.option("--rate", metavar="RATE", help="How many jobs start, such as 100/m (s, m, h, d).")
BURST = click.option("--burst", type=COUNT, help="How many of them may start at once.")


@click.command(
    "limits",
    epilog="Jobs with one key share a limit: roost queues limits mail --key 'tenant:{tags.tenant}' --concurrency 2",
)
@NAME
@CONCURRENCY
@RATE
@BURST
@click.option("--key", metavar="TEMPLATE", help="Limit the jobs of each key instead of all jobs of the queue.")
@click.option("--cost", type=click.IntRange(min=1), help="How much of the key one job takes.")
@click.option("--remove", metavar="TEMPLATE", help="Take the limit of this key away.")
@writing
@pass_session
def limits_command(session: Session, /, name: str, remove: str | None, **options: Any) -> None:
    """Limit how many jobs of a queue run or start.

    The queue's own limit holds at once, for jobs that are stored or run already too; limits by key are given to jobs
    enqueued from now on. 'none' takes a number away; without options the limits are shown.
    """
    import msgspec

    key = options.pop("key")
    if key is None and options["cost"] is not None:
        raise click.UsageError("--cost needs --key: it is how much of a key one job takes")

    def changed(rules: QueueRules) -> QueueRules:
        if remove is not None:
            kept = [rule for rule in rules.limits or () if rule.key != remove]
            rules = msgspec.structs.replace(rules, limits=kept or None)
        if key is not None:
            return msgspec.structs.replace(rules, limits=_with(rules.limits or [], key, options))
        numbers = {field: options[field] for field in ("concurrency", "rate", "burst")}
        return msgspec.structs.replace(rules, **_taken_over(numbers))

    _edit(session, name, changed)


@click.command("order", epilog="roost queues order mail --fair '{tags.tenant}' --weight acme=3")
@NAME
@click.option("--ageing", metavar="DURATION", help="Waiting this long is worth one priority more; 'none': never.")
@click.option("--fair", metavar="TEMPLATE", help="Jobs of one priority take turns by this key; 'none': they do not.")
@click.option("--weight", "weights", metavar="KEY=N", multiple=True, help="How many jobs a key starts in its turn.")
@writing
@pass_session
def order_command(
    session: Session, /, name: str, ageing: str | None, fair: str | None, weights: tuple[str, ...]
) -> None:
    """Say what goes first in a queue besides priority; jobs that are stored are put in the new order."""
    import msgspec

    def changed(rules: QueueRules) -> QueueRules:
        return msgspec.structs.replace(rules, fairness=_fair(rules, fair, weights), **_taken_over({"ageing": ageing}))

    _edit(session, name, changed)


def _taken_over(options: dict[str, Any]) -> dict[str, Any]:
    return {field: None if value == "none" else value for field, value in options.items() if value is not None}


def _with(limits: list[LimitRule], key: str, options: dict[str, Any]) -> list[LimitRule]:
    import msgspec

    from roost.domain.records import LimitRule

    before = next((rule for rule in limits if rule.key == key), LimitRule(key=key))
    rule = msgspec.structs.replace(before, **_taken_over(options))
    return [rule if each.key == key else each for each in limits] if before in limits else [*limits, rule]


def _fair(rules: QueueRules, fair: str | None, weights: tuple[str, ...]) -> FairRule | None:
    from roost.domain.records import FairRule

    if fair == "none":
        return None
    key = fair or (rules.fairness.key if rules.fairness else None)
    if key is None:
        if weights:
            raise click.UsageError("--weight needs --fair TEMPLATE")
        return None
    named = dict(rules.fairness.weights or {}) if rules.fairness else {}
    for word in weights:
        name, equals, number = word.rpartition("=")
        if not equals or not number.isdigit():
            raise click.UsageError(f"{word!r} is not a weight; write KEY=N")
        named[name] = int(number)
    return FairRule(key=key, weights=named or None)


def _edit(session: Session, name: str, change: Callable[[QueueRules], QueueRules]) -> None:
    from roost.domain.records import QueueRules
    from roost.errors import NotFound
    from roost.wire.contract import EDIT_QUEUE, GET_QUEUE
    from roost.wire.queues import EditQueue, QueueRef

    missing: NotFound | None = None
    before = QueueRules()
    try:
        queue = session.send(GET_QUEUE, QueueRef(name=name))
        before = queue.rules or before
    except NotFound as error:
        missing = error
    rules = change(before)
    if rules != before:
        queue = session.send(EDIT_QUEUE, EditQueue(name=name, rules=rules, actor=session.who()))
    elif missing is not None:
        raise missing
    show(session, queue)
