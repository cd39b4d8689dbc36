"""The job that a command's options describe."""

from __future__ import annotations

from typing import Any

import click

from roost.cli import inputs, retrying


def new_job(
    *,
    input: bytes | None = None,
    unique: str | None = None,
    unique_field: tuple[str, ...] = (),
    unique_scope: str | None = None,
    unique_within: str | None = None,
    on_conflict: str | None = None,
    hold: str | None = None,
    tag: tuple[str, ...] = (),
    after: tuple[int, ...] = (),
    limit: tuple[bytes, ...] = (),
    metadata: bytes | None = None,
    **options: Any,
) -> Any:
    """The `NewJob` of the options given; what is left out keeps the API's default."""
    import msgspec

    from roost.domain.records import HoldRule
    from roost.wire.codec import decode
    from roost.wire.jobs import Limit, NewJob, Unique

    how = inputs.given(scope=unique_scope, within=unique_within, on_conflict=on_conflict)
    if how and unique is None and not unique_field:
        word = next(iter(how)).replace("_", "-")
        option = f"--{word}" if word == "on-conflict" else f"--unique-{word}"
        raise click.UsageError(f"{option} needs --unique KEY or --unique-field PATH")
    key = inputs.given(key=unique, fields=list(unique_field) or None)
    return NewJob(
        **inputs.given(
            retry=retrying.rule_of(options),
            **options,
            input=None if input is None else msgspec.Raw(input),
            unique=Unique(**key, **how) if key else None,
            hold=None if hold is None else HoldRule(title=hold),
            tags=inputs.tags(tag),
            after=list(after) or None,
            limits=[decode(one, Limit) for one in limit] or None,
            metadata=None if metadata is None else msgspec.Raw(metadata),
        )
    )
