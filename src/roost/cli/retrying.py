"""Retry rules on the command line: as they are given, and as they are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from roost.cli import inputs

if TYPE_CHECKING:
    from roost.domain.retry import RetryRule

P = ParamSpec("P")
R = TypeVar("R")
FIELDS = ("retries", "backoff", "base", "cap", "jitter")


def options(command: Callable[P, R]) -> Callable[P, R]:
    """The options that make a rule: the whole of it as JSON, or its fields one by one."""
    for option in reversed(
        (
            click.option("--retries", type=click.IntRange(min=0), help="How often a failed job is tried again."),
            click.option(
                "--backoff", type=click.Choice(("fixed", "linear", "exponential")), help="How the delays grow."
            ),
            click.option("--base", metavar="DURATION", help="The first delay."),
            click.option("--cap", metavar="DURATION", help="The longest delay."),
            click.option("--jitter", type=float, help="0.2 spreads delays by plus or minus 20 %."),
            click.option(
                "--retry", type=inputs.JSON, metavar="JSON|@FILE|-", help="The whole rule, with what single errors do."
            ),
        )
    ):
        command = option(command)
    return command


def rule_of(options: dict[str, Any], before: RetryRule | None = None) -> RetryRule | None:
    """The rule the options make, taken out of them: the one given as JSON (else the one before), then single fields."""
    import msgspec

    from roost.domain.retry import RetryRule
    from roost.wire.codec import decode

    whole = options.pop("retry", None)
    changes = inputs.given(**{field: options.pop(field, None) for field in FIELDS})
    rule = before if whole is None else decode(whole, RetryRule)
    return msgspec.structs.replace(rule or RetryRule(), **changes) if changes else rule


def retry_text(rule: RetryRule) -> str:
    """A retry rule for people, with what it says of single errors."""
    told = f"{rule.retries} times, {rule.backoff} from {rule.base} to {rule.cap}" if rule.retries else "never"
    for one in rule.errors:
        words = [
            "" if one.retries is None else f"{one.retries} times" if one.retries else "never",
            one.backoff or "",
            f"from {one.base}" if one.base else "",
            f"to {one.cap}" if one.cap else "",
        ]
        told += f"; {', '.join(one.types)}: {' '.join(filter(None, words)) or 'the same'}"
    return told
