"""``--fields``: which fields of what is listed are printed, in which order, by their names in the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    import msgspec

P = ParamSpec("P")
R = TypeVar("R")
_META = "roost.fields"


def option(command: Callable[P, R]) -> Callable[P, R]:
    """``--fields``, of a command that lists."""
    return click.option(
        "--fields",
        metavar="NAME[,NAME…]",
        expose_value=False,
        callback=_keep,
        help="Only these fields, named as in the API; with dots for what is inside: id,state,tags.team.",
    )(command)


def _keep(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        names = [name.strip() for name in value.split(",")]
        if not all(names) or len(set(names)) != len(names):
            raise click.UsageError("--fields needs names, each once, with commas between them: id,state", ctx)
        ctx.meta[_META] = tuple(names)


def chosen() -> tuple[str, ...]:
    """The fields the command at hand was asked for; none where it was not asked."""
    ctx = click.get_current_context(silent=True)
    return () if ctx is None else ctx.meta.get(_META, ())


def check(kind: type[msgspec.Struct], fields: Iterable[str]) -> None:
    """Raises `click.UsageError`, which names those there are, for a field that rows of this kind do not have."""
    import msgspec

    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    for field in fields:
        if field.partition(".")[0] not in known:
            raise click.UsageError(f"there is no field {field!r}; there are {', '.join(known)}")


def has_all(kind: type[msgspec.Struct], fields: Iterable[str]) -> bool:
    """Whether rows of this kind have all of the fields."""
    import msgspec

    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    return known.issuperset(field.partition(".")[0] for field in fields)


def rows(pages: Iterable[Sequence[Any]], fields: tuple[str, ...]) -> Iterator[list[dict[str, Any]]]:
    """Each row as its chosen fields; what a row does not have is None. Raises `click.UsageError` as `check`."""
    import msgspec

    checked = False
    for page in pages:
        for row in page:
            if not checked and isinstance(row, msgspec.Struct):
                check(type(row), fields)
            checked = True
        yield [{field: _value(row, field) for field in fields} for row in page]


def _value(row: Any, field: str) -> Any:
    import msgspec

    name, *inside = field.split(".")
    if isinstance(row, dict):
        value = row.get(name)
    else:
        own = next(one.name for one in msgspec.structs.fields(row) if one.encode_name == name)
        value = getattr(row, own)
    for part in inside:
        if not isinstance(value, dict):
            # As JSON, so that numbers stay as they were written.
            data = msgspec.json.encode(value)
            value = msgspec.json.decode(data, type=dict[str, msgspec.Raw]) if data.startswith(b"{") else {}
        value = value.get(part)
    return value
